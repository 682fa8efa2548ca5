#!/usr/bin/env bash
# csbdeep 0.8.2: save_tiff_imagej_compatible makes 16 bits of labels, and wraps ids that do not fit.
#
# Seen: of int32 and int64 labels, as a count of objects or other tools have them, 32768 becomes -32768, 65535 becomes -1
# and 65537 becomes 1, another object; of uint32 labels 65537 becomes 1. It tells of the types, not of the ids.
#
# Remedy: number each image from 1 and save uint16; tifffile.imwrite for more than 65535 objects.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 csbdeep==0.8.2 scipy==1.17.1 tqdm==4.70.1 six==1.17.0 matplotlib==3.11.2 tifffile==2026.3.3 \
    pillow==13.0.0 packaging==26.4 pyparsing==3.3.3 cycler==0.12.1 kiwisolver==1.5.1 contourpy==1.3.3 \
    python-dateutil==2.9.0.post0 fonttools==4.68.0
PYTHONPATH=packages python3 - <<'PYTHON'
import warnings

import numpy as np
import tifffile
from csbdeep.io import save_tiff_imagej_compatible

found = {}
for dtype in ("int32", "uint32"):
    labels = np.diag(np.array([1, 32767, 32768, 65535, 65537], dtype))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        save_tiff_imagej_compatible("labels.tif", labels, axes="YX")
    back = tifffile.imread("labels.tif")
    found[dtype] = str(back.dtype), np.diag(back).tolist()
    print(dtype, found[dtype], *(str(each.message) for each in told))
assert found["int32"] == ("int16", [1, 32767, -32768, -1, 1])
assert found["uint32"] == ("uint16", [1, 32767, 32768, 65535, 1])
PYTHON
