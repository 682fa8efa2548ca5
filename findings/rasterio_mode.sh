#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3): reproject with Resampling.mode votes in float32, and joins the votes of large numbers.
#
# Seen: 3 x 3 pixels become one. Nine of 2^24 + 1 become 2^24, nine of 3,000,000,001 in uint32 3,000,000,000. Of four 5,
# two 2^24 and three 2^24 + 1 the winner is 2^24, where it should be 5, as it is with 100 and 101 for the large ones.
# nearest, min, max and med keep 32 bits; read() with Resampling.mode is right. 2^53 + 1 of int64 is 2^53 with nearest.
#
# Remedy: numbers below 2^24 (number each image from 1), or file.read(1, out_shape=, resampling=Resampling.mode).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 rasterio==1.4.4 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 cligj==0.7.2 \
    click-plugins==1.1.1.2 pyparsing==3.3.3
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.warp import reproject

fine, coarse = from_origin(0, 9, 1, 1), from_origin(0, 9, 3, 3)


def voted(pixels, kind, rule="mode"):
    labels, result = np.tile(np.array(pixels, kind).reshape(3, 3), (3, 3)), np.zeros((3, 3), kind)
    grids = {"src_transform": fine, "dst_transform": coarse, "src_crs": "EPSG:32632", "dst_crs": "EPSG:32632"}
    reproject(labels, result, resampling=Resampling[rule], **grids)
    profile = {"driver": "GTiff", "height": 9, "width": 9, "count": 1, "dtype": kind, "transform": fine}
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(labels, 1)
        with memory.open() as file:
            read = file.read(1, out_shape=(3, 3), resampling=Resampling.mode)
    return int(result[1, 1]), int(read[1, 1])


for kind, number, seen in (
    ("int32", 2**24 + 1, 2**24),
    ("int64", 2**24 + 1, 2**24),
    ("uint32", 3_000_000_001, 3_000_000_000),
):
    print(kind, number, "becomes", voted([number] * 9, kind), "(reproject, read)")
    assert voted([number] * 9, kind) == (seen, number)
    for rule in ("nearest", "min", "max", "med"):
        assert voted([number] * 9, kind, rule)[0] == number
large, small = voted([5] * 4 + [2**24] * 2 + [2**24 + 1] * 3, "int32"), voted([5] * 4 + [100] * 2 + [101] * 3, "int32")
print("winner of 4, 2 and 3 votes, large and small numbers:", large, small, "GDAL", rasterio.__gdal_version__)
assert large == (2**24, 5) and small == (5, 5)
assert voted([2**53 + 1] * 9, "int64", "nearest")[0] == 2**53
PYTHON
