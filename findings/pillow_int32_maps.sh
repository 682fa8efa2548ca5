#!/usr/bin/env bash
# Pillow 13.0.0: an int32 map is resized bicubically unless told otherwise, and cannot be saved as PNG.
#
# Seen: the ids 0, 10001 and 70001 become dozens of values, some negative, by resize without `resample`.
# Image.save to PNG raises "cannot write mode I as PNG"; earlier versions clipped to 16 bits.
#
# Remedy: pass resample=Image.Resampling.NEAREST; write ids as the three bytes of COCO panoptic PNG
# (`write_panoptic_png`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pillow==13.0.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from PIL import Image

ids = np.zeros((4, 6), np.int32)
ids[:, 3:], ids[0, 0] = 70001, 10001
values = np.unique(np.asarray(Image.fromarray(ids).resize((12, 8))))
nearest = np.unique(np.asarray(Image.fromarray(ids).resize((12, 8), Image.Resampling.NEAREST)))
try:
    Image.fromarray(ids).save("a.png")
    saved = "saved"
except OSError as error:
    saved = str(error)
print(len(values), "values by default, lowest", values.min(), "; nearest:", nearest, "; PNG:", saved)
assert len(values) > 3 and values.min() < 0 and nearest.tolist() == [0, 10001, 70001] and "mode I" in saved
PYTHON
