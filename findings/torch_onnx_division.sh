#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: torch.div of integers with rounding_mode goes to ONNX through float32.
#
# Seen: of the ids 2^24 + 1, 16,777,999 and 2^30 + 1 (int32 or int64) torch.div(ids, 1000, rounding_mode="floor") is
# 16777, 16777 and 1073741; in the exported file it is 16777, 16778 and 1073741, so that 16,777,999 has another class.
# By 1, all three differ. "trunc" is the same. ids // 1000 and ids % 1000 are right, of negative ids, too. ONNX Runtime
# 1.32.0 does what the file says: Cast to float, Div, Floor, Cast. A shift of uint8, 100 << 2, is 144 in torch and comes
# back as int8, -112.
#
# Remedy: ids // divisor, which is the same in torch, or ids below 2^24; labels.int() before a shift.
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

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")


class Split(torch.nn.Module):
    """The class of a panoptic id, by the given division."""

    def __init__(self, divide):
        super().__init__()
        self.divide = divide

    def forward(self, ids):
        return self.divide(ids)


def in_onnx(divide, ids):
    """Return the operators and the result of the exported file."""
    file = torch.onnx.export(Split(divide).eval(), (ids,), dynamo=True, verbose=False).model_proto
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    return [node.op_type for node in file.graph.node], session.run(None, {session.get_inputs()[0].name: ids.numpy()})[0]


ids = torch.tensor([-1, 255, 16_777_000, 2**24 + 1, 16_777_999, 2**30 + 1])
differ = {}
for name, divide in {
    "div floor 1000": lambda ids: torch.div(ids, 1000, rounding_mode="floor"),
    "div trunc 1000": lambda ids: torch.div(ids, 1000, rounding_mode="trunc"),
    "div floor 1": lambda ids: torch.div(ids, 1, rounding_mode="floor"),
    "div floor 7": lambda ids: torch.div(ids, 7, rounding_mode="floor"),
    "// 1000": lambda ids: ids // 1000,
    "// 7": lambda ids: ids // 7,
    "% 1000": lambda ids: ids % 1000,
}.items():
    for dtype in (torch.int32, torch.int64):
        operators, found = in_onnx(divide, ids.to(dtype))
        wanted = divide(ids.to(dtype)).numpy()
        differ[name, dtype] = ids[np.flatnonzero(found != wanted)].tolist()
        print(name, dtype, "torch:", wanted.tolist(), "ONNX:", found.tolist(), operators)
bytes_ = torch.tensor([1, 100, 200], dtype=torch.uint8)
_, shifted = in_onnx(lambda labels: labels << 2, bytes_)
print("uint8 << 2, torch:", (bytes_ << 2).tolist(), "ONNX:", shifted.tolist(), shifted.dtype)
assert (bytes_ << 2).tolist() == [4, 144, 32] and shifted.tolist() == [4, -112, 32] and shifted.dtype == np.int8
for dtype in (torch.int32, torch.int64):
    assert differ["div floor 1000", dtype] == differ["div trunc 1000", dtype] == [16_777_999]
    assert differ["div floor 1", dtype] == [2**24 + 1, 16_777_999, 2**30 + 1]
    assert differ["// 1000", dtype] == differ["// 7", dtype] == differ["% 1000", dtype] == []
PYTHON
