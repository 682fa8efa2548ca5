#!/usr/bin/env bash
# MNN 3.6.1: four operators of ONNX compute something else, without a word.
#
# Seen: Round makes 3 of 2.5 and 1 of 0.5, where ONNX rounds halves to even numbers, 2 and 0. Cast of 0.5 to bool is 0
# and of 2.5 is 2, where all but 0 is true and counts as 1. ArgMax with select_last_index=1 gives the first of equals.
# Mod with fmod=1 gives 2 for -4 and 3, not -1. The converter neither refuses nor warns.
#
# Remedy: x != 0 for a cast to bool, floor(x + 0.5) where halves matter, in both; compare outputs after converting.
# Networks of axial-deeplab with post-processing give the same maps there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    ml-dtypes==0.6.0 mnn==3.6.1 numpy==2.2.6 onnx==1.23.2 protobuf==6.33.6 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import _tools
import MNN.expr
import MNN.nn
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

nodes = [
    helper.make_node("Round", ["values"], ["rounded"]),
    helper.make_node("Cast", ["values"], ["is_true"], to=TensorProto.BOOL),
    helper.make_node("Cast", ["is_true"], ["truth"], to=TensorProto.INT32),
    helper.make_node("ArgMax", ["values"], ["last"], axis=1, select_last_index=1),
    helper.make_node("Mod", ["values", "three"], ["remainder"], fmod=1),
]
outputs = {"rounded": 1, "truth": TensorProto.INT32, "last": TensorProto.INT64, "remainder": 1}
graph = helper.make_graph(
    nodes,
    "operators",
    [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, 6])],
    [helper.make_tensor_value_info(name, kind, [1, 1 if name == "last" else 6]) for name, kind in outputs.items()],
    [numpy_helper.from_array(np.array([3], np.float32), "three")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
model.ir_version = 9
onnx.checker.check_model(model)
onnx.save(model, "operators.onnx")
# What mnnconvert calls; the command itself would install and use a package that reports to its makers.
files = ["--modelFile", "operators.onnx", "--MNNModel", "operators.mnn"]
_tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "operators"])

values = np.array([[-4, 0.5, 2.5, 0, 4.5, 4.5]], np.float32)
expected = [each.ravel().tolist() for each in ReferenceEvaluator(model).run(None, {"values": values})]
network = MNN.nn.load_module_from_file("operators.mnn", ["values"], list(outputs))
tensor = MNN.expr.const(values, values.shape, MNN.expr.NCHW, MNN.expr.float)
found = [np.array(each.read()).ravel().tolist() for each in network.forward([tensor])]
for name, right, seen in zip(outputs, expected, found):
    print(f"{name}: ONNX {right}, MNN {seen}")
assert expected == [[-4, 0, 2, 0, 4, 4], [1, 1, 1, 0, 1, 1], [5], [-1, 0.5, 2.5, 0, 1.5, 1.5]]
assert found == [[-4, 1, 3, 0, 5, 5], [-4, 0, 2, 0, 4, 4], [4], [2, 0.5, 2.5, 0, 1.5, 1.5]]
PYTHON
