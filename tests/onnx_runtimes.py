"""Programs that execute ONNX graphs, and those that change graphs: a model in, a function or a model out."""

import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

OPTIMIZERS = (None, "onnxslim", "onnxsim", "onnxoptimizer")


def in_onnxruntime(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda maps: session.run(None, maps)


def in_the_reference(model):
    return lambda maps: ReferenceEvaluator(model).run(None, maps)


def in_openvino(model):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    read = core.read_model(model.SerializeToString())
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda maps: [compiled(maps)[output] for output in compiled.outputs]


def optimized(package, model):
    if package is None:
        return model
    module = pytest.importorskip(package)
    if package == "onnxslim":
        return module.slim(model)
    if package == "onnxsim":
        return module.simplify(model)[0]
    return module.optimize(model)
