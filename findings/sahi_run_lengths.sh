#!/usr/bin/env bash
# sahi 0.12.8: COCO run lengths are dropped with a log line, and a crowd becomes an object.
#
# Seen: two annotations with run lengths, the first a crowd: both come back with iscrowd 0 and segmentation [],
# their boxes remain.
#
# Remedy: write polygons before slicing; take crowds out, they would count as objects.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11 sahi==0.12.8 shapely==2.2.0 pillow==13.0.0 \
    opencv-python-headless==5.0.0.93 tqdm==4.70.1 requests==2.34.2 pyyaml==6.0.4 fire==0.7.1 termcolor==3.3.0 \
    click==8.5.1 urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
    typing-extensions==4.16.0 scipy==1.17.1
PYTHONPATH=packages python3 - <<'PYTHON'
import json
import contextlib, io
import numpy as np
from pycocotools import mask as coco_mask
from sahi.utils.coco import Coco

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
entries = Coco.from_coco_dict_or_path("in.json").json["annotations"]
print([(each["iscrowd"], each["segmentation"]) for each in entries])
assert [(each["iscrowd"], each["segmentation"]) for each in entries] == [(0, []), (0, [])]
PYTHON
