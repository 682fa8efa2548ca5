#!/usr/bin/env bash
# imantics 0.1.12: to COCO a hole becomes a second polygon of its object, which COCO's rule fills.
#
# Seen: a square of 10 x 10 pixels with a hole of 3 x 3: two polygons, iscrowd 0, area 91, of which imantics draws 91 again;
# by COCO's rule 81 pixels, a row and a column lost and the hole filled.
#
# Remedy: `axial-deeplab dataset convert --inner-outlines-are-holes`; run lengths where the border counts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 imantics==0.1.12 opencv-python-headless==5.0.0.93 lxml==6.1.3 xmljson==0.2.1 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import pycocotools.mask as coco_mask
from imantics import Annotation, Category, Image, Mask

ring = np.zeros((20, 20), bool)
ring[4:14, 4:14], ring[7:10, 7:10] = True, False
image = Image(np.zeros((20, 20, 3), np.uint8), path="a.png")
image.add(Annotation(image, Category("cell"), mask=Mask(ring)))
(entry,) = image.coco()["annotations"]
outlines = [[float(number) for number in outline] for outline in entry["segmentation"]]
drawn = int(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(outlines, 20, 20))))
again = int(Mask(ring).polygons().mask(20, 20).array.sum())
print(entry["segmentation"], "iscrowd", entry["iscrowd"], "area", entry["area"], "COCO draws", drawn, "imantics", again)
assert len(outlines) == 2 and (entry["iscrowd"], entry["area"], drawn, again) == (0, 91, 81, 91)
PYTHON
