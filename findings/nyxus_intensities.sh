#!/usr/bin/env bash
# Nyxus 0.11.0: intensities of pictures of floats are cut to integers, negative ones are shifted, and even ones sum to 0.
#
# Seen: in a picture of floats from 0 to 1 MEAN, MIN and MAX of every object are 0; in one from 0 to 5 each pixel loses
# its fraction. In a picture of int16 from -200 to -101, MEAN is counted from the lowest pixel of the picture, 200 too
# much. An object whose 100 pixels all are 200 has MEAN 200 and INTEGRATED_INTENSITY 0 (20000). Nothing warns.
#
# Remedy: scale floats to integers of 16 bits, add an offset that makes all positive, and take both out afterwards; or
# skimage.measure.regionprops_table.
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
labels[5:15, 5:15] = 1
labels[20:25, 10:30] = 2
random = np.random.default_rng(0)


def measured(name, picture):
    """Return a feature of both objects."""
    return Nyxus([name]).featurize(picture, labels)[name].to_numpy()


def means(picture):
    return np.array([picture[labels == number].mean() for number in (1, 2)])


unit, fives = (random.uniform(0, high, labels.shape).astype(np.float32) for high in (1, 5))
below = random.integers(-200, -100, labels.shape).astype(np.int16)
even = np.full(labels.shape, 200, np.uint32)
for name, picture in {"0 to 1": unit, "0 to 5": fives, "-200 to -101": below}.items():
    print(f"picture {name}: means", means(picture).round(2), "MEAN", measured("MEAN", picture).round(2))
sums = measured("INTEGRATED_INTENSITY", even)
print("picture of 200: MEAN", measured("MEAN", even), "INTEGRATED_INTENSITY", sums)
assert means(unit).min() > 0.4 and not any(measured(name, unit).any() for name in ("MEAN", "MIN", "MAX"))
assert np.allclose(measured("MEAN", fives), means(np.floor(fives)))
assert below.min() == -200 and np.allclose(measured("MEAN", below), means(below) + 200)
assert measured("MEAN", even).tolist() == [200, 200] and sums.tolist() == [0, 0]
PYTHON
