"""The axial-attention layer."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab._moved import contents_moved
from axial_deeplab.models.attention.base import (
    Attention,
    fold_projection,
    logit_terms,
    merge_heads,
    split_heads,
    spread_terms,
)
from axial_deeplab.models.folding.fold import scale_and_shift
from axial_deeplab.ops.axial.api import ACTIVATIONS, axial_attention, axial_attention_sum
from axial_deeplab.ops.axial.statistics import count_logits, logit_moments
from axial_deeplab.ops.dispatch import is_transformed

AXES = ("height", "width")

# AxialBlock was here until version 0.1.
__getattr__ = contents_moved(__name__, "axial_deeplab.models.blocks.axial_block")


class AxialAttention(Attention):
    """Position-sensitive axial attention: multi-head self-attention along the columns or rows of a map.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, H', W'), where the attended axis has ceil(size / stride)
        positions. A head has out_channels / num_heads channels of values and half as many of queries and
        keys.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 2 num_heads.
        axis: "height" (each column attends to itself) or "width" (each row).
        num_heads: attention heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is half of out_channels.
        span: the paper's m, an odd number of positions of this feature map; None attends to the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        stride: every stride-th position of the attended axis is computed.
        rel_q: whether the logits have the term q·r^q.
        rel_k: whether the logits have the term k·r^k.
        rel_v: whether the output has the positional term of r^v.
        qkv_norm: whether batch norm follows the projection.
        logit_norm: whether each term of the logits is batch-normalized, each head on its own.
        output_norm: whether content and positional output are batch-normalized before they are added.
        activation: "softmax" or "sigmoid", see `axial_attention`.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the operation, see `axial_attention`.

    Raises:
        ValueError: out_channels cannot be shared out among the heads, or axis, span, max_span, stride or
            activation is none of the above.

    Source: section 3.2 of the paper, Eq. 4.
    """

    rel_q: nn.Parameter | None
    rel_k: nn.Parameter | None
    rel_v: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        axis: str = "height",
        num_heads: int = 8,
        key_channels: int | None = None,
        span: int | None = None,
        max_span: int = 255,
        stride: int = 1,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        output_norm: bool = True,
        activation: str = "softmax",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        _check_channels(out_channels, key_channels, num_heads)
        _check_positions(axis, span, max_span, stride)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}; the paper's is 'softmax'"
            )
        key_channels = out_channels // 2 if key_channels is None else key_channels
        super().__init__(
            in_channels,
            out_channels,
            key_channels,
            table=lambda channels: nn.Parameter(torch.empty(2 * max_span - 1, channels)),
            num_heads=num_heads,
            rel_q=rel_q,
            rel_k=rel_k,
            rel_v=rel_v,
            qkv_norm=qkv_norm,
            logit_norm=logit_norm,
            logit_bias=activation == "sigmoid",
            output_norm=output_norm,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            impl=impl,
        )
        self.axis = axis
        self.span = span
        self.stride = stride
        self.activation = activation

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again, as the first author's code does."""
        nn.init.normal_(self.qkv.weight, std=math.sqrt(1.0 / self.qkv.in_channels))
        for table in (self.rel_q, self.rel_k, self.rel_v):
            if table is not None:
                nn.init.normal_(table, std=math.sqrt(1.0 / self.value_dim))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_channels_last(x))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        q, k, v = along_axis(self.axis, q, k, v)
        logit_scale, logit_bias = self.normalize_logits(q, k, self.rel_q, self.rel_k)
        content, positional = axial_attention(
            q,
            k,
            v,
            self.rel_q,
            self.rel_k,
            self.rel_v,
            logit_scale,
            span=self.span,
            activation=self.activation,
            logit_bias=logit_bias,
            impl=self.impl,
        )
        (content,) = along_axis(self.axis, content)
        return content, None if positional is None else along_axis(self.axis, positional)[0]

    def logit_moments(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor, Tensor, int]:
        images, length, lines = q.shape[:3]
        moments = logit_moments(q, k, rel_q, rel_k, span=self.span, impl=self.impl)
        return *moments, count_logits(images, length, lines, self.span)

    def subsample(self, y: Tensor) -> Tensor:
        return subsample_axes(y, _strides(self.axis, self.stride))

    def fused(self) -> "FusedAxialAttention":
        """Return the layer for inference, all its norms folded away."""
        return FusedAxialAttention(self)


