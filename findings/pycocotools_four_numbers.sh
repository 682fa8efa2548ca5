#!/usr/bin/env bash
# pycocotools 2.0.11: whether a list of four numbers is accepted among polygons depends on its place.
#
# Seen: [[1, 2, 5, 4]] raises a TypeError; behind a polygon the same four numbers are a line of no area.
#
# Remedy: leave out parts of fewer than three points. `axial-deeplab dataset convert coco-instances` does, with
# a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
from pycocotools import mask as coco_mask

polygon, four = [1, 1, 8, 1, 8, 8], [1, 2, 5, 4]
try:
    coco_mask.frPyObjects([four], 20, 20)
    alone = "accepted"
except TypeError:
    alone = "TypeError"
behind = [int(area) for area in coco_mask.area(coco_mask.frPyObjects([polygon, four], 20, 20))]
print("alone:", alone, "behind a polygon, areas:", behind)
assert alone == "TypeError" and behind == [21, 0]
PYTHON
