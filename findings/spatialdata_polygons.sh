#!/usr/bin/env bash
# spatialdata 0.7.3: to_polygons puts the outlines of labels half a pixel up and to the left, and cuts corners.
#
# Seen: a block of columns 3 to 7 and rows 2 to 5, in a picture from 0 to 64, spans 2.5 to 7.5 and 1.5 to 5.5
# and has area 19.5. Rasterized again, other pixels are inside; ids above 65535 are refused there.
#
# Remedy: outlines of `axial-deeplab predict --save geojson`, which run along the edges (3 to 8 and 2 to 6).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    aiobotocore==3.10.0 aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aioitertools==0.13.0 aiosignal==1.4.0 \
    anndata==0.12.19 annsel==0.1.2 array-api-compat==1.16.0 attrs==26.1.0 botocore==1.43.117 \
    certifi==2026.10.19.post1 charset-normalizer==3.5.3 click==8.5.1 cloudpickle==3.1.3 colorcet==3.2.1 \
    dask==2026.1.1 dask-image==2026.5.0 datashader==0.19.1 deprecated==1.3.1 distributed==2026.1.1 \
    donfig==0.8.1.post1 frozenlist==1.8.0 fsspec==2026.9.0 geopandas==1.2.0 google-crc32c==1.9.0 h5py==3.16.0 \
    idna==3.20 imageio==2.38.1 importlib-metadata==10.2.0 jinja2==3.1.6 jmespath==1.1.0 lazy-importer==0.1.0 \
    lazy-loader==0.6 legacy-api-wrap==1.5 llvmlite==0.50.0 locket==1.0.0 markdown-it-py==4.3.0 \
    markupsafe==3.0.4 mdurl==0.1.2 more-itertools==11.2.1 msgpack==1.2.4 multidict==7.2.1 \
    multipledispatch==1.0.0 multiscale-spatial-image==2.0.3 narwhals==2.29.0 natsort==8.4.0 networkx==3.6.1 \
    numba==0.68.1 numcodecs==0.16.6 numpy==2.2.6 ome-zarr==0.15.0 packaging==26.4 pandas==2.3.3 param==2.4.2 \
    partd==1.4.2 pathlib-abc==0.5.2 pillow==13.0.0 pims==0.7 platformdirs==4.14.8 pooch==1.9.0 \
    propcache==0.5.4 psutil==7.2.2 pyarrow==26.0.1 pyct==0.6.0 pygments==2.21.0 pyogrio==0.13.0 pyproj==3.7.2 \
    python-dateutil==2.9.0.post0 pytz==2026.6 pyyaml==6.0.4 rangehttpserver==1.4.0 requests==2.34.2 \
    rich==15.0.0 s3fs==2026.9.0 scikit-image==0.26.0 scipy==1.17.1 scverse-misc==0.0.3 session-info2==0.4.1 \
    setuptools==84.2.1 shapely==2.2.0 six==1.17.0 slicerator==1.1.0 sortedcontainers==2.4.0 \
    spatial-image==1.2.3 spatialdata==0.7.3 tblib==3.2.2 tifffile==2026.3.3 toolz==1.2.0 tornado==6.6.1 \
    tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6 universal-pathlib==0.3.10 urllib3==2.8.0 \
    wrapt==2.5.2 xarray==2026.9.0 xarray-dataclass==3.0.0 xarray-spatial==0.5.3 yarl==1.25.1 zarr==3.1.6 \
    zict==3.0.0 zipp==4.1.2
PYTHONPATH=packages python3 - <<'PYTHON'
import warnings
import numpy as np

warnings.simplefilter("ignore")
import spatialdata
from spatialdata.models import Labels2DModel

labels = np.zeros((64, 64), np.int32)
labels[2:6, 3:8], labels[20:33, 20:41], labels[33:50, 20:41] = 701, 1234, 5
data = spatialdata.SpatialData(labels={"a": Labels2DModel.parse(labels, dims=("y", "x"))})
polygons = spatialdata.to_polygons(data["a"])
bounds, area = polygons.loc[701].geometry.bounds, polygons.loc[701].geometry.area
extent = tuple(map(float, spatialdata.get_extent(data["a"])["x"]))
polygons["label"] = polygons.index
again = spatialdata.rasterize(polygons, axes=["x", "y"], min_coordinate=[0, 0], max_coordinate=[64, 64],
                              target_coordinate_system="global", target_width=64, value_key="label",
                              return_regions_as_labels=True)
wrong = int((np.asarray(again.data).squeeze() != labels).sum())
print("bounds:", bounds, "area:", area, "picture:", extent, "wrong pixels:", wrong)
assert bounds == (2.5, 1.5, 7.5, 5.5) and area == 19.5 and extent == (0, 64) and wrong == 3
PYTHON
