#!/usr/bin/env bash
# pycocotools 2.0.11: the first figure, AP, is -1 where maxDets has no 100.
#
# Seen: two objects, both found exactly: AP is 1 with the limits 1, 10, 100 and -1 with 1, 10, 50.
#
# Remedy: keep 100 as the last limit, or read AP out of eval["precision"].
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

usual, other = ap(COCO, COCOeval, [1, 2]), ap(COCO, COCOeval, [1, 2], [1, 10, 50])
print("AP with 1, 10, 100:", usual, "and with 1, 10, 50:", other)
assert (usual, other) == (1.0, -1.0)
PYTHON
