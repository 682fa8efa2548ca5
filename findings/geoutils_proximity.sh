#!/usr/bin/env bash
# geoutils 0.2.5: Raster.proximity exchanges width and height of pixels that are not square.
#
# Seen: pixels of 3 x 1 (width and height) and one target: the pixel that is three to the right has 3, where 9 is right,
# the one that is three below 9, where 3 is right. Square pixels, and distance_unit="pixel", are right.
#
# Remedy: distance_transform_edt of SciPy with sampling=(height, width) of a pixel, or square pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    geoutils==0.2.5 numpy==2.2.6 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 geopandas==1.2.0 \
    packaging==26.4 pandas==2.3.3 pyproj==3.7.2 python-dateutil==4.0.0 pytz==2026.6 rasterio==1.4.4 \
    rioxarray==0.19.0 scipy==1.15.3 shapely==2.2.0 xarray==2026.9.0
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from geoutils import Raster
from rasterio.transform import from_origin
from scipy.ndimage import distance_transform_edt

target = np.zeros((11, 15), np.uint8)
target[5, 7] = 1


def distances(width, height, **options):
    raster = Raster.from_array(target, from_origin(0, 11, width, height), 32632)
    return np.asarray(raster.proximity(target_values=[1], **options).data)


for width, height in ((1, 1), (3, 1), (1, 2)):
    seen, right = distances(width, height), distance_transform_edt(target == 0, sampling=(height, width))
    print(f"pixels of {width} x {height}: three to the right {seen[5, 10]} ({right[5, 10]}),",
          f"three below {seen[8, 7]} ({right[8, 7]})")
    assert np.allclose(seen, distance_transform_edt(target == 0, sampling=(width, height)))
    assert np.allclose(seen, right) == (width == height)
assert np.allclose(distances(3, 1, distance_unit="pixel"), distances(1, 1))
PYTHON
