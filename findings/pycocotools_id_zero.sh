#!/usr/bin/env bash
# pycocotools 2.0.11: a true object whose annotation id is 0 is never matched.
#
# Seen: two objects, both found exactly. AP is 1 with the ids 1 and 2, and 0.252 with the ids 0 and 1.
#
# Remedy: count annotation ids from 1. `axial-deeplab evaluate --ap coco` does so by itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
import contextlib, io
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

def data(ids, crowds=(0, 0)):
    annotations = []
    for place, (number, crowd) in enumerate(zip(ids, crowds)):
        mask = np.zeros((20, 40), np.uint8, order="F")
        mask[2:10, 2 + 18 * place : 12 + 18 * place] = 1
        runs = coco_mask.encode(mask)
        runs["counts"] = runs["counts"].decode()
        annotations.append(dict(id=number, image_id=1, category_id=1, segmentation=runs, area=80,
                                bbox=[2 + 18 * place, 2, 10, 8], iscrowd=crowd))
    return dict(info={}, images=[dict(id=1, width=40, height=20, file_name="a.png")],
                categories=[dict(id=1, name="cell")], annotations=annotations)

def ap(COCO, COCOeval, ids, limits=None):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data(ids)
        truth.createIndex()
        found = truth.loadRes([dict(image_id=1, category_id=1, segmentation=each["segmentation"], score=0.9)
                               for each in truth.dataset["annotations"]])
        evaluation = COCOeval(truth, found, "segm")
        if limits:
            evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return round(float(evaluation.stats[0]), 3)

from_one, from_zero = ap(COCO, COCOeval, [1, 2]), ap(COCO, COCOeval, [0, 1])
print("AP with ids 1, 2:", from_one, "and with ids 0, 1:", from_zero)
assert (from_one, from_zero) == (1.0, 0.252)
PYTHON
