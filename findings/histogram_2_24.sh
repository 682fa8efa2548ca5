#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0 and mmsegmentation 1.2.2: IoU 1 instead of 0.89, for an image of 25 million pixels.
#
# Seen: of 22,500,000 pixels of background 2,500,000 are taken for a building. The counts of intersection, prediction
# and truth all stop at 16,777,216 = 2^24, so the IoU of background is 1; with 20,000,000 true positives of 22,500,000
# it is 0.889. Both count with torch.histc, whose bins are float32 here and do not grow beyond 2^24. Aerial pictures of
# 5000 x 5000 and slides are as large.
#
# Remedy: tiles of at most 16 million pixels, or torch.bincount.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    addict==2.4.0 filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 markdown-it-py==4.3.0 markupsafe==3.0.4 \
    mdurl==0.1.2 mmcv-lite==2.1.0 mmengine==0.10.7 mmsegmentation==1.2.2 mpmath==1.3.0 networkx==3.6.1 \
    numpy==2.2.6 opencv-python-headless==5.0.0.93 packaging==26.4 pillow==13.0.0 platformdirs==4.14.8 \
    prettytable==3.18.0 pygments==2.21.0 pyyaml==6.0.4 rich==15.0.0 segmentation-models-pytorch==0.6.0 \
    setuptools==82.0.1 sympy==1.14.0 termcolor==3.3.0 torch==2.13.0 tqdm==4.70.1 typing-extensions==4.16.0 \
    wcwidth==0.2.14 yapf==0.43.0
PYTHONPATH=packages python3 - <<'PYTHON'
import importlib.util

import torch
from mmseg.evaluation.metrics.iou_metric import IoUMetric

# Its metrics alone: the package imports encoders.
path = "packages/segmentation_models_pytorch/metrics/functional.py"
specification = importlib.util.spec_from_file_location("metrics", path)
smp = importlib.util.module_from_spec(specification)
specification.loader.exec_module(smp)

torch.set_num_threads(1)
truth = torch.zeros((5000, 5000), dtype=torch.long)
truth[:500] = 1
found = truth.clone()
found[-500:] = 1
both = int(((truth == 0) & (found == 0)).sum())
right = both / int(((truth == 0) | (found == 0)).sum())
statistics = smp.get_stats(found[None], truth[None], mode="multiclass", num_classes=2)
of_smp = smp.iou_score(*statistics, reduction=None)[0].tolist()
intersect, union, *_ = IoUMetric.intersect_and_union(found, truth, num_classes=2, ignore_index=255)
of_mmseg = (intersect / union).tolist()
counted = int(intersect[0])
print("background's IoU:", round(right, 3), "smp:", of_smp, "mmseg:", of_mmseg, "counted:", counted, "of", both)
assert round(right, 3) == 0.889 and counted == 2**24 < both == 20_000_000
assert of_smp == of_mmseg == [1, 0.5]
PYTHON
