"""The axial-attention layer."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from axial_deeplab._moved import contents_moved
from axial_deeplab.models.attention.base import (
    Attention,
    FusedAttention,
    check_multiple,
    merge_heads,
    subsample,
)
from axial_deeplab.models.folding.fold import fold_layers
from axial_deeplab.models.options import AXIAL, NORM, AxialOptions, Norm, check_map, with_keywords
from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum
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
        key_channels: channels of the queries, and of the keys, of all heads; None is half of out_channels.
        stride: every stride-th position of the attended axis is computed.
        attention: settings of the attention, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

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
        key_channels: int | None = None,
        stride: int = 1,
        attention: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        attention, norm = with_keywords(keywords, attention, norm)
        if axis not in AXES:
            raise ValueError(
                f"axis must be one of {list(AXES)}, got {axis!r}; one layer attends along one axis"
            )
        if key_channels is None:
            check_multiple("out_channels", out_channels, 2 * attention.num_heads, attention.num_heads)
            key_channels = out_channels // 2
        super().__init__(
            in_channels,
            out_channels,
            key_channels,
            attention,
            norm,
            table=lambda channels: nn.Parameter(torch.empty(2 * attention.max_span - 1, channels)),
            stride=stride,
            logit_bias=attention.activation == "sigmoid",
        )
        self.axis = axis
        self.span = attention.span
        self.activation = attention.activation

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again, as the first author's code does."""
        nn.init.normal_(self.qkv.weight, std=math.sqrt(1.0 / self.qkv.in_channels))
        for table in (self.rel_q, self.rel_k, self.rel_v):
            if table is not None:
                nn.init.normal_(table, std=math.sqrt(1.0 / self.value_dim))

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.in_channels, self)
        return super().forward(channels_last(x))

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

    def strides(self) -> tuple[int, int]:
        return _strides(self.axis, self.stride)

    def fused(self) -> nn.Module:
        """Return the layer for inference, all its norms folded away."""
        return FusedAxialAttention(self) if self.can_fold() else fold_layers(self)


class FusedAxialAttention(FusedAttention):
    """An `AxialAttention` for inference, see `FusedAttention`."""

    def __init__(self, layer: AxialAttention) -> None:
        super().__init__(layer, hands_on=layer.activation == "softmax")
        self.axis, self.span, self.activation = layer.axis, layer.span, layer.activation
        self.rel_q, self.rel_k, self.rel_v = layer.rel_q, layer.rel_k, layer.rel_v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = along_axis(self.axis, *self.project(channels_last(x)))
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
        return subsample(y, _strides(self.axis, self.stride))


def channels_last(x: Tensor) -> Tensor:
    """Return x (B, C, H, W) with the channels of a position and head side by side: no axis is moved."""
    # Inside of `torch.func.vmap` no tensor has a layout.
    return x if is_transformed() else x.contiguous(memory_format=torch.channels_last)


def along_axis(axis: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Swap (B, H, W, N, C) and (B, L, M, N, C), in either direction."""
    return tensors if axis == "height" else tuple(x.transpose(1, 2) for x in tensors)


def _strides(axis: str, stride: int) -> tuple[int, int]:
    return (stride, 1) if axis == "height" else (1, stride)
