#!/usr/bin/env bash
# tifffile 2026.3.3 with rasterio 1.4.4: the nodata that most float32 rasters name, -3.4028234663852886e+38, is 0 as `page.nodata`.
#
# Seen: the lowest number of float32, as rasterio (GDAL) writes it, is "not castable to float32" for tifffile, since NumPy's
# smallest type for it is float64; -9999 is read right. Tiles that a sparse file leaves out come back as 0, a height
# like others, where rasterio gives nodata: the mean height of a slope from 100 to 200 becomes 75 instead of 150. A line in the
# log tells of the number, not of the tiles. "255.0" and "1e3", as other programs write them, are 0 in whole-number rasters, too.
#
# Remedy: read the text of tag 42113, as float, and cast it to the type of the pixels; set `page.nodata` before `asarray`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 tifffile==2026.3.3 rasterio==1.4.4
PYTHONPATH=packages python3 - <<'PYTHON' 2>log
import numpy as np
import rasterio
import tifffile
from rasterio.windows import Window

LOWEST = float(np.finfo(np.float32).min)


def named(nodata):
    """Return the nodata that rasterio and tifffile read of a sparse raster, and the mean height by each."""
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True}
    shape = {"width": 128, "height": 64, "count": 1, "dtype": "float32"}
    with rasterio.open("dem.tif", "w", driver="GTiff", nodata=nodata, **shape, **tiles) as file:
        file.write(np.linspace(100, 200, 64 * 64, dtype=np.float32).reshape(64, 64), 1, window=Window(0, 0, 64, 64))
    with rasterio.open("dem.tif") as file:
        of_rasterio, heights = file.nodata, file.read(1)
    with tifffile.TiffFile("dem.tif") as file:
        page = file.pages[0]
        of_tifffile, others = page.nodata, page.asarray()
    means = float(heights[heights != of_rasterio].mean()), float(others[others != of_rasterio].mean())
    return of_rasterio, of_tifffile, *(round(mean, 1) for mean in means)


for nodata in (-9999.0, LOWEST):
    print("nodata of rasterio, of tifffile, mean heights by each:", found := named(nodata))
    assert found == ((nodata, nodata, 150, 150) if nodata != LOWEST else (LOWEST, 0, 150, 75))
texts = {}
for text, dtype in (("255", "uint8"), ("255.0", "uint8"), ("1e3", "uint16")):
    tifffile.imwrite("text.tif", np.zeros((4, 4), dtype), extratags=[(42113, "s", 0, text, True)])
    with tifffile.TiffFile("text.tif") as file:
        texts[text] = file.pages[0].nodata
print("by text:", texts)
assert texts == {"255": 255, "255.0": 0, "1e3": 0}
PYTHON
cat log
grep --quiet "not castable to float32" log
