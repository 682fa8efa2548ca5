#!/usr/bin/env bash
# OpenCV 5.0.0.93, torch 2.13.0, Pillow 13.0.0, scikit-image 0.26.0, SciPy 1.17.1: "nearest" takes different pixels.
#
# Seen: of 8 columns reduced to 4, OpenCV's INTER_NEAREST and torch's "nearest" keep 0, 2, 4, 6; Pillow, scikit-image,
# OpenCV's INTER_NEAREST_EXACT and torch's "nearest-exact" keep 1, 3, 5, 7; SciPy's zoom keeps 0, 2, 5, 7. Labels reduced by
# one and predictions by another are a pixel apart: small objects have another IoU, thin ones are there or not.
#
# Remedy: one function for truth and prediction; INTER_NEAREST_EXACT, "nearest-exact", zoom(grid_mode=True).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 opencv-python-headless==5.0.0.93 pillow==13.0.0 scipy==1.17.1 scikit-image==0.26.0 \
    imageio==2.38.1 tifffile==2026.3.3 packaging==26.4 lazy-loader==0.6 networkx==3.6.1 torch==2.13.0 \
    typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 \
    filelock==4.2.11
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

columns = np.tile(np.arange(8, dtype=np.uint16), (8, 1))
tensor = torch.from_numpy(columns.astype(np.float32))[None, None]


def of_torch(mode):
    return torch.nn.functional.interpolate(tensor, (4, 4), mode=mode)[0, 0].numpy()


halves = {
    "OpenCV": cv2.resize(columns, (4, 4), interpolation=cv2.INTER_NEAREST),
    "torch": of_torch("nearest"),
    "SciPy": ndimage.zoom(columns, 0.5, order=0),
    "OpenCV, exact": cv2.resize(columns, (4, 4), interpolation=cv2.INTER_NEAREST_EXACT),
    "torch, exact": of_torch("nearest-exact"),
    "SciPy, grid_mode": ndimage.zoom(columns, 0.5, order=0, grid_mode=True, mode="nearest"),
    "Pillow": np.asarray(Image.fromarray(columns).resize((4, 4), Image.Resampling.NEAREST)),
    "scikit-image": resize(columns, (4, 4), order=0, preserve_range=True, anti_aliasing=False),
}
found = {name: half[0].astype(int).tolist() for name, half in halves.items()}
print(found)
first, second, third, *others = found.values()
assert first == second == [0, 2, 4, 6] and third == [0, 2, 5, 7] and others == 5 * [[1, 3, 5, 7]]
PYTHON
