#!/usr/bin/env bash
# pylandstats 3.1.0: distances to the nearest patch are the same in both directions where pixels are not square.
#
# Seen: pixels of 2 x 1 and two patches with 3 pixels between them: euclidean_nearest_neighbor is 5.66, beside each other (8
# from center to center) and one above the other (4), as distances in pixels are multiplied by the root of a pixel's
# area. Of two neighbors it may be the wrong one that is the nearest. Areas and perimeters are right, square pixels, too.
#
# Remedy: a raster with square pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pylandstats==3.1.0 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 \
    click-plugins==1.1.1.2 cligj==0.7.2 cloudpickle==3.1.3 clustergram==0.8.1 contourpy==1.3.3 cycler==0.12.1 \
    dask==2026.8.0 fonttools==4.68.0 fsspec==2026.9.0 geopandas==1.2.0 importlib-metadata==10.2.0 lazy-importer==0.1.0 joblib==1.6.0 \
    kiwisolver==1.5.1 locket==1.0.0 matplotlib==3.11.2 narwhals==2.29.0 packaging==26.4 pandas==3.1.1 partd==1.4.2 \
    pillow==13.0.0 pyogrio==0.13.0 pyparsing==3.3.3 pyproj==3.7.2 python-dateutil==2.9.0.post0 six==1.17.0 \
    pyyaml==6.0.4 rasterio==1.4.4 scikit-learn==1.9.1 scipy==1.17.1 seaborn==0.13.2 shapely==2.2.0 \
    threadpoolctl==3.8.0 toolz==1.2.0 tzdata==2026.6 zipp==4.1.2
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from pylandstats import Landscape

beside, above = np.zeros((2, 20, 30), np.uint8)
beside[5:8, 5:8] = beside[5:8, 11:14] = 1
above[5:8, 5:8] = above[11:14, 5:8] = 1


def measured(patches, size, name="euclidean_nearest_neighbor"):
    table = Landscape(patches, res=size, nodata=0).compute_patch_metrics_df()
    return [round(float(each), 2) for each in table[name]]


seen = {size: (measured(beside, size), measured(above, size)) for size in ((1, 1), (2, 1), (1, 2))}
perimeters = measured(beside, (2, 1), "perimeter")
print("nearest, beside and above, by size of a pixel:", seen, "perimeters:", perimeters)
assert seen[1, 1] == ([4, 4], [4, 4]) and perimeters == [18, 18]
assert seen[2, 1] == seen[1, 2] == ([5.66, 5.66], [5.66, 5.66])
PYTHON
