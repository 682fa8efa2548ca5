#!/usr/bin/env bash
# miseval 1.3.0: the average Hausdorff distance is the greatest distance, and that of a missed object depends on its place.
#
# Seen: a perfect square of 40 x 40 pixels beside one false pixel far away: "AHD" is 86.7, the Hausdorff distance; the
# mean of the two directed averages is 0.28. A square of 10 x 10 that is missed has 13.5 in the first corner of the
# picture, 172.5 in the last, as the distance is then measured from just outside the first corner.
#
# Remedy: surface-distance or medpy (assd); leave missed objects out of the mean, and count them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    miseval==1.3.0 numpy==2.2.6 scipy==1.17.1 scikit-image==0.26.0 scikit-learn==1.9.1 joblib==1.6.0 narwhals==2.29.0 \
    threadpoolctl==3.8.0 hausdorff==0.2.6 numba==0.68.1 llvmlite==0.50.0 dictances==1.5.3 networkx==3.6.1 \
    imageio==2.38.1 pillow==13.0.0 lazy-loader==0.6 packaging==26.4 tifffile==2026.3.3 cloudpickle==3.1.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from miseval import evaluate
from scipy.ndimage import binary_erosion, distance_transform_edt

nothing = np.zeros((100, 150), int)
truth = nothing.copy()
truth[20:60, 20:60] = 1
found = truth.copy()
found[90, 140] = 1


def from_to(first, second):
    """Distances of the border of the first to the second."""
    border = (first > 0) & ~binary_erosion(first)
    return distance_transform_edt(second == 0)[border]


directed = from_to(truth, found), from_to(found, truth)
mean = float(np.mean([each.mean() for each in directed]))
greatest = float(max(each.max() for each in directed))
given = float(evaluate(truth, found, metric="AHD", multi_class=False))
missed = {}
for y, x in ((0, 0), (45, 70), (85, 135)):
    one = nothing.copy()
    one[y : y + 10, x : x + 10] = 1
    missed[y, x] = round(float(evaluate(one, nothing, metric="AHD", multi_class=False)), 1)
print("AHD:", given, "mean:", mean, "greatest:", greatest, "missed, by place:", missed)
assert abs(given - greatest) < 1e-9 and round(given, 1) == 86.7 and mean < 0.4
assert missed == {(0, 0): 13.5, (45, 70): 96.3, (85, 135): 172.5}
PYTHON
