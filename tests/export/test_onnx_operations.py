"""The nodes that stand for a layer of axial attention compute what the layer computes, at any size."""

import onnxruntime
import pytest
import torch

from axial_deeplab.export.export import _write_onnx
from axial_deeplab.export.onnx_operations import OnnxAttention, as_operations
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.folding.fold import fuse


def layer_of(**options):
    torch.manual_seed(0)
    layer = AxialAttention(8, 16, num_heads=2, max_span=6, **options).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return fuse(layer)


@pytest.mark.parametrize(
    "options",
    [
        {"axis": "height"},
        {"axis": "width", "stride": 2},
        {"axis": "height", "stride": 3, "span": 5, "rel_k": False},
        {"axis": "width", "rel_q": False, "rel_k": False, "rel_v": False, "logit_norm": False},
        {"axis": "width", "content_logits": False},
    ],
)
def test_equals_the_layer_at_any_size(options, tmp_path):
    layer = layer_of(**options)
    sizes = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    with torch.no_grad():
        program = torch.export.export(
            OnnxAttention(layer),
            (torch.randn(2, 8, 5, 7),),
            dynamic_shapes=(sizes,),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _write_onnx(program, tmp_path / "layer.onnx", ["y"], "{}", half=False)
    session = onnxruntime.InferenceSession(tmp_path / "layer.onnx", providers=["CPUExecutionProvider"])
    for size in ((1, 1, 1), (2, 5, 7), (1, 19, 4), (3, 4, 19), (1, 8, 33)):
        x = torch.randn(size[0], 8, *size[1:])
        with torch.no_grad():
            expected = layer(x)
        y = torch.from_numpy(session.run(None, {"images": x.numpy()})[0])
        assert y.shape == expected.shape
        assert (y - expected).abs().max() < 1e-5 * max(expected.abs().max(), 1)


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
