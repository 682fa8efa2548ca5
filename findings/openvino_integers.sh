#!/usr/bin/env bash
# OpenVINO 2026.4.1: integers of torch: void -1 // 1000 is class 0, 2^24 + 1 equals 2^24, uint8 does not wrap.
#
# Seen: on the CPU, with and without INFERENCE_PRECISION_HINT f32, networks that convert_model takes from torch, with
# int32 and int64. -1 // 1000 and torch.div(-1, 1000, rounding_mode="floor") are 0, in torch -1: the quotient is cut,
# then floored. ids % 1000 of 2^24 + 1 is 216 for 217, of 2^30 + 1 832 for 825; ids == 2^24 is true of 2^24 + 1, and the
# greatest of ids with 2^30 + 1 is 2^30, all computed as float32. Quotients by 1000, masks by & and choices by where are
# right. uint8: 200 + 100 is 255, 7 - 100 is 0, in torch 44 and 163. So panoptic ids with void -1 get a class.
#
# Remedy: void 0 in place of -1, ids below 2^24, labels.int() before arithmetic; & and >> where the divisor is a power
# of 2. The three maps of `axial-deeplab export`, or its own post-processing, which is compared with OpenVINO's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 markupsafe==3.0.4 mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 \
    openvino==2026.4.1 openvino-telemetry==2025.2.0 packaging==26.4 sympy==1.14.0 torch==2.13.0 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import openvino
import torch


class Network(torch.nn.Module):
    """One operation on a map."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, ids):
        return self.operation(ids)


def both(operation, ids):
    """Return what torch and OpenVINO make of the ids; the hint of precision must not matter."""
    network = openvino.convert_model(Network(operation).eval(), example_input=ids)
    found = [
        openvino.Core().compile_model(network, "CPU", hints)(ids.numpy())[0].tolist()
        for hints in ({}, {"INFERENCE_PRECISION_HINT": "f32"})
    ]
    assert found[0] == found[1]
    return operation(ids).tolist(), found[0]


ids = torch.tensor([-1001, -1, 255, 26003, 2**24 + 1, 2**30 + 1])
operations = {
    "// 1000": lambda ids: ids // 1000,
    "div floor": lambda ids: torch.div(ids, 1000, rounding_mode="floor"),
    "% 1000": lambda ids: ids % 1000,
    "== 2^24": lambda ids: ids == 2**24,
    "amax": lambda ids: ids.amax(0, keepdim=True),
    "& 255": lambda ids: ids & 255,
    "where": lambda ids: torch.where(ids > 0, ids, 0),
}
for dtype in (torch.int32, torch.int64):
    results = {name: both(operation, ids.to(dtype)) for name, operation in operations.items()}
    for name, (wanted, found) in results.items():
        print(dtype, name, "torch:", wanted, "OpenVINO:", found)
    for name in ("// 1000", "div floor"):
        assert results[name] == ([-2, -1, 0, 26, 16777, 1073741], [-1, 0, 0, 26, 16777, 1073741])
    assert results["% 1000"] == ([999, 999, 255, 3, 217, 825], [999, 999, 255, 3, 216, 832])
    assert results["== 2^24"] == ([False] * 6, [False] * 4 + [True, False])
    assert results["amax"] == ([2**30 + 1], [2**30])
    assert all(results[name][0] == results[name][1] for name in ("& 255", "where"))

labels = torch.tensor([7, 200], dtype=torch.uint8)
sums, differences = both(lambda labels: labels + 100, labels), both(lambda labels: labels - 100, labels)
print("uint8 + 100, torch and OpenVINO:", sums, "- 100:", differences)
assert sums == ([107, 44], [107, 255]) and differences == ([163, 100], [0, 100])
PYTHON
