#!/usr/bin/env bash
# OpenCV 5.0.0.93: imwrite of an int32 map as PNG succeeds and keeps 0 and 255 only.
#
# Seen: imwrite returns True; the file is uint8 with the values 0 and 255 for the ids 0, 10001 and 70001. As
# TIFF the ids are kept.
#
# Remedy: write uint16 where ids fit, TIFF, or COCO panoptic PNG.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 opencv-python-headless==5.0.0.93
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import numpy as np

ids = np.zeros((4, 6), np.int32)
ids[:, 3:], ids[0, 0] = 70001, 10001
done = cv2.imwrite("a.png", ids)
png = cv2.imread("a.png", -1)
cv2.imwrite("a.tif", ids)
tiff = cv2.imread("a.tif", -1)
print("PNG:", done, png.dtype, np.unique(png), "TIFF:", np.unique(tiff))
assert done and png.dtype == np.uint8 and np.unique(png).tolist() == [0, 255] and (tiff == ids).all()
PYTHON
