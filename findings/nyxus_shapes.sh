#!/usr/bin/env bash
# Nyxus 0.11.0: diameter, solidity, Euler number and weighted centroid of objects are wrong.
#
# Seen: a square of 10 x 10 pixels and a bar of 20 x 5, which have 100 pixels each.
# DIAMETER_EQUAL_AREA is 127.3, which is 4 A / pi without its root (11.28); SOLIDITY is 0.79 and 0.22, though both are
# convex (1); EULER_NUMBER is 0, and -1 for a square with a hole (1 and 0). WEIGHTED_CENTROID lies one pixel too far right
# and down, beside CENTROID, which counts from 0. Areas and axes are right. Nothing warns.
#
# Remedy: skimage.measure.regionprops_table for these four.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 nyxus==0.11.0 pandas==2.3.3 python-dateutil==2.9.0.post0 six==1.17.0 pytz==2026.6 tzdata==2026.6
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from nyxus import Nyxus

labels = np.zeros((64, 80), np.uint32)
labels[5:15, 5:15] = 1  # the square
labels[20:25, 10:30] = 2  # the bar
labels[40:50, 40:50] = 3  # a square with a hole
labels[44:46, 44:46] = 0
picture = np.random.default_rng(0).integers(100, 300, labels.shape, dtype=np.uint32)
names = ["AREA_PIXELS_COUNT", "MAJOR_AXIS_LENGTH", "DIAMETER_EQUAL_AREA", "SOLIDITY", "EULER_NUMBER"]
found = Nyxus(names).featurize(picture, labels)[names].round(2)
print(found.to_string())
assert found["AREA_PIXELS_COUNT"].tolist() == [100, 100, 96] and found["MAJOR_AXIS_LENGTH"].tolist()[:2] == [11.55, 23.09]
assert found["DIAMETER_EQUAL_AREA"].tolist() == [127.32, 127.32, 122.23]
assert found["SOLIDITY"].tolist()[:2] == [0.79, 0.22] and found["EULER_NUMBER"].tolist() == [0, 0, -1]

rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]]
names = ["CENTROID_X", "CENTROID_Y", "WEIGHTED_CENTROID_X", "WEIGHTED_CENTROID_Y"]
found = Nyxus(names).featurize(picture, labels)[names]
weights = [np.where(labels == number, picture, 0).astype(float) for number in (1, 2, 3)]
wanted = np.array([[(w * columns).sum() / w.sum(), (w * rows).sum() / w.sum()] for w in weights])
beyond = found[["WEIGHTED_CENTROID_X", "WEIGHTED_CENTROID_Y"]].to_numpy() - wanted
print("weighted centroids less those of the definition:", beyond.round(4).tolist())
assert np.allclose(beyond, 1) and found[["CENTROID_X", "CENTROID_Y"]].to_numpy()[0].tolist() == [9.5, 9.5]
PYTHON
