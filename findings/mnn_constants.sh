#!/usr/bin/env bash
# MNN 3.6.1: constants of 64-bit integers are cut at 2^30.
#
# Seen: of a table of int64 in an ONNX file, 2^30 + 1 and 2^31 - 1 are looked up as 2^30; both fit into the 32 bits in
# which MNN computes integers. The converter neither refuses nor warns. The same table of int32 is right.
#
# Remedy: constants of int32. Maps of axial-deeplab have their values so since this was seen.
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

table = [5, 2**30, 2**30 + 1, 2**31 - 1]
places = np.arange(4, dtype=np.int32)


def looked_up(kind):
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "places"], ["values"]),
            helper.make_node("Cast", ["values"], ["result"], to=TensorProto.INT32),
        ],
        "constants",
        [helper.make_tensor_value_info("places", TensorProto.INT32, [4])],
        [helper.make_tensor_value_info("result", TensorProto.INT32, [4])],
        [numpy_helper.from_array(np.array(table, kind), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "constants.onnx")
    # What mnnconvert calls; the command itself would install and use a package that reports to its makers.
    files = ["--modelFile", "constants.onnx", "--MNNModel", "constants.mnn"]
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "constants"])
    network = MNN.nn.load_module_from_file("constants.mnn", ["places"], ["result"])
    tensor = MNN.expr.const(places, places.shape, MNN.expr.NCHW, MNN.expr.int)
    found = np.array(network.forward([tensor])[0].read()).tolist()
    (right,) = ReferenceEvaluator(model).run(None, {"places": places})
    print(f"{kind.__name__}: ONNX {right.tolist()}, MNN {found}")
    assert right.tolist() == table
    return found


assert looked_up(np.int64) == [5, 2**30, 2**30, 2**30]
assert looked_up(np.int32) == table
PYTHON
