#!/usr/bin/env bash
# segments-ai 1.33.0: its COCO panoptic export lists pieces of stuff under one id, each with its own area.
#
# Seen: a sky in two pieces of 50 pixels is two entries with the same id, while the PNG has 100 pixels of it. panopticapi
# takes the area of the last: the intersection of a sky that is found exactly, 100, is twice its union, 50.
#
# Remedy: axial-deeplab reads such files, with a warning, and counts the pixels; for panopticapi join the entries.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-types==0.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 imageio==2.38.1 \
    lazy-loader==0.6 networkx==3.6.1 numpy==2.2.6 packaging==26.4 pillow==13.0.0 pydantic-core==2.50.5 \
    pydantic==2.14.4 requests==2.34.2 scikit-image==0.26.0 scipy==1.17.1 segments-ai==1.33.0 \
    tifffile==2026.3.3 tqdm==4.70.1 types-pillow==10.2.0.20240822 types-requests==2.33.0.20261030 \
    typing-extensions==4.16.0 typing-inspection==0.4.5 urllib3==2.8.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
from PIL import Image
from segments.export import export_coco_panoptic
from segments.typing import SegmentsDatasetCategory

sky = SegmentsDatasetCategory(id=1, name="sky", color=(70, 130, 180), has_instances=False)
car = SegmentsDatasetCategory(id=2, name="car", color=(0, 0, 142), has_instances=True)
numbers = np.zeros((20, 30), np.int32)
numbers[:5, :10], numbers[:5, 20:], numbers[10:15, :10] = 1, 2, 3


class Release:
    """What the export reads of a data set that was fetched."""

    categories, labelset, image_dir, dataset_identifier = [sky, car], "ground-truth", ".", "me_street"
    release, task_type = {"name": "v1", "dataset": {"name": "street"}}, "segmentation-bitmap"

    def __len__(self):
        return 1

    def __getitem__(self, index):
        objects = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 1}, {"id": 3, "category_id": 2}]
        picture = Image.new("RGB", (30, 20))
        return {"name": "a.png", "file_name": "a.png", "image": picture, "annotations": objects,
                "segmentation_bitmap": Image.fromarray(numbers)}


file, _ = export_coco_panoptic(Release(), ".")
(annotation,) = json.loads(Path(file).read_text())["annotations"]
written = np.array(Image.open(annotation["file_name"])).astype(int) @ [1, 256, 256**2]
first, second, _ = annotation["segments_info"]
pixels = int((written == first["id"]).sum())
print("ids:", first["id"], second["id"], "areas:", first["area"], second["area"], "pixels of the id:", pixels)
assert first["id"] == second["id"] and first["area"] == second["area"] == 50 and pixels == 100
PYTHON
