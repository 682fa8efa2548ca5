"""Parts of ONNX files: one operation each while a program is captured, written as nodes afterwards.

PyTorch's exporters follow each view of each attention layer through symbolic arithmetic of sizes, several
times, and their passes take time with the square of the number of nodes. One node for the layer leaves them
little to do, and the nodes that it becomes can be those that runtimes are fast at. A crop, which can only be
captured as a padding by negative numbers, becomes a slice: other runtimes than ONNX Runtime compute such
paddings wrongly or refuse them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.onnx.ops
from torch import Tensor, nn

from axial_deeplab.models.attention.axial import FusedAxialAttention
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.ops.library import registered

# Added to logits outside of the span: the softmax makes it zero; no number is infinite, which some converters
# cannot store.
_ABSENT = -1e30
# Few enough for the caches: as fast as half and twice as many, 1.2 to 2 times as fast as all at once. Each
# part is nodes of its own.
_LOGITS_OF_A_PART = 400_000
_MOST_PARTS = 16
# The node of a layer, and what it gets beside the map.
_DOMAIN, _ATTENTION = "axial_deeplab", "AxialAttention"
_CONSTANTS = "weight", "bias", "rel_q", "rel_k", "rel_v", "logit_scale", "positional_scale"
# The end of a slice that goes to the end.
_WHOLE = 2**31 - 1


@registered("onnx_crop", "Tensor x, SymInt height, SymInt width", "Tensor")
def onnx_crop(*arguments: Any) -> Tensor:
    """Stand for `models.resize.crop` in a program that becomes an ONNX file."""
    raise NotImplementedError("onnx_crop must become nodes of ONNX, got a call; use models.resize.crop")


@onnx_crop.register_fake
def _(x: Tensor, height: int, width: int) -> Tensor:
    return x.new_empty(*x.shape[:2], height, width)


class OnnxAttention(nn.Module):
    """A layer that is one node, to be captured.

    Shapes: those of the layer.

    Args:
        layer: one with a softmax.
    """

    def __init__(self, layer: FusedAxialAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if not torch.compiler.is_exporting():
            raise NotImplementedError(
                "onnx_attention must become nodes of ONNX, got a call; use axial_attention"
            )
        axis = 2 if layer.axis == "height" else 3
        size = [x.shape[0], layer.positional_scale.numel(), *x.shape[2:]]
        size[axis] = (size[axis] + layer.stride - 1) // layer.stride
        is_free = _is_free(x.shape)
        attributes: dict[str, Any] = {
            "axis": axis,
            "stride": layer.stride,
            "span": layer.span or 0,
            "size": [0] if is_free else [x.shape[0], *x.shape[2:]],
            "num_parts": _num_parts(x, axis, layer.num_heads),
        }
        constants = {name: getattr(layer, name) for name in _CONSTANTS[2:]}
        y: Tensor = torch.onnx.ops.symbolic(
            f"{_DOMAIN}::{_ATTENTION}",
            (x, layer.qkv.weight, layer.qkv.bias, *constants.values()),
            attributes,
            dtype=x.dtype,
            shape=size,
            version=1,
        )
        return y


def _cropped(x: Tensor, size: Sequence[int]) -> Tensor:
    sides = x.shape[2:]
    return x if not _is_free(sides) and list(sides) == list(size) else onnx_crop(x, *size)


def _is_free(sides: Sequence[int]) -> bool:
    return any(isinstance(side, torch.SymInt) for side in sides)


def _num_parts(x: Tensor, axis: int, num_heads: int) -> int:
    """Return how many parts the lines of a map shall be attended in, so that the logits stay in a cache.

    Where sizes are free, it depends on the stride of the map alone, which its size in the example tells: the
    smallest image that a network takes is a quarter of it, and still has a line for each part.
    """
    batch, length, lines = x.shape[0], x.shape[axis], x.shape[5 - axis]
    if isinstance(lines, torch.SymInt):
        num_parts = 1 + (min(each.node.hint for each in (length, lines)) - 1) // 4
        return num_parts if num_parts > 2 else 1
    logits = batch * lines * num_heads * length**2
    return min(-(-logits // _LOGITS_OF_A_PART), lines, _MOST_PARTS)


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
            module.crop = _cropped
        yield
    finally:
        for parent, name, child in homes:
            setattr(parent, name, child)
        for module in cropping:
            module.__dict__.pop("crop", None)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the operations of this file and what writes each as nodes, for `torch.onnx.export`."""
    return {torch.ops.axial_deeplab.onnx_crop.default: _write_crop}


def _write_crop(x: Any, height: Any, width: Any) -> Any:
    from onnxscript import opset18

    op: Any = opset18
    size = op.Concat(op.Reshape(height, [1]), op.Reshape(width, [1]), axis=0)
    return op.Slice(x, op.Constant(value_ints=[0, 0]), size, op.Constant(value_ints=[2, 3]))


