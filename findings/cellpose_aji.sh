#!/usr/bin/env bash
# cellpose 4.2.1.1: aggregated_jaccard_index is not the index of Kumar et al. (2017); outlines_list drops parts.
#
# Seen: a cell of 100 pixels that is found as 60 and 40, beside one that is found whole: 0.8. By the definition the 40
# pixels of the piece that no cell takes belong to the union: (60 + 100) / (100 + 100 + 40) = 0.667. The outline of an
# object of two parts is that of the larger one, of an object of up to 4 pixels none.
#
# Remedy: panoptic quality, which counts the piece as false; outlines of `axial-deeplab predict --save` keep all parts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 numba==0.68.1 llvmlite==0.50.0 scipy==1.17.1 tqdm==4.70.1 cellpose==4.2.1.1 natsort==8.4.0 \
    fastremap==1.21.0 fill-voids==2.1.2 opencv-python-headless==5.0.0.93 roifile==2026.2.10 torch==2.13.0 \
    typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11 \
    networkx==3.6.1
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from cellpose.metrics import aggregated_jaccard_index
from cellpose.utils import outlines_list

truth, found = np.zeros((2, 20, 40), np.int32)
truth[:10, :10], truth[:10, 20:30] = 1, 2
found[:10, :6], found[:10, 6:10], found[:10, 20:30] = 1, 2, 3
index = round(float(aggregated_jaccard_index([truth], [found])[0]), 3)


def defined():
    overlaps = np.array([[((truth == a) & (found == b)).sum() for b in (1, 2, 3)] for a in (1, 2)])
    unions = np.array([[((truth == a) | (found == b)).sum() for b in (1, 2, 3)] for a in (1, 2)])
    best = (overlaps / unions).argmax(1)
    left_over = sum((found == b + 1).sum() for b in range(3) if b not in best)
    return round(float(overlaps[[0, 1], best].sum() / (unions[[0, 1], best].sum() + left_over)), 3)


print("cellpose:", index, "by the definition:", defined())
assert (index, defined()) == (0.8, 0.667)
parts = np.zeros((20, 20), np.int32)
parts[2:5, 2:5], parts[10:18, 2:5], parts[8, 8] = 1, 1, 2
outlines = outlines_list(parts, multiprocessing=False)
print("outlines of an object of 2 parts, and of a pixel:", [outline.tolist() for outline in outlines])
assert [len(outline) for outline in outlines] == [18, 0] and outlines[0][:, 1].min() == 10
PYTHON
