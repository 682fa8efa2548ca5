#!/usr/bin/env bash
# label-convert 0.3.0: COCO of YOLOv8 gives each object the class behind its own; outlines are pairs, areas those of boxes.
#
# Seen: labels of classes 0, 1 and 2, which are cat, dog and cow, become category_id 1, 2 and 3, while the list of categories
# has the ids 0, 1 and 2: a cat is a dog, a dog a cow, and the class of a cow is not listed. Without the file of names it is the
# same. Outlines are lists of pairs, where COCO has x, y, x, y, ...; a triangle of 90 pixels has the area 180 of its box. From
# labelme classes are right, but a tilted outline from 30 to 70 has a box from 40 to 60, of corners of the smallest rectangle
# around it.
#
# Remedy: subtract 1 from each category_id, boxes and areas from the outlines. `axial-deeplab dataset convert` reads YOLO and
# labelme itself; of these files it counts areas, reads pairs, and refuses them where the last class occurs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    label-convert==0.3.0 numpy==2.2.6 opencv-python-headless==5.0.0.93 pyyaml==6.0.4 tqdm==4.70.1
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

import cv2
import numpy as np
from label_convert.labelme_to_coco import LabelmeToCOCO
from label_convert.yolov8_to_coco import YOLOv8ToCOCO

labels = ["0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "1 0.5 0.5 0.4 0.4", "2 0.6 0.6 0.9 0.6 0.75 0.9"]
for part in ("train", "val"):
    images, texts = Path("yolo", "images", part), Path("yolo", "labels", part)
    images.mkdir(parents=True)
    texts.mkdir(parents=True)
    cv2.imwrite(str(images / "a.jpg"), np.zeros((40, 50, 3), np.uint8))
    (texts / "a.txt").write_text("\n".join(labels) + "\n")
Path("names.yaml").write_text("names:\n  0: cat\n  1: dog\n  2: cow\n")
for names in ("names.yaml", None):
    YOLOv8ToCOCO("yolo", "coco", names)()
    coco = json.loads(Path("coco/annotations/instances_train2017.json").read_text())
    listed = {each["id"]: each["name"] for each in coco["categories"]}
    became = [listed.get(each["category_id"]) for each in coco["annotations"]]
    print(listed, "cat, dog, cow became", became)
    assert list(listed) == [0, 1, 2] and became == [listed[1], listed[2], None]
square, _, triangle = coco["annotations"]
print(square["segmentation"], "area of a triangle of 90:", triangle["area"])
assert square["segmentation"] == [[5, 4], [25, 4], [25, 20], [5, 20]] and round(triangle["area"]) == 180

Path("labelme").mkdir()
cv2.imwrite("labelme/a.png", np.zeros((60, 80, 3), np.uint8))
tilted = {"label": "cat", "shape_type": "polygon", "points": [[40, 5], [70, 35], [60, 45], [30, 15]]}
Path("labelme/a.json").write_text(json.dumps({"imageHeight": 60, "imageWidth": 80, "shapes": [tilted]}))
LabelmeToCOCO("labelme", "from_labelme", val_ratio=0)()
(entry,) = json.loads(Path("from_labelme/annotations/instances_train2017.json").read_text())["annotations"]
print("box of x from 30 to 70, y from 5 to 45:", entry["bbox"])
assert entry["bbox"] == [40, 5, 20, 40]
PYTHON
