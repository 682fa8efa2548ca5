#!/usr/bin/env bash
# platipy 0.7.2: hausdorffDistance95 is nearly the greatest distance: 55 mm for one stray pixel, where 0 is right.
#
# Seen: a square of 40 x 40 pixels, and the same with one stray pixel at a distance of 58: hausdorffDistance95 is 55.1.
# Of the 313 distances from one outline to the other 312 are 0, and so is their 95th percentile. The percentile is taken
# of two numbers, the greatest distance in each direction; where these are equal it is the greatest distance itself.
#
# Remedy: hausdorffDistance is right under its name; HD95 of MedPy or surface-distance, whose rules differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    platipy==0.7.2 numpy==2.2.6 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 imageio==2.38.1 kiwisolver==1.5.1 \
    lazy-loader==0.6 lazy-importer==0.1.0 matplotlib==3.11.2 networkx==3.6.1 packaging==26.4 pillow==11.3.0 \
    pyparsing==3.3.3 python-dateutil==2.9.0.post0 scikit-image==0.26.0 scipy==1.17.1 simpleitk==2.5.7 six==1.17.0 \
    tifffile==2026.3.3
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from platipy.imaging.label.comparison import compute_surface_metrics
from scipy.ndimage import binary_erosion, distance_transform_edt

square = np.zeros((120, 120), bool)
square[20:60, 20:60] = True
stray = square.copy()
stray[100, 100] = True


def outline(mask):
    return mask & ~binary_erosion(mask)


def measure(one, other):
    images = [sitk.GetImageFromArray(mask[None].astype(np.uint8)) for mask in (one, other)]
    metrics = compute_surface_metrics(*images)
    ways = (one, other), (other, one)
    distances = np.concatenate([distance_transform_edt(~outline(to))[outline(of)] for of, to in ways])
    seen = [round(float(metrics[name]), 1) for name in ("hausdorffDistance", "hausdorffDistance95")]
    return *seen, round(float(np.percentile(distances, 95)), 1), distances.size


one_pixel, equal = measure(square, stray), measure(square, square)
print("greatest distance, HD95, percentile of all distances, their number:", one_pixel, "of equals:", equal)
assert one_pixel == (58.0, 55.1, 0, 313) and equal[:3] == (0, 0, 0)
PYTHON
