#!/usr/bin/env bash
# keras 3.15.1: one pixel of the class that MeanIoU is to ignore lowers the mean from 1 to 0.66.
#
# Seen: three classes of 100 pixels, ignore_class=0 for the background. With all pixels of the other two right
# MeanIoU(3, ignore_class=0) is 1. With one of them called background it is 0.663: pixels whose truth is class 0 are
# left out, so that class 0 has an IoU of 0 as soon as it is predicted once, and this counts as one of three classes.
# The mean of the two others is 0.995, as in torchmetrics 1.9.0 and with IoU(3, target_class_ids=[1, 2],
# ignore_class=0). The documentation
# calls it a class to be ignored during the computation.
#
# Remedy: IoU with target_class_ids of the other classes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    absl-py==2.5.1 filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 keras==3.15.1 lightning-utilities==0.15.3 \
    markdown-it-py==4.3.0 markupsafe==3.0.4 mdurl==0.1.2 ml-dtypes==0.6.0 mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 \
    packaging==26.4 pygments==2.21.0 rich==15.0.0 sympy==1.14.0 torch==2.13.0 torchmetrics==1.9.0 \
    typing-extensions==4.16.0
KERAS_BACKEND=torch PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import torch
from keras.metrics import IoU, MeanIoU
from torchmetrics.functional import jaccard_index

truth = np.repeat([0, 1, 2], 100)
perfect = truth.copy()
one_pixel = truth.copy()
one_pixel[100] = 0
found = {}
for name, predicted in {"perfect": perfect, "one pixel": one_pixel}.items():
    metrics = {
        "MeanIoU": MeanIoU(3, ignore_class=0),
        "IoU of 1 and 2": IoU(3, target_class_ids=[1, 2], ignore_class=0),
    }
    for metric, measure in metrics.items():
        measure.update_state(truth, predicted)
        found[name, metric] = round(float(measure.result()), 3)
    index = jaccard_index(torch.tensor(predicted), torch.tensor(truth), "multiclass", num_classes=3, ignore_index=0)
    found[name, "torchmetrics"] = round(float(index), 3)
print("mean IoU:", found)
assert all(found["perfect", metric] == 1 for metric in (*metrics, "torchmetrics"))
assert found["one pixel", "MeanIoU"] == 0.663
assert found["one pixel", "IoU of 1 and 2"] == found["one pixel", "torchmetrics"] == 0.995
PYTHON
