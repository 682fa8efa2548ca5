#!/usr/bin/env bash
# coco-assistant 0.4.0: in masks of get_segmasks objects of one area in a picture all get the class of the last one.
#
# Seen: a picture with a person and a car, both of 100 pixels by their "area", has 200 pixels of cars; with areas of 100
# and 81 it has 100 of persons and 81 of cars. Objects are told apart by their area, which a comment of the code takes
# for unique; boxes and small objects often are not. Without "palette", too.
#
# Remedy: draw masks by hand with pycocotools, the largest first; or change equal areas before by a fraction each.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    coco-assistant==0.4.0 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 kiwisolver==1.5.1 matplotlib==3.10.8 \
    numpy==2.2.6 packaging==26.4 pandas==2.3.3 pillow==11.3.0 pycocotools==2.0.11 pyparsing==3.3.3 \
    python-dateutil==2.9.0.post0 pytz==2026.6 requests==2.34.2 seaborn==0.13.2 six==1.17.0 tqdm==4.70.1
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
from coco_assistant import COCO_Assistant
from PIL import Image

names = {1: "person", 2: "car"}
Path("images/a").mkdir(parents=True)
Path("annotations").mkdir()


def drawn(*sides, **options):
    """Pixels of each class in the mask of squares of these sides, one a class."""
    annotations = []
    for kind, side in enumerate(sides, 1):
        left, right = 20 * kind, 20 * kind + side
        outline = [left, 4, right, 4, right, 4 + side, left, 4 + side]
        box = [left, 4, side, side]
        common = {"id": kind, "image_id": 1, "category_id": kind, "iscrowd": 0}
        annotations.append({**common, "bbox": box, "area": side * side, "segmentation": [outline]})
    image = {"id": 1, "file_name": "a.png", "height": 48, "width": 96}
    categories = [{"id": kind, "name": name} for kind, name in names.items()]
    whole = {"images": [image], "annotations": annotations, "categories": categories}
    Path("annotations/a.json").write_text(json.dumps(whole))
    COCO_Assistant("images", "annotations").get_segmasks(**options)
    mask = np.asarray(Image.open("results/segmasks/a/a.png"))
    return {name: int((mask == kind).sum()) for kind, name in names.items()}


equal, plain, different = drawn(10, 10), drawn(10, 10, palette=False), drawn(10, 9)
print("pixels of a person and a car of equal area:", equal, "of different ones:", different)
assert equal == plain == {"person": 0, "car": 200}
assert different == {"person": 100, "car": 81}
PYTHON
