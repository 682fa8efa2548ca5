#!/usr/bin/env bash
# patchly 0.0.19: of 256 patches and more that overlap in a pixel the average is wrong: 11.7 for 5, or 3.4e38.
#
# Seen: patches of 64 x 64 at steps of 4, all of one value 5, become 3.4e38 in 28% of a picture of 256 x 256, where 256
# patches overlap; of patches of 32 x 32 x 32 at steps of 4, 7% of the voxels are wrong, from 11.7 on. Steps of 8 are
# right in both. The number of patches is counted in 8 bits, and no word is said of it but in a comment of the code.
#
# Remedy: weights="gaussian", whose sums are floats, or steps of at least a fifteenth of the patch in two dimensions, a
# sixth in three.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    patchly==0.0.19 numpy==2.2.6 scipy==1.17.1
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from patchly import Aggregator, GridSampler


def average(size, patch, step, **options):
    picture = np.full(size, 5, np.float32)
    patches = GridSampler(image=picture, spatial_size=size, patch_size=patch, step_size=step)
    averages = Aggregator(sampler=patches, output_size=size, **options)
    for values, place in patches:
        averages.append(values, place)
    seen = averages.get_output()
    wrong = np.abs(seen - 5) > 0.01
    print("patches of", patch, "steps of", step, options, "up to", seen.max(), "wrong:", wrong.mean())
    least = float(seen[wrong].min()) if wrong.any() else 5
    return round(least, 1), round(float(wrong.mean()), 3), float(seen.max()) > 1e38


flat, solid = ((256,) * 2, (64,) * 2), ((64,) * 3, (32,) * 3)
assert average(*flat, (8, 8)) == average(*solid, (8, 8, 8)) == (5, 0, False)
assert average(*flat, (4, 4))[1:] == (0.282, True)
assert average(*solid, (4, 4, 4)) == (11.7, 0.068, True)
assert average(*flat, (4, 4), weights="gaussian") == (5, 0, False)
PYTHON
