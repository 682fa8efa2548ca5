#!/usr/bin/env bash
# transformers 5.24.0: Mask2Former's panoptic post-processing with fused stuff gives two segments one id.
#
# Seen: sky, car, road, person, sky again, bus: after the second piece of the sky, which takes the id 1 again, the bus gets
# the id 2, the car's. With nothing found the map is float and -1 throughout, else int32 and 0 where nothing is.
#
# Remedy: label_ids_to_fuse=set(), and join the stuff oneself; axial_deeplab.evaluation.foreign.from_transformers does.
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
    hf-xet==1.8.0 typer==0.29.2 click==8.5.1 shellingham==1.5.4 rich==15.0.0
PYTHONPATH=packages python3 - <<'PYTHON'
from types import SimpleNamespace

import torch
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

sky, road, car, person, bus, nothing = range(6)
labels = [sky, car, road, person, sky, bus]
masks = torch.full((1, 6, 96, 96), -20.0)
for place in range(6):
    masks[0, place, 16 * place : 16 * place + 16] = 20
scores = 20 * torch.eye(6)[labels][None]
processor = Mask2FormerImageProcessorPil()
outputs = SimpleNamespace(class_queries_logits=scores, masks_queries_logits=masks)
(found,) = processor.post_process_panoptic_segmentation(outputs, label_ids_to_fuse={sky, road})
ids = [each["id"] for each in found["segments_info"]]
print(found["segmentation"].dtype, "labels", labels, "ids", ids)
assert found["segmentation"].dtype == torch.int32 and ids == [1, 2, 3, 4, 1, 2]
outputs.class_queries_logits = 20 * torch.eye(6)[[nothing] * 6][None]
(empty,) = processor.post_process_panoptic_segmentation(outputs, label_ids_to_fuse={sky, road})
print("nothing found:", empty["segmentation"].dtype, empty["segmentation"].unique(), empty["segments_info"])
assert empty["segmentation"].dtype == torch.float32 and empty["segmentation"].unique().tolist() == [-1]
PYTHON
