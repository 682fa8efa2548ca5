#!/usr/bin/env bash
# pycocotools 2.0.11: an outline through the centers of border pixels loses a row and a column.
#
# Seen: a block of 5 x 4 pixels, drawn through the centers of its border pixels, has 12 pixels; drawn along
# their outer edges it has 20.
#
# Remedy: write outlines along the outer edges (last column + 1, last row + 1), or run lengths.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
from pycocotools import mask as coco_mask

def area(polygon):
    return int(coco_mask.area(coco_mask.frPyObjects([polygon], 20, 20))[0])

centers, edges = area([3, 2, 7, 2, 7, 5, 3, 5]), area([3, 2, 8, 2, 8, 6, 3, 6])
print("through centers:", centers, "along edges:", edges)
assert (centers, edges) == (12, 20)
PYTHON
