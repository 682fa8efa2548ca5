#!/usr/bin/env bash
# tiatoolbox 2.1.3: in QuPath's JSON of a map of classes a hole is one more outline of the class around it.
#
# Seen: class 1 is a ring with an island in its hole, 8800 pixels. dict_to_store_semantic_segmentor(output_type="qupath"),
# which SemanticSegmentor calls, gives three outlines of class 1, none with a hole: the whole square, the hole and the island.
# Together they cover 9801, the hole among them, which is class 0, and their areas have the sum 11841. offset has no effect
# there. A line of 10 pixels has an outline of area 0.2. process_contours, which makes the annotation store of the same map,
# keeps the hole and the offset.
#
# Remedy: output_type="annotationstore", and its GeoJSON; or "zarr", and `axial-deeplab dataset convert` of the map.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    tiatoolbox==2.1.3 numpy==2.2.6 scikit-image==0.26.0 defusedxml==0.7.1 dask==2026.7.0 joblib==1.5.2 matplotlib==3.11.0 \
    pandas==2.3.3 pillow==12.1.1 pyyaml==6.0.2 requests==2.34.1 scipy==1.17.0 shapely==2.1.2 tifffile==2026.2.24 \
    tqdm==4.68.4 zarr==3.1.6 opencv-python-headless==4.14.0.94 filelock==3.28.0 psutil==7.2.2 packaging==26.4 \
    toolz==1.2.0 cloudpickle==3.1.3 partd==1.4.2 locket==1.0.0 click==8.5.1 fsspec==2026.9.0 importlib-metadata==10.2.0 \
    lazy-importer==0.1.0 zipp==4.1.2 python-dateutil==2.9.0.post0 pytz==2026.6 tzdata==2026.6 six==1.17.0 contourpy==1.3.3 \
    cycler==0.12.1 fonttools==4.68.0 kiwisolver==1.5.1 pyparsing==3.3.3 imageio==2.38.1 lazy-loader==0.6 networkx==3.6.1 \
    donfig==0.8.1.post1 numcodecs==0.16.6 typing-extensions==4.16.0 google-crc32c==1.9.0 charset-normalizer==3.5.3 \
    idna==3.20 urllib3==2.8.0 certifi==2026.10.19.post1
HOME=$work PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import sys
from unittest.mock import MagicMock

import cv2
import numpy as np
from shapely import unary_union
from shapely.geometry import shape

# It is imported, and asked for a GPU, but outlines need none of it.
sys.modules["torch"] = MagicMock()
from tiatoolbox.utils.misc import dict_to_store_semantic_segmentor, process_contours

classes = np.zeros((200, 200), np.uint8)
classes[20:120, 20:120], classes[50:90, 50:90], classes[60:80, 60:80] = 1, 0, 1
classes[170, 50:60] = 2


def outlines(number, **options):
    """Return the outlines of a class in QuPath's JSON."""
    found = dict_to_store_semantic_segmentor({"predictions": classes}, (1.0, 1.0), "qupath", verbose=False, **options)
    return [shape(each["geometry"]) for each in found["features"] if each["class_value"] == number]


rings = outlines(1)
(line,) = outlines(2)
moved = outlines(1, offset=np.array([1000, 2000]))
areas = sorted(ring.area for ring in rings)
print("areas", areas, "together", unary_union(rings).area, "pixels", (classes == 1).sum(), "line", round(line.area, 1))
assert areas == [361, 1679, 9801] and unary_union(rings).area == 9801 and not any(ring.interiors for ring in rings)
assert round(line.area, 1) == 0.2 and [ring.bounds for ring in moved] == [ring.bounds for ring in rings]

contours, hierarchy = cv2.findContours((classes == 1).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
stored = [each.geometry for each in process_contours(contours, hierarchy, offset=np.array([1000, 2000]))]
print("annotation store:", sorted(each.area for each in stored), min(each.bounds[:2] for each in stored))
assert sorted(each.area for each in stored) == [361, 9801 - 1679] and min(each.bounds[0] for each in stored) == 1020
PYTHON
