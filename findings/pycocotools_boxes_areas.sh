#!/usr/bin/env bash
# pycocotools 2.0.11: results with a box beside the mask are small, medium or large by the box.
#
# Seen: a truth and a false alarm, a thin diagonal rod of 600 pixels, whose box has 120 x 124. Both are small, and AP
# of small objects is 0.5. Where the same results have `bbox`, too, loadRes takes 14,880 for the rod's area, though
# `area` says 600: to AP of small objects the false alarm does not exist, it is 1. AP of all sizes is equal.
#
# Remedy: leave `bbox` out of results before loadRes, which takes it from the mask; or open a whole file that has areas
# as COCO(path), and pass it to COCOeval in place of loadRes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

rows, columns = np.mgrid[:200, :200]
cell = (rows - 20) ** 2 + (columns - 20) ** 2 < 15**2
rod = (abs(rows - columns) < 3) & (rows >= 60) & (rows < 180)


def entry(pixels, **further):
    runs = mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"image_id": 1, "category_id": 1, "segmentation": runs, "area": int(pixels.sum()), **further}


truth = COCO()
truth.dataset = {
    "images": [{"id": 1, "height": 200, "width": 200}],
    "categories": [{"id": 1, "name": "cell"}],
    "annotations": [entry(cell, id=1, iscrowd=0, bbox=[6, 6, 29, 29])],
}
truth.createIndex()


def of_small(boxes):
    results = [entry(rod, score=0.9), entry(cell, score=0.8)]
    for each in results if boxes else []:
        each["bbox"] = mask.toBbox(each["segmentation"]).tolist()
    found = truth.loadRes(results)
    evaluation = COCOeval(truth, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    areas = [int(each["area"]) for each in found.dataset["annotations"]]
    return [float(round(evaluation.stats[place], 3)) for place in (0, 3)], areas


(masks, mask_areas), (boxes, box_areas) = of_small(False), of_small(True)
print("AP of all and of small objects, areas: masks", masks, mask_areas, "with boxes", boxes, box_areas)
assert masks == [0.5, 0.5] and boxes == [0.5, 1] and box_areas[0] > 20 * mask_areas[0]
PYTHON
