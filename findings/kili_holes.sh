#!/usr/bin/env bash
# kili-formats 1.7.1: its COCO export writes a hole as a second polygon of the object, which COCO's rule fills.
#
# Seen: an outline of 10 x 10 pixels with a hole of 4 x 4: two polygons, iscrowd 0, area 84; COCO draws 100.
#
# Remedy: `axial-deeplab dataset convert --inner-outlines-are-holes`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 kili-formats==1.7.1 pycocotools==2.0.11 shapely==2.2.0 pillow==13.0.0 pydantic==2.14.3 \
    pydantic-core==2.50.4 annotated-types==0.8.0 typing-extensions==4.16.0 typing-inspection==0.4.5
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import pycocotools.mask as coco_mask
from kili_formats.format.coco import convert_from_kili_to_coco_format
from PIL import Image


def square(low, high):
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return {"normalizedVertices": [{"x": x / 20, "y": y / 20} for x, y in corners]}


Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save("a.png")
drawn = {"categories": [{"name": "CELL"}], "type": "semantic", "boundingPoly": [square(2, 12), square(4, 8)]}
job = {
    "mlTask": "OBJECT_DETECTION", "tools": ["semantic"], "required": 1, "isChild": False, "instruction": "",
    "content": {"categories": {"CELL": {"name": "Cell", "id": "1"}}, "input": "radio"},
}  # fmt: skip
asset = {
    "externalId": "a", "content": "a.png", "resolution": {"width": 20, "height": 20},
    "latestLabel": {"jsonResponse": {"JOB": {"annotations": [drawn]}}},
}  # fmt: skip
found = convert_from_kili_to_coco_format({"JOB": job}, [asset], "cells", "IMAGE", None, merged=False)
(entry,) = found["annotations"]
pixels = int(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], 20, 20))))
print(entry["segmentation"], "iscrowd", entry["iscrowd"], "area", entry["area"], "COCO draws", pixels)
assert len(entry["segmentation"]) == 2 and (entry["iscrowd"], entry["area"], pixels) == (0, 84, 100)
PYTHON
