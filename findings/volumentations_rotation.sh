#!/usr/bin/env bash
# volumentations-3D 1.0.4: rotation by 0 degrees moves masks by a voxel, and the picture by half of one.
#
# Seen: Rotate by 0 degrees of a volume of 32 x 32 x 32 moves the mask one voxel along each axis, and averages the
# picture over 8 voxels, which moves it by half of one: they no longer lie on each other. So it is with all even sizes.
# With 31 both are moved by one, with 33 by none. The middle is taken for half the size, rounded, instead of (size - 1)
# / 2; rotations by other angles and ElasticTransform have the same shift.
#
# Remedy: sizes of 4 n + 1, where the middle is right, or the rotations of another library.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    volumentations-3d==1.0.4 numpy==2.2.6 imageio==2.38.1 lazy-loader==0.6 lazy-importer==0.1.0 networkx==3.6.1 \
    opencv-python-headless==5.0.0.93 packaging==26.4 pillow==11.3.0 scikit-image==0.26.0 scipy==1.17.1 \
    tifffile==2026.3.3
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from scipy.ndimage import center_of_mass
from volumentations import Compose, Rotate

none = Compose([Rotate((0, 0), (0, 0), (0, 0), p=1)])
quarter = Compose([Rotate((90, 90), (0, 0), (0, 0), p=1)])


def moved(size, transform, right):
    box = np.zeros((size,) * 3, np.float32)
    box[8:20, 10:22, 9:17] = 1
    seen = transform(image=box, mask=box.copy())
    center = np.array(center_of_mass(right(box)))
    shifts = [np.round(center_of_mass(seen[name]) - center, 2).tolist() for name in ("mask", "image")]
    return *shifts, int((seen["mask"] != right(box)).sum())


for size in (31, 32, 33, 64):
    seen = moved(size, none, np.asarray)
    print("size", size, "mask and picture moved by", *seen[:2], "wrong voxels of the mask:", seen[2])
    by = {31: (-1, -1), 32: (-1, -0.5), 33: (0, 0), 64: (-1, -0.5)}[size]
    assert seen == ([by[0]] * 3, [by[1]] * 3, 0 if size == 33 else 610)
turns = {size: moved(size, quarter, lambda box: np.rot90(box, 1, (1, 2)))[2] for size in (32, 33)}
print("wrong voxels of a mask that is turned by 90 degrees:", turns)
assert turns == {32: 610, 33: 0}
PYTHON
