#!/usr/bin/env bash
# supervision 0.31.2: as_coco marks an object with a hole as crowd, draws outlines through pixel centers, and
# drops lines.
#
# Seen: a solid 5 x 4 block: outline (3, 2) (3, 5) (7, 5) (7, 2), declared area 20, which COCO draws with 12
# pixels. A square with a hole: iscrowd 1. A line one pixel wide: no outline at all.
#
# Remedy: write run lengths with pycocotools; on reading, `axial-deeplab dataset convert coco-instances
# --crowds-are-objects`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 supervision==0.31.2 opencv-python-headless==5.0.0.93 scipy==1.17.1 pydeprecate==0.13.0 \
    pyyaml==6.0.4 pillow==13.0.0 matplotlib==3.11.2 tqdm==4.70.1 defusedxml==0.7.1 requests==2.34.2 \
    packaging==26.4 pyparsing==3.3.3 cycler==0.12.1 kiwisolver==1.5.1 contourpy==1.3.3 \
    python-dateutil==2.9.0.post0 six==1.17.0 urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 fonttools==4.68.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json, warnings
import cv2
import numpy as np
import supervision as sv

warnings.simplefilter("ignore")
masks = np.zeros((3, 20, 20), bool)
masks[0, 2:6, 3:8] = True
masks[1, 8:14, 8:14] = True
masks[1, 10:12, 10:12] = False
masks[2, 16, 2:9] = True
cv2.imwrite("a.png", np.zeros((20, 20, 3), np.uint8))
found = sv.Detections(xyxy=sv.mask_to_xyxy(masks), mask=masks, class_id=np.array([0, 0, 0]))
sv.DetectionDataset(["cell"], ["a.png"], {"a.png": found}).as_coco(annotations_path="out.json")
with open("out.json") as file:
    block, ring, line = json.load(file)["annotations"]
print("block:", block["area"], block["segmentation"], "ring: iscrowd", ring["iscrowd"], "line:", line["segmentation"])
assert block["area"] == 20 and block["segmentation"] == [[3, 2, 3, 5, 7, 5, 7, 2]]
assert (block["iscrowd"], ring["iscrowd"], line["segmentation"]) == (0, 1, [])
drawn = int(sv.polygon_to_mask(np.array([[2, 3], [6, 3], [6, 7], [2, 7]]), (20, 20)).sum())
print("polygon_to_mask of the corners of 5 x 5 pixels:", drawn)
assert drawn == 25  # pycocotools draws 16
PYTHON
