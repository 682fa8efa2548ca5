#!/usr/bin/env bash
# transformers 5.24.0: Mask2Former's processor on Pillow refuses maps of instances above 255 where it resizes.
#
# Seen: a map with the ids 1 and 300: ValueError, outside the range [0, 255]; without resizing, or with 30 for 300, it is taken.
# The boxes of DETR's processor end at the last pixel: 5, 4, 14, 9 for a thing in the columns 5 to 14 and rows 4 to 9.
#
# Remedy: number the segments of each image from 1; the processor on torchvision; add 1 to right and lower edges.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    transformers==5.24.0 tokenizers==0.23.3 regex==2026.11.19 huggingface-hub==2.4.0 safetensors==0.8.0 \
    numpy==2.2.6 pillow==13.0.0 torch==2.13.0 typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 \
    networkx==3.6.1 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11 packaging==26.4 \
    pyyaml==6.0.4 requests==2.34.2 urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 tqdm==4.70.1 httpx2==2.16.2 httpcore2==2.16.2 truststore==0.10.5 \
    h11==0.16.0 anyio==4.16.0 hf-xet==1.8.0 typer==0.29.2 click==8.5.1 shellingham==1.5.4 rich==15.0.0
PYTHONPATH=packages python3 - <<'PYTHON'
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.image_utils import ChannelDimension
from transformers.models.detr.image_processing_pil_detr import prepare_coco_panoptic_annotation
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

picture = np.zeros((40, 60, 3), np.uint8)


def masks(number, **options):
    ids = np.ones((40, 60), np.int32)
    ids[4:10, 5:15] = number
    processor = Mask2FormerImageProcessorPil(ignore_index=255, size={"height": 96, "width": 128}, **options)
    made = processor([picture], segmentation_maps=[ids], instance_id_to_semantic_id={1: 0, number: 7})
    return [int(mask.sum()) for mask in made["mask_labels"][0]]


print("without resizing:", masks(300, do_resize=False), "30 resized:", masks(30))
assert masks(300, do_resize=False) == [2340, 60] and masks(30) == [11994, 294]
try:
    masks(300)
except ValueError as error:
    print("300 resized:", error)
    assert "outside the range [0, 255]" in str(error)
else:
    raise AssertionError("300 is taken")
colors = picture.copy()
colors[4:10, 5:15, 0] = 1
Image.fromarray(colors).save("a.png")
segment = {"id": 1, "category_id": 3, "iscrowd": 0, "area": 60}
entry = {"image_id": 1, "file_name": "a.png", "segments_info": [segment]}
made = prepare_coco_panoptic_annotation(
    np.zeros((3, 40, 60), np.uint8), entry, Path("."), input_data_format=ChannelDimension.FIRST
)
print("box:", np.asarray(made["boxes"]).tolist())
assert np.asarray(made["boxes"]).tolist() == [[5, 4, 14, 9]]
PYTHON
