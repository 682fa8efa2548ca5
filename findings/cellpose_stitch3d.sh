#!/usr/bin/env bash
# cellpose 4.2.1.1: stitch3D counts from 1 again behind an empty frame, and gives two objects one number.
#
# Seen: an object in the upper left corner, a frame without objects, one in the lower right corner: both are number 1. When
# the first comes back it is number 2.
#
# Remedy: number the frames behind an empty one from the greatest number so far on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 numba==0.68.1 llvmlite==0.50.0 scipy==1.17.1 tqdm==4.70.1 cellpose==4.2.1.1 natsort==8.4.0 \
    fastremap==1.21.0 fill-voids==2.1.2 opencv-python-headless==5.0.0.93 roifile==2026.2.10 torch==2.13.0 \
    typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11 \
    networkx==3.6.1
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from cellpose.utils import stitch3D

frames = np.zeros((4, 20, 20), np.int32)
frames[0, 2:8, 2:8], frames[2, 12:18, 12:18], frames[3, 2:8, 2:8] = 1, 1, 1
stitched = stitch3D(frames.copy(), stitch_threshold=0.25)
numbers = [int(frame.max()) for frame in stitched]
print("numbers in the upper left, nowhere, in the lower right, in the upper left:", numbers)
assert numbers == [1, 0, 1, 2] and stitched[0, 4, 4] == stitched[2, 14, 14] == 1
PYTHON
