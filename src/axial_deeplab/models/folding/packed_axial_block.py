"""A folded axial block that runs as four matrix products and two calls of the attention kernel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from axial_deeplab.models.pointwise import (
    PackedProduct,
    PointwiseConv2d,
    can_use_packed,
    fingerprint,
)
from axial_deeplab.models.strips import STRIP_BYTES
from axial_deeplab.ops.axial.prepared import PreparedAttention, heads_last

if TYPE_CHECKING:
    from axial_deeplab.models.attention.axial import FusedAxialAttention
    from axial_deeplab.models.blocks.axial_block import AxialBlock


# Lines of a strip: enough for the threads, and for a matrix product that is worth its call.
_FEWEST_LINES = 16


class FusedAxialBlock(nn.Module):
    """An `AxialBlock` for inference.

    On a CPU, in float32 and without gradients it computes on copies of its weights: laid out for products,
    the channels of a map in the order that the attention kernel wants. Its layers are then not called, nor
    their hooks. Everywhere else it is the block with folded layers. Both give the same up to rounding.

    Shapes: see `AxialBlock`.

    Args:
        block: block whose layers are folded; taken over.
    """

    def __init__(self, block: "AxialBlock") -> None:
        super().__init__()
        self.block = block
        self._packed: _PackedBlock | None = None
        self._packed_tensors: tuple[Tensor, ...] = ()
        self._homes: list[tuple[dict[str, Any], str]] = []
        self._packed_state: object = None

    def fused(self) -> nn.Module:
        """Return the block itself, which is folded already."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        packed = self._pack(x) if can_use_packed(x, self._packed_tensors) else None
        y: Tensor = self.block(x) if packed is None else packed(x)
        return y

    def _pack(self, x: Tensor) -> "_PackedBlock | None":
        """Return the block on copies of its weights as they are now; None if it cannot run so."""
        if (
            not self._packed_tensors
            # `torch.func.functional_call` puts other tensors in their places for a while.
            or any(
                home[name] is not x for (home, name), x in zip(self._homes, self._packed_tensors, strict=True)
            )
            or fingerprint(self._packed_tensors) != self._packed_state
        ):
            self._homes = [
                (home, name)
                for module in self.block.modules()
                for home in _homes_of(module)
                for name, x in home.items()
                if x is not None
            ]
            self._packed_tensors = tuple(home[name] for home, name in self._homes)
            self._packed_state = fingerprint(self._packed_tensors)
            self._packed = _PackedBlock(self.block) if _PackedBlock.can_run(self.block) else None
            if not can_use_packed(x, self._packed_tensors):
                return None
        return self._packed

    def _forget(self) -> None:
        self._packed, self._packed_tensors, self._homes = None, (), []

    def _apply(self, *args: Any, **kwargs: Any) -> "FusedAxialBlock":
        self._forget()
        super()._apply(*args, **kwargs)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None, "_packed_tensors": (), "_homes": [], "_packed_state": None}


