#!/usr/bin/env bash
# coco-assistant 0.4.0: merge gives a new category the id of another one, where the ids of the first file have gaps.
#
# Seen: a first file with the categories 1 person, 2 car and 4 tree, a second one with 1 boat: the merged file has the
# categories 1, 2, 4 and again 4, boat; trees and boats have one id, and to pycocotools all are boats. New ids are
# counted on from the number of categories: behind COCO's 80, whose ids go up to 90, a new class gets 81, a sink.
#
# Remedy: ids from 1 without gaps in the first file, before.
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

from coco_assistant import COCO_Assistant


def write(name, categories):
    Path("images", name).mkdir(parents=True)
    image = {"id": 1, "file_name": f"{name}.png", "height": 48, "width": 64}
    annotations = [
        {"id": i, "image_id": 1, "category_id": kind, "bbox": [9 * i, 4, 6, 6], "area": 36, "iscrowd": 0}
        for i, kind in enumerate(categories, 1)
    ]
    listed = [{"id": kind, "name": title} for kind, title in categories.items()]
    Path("annotations").mkdir(exist_ok=True)
    whole = {"images": [image], "annotations": annotations, "categories": listed}
    Path("annotations", f"{name}.json").write_text(json.dumps(whole))


def merged(first):
    write("a", first)
    write("b", {1: "boat"})
    COCO_Assistant("images", "annotations").merge()
    result = json.loads(Path("results/merged/annotations/merged.json").read_text())
    for name in "ab":
        Path("images", name).rmdir()
    categories = [(category["id"], category["name"]) for category in result["categories"]]
    return categories, [annotation["category_id"] for annotation in result["annotations"]]


unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
of_coco = {i: f"class {i}" for i in range(1, 91) if i not in unused}
behind_coco = merged(of_coco)[0][-1]
gaps, none = merged({1: "person", 2: "car", 4: "tree"}), merged({1: "person", 2: "car", 3: "tree"})
print("categories and those of annotations, with a gap:", gaps, "without:", none)
print("a new class behind the", len(of_coco), "of COCO:", behind_coco)
assert len(of_coco) == 80 and behind_coco == (81, "boat") and 81 in of_coco
assert gaps == ([(1, "person"), (2, "car"), (4, "tree"), (4, "boat")], [1, 2, 4, 4])
assert none == ([(1, "person"), (2, "car"), (3, "tree"), (4, "boat")], [1, 2, 3, 4])
PYTHON
