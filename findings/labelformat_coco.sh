#!/usr/bin/env bash
# labelformat 0.1.17: its COCO has no annotation ids and areas, and every mask is a crowd.
#
# Seen: a file of instances that went through it is refused by pycocotools (KeyError 'id'). Masks of the kind maskpair with
# --segmentation-type rle are written with iscrowd true, so that a network is neither trained nor scored on them. Compressed
# run lengths are refused.
#
# Remedy: `axial-deeplab dataset convert --crowds-are-objects` reads it; polygons instead of rle, and ids put in.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-types==0.8.0 fsspec==2026.9.0 labelformat==0.1.17 numpy==2.2.6 pillow==13.0.0 \
    pycocotools==2.0.11 pydantic-core==2.50.5 pydantic-xml==2.22.0 pydantic==2.14.4 pyyaml==6.0.4 tqdm==4.70.1 \
    typing-extensions==4.16.0 typing-inspection==0.4.5 opencv-python-headless==5.0.0.93
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
from labelformat.formats.coco import COCOInstanceSegmentationOutput
from labelformat.formats.maskpair import MaskPairInstanceSegmentationInput
from PIL import Image
from pycocotools.coco import COCO

mask = np.zeros((40, 60), np.uint8)
mask[20:30, 5:25] = 255
for folder, picture in (("images", mask * 0), ("masks", mask)):
    Path(folder).mkdir()
    Image.fromarray(picture).save(f"{folder}/a.png")
source = MaskPairInstanceSegmentationInput("images/*.png", "masks/*.png", category_names="car", segmentation_type="rle")
COCOInstanceSegmentationOutput(Path("coco.json")).save(source)
(annotation,) = json.loads(Path("coco.json").read_text())["annotations"]
try:
    COCO("coco.json")
    error = None
except KeyError as problem:
    error = str(problem)
print("iscrowd:", annotation["iscrowd"], "keys:", sorted(annotation), "pycocotools: KeyError", error)
assert annotation["iscrowd"] is True and not {"id", "area"} & set(annotation) and error == "'id'"
PYTHON
