#!/usr/bin/env bash
# StarDist 0.9.2: objects match at an IoU of 0.5, where panoptic quality elsewhere asks for more.
#
# Seen: half of an object found is 1 true positive with panoptic quality 0.5 (panopticapi: 0); its two halves
# are 1 true and 1 false positive.
#
# Remedy: `axial-deeplab pq --rule stardist` gives these numbers, without it those of panopticapi.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 stardist==0.9.2 csbdeep==0.8.2 numba==0.68.1 llvmlite==0.50.0 scipy==1.17.1 tqdm==4.70.1 \
    scikit-image==0.26.0 six==1.17.0 matplotlib==3.11.2 tifffile==2026.3.3 imageio==2.38.1 networkx==3.6.1 \
    pillow==13.0.0 packaging==26.4 lazy-loader==0.6 pyparsing==3.3.3 cycler==0.12.1 kiwisolver==1.5.1 \
    contourpy==1.3.3 python-dateutil==2.9.0.post0 fonttools==4.68.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from stardist.matching import matching

def counts(found):
    result = matching(np.ones((4, 10), int), np.array([found] * 4), thresh=0.5)
    return result.tp, result.fp, result.fn, round(float(result.panoptic_quality), 3)

half, halves = counts([1] * 5 + [0] * 5), counts([1] * 5 + [2] * 5)
print("half (true, false positives, missed, quality):", half, "two halves:", halves)
assert half == (1, 0, 0, 0.5) and halves == (1, 1, 0, 0.333)
PYTHON
