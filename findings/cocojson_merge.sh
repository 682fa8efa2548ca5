#!/usr/bin/env bash
# cocojson 0.1.1: merge with cids drops all annotations of a data set, where not all of its categories are named.
#
# Seen: of a data set of cars, buses and trees with an annotation each, cids of cars and buses keep both categories and
# no annotation; the picture looks empty. So do cids of trees, the last one, whose id has become 1 by then. With cids of
# all three or without cids all annotations are there. Whether an annotation is kept is asked of the last category of
# the list, not of its own.
#
# Remedy: merge without cids, and leave out categories before or after by hand.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    cocojson==0.1.1 numpy==2.2.6 opencv-python-headless==5.0.0.93 pillow==11.3.0 tqdm==4.70.1
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import json
from pathlib import Path

from cocojson.tools import merge
from PIL import Image

names = "car", "bus", "tree"
Path("pictures").mkdir()
Image.new("L", (64, 48)).save("pictures/a.png")
annotations = [
    {"id": i, "image_id": 1, "category_id": i, "bbox": [8 * i, 4, 6, 6], "area": 36, "iscrowd": 0}
    for i in (1, 2, 3)
]
streets = {
    "info": {"description": "streets"},
    "images": [{"id": 1, "file_name": "a.png", "height": 48, "width": 64}],
    "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    "annotations": annotations,
}
Path("streets.json").write_text(json.dumps(streets))


def merged(cids):
    merge(["streets.json"], ["pictures"], "merged", cids=cids)
    result = json.loads(Path("merged/merged.json").read_text())
    kept = {category["id"]: category["name"] for category in result["categories"]}
    return list(kept.values()), [kept[annotation["category_id"]] for annotation in result["annotations"]]


everything, all_named, two_named, last_named = map(merged, (None, [[1, 2, 3]], [[1, 2]], [[3]]))
print("categories and annotations of all:", everything, "of cars and buses:", two_named, "of trees:", last_named)
assert everything == all_named == (list(names), list(names))
assert two_named == (["car", "bus"], [])
assert last_named == (["tree"], [])
PYTHON
