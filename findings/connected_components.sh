#!/usr/bin/env bash
# Who joins corners: scikit-image 0.26.0 and OpenCV 5.0.0.93 do, SciPy 1.17.1 and mahotas 1.4.19 do not.
#
# Seen: a diagonal of four pixels is 1 component in the first two and 4 in the others. Two labels that touch
# stay apart in scikit-image only.
#
# Remedy: say the connectivity. `axial-deeplab dataset convert --connected-components` joins corners; see
# docs/peers.md.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 scikit-image==0.26.0 scipy==1.17.1 opencv-python-headless==5.0.0.93 mahotas==1.4.19 \
    networkx==3.6.1 pillow==13.0.0 imageio==2.38.1 tifffile==2026.3.3 packaging==26.4 lazy-loader==0.6
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import mahotas
import numpy as np
from scipy import ndimage
from skimage import measure

def counts(labels):
    return {
        "scikit-image": int(measure.label(labels).max()),
        "OpenCV": cv2.connectedComponents(labels)[0] - 1,
        "SciPy": ndimage.label(labels)[1],
        "mahotas": mahotas.label(labels)[1],
    }

corners, touching = counts(np.eye(4, dtype=np.uint8)), counts(np.array([[1, 1, 2, 2]], np.uint8))
print("corners:", corners, "touching labels:", touching)
assert list(corners.values()) == [1, 1, 4, 4] and list(touching.values()) == [2, 1, 1, 1]
PYTHON
