#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: scatter_reduce("mean") is exported to ONNX as the last value of each group.
#
# Seen: the means of 1, 3 and 5 and 1, 2, 9 by their regions are 2, 5 and 4 in torch; the exported file gives 3, 5 and
# 9, the last pixel of each region, without a word: its ScatterElements has reduction "none". With include_self=True it
# is the same, for 3.67, 6 and 4.75. "sum", "amax", "amin" and "prod" are right. Two other options are dropped in the
# same way: avg_pool2d(divisor_override=1), a sum, is exported as the mean, 2.5 for 10, and
# cross_entropy(label_smoothing=0.1) as that without, 1.1698 for 1.2365.
#
# Remedy: scatter_reduce("sum") of values and of ones, and their quotient; avg_pool2d times the size of the window.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 flatbuffers==25.12.19 fsspec==2026.9.0 jinja2==3.1.6 markupsafe==3.0.4 ml-dtypes==0.6.0 \
    mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 onnx-ir==1.1.0 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 \
    packaging==26.4 protobuf==7.36.2 sympy==1.14.0 torch==2.13.0 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import logging
import warnings

import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
regions = torch.tensor([0, 0, 1, 2, 2, 2])
values = torch.tensor([1.0, 3.0, 5.0, 1.0, 2.0, 9.0])
picture = torch.arange(16.0).reshape(1, 1, 4, 4)
logits, classes = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]]), torch.tensor([0, 1])


def reduced(how, values, include_self=False):
    """Return a number for each region, where 7 stands before."""
    return torch.full((3,), 7.0).scatter_reduce(0, regions, values, how, include_self=include_self)


reductions = {
    "mean": lambda values, picture, logits: reduced("mean", values),
    "mean with self": lambda values, picture, logits: reduced("mean", values, include_self=True),
    "sum": lambda values, picture, logits: reduced("sum", values),
    "amax": lambda values, picture, logits: reduced("amax", values),
    "amin": lambda values, picture, logits: reduced("amin", values),
    "sum by number": lambda values, picture, logits: reduced("sum", values) / reduced("sum", torch.ones(6)),
    "divisor_override": lambda values, picture, logits: F.avg_pool2d(picture, 2, divisor_override=1),
    "label_smoothing": lambda values, picture, logits: F.cross_entropy(logits, classes, label_smoothing=0.1),
}


class Reductions(torch.nn.Module):
    """All of them in one network, for one file."""

    def forward(self, *inputs):
        return tuple(reduce(*inputs) for reduce in reductions.values())


network, inputs = Reductions().eval(), (values, picture, logits)
file = torch.onnx.export(network, inputs, dynamo=True, verbose=False).model_proto
session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
outputs = session.run(None, {given.name: value.numpy() for given, value in zip(session.get_inputs(), inputs)})
wrong = {}
for name, wanted, found in zip(reductions, network(*inputs), outputs):
    print(f"{name}: torch {wanted.numpy().round(4).tolist()}, ONNX {found.round(4).tolist()}")
    wrong[name] = not np.allclose(found, wanted.numpy())
last = [3, 5, 9]
assert outputs[0].tolist() == outputs[1].tolist() == last
assert {name for name, differs in wrong.items() if differs} == {
    "mean", "mean with self", "divisor_override", "label_smoothing"
}  # fmt: skip
PYTHON
