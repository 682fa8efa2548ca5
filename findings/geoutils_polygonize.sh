#!/usr/bin/env bash
# geoutils 0.2.5: Raster.polygonize cuts numbers to 8 bits: 300 becomes 44, 256 background, 1 and 257 are joined.
#
# Seen: objects of 300 and 1000 in uint16, int16, int32 or float32 have the raster_value 44 and 232; one of 256 is a part
# of the background around it, and one of 1 that touches one of 257 has one outline with it. So it is with target_values,
# too. Fractions are cut off. int64 and uint32 are right up to 2^24, as they become float32.
#
# Remedy: Raster.astype("int64") before, for numbers up to 2^24; or rasterio.features.shapes of int32.
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

labels = np.zeros((40, 60))
labels[4:14, 4:14], labels[4:14, 14:24] = 1, 257
labels[20:30, 4:14], labels[20:30, 30:50], labels[34:38, 30:40] = 256, 300, 1000


def outlines(kind, map_of_labels=labels, **options):
    raster = Raster.from_array(map_of_labels.astype(kind), from_origin(0, 40, 1, 1), 32632)
    table = raster.polygonize(**options).ds
    pairs = zip(table["raster_value"].tolist(), table.geometry.area.tolist(), strict=True)
    return sorted((value, area) for value, area in pairs if value)


right = [(1, 100), (256, 100), (257, 100), (300, 200), (1000, 40)]
for kind in ("uint16", "int16", "int32", "float32", "int64", "uint32"):
    seen = outlines(kind)
    print(kind, "values and areas:", seen)
    assert seen == (right if kind in ("int64", "uint32") else [(1, 200), (44, 200), (232, 40)])
assert outlines("uint16", target_values=300) == [(44, 200)]
fractions, large = outlines("float32", labels / 1000), outlines("int64", (labels > 0) * (2**24 + 1))
print("floats 0.001 to 1:", fractions, "2^24 + 1 of int64:", {value for value, _ in large})
assert fractions == [(1, 40)] and {value for value, _ in large} == {2**24}
PYTHON
