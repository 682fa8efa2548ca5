#!/usr/bin/env bash
# imea 0.3.5: the number of erosions until nothing is left is one too many, and the structuring element has no effect.
#
# Seen: erosions_till_erase has 2 for one pixel, 3 for a square of 3 x 3 and 11 for one of 20 x 20, where 1, 2 and 10
# erase them, as true_pixels_per_erosion says, whose first entry is the object before any erosion. An element of 5 x 5
# (selem) has 11 for 20 x 20, too, where 5 are right. erosions_till_erase_complement is one too many, too, and 0 if
# convex.
#
# Remedy: len(true_pixels_per_erosion) - 1 with return_counts=True, or SciPy's binary_erosion for another element.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    imea==0.3.5 numpy==2.2.6 imageio==2.38.1 lazy-loader==0.6 lazy-importer==0.1.0 networkx==3.6.1 \
    opencv-python-headless==5.0.0.93 packaging==26.4 pandas==2.3.3 pillow==11.3.0 python-dateutil==4.0.0 pytz==2026.6 \
    scikit-image==0.26.0 scipy==1.17.1 tifffile==2026.3.3
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from imea.measure_2d.meso import erosions_till_erase, erosions_till_erase_complement
from scipy.ndimage import binary_erosion


def square(side):
    mask = np.zeros((40, 40), bool)
    mask[5 : 5 + side, 5 : 5 + side] = True
    return mask


def right(mask, element=None):
    count = 0
    while mask.any():
        mask, count = binary_erosion(mask, element), count + 1
    return count


sides, element = (1, 3, 5, 20), np.ones((5, 5), bool)
seen = {side: (erosions_till_erase(square(side)), right(square(side))) for side in sides}
larger = erosions_till_erase(square(20), selem=element), right(square(20), element)
notched = square(20) & ~np.roll(square(3), 5, axis=1)
complement = erosions_till_erase_complement(notched, square(20))
print("erosions of squares, seen and right:", seen, "with an element of 5 x 5:", larger)
print("of a notch of 3 x 3:", complement)
assert seen == {1: (2, 1), 3: (3, 2), 5: (4, 3), 20: (11, 10)} and larger == (11, 5)
assert complement == 3 and erosions_till_erase_complement(square(20), square(20)) == 0
PYTHON
