#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0, kornia 0.9.0, torchmetrics 1.9.0: one result has a mean IoU of 0.54, 0.61 or 0.66.
#
# Seen: two images, a class that is in one of them and missed, one that never occurs. IoU of the whole data: 0.8, 0.83, 0;
# their mean, 0.544, is torchmetrics' JaccardIndex. segmentation-models-pytorch gives the class that never occurs 1
# (0.658), kornia, too, and for each image; torchmetrics' segmentation.MeanIoU takes the mean over images (0.608), so
# that a class of few images weighs as much in each of them.
#
# Remedy: JaccardIndex, or `axial-deeplab evaluate`; zero_division=float("nan") and a nanmean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 kornia-rs==0.2.0 kornia==0.9.0 \
    lightning-utilities==0.15.3 markupsafe==3.0.4 mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 packaging==26.4 \
    segmentation-models-pytorch==0.6.0 sympy==1.14.0 torch==2.13.0 torchmetrics==1.9.0 \
    typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import importlib.util

import torch
from kornia.metrics import mean_iou
from torchmetrics import JaccardIndex
from torchmetrics.segmentation import MeanIoU

# Its metrics alone: the package imports encoders.
specification = importlib.util.spec_from_file_location("metrics", "packages/segmentation_models_pytorch/metrics/functional.py")
smp = importlib.util.module_from_spec(specification)
specification.loader.exec_module(smp)

truth = torch.zeros((2, 10, 10), dtype=torch.long)
truth[0, :5], truth[1, :1] = 1, 2
found = torch.zeros_like(truth)
found[0, :6], found[1, 1:2] = 1, 2
means = {
    "JaccardIndex": JaccardIndex("multiclass", num_classes=4)(found, truth),
    "MeanIoU": MeanIoU(num_classes=4, input_format="index")(found, truth),
    "smp": smp.iou_score(*smp.get_stats(found, truth, mode="multiclass", num_classes=4), reduction="macro"),
}
means = {name: round(float(value), 3) for name, value in means.items()}
absent = mean_iou(found, truth, num_classes=4)[:, 3].tolist()
print(means, "kornia, the class that never occurs:", absent)
assert means == {"JaccardIndex": 0.544, "MeanIoU": 0.608, "smp": 0.658} and absent == [1, 1]
PYTHON