class FusedAxialAttention(nn.Module):
    """An `AxialAttention` in evaluation whose norms are constants.

    The norms of the projection and of the content are in the weights of the projection, and so are the shifts
    of both outputs, which a softmax hands on from the values.

    Args:
        layer: taken over as it is now.
    """

    logit_scale: Tensor | None
    logit_bias: Tensor | None
    positional_scale: Tensor
    shift: Tensor | None

    def __init__(self, layer: AxialAttention) -> None:
        super().__init__()
        self.axis = layer.axis
        self.num_heads = layer.num_heads
        self.key_dim = layer.key_dim
        self.value_dim = layer.value_dim
        self.span = layer.span
        self.stride = layer.stride
        self.activation = layer.activation
        self.impl = layer.impl
        self.rel_q, self.rel_k, self.rel_v = layer.rel_q, layer.rel_k, layer.rel_v
        channels = layer.num_heads * layer.value_dim
        content_scale, shift = scale_and_shift(layer.content_norm, channels)
        positional_scale, positional_shift = scale_and_shift(layer.positional_norm, channels)
        shift = shift + positional_shift
        # The weights of a softmax add up to one and hand on what is added to all values.
        hands_on = layer.activation == "softmax"
        self.qkv = fold_projection(
            layer.qkv, layer.qkv_norm, content_scale, shift if hands_on else torch.zeros_like(shift)
        )
        logit_scale = logit_bias = None
        if layer.logit_norm is not None:
            scale, logit_bias = layer.logit_norm.constants()
            logit_scale = spread_terms(scale, logit_terms(layer.rel_q, layer.rel_k))
        weight = layer.qkv.weight
        self.register_buffer("logit_scale", logit_scale)
        self.register_buffer("logit_bias", logit_bias)
        self.register_buffer(
            "positional_scale", positional_scale.unflatten(0, (self.num_heads, -1)).to(weight)
        )
        self.register_buffer("shift", None if hands_on else shift[:, None, None].to(weight))

    def forward(self, x: Tensor) -> Tensor:
        x = _channels_last(x)
        q, k, v = along_axis(
            self.axis, *split_heads(self.qkv(x), self.num_heads, self.key_dim, self.value_dim)
        )
        y = axial_attention_sum(
            q,
            k,
            v,
            self.rel_q,
            self.rel_k,
            self.rel_v,
            self.logit_scale,
            self.positional_scale,
            span=self.span,
            activation=self.activation,
            logit_bias=self.logit_bias,
            impl=self.impl,
        )
        y = merge_heads(*along_axis(self.axis, y))
        if self.shift is not None:
            y = y + self.shift
        return subsample_axes(y, _strides(self.axis, self.stride))


def _channels_last(x: Tensor) -> Tensor:
    """Return x (B, C, H, W) with the channels of a position and head side by side: no axis is moved."""
    # Inside of `torch.func.vmap` no tensor has a layout.
    return x if is_transformed() else x.contiguous(memory_format=torch.channels_last)


def along_axis(axis: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Swap (B, H, W, N, C) and (B, L, M, N, C), in either direction."""
    return tensors if axis == "height" else tuple(x.transpose(1, 2) for x in tensors)


def _strides(axis: str, stride: int) -> tuple[int, int]:
    return (stride, 1) if axis == "height" else (1, stride)


def subsample_axes(x: Tensor, strides: tuple[int, int]) -> Tensor:
    """Take every stride-th row and column of (B, C, H, W)."""
    # Pooling of single pixels leaves no gaps in memory; those of a slice cannot be exported for every size.
    return x if strides == (1, 1) else F.avg_pool2d(x, 1, strides)


def _check_channels(out_channels: int, key_channels: int | None, num_heads: int) -> None:
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}; the paper's is 8")
    if key_channels is not None:
        _check_multiple("out_channels", out_channels, num_heads, num_heads)
        _check_multiple("key_channels", key_channels, num_heads, num_heads)
    else:
        _check_multiple("out_channels", out_channels, 2 * num_heads, num_heads)


def _check_multiple(name: str, channels: int, unit: int, num_heads: int) -> None:
    if channels < 1 or channels % unit:
        better = max(round(channels / unit), 1) * unit
        raise ValueError(
            f"{name} must be a multiple of {unit} for {num_heads} heads, got {channels}; try {better}"
        )


def _check_positions(axis: str, span: int | None, max_span: int, stride: int) -> None:
    if axis not in AXES:
        raise ValueError(f"axis must be one of {list(AXES)}, got {axis!r}; one layer attends along one axis")
    if span is not None and (span < 1 or span % 2 == 0):
        better = max(span, 0) // 2 * 2 + 1
        raise ValueError(f"span must be a positive odd number of positions, got {span}; try {better}")
    if max_span < 1:
        raise ValueError(f"max_span must be at least 1 position, got {max_span}; the paper's is 255")
    if stride < 1:
        raise ValueError(f"stride must be at least 1 position, got {stride}; 1 keeps all positions")
