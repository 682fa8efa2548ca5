#!/usr/bin/env bash
# eo-learn 1.5.7: outlines drawn with `VectorToRasterTask` keep no number above 255.
#
# Seen: three fields with the numbers 7, 300 and 70000 are drawn with values_column="id": 300 and 70000 both become
# 255, one object of two fields. The map has 8 bits whatever the column holds, and nothing warns.
#
# Remedy: raster_dtype=np.int32.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    aenum==3.1.17 affine==3.0.1 appdirs==1.4.4 attrs==26.1.0 boto3==1.44.8 botocore==1.44.8 \
    certifi==2026.10.19.post1 charset-normalizer==3.5.3 click-plugins==1.1.1.2 click==8.5.1 cligj==0.7.2 \
    cloudpickle==3.1.3 dataclasses-json==0.6.7 eo-learn==1.5.7 fiona==1.10.1 fs-s3fs==1.1.1 fs==2.4.16 \
    geopandas==0.14.4 idna==3.20 jmespath==1.1.0 marshmallow==3.26.2 mypy-extensions==1.2.0 numpy==2.2.6 \
    oauthlib==4.0.1 opencv-python-headless==4.14.0.94 packaging==26.4 pandas==2.3.3 pillow==12.3.0 \
    pyparsing==3.3.3 pyproj==3.7.2 python-dateutil==2.9.0.post0 pytz==2026.6 rasterio==1.4.4 \
    requests-oauthlib==2.0.0 requests==2.34.2 s3transfer==0.19.3 scipy==1.17.1 sentinelhub==3.12.0 \
    setuptools==65.5.0 shapely==2.2.0 six==1.17.0 tifffile==2025.5.10 tomli-w==1.2.0 tomli==2.5.0 \
    tqdm==4.70.1 typing-extensions==4.16.0 typing-inspect==0.9.0 tzdata==2026.6 urllib3==2.8.0 utm==0.9.0
PYTHONPATH=packages python3 - <<'PYTHON'
import geopandas
import numpy as np
from eolearn.core import EOPatch, FeatureType
from eolearn.geometry import VectorToRasterTask
from sentinelhub import CRS, BBox
from shapely.geometry import box

fields = [box(0, 0, 10, 10), box(10, 10, 20, 20), box(20, 20, 30, 30)]
outlines, drawn = (FeatureType.VECTOR_TIMELESS, "fields"), (FeatureType.MASK_TIMELESS, "fields")


def numbers(**options):
    patch = EOPatch(bbox=BBox((0, 0, 40, 40), CRS.UTM_33N))
    patch[outlines] = geopandas.GeoDataFrame({"id": [7, 300, 70000]}, geometry=fields, crs="EPSG:32633")
    VectorToRasterTask(outlines, drawn, values_column="id", raster_shape=(40, 40), **options)(patch)
    return dict(zip(*(each.tolist() for each in np.unique(patch[drawn], return_counts=True))))


default, wide = numbers(), numbers(raster_dtype=np.int32)
print("pixels by number:", default, "with int32:", wide)
assert default == {0: 1300, 7: 100, 255: 200} and wide == {0: 1300, 7: 100, 300: 100, 70000: 100}
PYTHON
