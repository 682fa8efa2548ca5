#!/usr/bin/env bash
# transformers 5.24.0, pycocotools 2.0.11: return_coco_annotation=True gives run lengths that are not COCO's.
#
# Seen: Mask2Former's post_process_instance_segmentation calls them COCO's run-length encoding. They are pairs of a start
# (from 1) and a length, row after row, while COCO has lengths of zeros and ones in turns, column after column: pycocotools
# makes other masks of them. And there is one more of them than segments: the first is what no segment has, so that zip
# with segments_info pairs each segment with another one's mask.
#
# Remedy: leave it False, and encode segmentation == id with pycocotools.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    transformers==5.24.0 tokenizers==0.23.3 regex==2026.11.19 huggingface-hub==2.4.0 safetensors==0.8.0 \
    numpy==2.2.6 pillow==13.0.0 torch==2.13.0 typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 \
    networkx==3.6.1 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11 packaging==26.4 \
    pyyaml==6.0.4 requests==2.34.2 urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 tqdm==4.70.1 httpx2==2.16.2 httpcore2==2.16.2 truststore==0.10.5 h11==0.16.0 anyio==4.16.0 \
    hf-xet==1.8.0 typer==0.29.2 click==8.5.1 shellingham==1.5.4 rich==15.0.0 pycocotools==2.0.11
PYTHONPATH=packages python3 - <<'PYTHON'
from types import SimpleNamespace

import numpy as np
import torch
from pycocotools import mask
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

masks = torch.full((1, 1, 96, 96), -20.0)
masks[0, 0, 40:60, 10:90] = 20
outputs = SimpleNamespace(class_queries_logits=torch.tensor([[[20.0, 0.0]]]), masks_queries_logits=masks)
processor = Mask2FormerImageProcessorPil()
(plain,) = processor.post_process_instance_segmentation(outputs)
(encoded,) = processor.post_process_instance_segmentation(outputs, return_coco_annotation=True)
found = (plain["segmentation"] == plain["segments_info"][0]["id"]).numpy()
print("segments:", len(encoded["segments_info"]), "run lengths:", len(encoded["segmentation"]))
assert len(encoded["segments_info"]) == 1 and len(encoded["segmentation"]) == 2
nothing, runs = ([int(number) for number in each] for each in encoded["segmentation"])


def rows(pairs):
    """Pixels of pairs of a start, from 1, and a length, row after row."""
    pixels = np.zeros(found.size, bool)
    for start, length in zip(pairs[::2], pairs[1::2]):
        pixels[start - 1 : start - 1 + length] = True
    return pixels.reshape(found.shape)


print("pixels:", found.sum(), "of", found.size, "first numbers:", runs[:6], "their sum:", sum(runs))
assert (rows(runs) == found).all() and (rows(nothing) == ~found).all() and sum(runs) != found.size
coco = mask.decode(mask.encode(np.asfortranarray(found.astype(np.uint8))))
print("encoded with pycocotools:", coco.sum())
assert (coco == found).all()
PYTHON
