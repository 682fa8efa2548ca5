#!/usr/bin/env bash
# pytorch-toolbelt 0.8.0: the reduced focal loss of CrossEntropyFocalLoss weights pixels the wrong way around.
#
# Seen: with reduced_threshold=0.5 and gamma=2 a pixel whose class has the probability 0.99 counts in full, as without
# focal loss, and one of 0.01 with a weight of 3.92. By the paper that the code names (arXiv 1903.01347) what is below
# the threshold counts in full and the rest less, 0.0004 for 0.99, as BinaryFocalLoss of the same package has it.
# Without a threshold 0.99 has the weight 0.0001, as a focal loss should.
#
# Remedy: no reduced_threshold for CrossEntropyFocalLoss; or BinaryFocalLoss.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    pytorch-toolbelt==0.8.0 filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 markupsafe==3.0.4 mpmath==1.3.0 \
    networkx==3.6.1 numpy==2.2.6 opencv-python-headless==5.0.0.93 pillow==11.3.0 scipy==1.17.1 sympy==1.14.0 \
    torch==2.13.0 typing-extensions==4.16.0
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import sys
from unittest.mock import MagicMock

import torch

# Its losses need no torchvision, which must fit torch to the build
sys.modules["torchvision"] = sys.modules["torchvision.ops"] = MagicMock()
from pytorch_toolbelt.losses import BinaryFocalLoss, CrossEntropyFocalLoss

probability = torch.tensor([0.99, 0.9, 0.7, 0.3, 0.1, 0.01])
two_classes = torch.stack([probability, 1 - probability], 1).log()
one_class = torch.logit(probability)[:, None]


def weights(loss, scores, target, **options):
    plain = loss(gamma=0.0, reduction="none")(scores, target)
    focal = loss(gamma=2.0, reduction="none", **options)(scores, target)
    return [round(value, 4) for value in (focal / plain).flatten().tolist()]


multi = CrossEntropyFocalLoss, two_classes, torch.zeros(len(probability), dtype=torch.long)
binary = BinaryFocalLoss, one_class, torch.ones_like(one_class)
seen = {
    "multi-class": weights(*multi),
    "binary": weights(*binary),
    "multi-class, reduced": weights(*multi, reduced_threshold=0.5),
    "binary, reduced": weights(*binary, reduced_threshold=0.5),
}
for name, values in seen.items():
    print(name, "weights of 0.99, 0.9, 0.7, 0.3, 0.1, 0.01:", values)
assert seen["multi-class"] == seen["binary"] == [0.0001, 0.01, 0.09, 0.49, 0.81, 0.9801]
assert seen["multi-class, reduced"] == [1, 1, 1, 1.96, 3.24, 3.9204]
assert seen["binary, reduced"] == [0.0004, 0.04, 0.36, 1, 1, 1]
PYTHON
