#!/usr/bin/env bash
# kwcoco 0.9.1 with kwimage 0.12.0: the outline of a mask has a smaller area than the mask.
#
# Seen: a mask of 5 x 4 = 20 pixels becomes a polygon of area 12, which kwimage itself fills with 20 pixels and
# COCO with 12.
#
# Remedy: write the mask (`Mask.to_coco`), not its outline; areas are recounted by ours.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 kwimage==0.12.0 kwarray==0.7.2 ubelt==1.4.3 opencv-python-headless==5.0.0.93 shapely==2.2.0 \
    scipy==1.17.1 pillow==13.0.0 distinctipy==1.3.4 packaging==26.4 parse==1.22.4 scikit-image==0.26.0 \
    networkx==3.6.1 lazy-loader==0.6 imageio==2.38.1 tifffile==2026.3.3 matplotlib==3.11.2 pandas==3.1.1 \
    python-dateutil==2.9.0.post0 six==1.17.0 pyparsing==3.3.3 cycler==0.12.1 kiwisolver==1.5.1 \
    contourpy==1.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import kwimage
import numpy as np

mask = np.zeros((20, 20), np.uint8)
mask[2:6, 3:8] = 1
outline = kwimage.Mask(mask, "c_mask").to_multi_polygon()
area, filled = float(outline.area), int(outline.to_mask(dims=(20, 20)).data.sum())
print("mask:", int(mask.sum()), "area of its outline:", area, "filled again:", filled)
assert (area, filled) == (12.0, 20)
PYTHON