def write_attention(model: Any) -> None:
    """Replace the layers that are one node by nodes of ONNX, in place.

    Args:
        model: an `onnx.ModelProto`.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    others = [node for node in graph.node if node.domain != _DOMAIN]
    needed = {name for node in others for name in node.input} | {output.name for output in graph.output}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = _Nodes()
    # What the layers so far gave as (B, H, W, C), by their maps: no map is needed between two layers.
    channels_last: dict[str, str] = {}
    for node in graph.node:
        if node.domain != _DOMAIN:
            nodes.nodes.append(node)
            continue
        settings: dict[str, Any] = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        names = [*node.input[1:], *[""] * (len(_CONSTANTS) - len(node.input[1:]))]
        constants = (arrays[name] if name else None for name in names)
        settings |= zip(_CONSTANTS, constants, strict=True)
        x, (result,) = node.input[0], node.output
        nodes.prefix = f"attention_{len(channels_last)}"
        y = _attention(nodes, x, channels_last.get(x), **settings)
        channels_last[result] = y
        if result in needed:
            rows = nodes.Transpose(
                nodes.Reshape(y, [0, -1, settings["positional_scale"].size]), perm=[0, 2, 1]
            )
            sides = list(settings["size"][1:])
            if sides:
                sides[settings["axis"] - 2] = -1  # of which every stride-th position is left
                shape: Any = [0, 0, *sides]
            else:
                shape = nodes.Concat([0, 0], nodes.Shape(y, start=1, end=3), axis=0)
            nodes.Reshape(rows, shape, output=result)
    del graph.node[:]
    graph.node.extend(nodes.nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *nodes.constants.values()])
    imports = [each for each in model.opset_import if each.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)


class _Nodes:
    """Nodes in the making: `nodes.MatMul(a, b)` adds one and returns the name of its result.

    Inputs are names or arrays, which become constants.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[Any, Any] = {}
        self.prefix = ""

    def __getattr__(self, kind: str) -> Callable[..., str]:
        return partial(self._add, kind)

    def _add(self, kind: str, *inputs: Any, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{self.prefix}_{len(self.nodes)}"
        names = [each if isinstance(each, str) else self._constant(np.asarray(each)) for each in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], name=f"node_{output}", **attributes))
        return output

    def _constant(self, values: Any) -> str:
        from onnx import numpy_helper

        key = values.dtype.str, values.shape, values.tobytes()
        if key not in self.constants:
            name = f"attention_constant_{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return str(self.constants[key].name)


