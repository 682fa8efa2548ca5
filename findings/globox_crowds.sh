#!/usr/bin/env bash
# globox 2.9.0: COCO read and written again has no crowds and no outlines, and its annotation ids begin at 0.
#
# Seen: a crowd and an object with run lengths come back as two objects (iscrowd 0) with empty segmentation and
# the ids 0 and 1. pycocotools then never matches the first.
#
# Remedy: use it for boxes only; keep the original JSON for masks and crowds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11 globox==2.9.0 pillow==13.0.0 tqdm==4.70.1 rich==15.0.0 pandas==3.1.1 \
    python-dateutil==2.9.0.post0 six==1.17.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
import contextlib, io
import numpy as np
from pycocotools import mask as coco_mask
from globox import AnnotationSet

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

with open("in.json", "w") as file:
    json.dump(data([1, 2], crowds=(1, 0)), file)
AnnotationSet.from_coco("in.json").save_coco("out.json")
with open("out.json") as file:
    entries = json.load(file)["annotations"]
print([(each["id"], each["iscrowd"], each["segmentation"]) for each in entries])
assert [(each["id"], each["iscrowd"], each["segmentation"]) for each in entries] == [(0, 0, []), (1, 0, [])]
PYTHON
