#!/usr/bin/env bash
# labelme2coco 0.2.6: the parts of an object become objects, and category ids begin at 0.
#
# Seen: two polygons of labelme with one group_id, as labelme marks the parts of a car behind a pole, are two annotations;
# of a network that finds the car whole, one part is missed, or both. The first class has id 0.
#
# Remedy: `axial-deeplab dataset convert`, which reads labelme's files and joins groups.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    attrs==26.1.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 click==8.5.1 contourpy==1.3.3 \
    cycler==0.12.1 fire==0.7.1 fonttools==4.68.0 idna==3.20 jsonschema-specifications==2025.9.1 \
    jsonschema==4.26.0 kiwisolver==1.5.1 labelme2coco==0.2.6 matplotlib==3.11.2 numpy==2.2.6 \
    opencv-python-headless==5.0.0.93 packaging==26.4 pillow==13.0.0 pyparsing==3.3.3 python-dateutil==4.0.0 \
    pyyaml==6.0.4 referencing==0.37.0 requests==2.34.2 rpds-py==2026.9.1 sahi==0.12.8 shapely==2.2.0 \
    termcolor==3.3.0 tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

import labelme2coco
from PIL import Image


def part(left):
    points = [[left, 3], [left + 6, 3], [left + 6, 9], [left, 9]]
    return {"label": "car", "points": points, "group_id": 1, "shape_type": "polygon", "flags": {}}


Path("labels").mkdir()
Image.new("RGB", (60, 40)).save("labels/a.png")
picture = {"imagePath": "a.png", "imageData": None, "imageHeight": 40, "imageWidth": 60}
Path("labels/a.json").write_text(json.dumps({"version": "5.4.1", "flags": {}, "shapes": [part(4), part(20)], **picture}))
labelme2coco.convert("labels", "coco")
written = json.loads(Path("coco/dataset.json").read_text())
found = [(each["category_id"], each["bbox"]) for each in written["annotations"]]
print("one car in two parts:", found)
assert found == [(0, [4, 3, 6, 6]), (0, [20, 3, 6, 6])]
PYTHON