class _PackedBlock:
    """The computation of a folded block on copies of its weights."""

    def __init__(self, block: "AxialBlock") -> None:
        height, width = _attentions(block)
        inner = heads_last(height.num_heads, height.value_dim)
        self.stride = block.stride
        self.widest = max(layer.qkv.out_channels for layer in (height, width))
        self.final_relu = block.final_relu
        self.down = _product(block.down)
        self.height_qkv = _projection(height)
        self.height = _prepare(height, relu=False)
        self.width_qkv = _projection(width, inner)
        self.width = _prepare(width, relu=True)
        self.up = _product(block.up, columns=inner)
        self.shortcut = None if block.shortcut is None else _product(block.shortcut)

    @staticmethod
    def can_run(block: "AxialBlock") -> bool:
        """Return whether all of the block is of the kind that this class computes."""
        attentions = _attentions(block)
        if not all(hasattr(layer, "logit_scale") for layer in attentions):
            return False  # not folded, since somebody has changed them
        convolutions = [block.down, block.up, *(layer.qkv for layer in attentions)]
        if block.shortcut is not None:
            convolutions.append(block.shortcut)
        return (
            block.squeeze_excite is None
            and (block.stride == 1 or block.stride_mode == "slice")
            and all(type(convolution) is PointwiseConv2d for convolution in convolutions)
            and all(x.is_cpu and x.dtype == torch.float32 for x in (*block.parameters(), *block.buffers()))
            and all(
                layer.activation == "softmax"
                and layer.impl in ("auto", "numba")
                and PreparedAttention.why_not(layer.num_heads, layer.qkv.weight) is None
                for layer in attentions
            )
        )

    def __call__(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        y = self._in_strips(self._along_height, x, axis=2)
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride]
        return self._in_strips(self._along_width, y, x, axis=1).permute(0, 3, 1, 2)

    def _in_strips(self, layers: Callable[..., Tensor], *maps: Tensor, axis: int) -> Tensor:
        """Run layers that keep the positions of an axis apart, a part of them at a time if there are many."""
        length = maps[0].shape[axis]
        number = -(-4 * self.widest * maps[0][..., 0].numel() // STRIP_BYTES)
        if min(number, length // _FEWEST_LINES) <= 1:
            return layers(*maps)
        size = -(-length // min(number, length // _FEWEST_LINES))
        whole = None
        for start in range(0, length, size):
            part = layers(*(each.narrow(axis, start, min(size, length - start)) for each in maps))
            if whole is None:
                shape = list(part.shape)
                shape[axis] = length
                whole = part.new_empty(shape)
            whole.narrow(axis, start, part.shape[axis]).copy_(part)
            del part
        assert whole is not None
        return whole

    def _along_height(self, x: Tensor) -> Tensor:
        size = x.shape[:3]
        # One name for all maps: each is freed as soon as the next one exists.
        y = self.down(x.flatten(0, 2))
        y = self.height_qkv(y)
        return self.height(y.view(*size, -1))

    def _along_width(self, y: Tensor, x: Tensor) -> Tensor:
        size = y.shape[:3]
        y = self.width_qkv(y.flatten(0, 2))
        y = self.width(y.view(*size, -1))
        size = y.shape[:3]
        y = self.up(y.flatten(0, 2))
        x = x.flatten(0, 2)
        if self.shortcut is not None:
            x = self.shortcut(x)
        y += x
        if self.final_relu:
            y.relu_()
        return y.view(*size, -1)


def _homes_of(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where a module keeps its parameters and its buffers."""
    return module._parameters, module._buffers


def _attentions(block: "AxialBlock") -> "tuple[FusedAxialAttention, FusedAxialAttention]":
    """Return the folded layers that have taken the places of the block's own."""
    height: Any = block.height_attention
    width: Any = block.width_attention
    return height, width


def _product(convolution: Any, *, rows: Tensor | None = None, columns: Tensor | None = None) -> PackedProduct:
    """Return a 1x1 convolution as a product, with its outputs or inputs in another order."""
    weight, bias = convolution.weight.flatten(1), convolution.bias
    if rows is not None:
        weight, bias = weight[rows], None if bias is None else bias[rows]
    return PackedProduct(weight if columns is None else weight[:, columns], bias, convolution.relu)


def _projection(layer: "FusedAxialAttention", columns: Tensor | None = None) -> PackedProduct:
    rows = heads_last(layer.num_heads, layer.key_dim, layer.key_dim, layer.value_dim)
    return _product(layer.qkv, rows=rows, columns=columns)


def _prepare(layer: "FusedAxialAttention", *, relu: bool) -> PreparedAttention:
    return PreparedAttention(
        layer.rel_q,
        layer.rel_k,
        layer.rel_v,
        layer.logit_scale,
        layer.positional_scale,
        axis=layer.axis,
        head_dim=layer.key_dim,
        span=layer.span,
        stride=layer.stride,
        relu=relu,
    )
