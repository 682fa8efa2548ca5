#!/usr/bin/env bash
# pycocotools 2.0.11: small, medium and large are decided by the area that the file declares.
#
# Seen: an object of 14,400 pixels with area 0, as exporters write it for masks, is a small one: AP of small objects
# is 1 for it, of large ones -1, nothing. Predictions are measured by their pixels, so that false alarms of the same size
# count among the large ones.
#
# Remedy: count areas again (pycocotools.mask.area), as `axial-deeplab evaluate` and `dataset convert` do.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
import contextlib
import io

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pixels = np.zeros((200, 200), np.uint8)
pixels[20:140, 20:140] = 1
runs = mask.encode(np.asfortranarray(pixels))
found = {}
for area in (14400, 0):
    truth = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": area, "segmentation": runs}
    coco = COCO()
    coco.dataset = {"images": [{"id": 1, "height": 200, "width": 200}], "categories": [{"id": 1, "name": "a"}],
                    "annotations": [{**truth, "bbox": [20, 20, 120, 120]}]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes([{"image_id": 1, "category_id": 1, "segmentation": runs, "score": 0.9}])
        evaluation = COCOeval(coco, results, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found[area] = [round(float(value), 2) for value in evaluation.stats[[0, 3, 4, 5]]]
print("declared area: AP, of small, medium and large ones:", found)
assert found == {14400: [1, -1, -1, 1], 0: [1, 1, -1, -1]}
PYTHON
