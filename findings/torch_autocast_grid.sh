#!/usr/bin/env bash
# torch 2.13.0, kornia 0.9.0: under autocast an affine_grid that changes nothing moves 75% of the pixels.
#
# Seen: with torch.autocast of bfloat16 on a CPU the identity of F.affine_grid moves no pixel of 64 x 64, 44% of those of
# 512 x 512 and 75% of those of 2049 x 2049, by up to 2.8 pixels, for the matrix product within it is one of the
# operations that autocast casts. grid_sample then takes other pixels of pictures, maps and masks in float32. A mask that
# kornia's RandomRotation turns by 30 degrees inside of the context has other ids in 68% of the pixels of 1025 x 2049, up
# to 3.6 pixels away. The lists of autocast do not name affine_grid.
#
# Remedy: augment outside of autocast (in Lightning in on_after_batch_transfer, not in training_step), or within
# torch.autocast(device, enabled=False).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 kornia-rs==0.2.0 kornia==0.9.0 markupsafe==3.0.4 mpmath==1.3.0 \
    networkx==3.6.1 numpy==2.2.6 packaging==26.4 sympy==1.14.0 torch==2.13.0 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import torch
from kornia.augmentation import AugmentationSequential, RandomRotation
from torch.nn import functional as F

torch.set_num_threads(1)
identity = torch.eye(3)[None, :2]


def places(height, width):
    """Return a map (1, 1, H, W) of float64 in which each pixel has a number of its own."""
    return torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)


def moved(found, wanted, width):
    """Return the share of pixels that differ, and the greatest way in pixels between the places that they came from."""
    inside = (found > 0) & (wanted > 0)
    rows = torch.div(found, width, rounding_mode="floor") - torch.div(wanted, width, rounding_mode="floor")
    way = torch.hypot(rows, found % width - wanted % width)[inside].max()
    return round(float((found != wanted).double().mean()), 2), round(float(way), 1)


grids = {}
for side in (64, 512, 2049):
    for half in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            grid = F.affine_grid(identity, (1, 1, side, side), align_corners=False)
        sampled = F.grid_sample(places(side, side), grid.double(), mode="nearest", align_corners=False)
        grids[side, half] = moved(sampled, places(side, side), side)
print("identity, by side and autocast: share of pixels moved, by how many pixels:", grids)

turn = AugmentationSequential(RandomRotation((30.0, 30.0), p=1.0), data_keys=["input", "mask"])
mask = places(1025, 2049).float()
turned = []
for half in (False, True):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        turned.append(turn(mask, mask)[1].double())
print("kornia, 30 degrees:", moved(turned[1], turned[0], 2049))
assert all(grids[side, False] == (0, 0) for side in (64, 512, 2049)) and grids[64, True] == (0, 0)
assert grids[512, True][0] > 0.4 and grids[2049, True][0] > 0.7 and grids[2049, True][1] >= 1
share, way = moved(turned[1], turned[0], 2049)
assert share > 0.6 and way > 3
PYTHON
