#!/usr/bin/env bash
# MONAI 1.6.1: SaveImage writes PNG of labels with 8 bits, 300 becomes 44, and 256 background.
#
# Seen: a map with the labels 44, 256, 300 and 70000 in int32. SaveImage(output_ext=".png") gives a PNG with 44, 0, 44
# and 112, without a word, with output_dtype=np.int32, too: for PNG it takes uint8 for all types but uint16, and values
# wrap. With output_dtype=np.uint16 300 is right, and 70000 becomes 4464. Its description has np.float32 as the default
# of output_dtype.
#
# Remedy: output_dtype=np.uint16 and ids below 65536; number each image from 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 markupsafe==3.0.4 monai==1.6.1 mpmath==1.3.0 networkx==3.6.1 \
    numpy==2.2.6 packaging==26.4 pillow==13.0.0 scipy==1.17.1 sympy==1.14.0 torch==2.13.0 \
    typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage
from PIL import Image

labels = torch.zeros(1, 8, 12, dtype=torch.int32)
ids = [44, 256, 300, 70000]
for place, label in enumerate(ids):
    labels[0, 2:6, 3 * place : 3 * place + 2] = label
picture = MetaTensor(labels, meta={"filename_or_obj": "scene.png", "spatial_shape": [8, 12]})


def saved(ending, **options):
    """Return the type of the file that is written, and its values at the places of the ids."""
    save = SaveImage(
        output_dir=".", output_ext=ending, output_postfix="labels", separate_folder=False, print_log=False,
        resample=False, **options,
    )
    save(picture)
    file = f"scene_labels{ending}"
    # PNG is written with the first axis from left to right.
    values = np.asarray(Image.open(file)).T
    return str(values.dtype), [int(values[3, 3 * place]) for place in range(len(ids))]


found = {str(dtype): saved(".png", output_dtype=dtype) for dtype in (np.float32, np.int32, np.uint16)}
found["default"] = saved(".png")
print("type and values of", ids, "by output_dtype:", found)
assert found["default"] == found[str(np.float32)] == found[str(np.int32)] == ("uint8", [44, 0, 44, 112])
assert found[str(np.uint16)] == ("uint16", [44, 256, 300, 4464])
PYTHON
