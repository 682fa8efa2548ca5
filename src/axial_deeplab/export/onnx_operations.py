"""Parts of ONNX files: one operation each while a program is captured, written as nodes afterwards.

PyTorch's exporters follow each view of each attention layer through symbolic arithmetic of sizes, several
times. One operation for the layer leaves them little to follow, and the nodes can be those that runtimes are
fast at. A crop, which can only be captured as a padding by negative numbers, becomes a slice: other runtimes
than ONNX Runtime compute such paddings wrongly or refuse them.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from axial_deeplab.models.attention.axial import FusedAxialAttention
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.ops.library import registered

# Added to logits outside of the span: the softmax makes it zero; no number is infinite, which some converters
# cannot store.
_ABSENT = -1e30
# The end of a slice that goes to the end.
_WHOLE = 2**31 - 1


@registered(
    "onnx_attention",
    "Tensor x, Tensor weight, Tensor? bias, Tensor? rel_q, Tensor? rel_k, Tensor? rel_v, Tensor logit_scale, "
    "Tensor positional_scale, SymInt? span, int axis, int stride",
    "Tensor",
)
def onnx_attention(*arguments: Any) -> Tensor:
    """Stand for a `FusedAxialAttention` in a program that becomes an ONNX file."""
    raise NotImplementedError("onnx_attention must become nodes of ONNX, got a call; use axial_attention")


@onnx_attention.register_fake
def _(x: Tensor, *arguments: Any) -> Tensor:
    *_, positional_scale, _, axis, stride = arguments
    size = list(x.shape)
    size[1] = positional_scale.numel()
    size[axis] = (size[axis] + stride - 1) // stride
    return x.new_empty(size)


@registered("onnx_crop", "Tensor x, SymInt height, SymInt width", "Tensor")
def onnx_crop(*arguments: Any) -> Tensor:
    """Stand for `models.resize.crop` in a program that becomes an ONNX file."""
    raise NotImplementedError("onnx_crop must become nodes of ONNX, got a call; use models.resize.crop")


@onnx_crop.register_fake
def _(x: Tensor, height: int, width: int) -> Tensor:
    return x.new_empty(*x.shape[:2], height, width)


class OnnxAttention(nn.Module):
    """A layer that is one operation, to be captured.

    Shapes: those of the layer.

    Args:
        layer: one with a softmax.
    """

    def __init__(self, layer: FusedAxialAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        scale = x.new_ones(3, layer.num_heads) if layer.logit_scale is None else layer.logit_scale
        tables = layer.rel_q, layer.rel_k, layer.rel_v
        axis = 2 if layer.axis == "height" else 3
        constants = layer.qkv.weight, layer.qkv.bias, *tables, scale, layer.positional_scale
        y: Tensor = onnx_attention(x, *constants, layer.span, axis, layer.stride)
        return y


@contextlib.contextmanager
def as_operations(network: nn.Module) -> Iterator[None]:
    """Let crops, and the layers of a folded network that have a softmax, be operations for a while."""
    homes = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, FusedAxialAttention) and child.activation == "softmax"
    ]
    cropping = [module for module in network.modules() if isinstance(module, PanopticDeepLab)]
    try:
        for parent, name, child in homes:
            setattr(parent, name, OnnxAttention(child))
        for module in cropping:
            module.crop = lambda x, size: onnx_crop(x, *size)
        yield
    finally:
        for parent, name, child in homes:
            setattr(parent, name, child)
        for module in cropping:
            module.__dict__.pop("crop", None)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the operations of this file and what writes each as nodes, for `torch.onnx.export`."""
    ours = torch.ops.axial_deeplab
    write_attention = partial(_write_attention, {})
    # What the exporter asks of a function.
    write_attention.__name__ = "onnx_attention"  # type: ignore[attr-defined]
    return {ours.onnx_attention.default: write_attention, ours.onnx_crop.default: _write_crop}


def _write_crop(x: Any, height: Any, width: Any) -> Any:
    from onnxscript import opset18

    op: Any = opset18
    size = op.Concat(op.Reshape(height, [1]), op.Reshape(width, [1]), axis=0)
    return op.Slice(x, op.Constant(value_ints=[0, 0]), size, op.Constant(value_ints=[2, 3]))


