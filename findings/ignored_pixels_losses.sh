#!/usr/bin/env bash
# MONAI 1.6.1, segmentation-models-pytorch 0.6.0, kornia 0.9.0: pixels that are to be ignored change the loss.
#
# Seen: two maps of 32 x 32 pixels and 4 classes, of which a share is ignored. MONAI's MaskedDiceLoss(softmax=True,
# to_onehot_y=True) of a perfect result is 0 without, 0.10, 0.16 and 0.21 with 25, 50 and 75% of the pixels masked: the
# mask makes them class 0 of the truth, and predicted by none, before the classes become channels. With a truth in
# channels it is 0. segmentation-models-pytorch's SoftCrossEntropyLoss and kornia's focal_loss divide by all pixels, so
# that with half of them ignored 1.698 becomes 0.849, and 0.152 0.076; cross_entropy of torch stays, whose replacement
# the former says that it is. An image with much void counts less in a batch of several.
#
# Remedy: F.one_hot before MaskedDiceLoss; reduction="sum" or "none", divided by the number of pixels that count.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 kornia-rs==0.2.0 kornia==0.9.0 markupsafe==3.0.4 monai==1.6.1 \
    mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 packaging==26.4 segmentation-models-pytorch==0.6.0 sympy==1.14.0 \
    torch==2.13.0 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import sys
import types

import torch
from kornia.losses import focal_loss
from monai.losses import MaskedDiceLoss
from torch.nn import functional as F

# Its losses alone: the package imports encoders.
package = types.ModuleType("segmentation_models_pytorch")
package.__path__ = ["packages/segmentation_models_pytorch"]
sys.modules[package.__name__] = package
from segmentation_models_pytorch.losses import SoftCrossEntropyLoss  # noqa: E402

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
truth = torch.randint(0, 4, (2, 32, 32), generator=generator)
channels = F.one_hot(truth, 4).movedim(-1, 1).float()
perfect = channels * 40 - 20

masked = {}
for share in (0, 0.25, 0.5, 0.75):
    mask = torch.ones(2, 1, 32, 32)
    mask[:, :, : int(32 * share)] = 0
    of_map = MaskedDiceLoss(softmax=True, to_onehot_y=True)(perfect, truth[:, None], mask)
    of_channels = MaskedDiceLoss(softmax=True)(perfect, channels, mask)
    masked[share] = [round(float(loss), 2) for loss in (of_map, of_channels)]
print("MaskedDiceLoss of a perfect result, of a map and of channels, by the share that is masked:", masked)

logits = torch.randn(2, 4, 32, 32, generator=generator)
half = truth.clone()
half[:, :16] = 255
means = {
    "cross_entropy": lambda *pair: F.cross_entropy(*pair, ignore_index=255),
    "SoftCrossEntropyLoss": SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255),
    "focal_loss": lambda *pair: focal_loss(*pair, alpha=0.5, reduction="mean", ignore_index=255),
}
found = {
    name: [round(float(loss(logits[:, :, rows], labels[:, rows])), 3) for rows, labels in
           ((slice(16, 32), truth), (slice(0, 32), half))]
    for name, loss in means.items()
}  # fmt: skip
print("mean of the lower half alone, and with the upper half ignored:", found)
assert [loss for _, loss in masked.values()] == [0, 0, 0, 0]
assert masked[0][0] == 0 and 0.05 < masked[0.25][0] < masked[0.5][0] < masked[0.75][0]
assert found["cross_entropy"][0] == found["cross_entropy"][1] == found["SoftCrossEntropyLoss"][0]
assert all(abs(found[name][1] - found[name][0] / 2) < 0.001 for name in ("SoftCrossEntropyLoss", "focal_loss"))
PYTHON