def _attention(
    op: _Nodes,
    x: str,
    channels_last: str | None,
    *,
    weight: Any,
    bias: Any,
    rel_q: Any,
    rel_k: Any,
    rel_v: Any,
    logit_scale: Any,
    positional_scale: Any,
    span: int,
    axis: int,
    stride: int,
    size: Sequence[int],
    num_parts: int,
) -> str:
    """Write the nodes of a layer and return its result (B, H, W, N·V).

    Letters are those of `axial_attention`; o has every stride-th position, X = B·M·N lines. The tables are
    multiplied position by position, with all lines as columns; their terms then turn into rows of logits
    together, in one transposition.

    Args:
        channels_last: x as (B, H, W, C), if there is such a tensor.
        size: batch, height and width of x, or 0 if they are free.
    """
    heads, value_dim = positional_scale.shape
    key_dim = (weight.shape[0] // heads - value_dim) // 2
    keys, values = heads * key_dim, heads * value_dim
    along_height = axis == 2
    of_lines = 4 - axis  # in (B, H, W, C)
    is_free = size == [0]

    def shape(*sides: int | str) -> Any:
        """Return sides in one, each a number or a tensor of one."""
        if all(isinstance(side, int) for side in sides):
            return sides
        return op.Concat(*([side] if isinstance(side, int) else side for side in sides), axis=0)

    def cut(x: str, axis: int, start: Any, end: Any, step: int = 1) -> str:
        bounds = ([bound] if isinstance(bound, int) else bound for bound in (start, end))
        return op.Slice(x, *bounds, [axis], [step])

    def by_position(x: str) -> str:
        return op.Transpose(x, perm=[1, 0, 2, 3] if along_height else [2, 0, 1, 3])  # (L, B, M, C)

    def swapped(x: str) -> str:
        return op.Transpose(x, perm=[1, 0, 2])

    def transposed(x: str) -> str:
        return op.Transpose(x, perm=[0, 2, 1])

    def scaled(x: str, term: int, lines: Any) -> str:
        if logit_scale is not None:
            by_channel = logit_scale[term].repeat(key_dim)
            if not is_free:  # long rows: a runtime multiplies each by itself
                by_channel = np.tile(by_channel, size[0] * lines)
                x = op.Reshape(x, [0, len(by_channel)])
            x = op.Mul(x, by_channel)
        return op.Reshape(x, [0, -1, key_dim])  # (L, X, D)

    positions_first = transposed(op.Reshape(x, [0, 0, -1])) if channels_last is None else channels_last
    qkv = op.MatMul(positions_first, weight.reshape(len(weight), -1).T)
    if bias is not None:
        qkv = op.Add(qkv, bias)
    if channels_last is None:
        sides = [op.Shape(x, start=2, end=4)] if is_free else size[1:]
        qkv = op.Reshape(qkv, shape(0, *sides, len(weight)))

    # p - o at row o, column p.
    distances: Any
    if is_free:
        positions = op.Range(0, op.Squeeze(op.Shape(qkv, start=axis - 1, end=axis)), 1)
        queries = cut(positions, 0, 0, _WHOLE, stride) if stride > 1 else positions
        distances = op.Sub(op.Unsqueeze(positions, [0]), op.Unsqueeze(queries, [1]))
    else:
        places = np.arange(size[axis - 1])
        distances = places - places[::stride, None]

    def rows(table: Any, perm: Sequence[int]) -> Any:
        """Return the row of each distance, (o, p, D) in another order."""
        if table is None:
            return None
        farthest = len(table) // 2
        if not is_free:
            return table[distances.clip(-farthest, farthest) + farthest].transpose(perm)
        gathered = op.Gather(table, op.Add(op.Clip(distances, -farthest, farthest), farthest), axis=0)
        return op.Transpose(gathered, perm=perm)

    def as_image(table: Any) -> Any:
        """Return a table of rows with an axis in front, so that its terms are images (1, o, p, X)."""
        if table is None:
            return None
        return op.Unsqueeze(table, [0]) if is_free else table[None]

    rows_q, rows_k = as_image(rows(rel_q, (0, 1, 2))), as_image(rows(rel_k, (1, 0, 2)))
    rows_v = rows(rel_v, (0, 1, 2))
    absent: Any = None  # (o, p)
    if span:
        if is_free:
            is_absent = op.Greater(op.Abs(distances), span // 2)
            absent = op.Where(is_absent, np.float32(_ABSENT), np.float32(0))
        else:
            absent = np.where(abs(distances) > span // 2, _ABSENT, 0).astype(np.float32)

    def attended(qkv: str, lines: Any) -> str:
        # The channels are cut first: a transposition next to the one before would be made one with it, which
        # takes ONNX Runtime five times as long.
        ends = 0, keys, 2 * keys, 2 * keys + values
        q, k, v = (by_position(cut(qkv, 3, *bounds)) for bounds in pairwise(ends))
        if stride > 1:
            q = cut(q, 0, 0, _WHOLE, stride)
        by_key = op.Transpose(op.Reshape(k, [0, -1, key_dim]), perm=[1, 2, 0])
        logits = op.MatMul(swapped(scaled(q, 0, lines)), by_key)  # (X, o, p)
        terms = []  # (1, o, p, X)
        if rows_q is not None:
            terms.append(op.MatMul(rows_q, transposed(scaled(q, 1, lines))))
        if rows_k is not None:
            term = op.MatMul(rows_k, transposed(scaled(k, 2, lines)))
            terms.append(op.Transpose(term, perm=[0, 2, 1, 3]))
        if terms:
            # OpenVINO moves the channels of an image to the front faster than the last of three axes.
            by_line = op.Transpose(reduce(op.Add, terms), perm=[0, 3, 1, 2])
            logits = op.Add(logits, op.Squeeze(by_line, [0]))
        if absent is not None:
            logits = op.Add(logits, absent)
        attention = op.Softmax(logits, axis=-1)

        batch = op.Shape(qkv, start=0, end=1) if is_free else size[0]
        y = op.MatMul(attention, swapped(op.Reshape(v, [0, -1, value_dim])))
        y = op.Reshape(y, shape(batch, lines, heads, -1, value_dim))
        y = op.Transpose(y, perm=[0, 3, 1, 2, 4] if along_height else [0, 1, 3, 2, 4])
        y = op.Reshape(y, [0, 0, 0, values])
        if rows_v is not None:
            positional = op.MatMul(swapped(attention), rows_v)  # (o, X, V)
            positional = op.Reshape(positional, shape(0, batch, lines, values))
            positional = op.Mul(positional, positional_scale.reshape(-1))
            y = op.Add(y, op.Transpose(positional, perm=[1, 0, 2, 3] if along_height else [1, 2, 0, 3]))
        return y

    num_lines: Any = op.Shape(qkv, start=of_lines, end=of_lines + 1) if is_free else size[of_lines]
    if num_parts == 1:
        return attended(qkv, num_lines)
    parts, bounds = [], list[Any]()
    for start, end in pairwise(range(num_parts + 1)):
        if is_free:
            bounds = [op.Div(op.Mul(num_lines, part), num_parts) for part in (start, end)]
            lines = op.Sub(*reversed(bounds))
        else:
            bounds = [num_lines * part // num_parts for part in (start, end)]
            lines = bounds[1] - bounds[0]
        parts.append(attended(cut(qkv, of_lines, *bounds), lines))
    return op.Concat(*parts, axis=of_lines)
