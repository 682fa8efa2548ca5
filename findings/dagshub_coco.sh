#!/usr/bin/env bash
# dagshub-annotation-converter 0.3.0: from COCO to COCO each object becomes two; to YOLO it writes pixels for fractions.
#
# Seen: three annotations, a square, an object of two parts and a crowd, come back as five: three with their ids and boxes, no
# outlines and the areas of their boxes, 200 for the 150 pixels of the two parts, and two with new ids, with outlines and
# without boxes. The crowd is an object of its box, iscrowd 0; that its run lengths are left out is told, this is not. To
# YOLO two parts become two objects, without a word.
#
# Remedy: drop the boxes before reading; pycocotools for crowds. `axial-deeplab dataset convert` reads COCO itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    dagshub-annotation-converter==0.3.0 numpy==2.2.6 annotated-types==0.8.0 lxml==6.1.3 pandas==2.3.3 pillow==13.0.0 \
    pydantic==2.14.4 pydantic-core==2.50.5 python-dateutil==2.9.0.post0 pytz==2026.6 pyyaml==6.0.4 six==1.17.0 \
    typing-extensions==4.16.0 typing-inspection==0.4.5 tzdata==2026.6
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

from dagshub_annotation_converter.converters.coco import export_to_coco_file, load_coco_from_file
from dagshub_annotation_converter.converters.yolo import export_to_fs
from dagshub_annotation_converter.formats.yolo import YoloContext
from dagshub_annotation_converter.ir.image import IRSegmentationImageAnnotation

square = [4, 4, 14, 4, 14, 14, 4, 14]
parts = [[20, 4, 30, 4, 30, 9, 20, 9], [20, 14, 30, 14, 30, 24, 20, 24]]
crowd = {"size": [30, 40], "counts": [50, 5, 1145]}
same = {"image_id": 7, "category_id": 3}
coco = {
    "images": [{"id": 7, "width": 40, "height": 30, "file_name": "images/a.png"}],
    "categories": [{"id": 3, "name": "cell"}],
    "annotations": [
        {"id": 1, "bbox": [4, 4, 10, 10], "area": 100, "iscrowd": 0, "segmentation": [square], **same},
        {"id": 2, "bbox": [20, 4, 10, 20], "area": 150, "iscrowd": 0, "segmentation": parts, **same},
        {"id": 3, "bbox": [1, 20, 1, 5], "area": 5, "iscrowd": 1, "segmentation": crowd, **same},
    ],
}
with open("before.json", "w") as file:
    json.dump(coco, file)
by_image, context = load_coco_from_file("before.json")
(read,) = by_image.values()
export_to_coco_file(read, "after.json", context)
with open("after.json") as file:
    after = json.load(file)["annotations"]
seen = [(one["id"], one["area"], one["iscrowd"], len(one.get("segmentation", [])), "bbox" in one) for one in after]
print("id, area, iscrowd, outlines, has a box:", *seen, sep="\n")
assert seen == [(1, 100, 0, 0, True), (2, 200, 0, 0, True), (3, 5, 0, 0, True), (4, 100, 0, 1, False), (5, 150, 0, 2, False)]

outlines = [one for one in read if isinstance(one, IRSegmentationImageAnnotation)]
written = {}
for name, annotations in (("as read", outlines), ("normalized", [one.normalized() for one in outlines])):
    yolo = YoloContext(annotation_type="segmentation", path=Path("data"))
    yolo.categories.add("cell", 0)
    export_to_fs(yolo, annotations, export_dir=name)
    written[name] = Path(name, "data", "labels", "a.txt").read_text().splitlines()
print("YOLO:", *written["as read"], sep="\n")
assert written["as read"][0] == "0 4.0 4.0 14.0 4.0 14.0 14.0 4.0 14.0" and len(written["as read"]) == 3
assert written["normalized"][0].startswith("0 0.1 0.1333")
PYTHON
