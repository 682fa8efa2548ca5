#!/usr/bin/env bash
# xvec 0.5.2: where outlines overlap, zonal_stats counts the pixels for the last of them alone.
#
# Seen: a cell of 24 pixels and its nucleus of 4 within: the cell has 20 pixels, and its mean is that of the cytoplasm;
# with the nucleus first in the list the nucleus has no pixel at all, and is nan. So it is with method="rasterize", which
# is taken if exactextract is not installed; "iterate" and "exactextract" are right.
#
# Remedy: install exactextract, or method="iterate".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 xvec==0.5.2 xarray==2026.9.0 xproj==0.2.1 cf-xarray==0.11.2 rioxarray==0.19.0 rasterio==1.4.4 \
    shapely==2.2.0 pyproj==3.7.2 pandas==3.1.1 packaging==26.4 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 \
    click==8.5.1 cligj==0.7.2 click-plugins==1.1.1.2 pyparsing==3.3.3 python-dateutil==2.9.0.post0 six==1.17.0 \
    tzdata==2026.6 joblib==1.6.0
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
import shapely
import xarray
import xvec

picture = np.full((8, 10), 10.0)
picture[3:5, 3:5] = 50
raster = xarray.DataArray(picture, dims=("y", "x"), coords={"y": np.arange(8) + 0.5, "x": np.arange(10) + 0.5})
cell, nucleus = shapely.box(1, 2, 7, 6), shapely.box(3, 3, 5, 5)


def measured(*outlines, **options):
    table = raster.xvec.zonal_stats(list(outlines), "x", "y", stats=["count", "mean"], **options)
    return table.values.round(2).tolist()


default, iterate = measured(cell, nucleus), measured(cell, nucleus, method="iterate")
(first_count, first_mean), (whole_count, _) = measured(nucleus, cell)
print("cell and nucleus (count, mean):", default, "nucleus first:", first_count, first_mean, "iterate:", iterate)
assert default == [[20, 10], [4, 50]] and iterate == [[24, 16.67], [4, 50]]
assert not first_count > 0 and np.isnan(first_mean) and whole_count == 24
PYTHON
