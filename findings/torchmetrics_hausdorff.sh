#!/usr/bin/env bash
# torchmetrics 1.9.0: HausdorffDistance is wrong for every picture that is not square: 33 for two equal masks.
#
# Seen: a mask of 10 x 10 pixels, and the same moved down by 3. In pictures of 40 x 40 and 60 x 60 the distance is 0 and
# 3, as SciPy's. In one of 40 x 60 it is 33 and 36, without a word; chessboard and taxicab are off, too. One of 60 x 40,
# higher than wide, ends in an IndexError. Photographs are seldom square.
#
# Remedy: fill pictures up to squares with background, which changes no distance; scipy.spatial.distance.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 lightning-utilities==0.15.3 markupsafe==3.0.4 mpmath==1.3.0 \
    networkx==3.6.1 numpy==2.2.6 packaging==26.4 scipy==1.17.1 sympy==1.14.0 torch==2.13.0 torchmetrics==1.9.0 \
    typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import torch
from scipy.spatial.distance import directed_hausdorff
from torchmetrics.segmentation import HausdorffDistance


def square(height, width, row):
    mask = torch.zeros((1, height, width), dtype=torch.long)
    mask[:, row : row + 10, 5:15] = 1
    return mask


def distances(height, width, **options):
    """Return the distance of a mask to itself and to itself moved down by 3."""
    truth = square(height, width, 5)
    metric = HausdorffDistance(num_classes=2, input_format="index", **options)
    return [round(float(metric(square(height, width, row), truth)), 1) for row in (5, 8)]


places = [np.argwhere(square(40, 60, row)[0].numpy()) for row in (5, 8)]
wanted = [max(directed_hausdorff(a, places[0])[0], directed_hausdorff(places[0], a)[0]) for a in places]
found = {size: distances(*size) for size in [(40, 40), (60, 60), (40, 60), (60, 80)]}
try:
    distances(60, 40)
    higher = "no error"
except IndexError as error:
    higher = str(error)
print("SciPy:", wanted, "torchmetrics by height and width:", found, "60 x 40:", higher)
print("40 x 60, chessboard and taxicab:", [distances(40, 60, distance_metric=name) for name in ("chessboard", "taxicab")])
padded = HausdorffDistance(num_classes=2, input_format="index")
fill = [torch.nn.functional.pad(square(40, 60, row), (0, 0, 0, 20)) for row in (5, 8)]
print("filled up to 60 x 60:", float(padded(fill[1], fill[0])))
assert wanted == [0, 3] and found[40, 40] == found[60, 60] == [0, 3] and float(padded(fill[1], fill[0])) == 3
assert found[40, 60] == [33, 36] and min(found[60, 80]) > 5 and "out of bounds" in higher
PYTHON
