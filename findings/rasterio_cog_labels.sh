#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3): a cloud optimized GeoTIFF of labels has made-up ids in its overviews, and reads use them.
#
# Seen: the driver COG makes overviews by cubic interpolation: of 1024 x 1024 pixels with squares of ids 1000, 2000, ...
# half of the pixels of the first overview have ids that the map does not have, some below 0. `read(out_shape=)` takes
# such an overview without a word. The driver GTiff makes none by itself.
#
# Remedy: overview_resampling="nearest" where the file is written; read labels whole, and pick every second pixel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 rasterio==1.4.4 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 \
    cligj==0.7.2 click-plugins==1.1.1.2 pyparsing==3.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import rasterio

ids = np.zeros((1024, 1024), np.int32)
for number in range(1, 26 * 26 + 1):
    row, column = 39 * ((number - 1) // 26), 39 * ((number - 1) % 26)
    ids[row + 2 : row + 36, column + 2 : column + 36] = 1000 * number
profile = {"driver": "COG", "height": 1024, "width": 1024, "count": 1, "dtype": "int32", "blocksize": 256}
made_up = {}
for name, options in (("default", {}), ("nearest", {"overview_resampling": "nearest"})):
    with rasterio.open(f"{name}.tif", "w", **profile, **options) as file:
        file.write(ids, 1)
    with rasterio.open(f"{name}.tif") as file:
        full, half = file.read(1), file.read(1, out_shape=(512, 512))
    made_up[name] = round(float((~np.isin(half, ids)).mean()), 2)
    print(name, "whole:", (full == ids).all(), "made-up pixels at half the size:", made_up[name], "lowest:", half.min())
    assert (full == ids).all() and (half.min() < 0) == (name == "default")
print("GDAL", rasterio.__gdal_version__)
assert made_up["default"] > 0.4 and made_up["nearest"] == 0
PYTHON
