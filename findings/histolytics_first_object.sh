#!/usr/bin/env bash
# histolytics 0.3.0: gdf2inst draws the first object with 0, as background; inst2gdf drops a class where nothing is background.
#
# Seen: inst2gdf of a map of three nuclei, and gdf2inst of what it gave, by default: a map of 35 x 50 pixels instead of 100 x
# 120, the distance between the outermost edges, in which nothing is drawn, as the outlines keep their places. With width and
# height the nuclei 1, 2, 3 are nothing, 2 and 1: numbers are those of the frame's index, which inst2gdf counts from 0, and
# its uid is not read. In a map of 16 nuclei that leave no background, 8 of type 1 and 8 of type 2, those of type 1 are gone:
# the lowest type is taken for background. With one pixel of type 0 all 16 are there.
#
# Remedy: gdf2inst(frame, width=width, height=height, id_col="uid"); a border of 0 around maps for inst2gdf.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    histolytics==0.3.0 numpy==1.26.4 geopandas==1.1.4 pandas==2.3.3 rasterio==1.4.4 scipy==1.17.1 shapely==2.2.0 \
    affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 click-plugins==1.1.1.2 cligj==0.7.2 \
    packaging==26.4 pyogrio==0.13.0 pyparsing==3.3.3 pyproj==3.7.2 python-dateutil==2.9.0.post0 pytz==2026.6 \
    six==1.17.0 tzdata==2026.6
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from histolytics.utils.raster import gdf2inst, inst2gdf

nuclei = np.zeros((100, 120), np.int32)
nuclei[50:60, 60:75], nuclei[55:65, 90:110], nuclei[70:85, 80:95] = 1, 2, 3
frame = inst2gdf(nuclei, smooth_func=None)
by_default = gdf2inst(frame)
sized = gdf2inst(frame, width=120, height=100)
became = {number: np.unique(sized[nuclei == number]).tolist() for number in (1, 2, 3)}
print("by default", by_default.shape, np.unique(by_default), "with a size, numbers became", became)
assert frame["uid"].tolist() == [1, 2, 3] and by_default.shape == (35, 50) and not by_default.any()
assert became == {1: [0], 2: [1], 3: [2]}
assert (gdf2inst(frame, width=120, height=100, id_col="uid") == nuclei).all()

rows, columns = np.mgrid[:40, :40] // 10
full = (1 + 4 * rows + columns).astype(np.int32)
types = np.where(columns < 2, 1, 2)
kept = inst2gdf(full, types, smooth_func=None)
types[0, 0] = 0
with_background = inst2gdf(full, types, smooth_func=None)
print(len(np.unique(full)), "nuclei without background:", kept["class_name"].tolist(), "with:", len(with_background))
assert kept["class_name"].tolist() == [2] * 8 and len(with_background) == 16
PYTHON
