#!/usr/bin/env bash
# faster-coco-eval 1.8.0: a truth with annotation id 0 is not matched, as in pycocotools, but a warning says so.
#
# Seen: two objects, both found exactly: AP 1 with the ids 1 and 2; AP 0.252 with 0 and 1, and a UserWarning.
# Limits without 100 give AP all the same, unlike pycocotools.
#
# Remedy: count annotation ids from 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11 faster-coco-eval==1.8.0
PYTHONPATH=packages python3 - <<'PYTHON'
import warnings
import contextlib, io
import numpy as np
from pycocotools import mask as coco_mask
from faster_coco_eval import COCO, COCOeval_faster

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

from_one = ap(COCO, COCOeval_faster, [1, 2])
other_limits = ap(COCO, COCOeval_faster, [1, 2], [1, 10, 50])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from_zero = ap(COCO, COCOeval_faster, [0, 1])
print("ids 1, 2:", from_one, "ids 0, 1:", from_zero, "warnings:", len(caught), "limits 1, 10, 50:", other_limits)
assert (from_one, from_zero, other_limits) == (1.0, 0.252, 1.0)
assert any("id 0" in str(each.message) for each in caught)
PYTHON
