#!/usr/bin/env bash
# scalabel 0.3.1: of COCO instances with polygons and run lengths, the polygons are lost on the way back.
#
# Seen: an image with run lengths first and a polygon behind, as COCO has crowds beside objects: scalabel2coco_ins_seg
# writes the polygon's object without segmentation, box and area, without a word. Where the polygon comes first, it
# ends in a TypeError. It looks at the first annotation of the file alone.
#
# Remedy: run lengths for all, or polygons for all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
    click==8.5.1 cloudpickle==3.1.3 contourpy==1.3.3 cycler==0.12.1 flask==3.1.3 fonttools==4.68.0 \
    gunicorn==27.0.1 idna==3.20 itsdangerous==2.2.0 jinja2==3.1.6 jmespath==1.1.0 joblib==1.6.0 \
    kiwisolver==1.5.1 markupsafe==3.0.4 matplotlib==3.7.5 motmetrics==1.4.0 nanoid==2.0.0 numpy==1.26.4 \
    opencv-python-headless==4.10.0.84 packaging==26.4 pandas==3.1.1 pascal-voc-writer==0.1.4 pillow==10.4.0 \
    plyfile==1.1.5 psutil==7.2.2 pycocotools==2.0.11 pydantic==1.10.27 pyparsing==3.3.3 pyquaternion==0.9.9 \
    python-dateutil==4.0.0 pytz==2026.6 pyyaml==6.0.4 requests==2.34.2 s3transfer==0.19.3 scalabel==0.3.1 \
    scikit-image==0.24.0 scikit-learn==1.9.1 scipy==1.13.1 six==1.17.0 threadpoolctl==3.8.0 toml==0.10.2 \
    tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0 werkzeug==3.1.9
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from pycocotools import mask
from scalabel.label.from_coco import coco_to_scalabel
from scalabel.label.to_coco import scalabel2coco_ins_seg

pixels = np.zeros((40, 60), np.uint8)
pixels[20:30, 5:25] = 1
runs = mask.encode(np.asfortranarray(pixels))
runs["counts"] = runs["counts"].decode()
common = {"image_id": 1, "category_id": 1, "iscrowd": 0}
painted = {"bbox": [5, 20, 20, 10], "area": 200, "segmentation": runs, **common}
drawn = {"bbox": [4, 3, 6, 6], "area": 36, "segmentation": [[4, 3, 10, 3, 10, 9, 4, 9]], **common}
coco = {"images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}], "categories": [{"id": 1, "name": "car"}]}
frames, config = coco_to_scalabel({**coco, "annotations": [{**painted, "id": 1}, {**drawn, "id": 2}]})
first, second = scalabel2coco_ins_seg(frames, config, 1)["annotations"]
print("run lengths:", sorted(first))
print("polygon:", sorted(second))
assert frames[0].labels[1].poly2d and first["area"] == 200
assert not {"segmentation", "bbox", "area"} & set(second)
PYTHON
