#!/usr/bin/env bash
# StarDist 0.9.2 and cellpose 4.2.1.1: filling the holes of labels deletes what lies within a hole.
#
# Seen: a ring with another object in its middle: cellpose's fill_holes_and_remove_small_masks, which ends its prediction,
# leaves the ring alone, filled; StarDist's fill_label_holes, too, if the inner object has the smaller number, else both
# stay. The count of objects falls by one, and a recall of 1 is no longer to be had.
#
# Remedy: fill the holes of each object where the map is 0 alone; do not pass labels of nested things (a cup on a plate, a
# rider in a car's window) through these functions.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 stardist==0.9.2 csbdeep==0.8.2 numba==0.68.1 llvmlite==0.50.0 scipy==1.17.1 tqdm==4.70.1 \
    scikit-image==0.26.0 six==1.17.0 matplotlib==3.11.2 tifffile==2026.3.3 imageio==2.38.1 networkx==3.6.1 \
    pillow==13.0.0 packaging==26.4 lazy-loader==0.6 pyparsing==3.3.3 cycler==0.12.1 kiwisolver==1.5.1 \
    contourpy==1.3.3 python-dateutil==2.9.0.post0 fonttools==4.68.0 cellpose==4.2.1.1 natsort==8.4.0 \
    fastremap==1.21.0 fill-voids==2.1.2 opencv-python-headless==5.0.0.93 roifile==2026.2.10 torch==2.13.0 \
    typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from cellpose.utils import fill_holes_and_remove_small_masks
from stardist import fill_label_holes

found = {}
for outer, inner in ((1, 2), (2, 1)):
    labels = np.zeros((20, 20), np.int32)
    labels[2:18, 2:18], labels[5:15, 5:15], labels[8:12, 8:12] = outer, 0, inner
    for name, fill in (("StarDist", fill_label_holes), ("cellpose", fill_holes_and_remove_small_masks)):
        filled = fill(labels.copy())
        found[name, outer] = np.unique(filled[filled > 0], return_counts=True)[1].tolist()
print("areas of objects (before: ring 156, in it 16):", found)
assert found == {("StarDist", 1): [240, 16], ("cellpose", 1): [256], ("StarDist", 2): [256], ("cellpose", 2): [256]}
PYTHON
