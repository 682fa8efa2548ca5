#!/usr/bin/env bash
# dtlpy 1.126.5: Dataloop's masks become crowds in COCO, and polygons keep the largest part of an object.
#
# Seen: Converter.to_coco gives a mask of 180 pixels iscrowd 1, so that a network is neither trained nor scored on it.
# Polygon.from_segmentation of the same car, in two parts with a hole in one, is the outline of the larger part, filled.
#
# Remedy: `axial-deeplab dataset convert --crowds-are-objects`; max_instances=None, which gives the parts as a list, and
# the hole as one of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 attrs==24.3.0 blessed==1.52.0 \
    certifi==2026.10.19.post1 charset-normalizer==3.5.3 contourpy==1.3.3 cycler==0.12.1 decorator==5.3.1 \
    dictdiffer==0.10.0 diskcache==5.6.3 dnspython==2.9.2 docopt==0.6.2 dtlpy==1.126.5 dtlpymetrics==1.2.32 \
    editor==2.0.1 filelock==4.3.1 fonttools==4.68.0 frozenlist==1.8.0 fuzzyfinder==2.1.0 idna==3.20 \
    inquirer==3.4.1 jinja2==3.1.6 jinxed==2.1.0 kiwisolver==1.5.1 markupsafe==3.0.4 matplotlib==3.11.2 \
    multidict==7.2.1 numpy==2.2.6 opencv-python-headless==5.0.0.93 packaging==26.4 pandas==3.1.1 \
    pathspec==1.1.1 pillow==13.0.0 prompt-toolkit==3.0.53 propcache==0.5.4 pycocotools==2.0.11 pyjwt==2.15.1 \
    pymongo==4.20.1 pyparsing==3.3.3 python-dateutil==4.0.0 readchar==4.2.2 redis==8.1.0 \
    requests-toolbelt==1.0.0 requests==2.34.2 runs==1.3.0 seaborn==0.13.2 shapely==2.2.0 six==1.17.0 \
    tabulate==0.10.0 tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0 validators==0.18.2 \
    wcwidth==0.9.4 webvtt-py==0.4.3 xmod==1.10.0 yarl==1.25.1
PYTHONPATH=packages python3 - <<'PYTHON'
from types import SimpleNamespace

import dtlpy
import numpy as np
from dtlpy.utilities.converter import Converter

car = np.zeros((40, 60), np.uint8)
car[5:15, 5:17], car[20:28, 30:38], car[8:10, 8:10] = 1, 1, 0
annotation = dtlpy.Annotation.new(annotation_definition=dtlpy.Segmentation(geo=car, label="car"))
written = Converter.to_coco(annotation, item=SimpleNamespace(height=40, width=60))
print("iscrowd:", written["iscrowd"], "area:", written["area"])
assert written["iscrowd"] == 1 and written["area"] == car.sum() == 180
polygon = dtlpy.Polygon.from_segmentation(car, label="car")
parts = dtlpy.Polygon.from_segmentation(car, label="car", max_instances=None)
print("polygon:", polygon.geo.tolist(), "all:", len(parts))
assert sorted(polygon.geo.tolist()) == [[5, 5], [5, 14], [16, 5], [16, 14]] and len(parts) == 3
PYTHON