def _write_attention(
    by_position: dict[Any, tuple[Any, int]],
    x: Any,
    weight: Any,
    bias: Any,
    rel_q: Any,
    rel_k: Any,
    rel_v: Any,
    logit_scale: Any,
    positional_scale: Any,
    span: int | None,
    axis: int,
    stride: int,
) -> Any:
    """Write the nodes of a layer.

    Positions come first: (L, X, D) with X = B·M·N lines, a view of the map, is then what the tables are
    multiplied with. Letters are those of `axial_attention`; o has every stride-th position.

    Args:
        by_position: what the layers so far gave, by their maps: the same (L, B, M, N·V), and the axis of L.
    """
    from onnxscript import opset18

    op: Any = opset18
    heads, value_dim = positional_scale.shape
    key_dim = (weight.shape[0] // heads - value_dim) // 2
    keys, values = heads * key_dim, heads * value_dim

    def integers(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    def cut(x: Any, axis: int, start: int, end: int, step: int = 1) -> Any:
        return op.Slice(x, *map(integers, (start, end, axis, step)))

    def scaled(x: Any, term: int) -> Any:
        by_channel = op.Expand(op.Unsqueeze(op.Gather(logit_scale, term), [1]), [heads, key_dim])
        return op.Reshape(op.Mul(x, op.Reshape(by_channel, [keys])), [0, -1, key_dim])  # (L, X, D)

    def rows(table: Any, distances: Any) -> Any:
        farthest = table.shape[0] // 2
        return op.Gather(table, op.Add(op.Clip(distances, -farthest, farthest), farthest), axis=0)

    def lines(x: Any) -> Any:
        return op.Transpose(x, perm=[1, 0, 2])

    def transposed(x: Any) -> Any:
        return op.Transpose(x, perm=[0, 2, 1])

    def projected(x: Any) -> Any:
        y = op.MatMul(x, op.Transpose(op.Reshape(weight, [weight.shape[0], -1]), perm=[1, 0]))
        return y if bias is None else op.Add(y, bias)

    ends = 0, keys, 2 * keys, 2 * keys + values
    if x in by_position:  # two layers need no map between them
        y, other_axis = by_position[x]
        qkv = projected(y if axis == other_axis else op.Transpose(y, perm=[2, 1, 0, 3]))
        q, k, v = (cut(qkv, 3, *bounds) for bounds in pairwise(ends))
    else:
        shape = op.Concat(integers(0), op.Shape(x, start=2, end=4), integers(-1), axis=0)
        qkv = op.Reshape(projected(transposed(op.Reshape(x, [0, 0, -1]))), shape)  # (B, H, W, C)
        perm = [1, 0, 2, 3] if axis == 2 else [2, 0, 1, 3]
        # The channels are cut first: a transposition next to the one before would be made one with it, which
        # takes ONNX Runtime five times as long.
        q, k, v = (op.Transpose(cut(qkv, 3, *bounds), perm=perm) for bounds in pairwise(ends))
    # q, k, v: (L, B, M, N·D)
    positions = op.Range(0, op.Squeeze(op.Shape(k, start=0, end=1)), 1)
    queries = positions
    if stride > 1:
        q, queries = (cut(x, 0, 0, _WHOLE, stride) for x in (q, positions))
    # p - o at row o, column p.
    distances = op.Sub(op.Unsqueeze(positions, [0]), op.Unsqueeze(queries, [1]))

    logits = op.MatMul(lines(scaled(q, 0)), op.Transpose(op.Reshape(k, [0, -1, key_dim]), perm=[1, 2, 0]))
    if rel_q is not None:
        logits = op.Add(logits, lines(op.MatMul(scaled(q, 1), transposed(rows(rel_q, distances)))))
    if rel_k is not None:
        by_key = op.MatMul(scaled(k, 2), transposed(rows(rel_k, op.Transpose(distances, perm=[1, 0]))))
        logits = op.Add(logits, op.Transpose(by_key, perm=[1, 2, 0]))  # (p, X, o) -> (X, o, p)
    if span is not None:
        is_absent = op.CastLike(op.Greater(op.Abs(distances), span // 2), logits)
        logits = op.Add(logits, op.Mul(is_absent, _ABSENT))
    attention = op.Softmax(logits, axis=-1)

    shape = op.Concat(op.Shape(q, start=0, end=3), integers(values), axis=0)
    y = op.Reshape(lines(op.MatMul(attention, lines(op.Reshape(v, [0, -1, value_dim])))), shape)
    if rel_v is not None:
        positional = op.Reshape(op.MatMul(lines(attention), rows(rel_v, distances)), shape)
        y = op.Add(y, op.Mul(positional, op.Reshape(positional_scale, [values])))
    channels_last = op.Transpose(y, perm=[1, 0, 2, 3] if axis == 2 else [1, 2, 0, 3])  # (B, H, W, N·V)
    shape = op.Concat(integers(0, values), op.Shape(channels_last, start=1, end=3), axis=0)
    result = op.Reshape(transposed(op.Reshape(channels_last, [0, -1, values])), shape)
    by_position[result] = y, axis
    return result
