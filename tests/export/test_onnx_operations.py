"""The nodes that stand for a layer of axial attention compute what the layer computes, at any size."""

import math

import onnx
import pytest
import torch

from axial_deeplab.export import onnx_operations
from axial_deeplab.export.export import _write_onnx
from axial_deeplab.export.onnx_operations import OnnxAttention, as_operations
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.folding.fold import fuse
from onnx_runtimes import in_onnxruntime, in_openvino, in_the_reference


def layer_of(in_channels=8, **options):
    torch.manual_seed(0)
    layer = AxialAttention(in_channels, 16, num_heads=2, max_span=6, **options).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return fuse(layer)


def written(network, example, path, sizes=None):
    with torch.no_grad(), as_operations(network):
        program = torch.export.export(
            network, (example,), dynamic_shapes=sizes, prefer_deferred_runtime_asserts_over_guards=True
        )
    _write_onnx(program, path, ["y"], "{}", half=False)
    return onnx.load(path)


def assert_equal(run, layer, x, tolerance=1e-5):
    with torch.no_grad():
        expected = layer(x)
    y = torch.from_numpy(run({"images": x.numpy()})[0])
    assert y.shape == expected.shape
    assert (y - expected).abs().max() < tolerance * max(expected.abs().max(), 1)


def constants_of(model, kind):
    inputs = {name for node in model.graph.node if node.op_type == kind for name in node.input}
    return [tensor for tensor in model.graph.initializer if tensor.name in inputs]


LAYERS = pytest.mark.parametrize(
    "options",
    [
        {"axis": "height"},
        {"axis": "width", "stride": 2},
        {"axis": "height", "stride": 3, "span": 5, "rel_k": False},
        {"axis": "width", "span": 3, "rel_q": False},
        {"axis": "width", "rel_q": False, "rel_k": False, "rel_v": False, "logit_norm": False},
        {"axis": "width", "content_logits": False},
    ],
)


@LAYERS
def test_equals_the_layer_at_any_size(options, tmp_path):
    network = torch.nn.Sequential(layer_of(**options))
    sizes = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    model = written(network, torch.randn(2, 8, 9, 11), tmp_path / "layer.onnx", [sizes])
    assert sum(node.op_type == "Softmax" for node in model.graph.node) == 3  # parts of the lines
    for name in constants_of(model, "Range") + constants_of(model, "Clip") + constants_of(model, "Where"):
        assert not name.dims, name.name  # tract refuses vectors of one number there, as ONNX does
    for runtime in (in_onnxruntime, in_the_reference, in_openvino):
        run = runtime(model)
        for size in ((1, 3, 3), (2, 5, 7), (1, 19, 4), (3, 4, 19), (1, 8, 33)):
            assert_equal(run, network, torch.randn(size[0], 8, *size[1:]))


@LAYERS
def test_equals_the_layer_at_one_size(options, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_operations, "_LOGITS_OF_A_PART", 700)
    network = torch.nn.Sequential(layer_of(**options))
    x = torch.randn(1, 8, 13, 11)
    model = written(network, x, tmp_path / "layer.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Softmax") in (5, 6)
    assert not {"Shape", "Range", "Gather"} & set(kinds)
    for runtime in (in_onnxruntime, in_the_reference, in_openvino):
        assert_equal(runtime(model), network, x)


def test_logits_are_moved_three_times(tmp_path):
    network = torch.nn.Sequential(layer_of(axis="height"), layer_of(axis="width", in_channels=16))
    x = torch.randn(1, 8, 23, 29)
    model = written(network, x, tmp_path / "layers.onnx")
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    sizes = {
        value.name: math.prod(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in inferred
    }
    moves = [node for node in model.graph.node if node.op_type == "Transpose"]
    moved = [sizes.get(node.output[0], 0) for node in moves]
    # The terms of the keys beside those of the queries, both as rows, the weights beside the table.
    assert [moved.count(2 * lines * length**2) for length, lines in ((23, 29), (29, 23))] == [3, 3]
    # What turns into rows is an image, channels last.
    assert sum(list(node.attribute[0].ints) == [0, 3, 1, 2] for node in moves) == 2
    # No map of channels lies between the layers.
    assert len(moved) == 28
    assert_equal(in_onnxruntime(model), network, x, tolerance=1e-4)


def test_layers_come_back():
    network = torch.nn.Sequential(layer_of(axis="height"), layer_of(axis="width", activation="sigmoid"))
    layers = list(network)
    with as_operations(network):
        assert isinstance(network[0], OnnxAttention)
        assert network[1] is layers[1]
    assert list(network) == layers


def test_operation_is_not_computed():
    layer = OnnxAttention(layer_of(axis="height"))
    with pytest.raises(NotImplementedError, match="onnx_attention must become nodes of ONNX, got a call"):
        layer(torch.zeros(1, 8, 3, 3))
