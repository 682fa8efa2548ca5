#!/usr/bin/env bash
# rasterio 1.4.4: features.shapes gives the ids of outlines as floats, and refuses uint32 and int64 maps.
#
# Seen: the ids 16777217 and 16777218, side by side, come back as 16777217.0 and 16777218.0. Maps of uint32
# and int64 raise a ValueError.
#
# Remedy: pass the map as int32, and int(value) as the id.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 rasterio==1.4.4 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 \
    cligj==0.7.2 click-plugins==1.1.1.2 pyparsing==3.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from rasterio import features

ids = [[2**24 + 1, 2**24 + 2], [2**24 + 1, 7]]
values = sorted(value for _, value in features.shapes(np.array(ids, np.int32)))
refused = []
for dtype in ("uint32", "int64"):
    try:
        list(features.shapes(np.array(ids, dtype)))
    except ValueError:
        refused.append(dtype)
print(values, "refused:", refused)
assert values == [7.0, 16777217.0, 16777218.0] and isinstance(values[0], float) and refused == ["uint32", "int64"]
PYTHON
