#!/usr/bin/env bash
# rasterio 1.4.4: `merge` of tiles of labels takes the background 0 of the first tile for a place without data.
#
# Seen: of two tiles that overlap by 5 columns the first has nothing there, and the second an instance that its own
# border has cut: all of it comes into the map, though "the first wins" is the default. With 0 as a number of
# stuff the same holds. With a nodata value that no tile has the first tile wins everywhere.
#
# Remedy: merge(..., nodata=-1), and 0 for -1 afterwards.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 rasterio==1.4.4 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 \
    cligj==0.7.2 click-plugins==1.1.1.2 pyparsing==3.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from rasterio.io import MemoryFile
from rasterio.merge import merge
from rasterio.transform import from_origin


def tile(labels, left):
    memory = MemoryFile()
    with memory.open(driver="GTiff", height=10, width=10, count=1, dtype="int32",
                     transform=from_origin(left, 10, 1, 1)) as file:
        file.write(labels, 1)
    return memory.open()


first, second = np.zeros((10, 10), np.int32), np.full((10, 10), 7, np.int32)
first[2:5, 2:5] = 1
tiles = [tile(first, 0), tile(second, 5)]
default, marked = (merge(tiles, **options)[0][0] for options in ({}, {"nodata": -1}))
print("default:", default[0].tolist(), "nodata=-1:", marked[0].tolist())
assert default[0].tolist() == [0] * 5 + [7] * 10 and marked[0].tolist() == [0] * 10 + [7] * 5
PYTHON
