"""The axial-attention layer and the residual block that is made of two of them."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from axial_deeplab.models.attention.window import (
    fold_projection,
    logit_terms,
    merge_heads,
    split_heads,
    spread_terms,
    take_terms,
)
from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.folding.fold import fold_layers, scale_and_shift
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm, keep_running_statistics
from axial_deeplab.models.recomputation import add, recompute_normalized, relu
from axial_deeplab.ops.axial.api import ACTIVATIONS, axial_attention, axial_attention_sum
from axial_deeplab.ops.axial.statistics import count_logits, logit_moments

AXES = ("height", "width")
STRIDE_MODES = ("slice", "average_pool")


class AxialAttention(nn.Module):
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
        super().__init__()
        _check_channels(out_channels, key_channels, num_heads)
        _check_positions(axis, span, max_span, stride)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}; the paper's is 'softmax'"
            )
        key_channels = out_channels // 2 if key_channels is None else key_channels
        self.axis = axis
        self.num_heads = num_heads
        self.span = span
        self.stride = stride
        self.activation = activation
        self.impl = impl
        self.value_dim = out_channels // num_heads
        self.key_dim = key_channels // num_heads

        def batch_norm(channels: int, wanted: bool) -> nn.Module:
            return BatchNorm2d(channels, norm_eps, norm_momentum) if wanted else nn.Identity()

        def table(channels: int, wanted: bool) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(2 * max_span - 1, channels)) if wanted else None

        qkv_channels = 2 * key_channels + out_channels
        self.qkv = nn.Conv2d(in_channels, qkv_channels, 1, bias=False)
        self.qkv_norm = batch_norm(qkv_channels, qkv_norm)
        self.rel_q = table(self.key_dim, rel_q)
        self.rel_k = table(self.key_dim, rel_k)
        self.rel_v = table(self.value_dim, rel_v)
        self.logit_norm: LogitNorm | None = None
        if logit_norm:
            self.logit_norm = LogitNorm(
                1 + rel_q + rel_k,
                num_heads,
                bias=activation == "sigmoid",
                eps=norm_eps,
                momentum=norm_momentum,
            )
        self.content_norm = batch_norm(out_channels, output_norm)
        self.positional_norm = batch_norm(out_channels, output_norm) if rel_v else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again, as the first author's code does."""
        nn.init.normal_(self.qkv.weight, std=math.sqrt(1.0 / self.qkv.in_channels))
        for table in (self.rel_q, self.rel_k, self.rel_v):
            if table is not None:
                nn.init.normal_(table, std=math.sqrt(1.0 / self.value_dim))

    def forward(self, x: Tensor) -> Tensor:
        content, positional = self._attend(x)
        y = self.content_norm(content)
        if positional is not None and self.positional_norm is not None:
            y = add(y, self.positional_norm(positional))
        return _subsample(y, _strides(self.axis, self.stride))

    def _attend(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return both outputs (B, out_channels, H, W) before their norms."""
        # Channels last, each head's channels of a position lie together and no axis has to be moved.
        x = x.contiguous(memory_format=torch.channels_last)
        qkv = self.qkv_norm(self.qkv(x))  # a name: parts of a map have its recipe while the map exists
        q, k, v = along_axis(self.axis, *split_heads(qkv, self.num_heads, self.key_dim, self.value_dim))
        logit_scale, logit_bias = self._normalize_logits(q, k)
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
        return self._as_map(content), None if positional is None else self._as_map(positional)

    def _as_map(self, y: Tensor) -> Tensor:
        return merge_heads(*along_axis(self.axis, y))

    def fused(self) -> "FusedAxialAttention":
        """Return the layer for inference, all its norms folded away."""
        return FusedAxialAttention(self)

    def _normalize_logits(self, q: Tensor, k: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the scales (3, N) of the logit terms and the bias (N,) of their sum."""
        if self.logit_norm is None:
            return None, None
        terms = logit_terms(self.rel_q, self.rel_k)

        def moments() -> tuple[Tensor, Tensor, int]:
            mean, mean_of_squares = logit_moments(
                q, k, self.rel_q, self.rel_k, span=self.span, impl=self.impl
            )
            images, length, lines = q.shape[:3]
            count = count_logits(images, length, lines, self.span)
            return take_terms(mean, terms), take_terms(mean_of_squares, terms), count

        scale, bias = self.logit_norm(moments)
        return spread_terms(scale, terms), bias


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
        x = x.contiguous(memory_format=torch.channels_last)
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
        return _subsample(y, _strides(self.axis, self.stride))


class AxialBlock(nn.Module):
    """A bottleneck block whose 3x3 convolution is replaced by height-axis and then width-axis attention.

    1x1 convolution - ReLU - height attention - width attention - ReLU - 1x1 convolution, + shortcut, ReLU;
    each convolution is batch-normalized.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))

    Args:
        in_channels: channels of the input.
        width: channels of the attention, a multiple of 2 num_heads.
        out_channels: channels of the output.
        stride: how many positions of the input one of the output stands for, on both axes.
        num_heads: attention heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is half of width.
        span: the paper's m, an odd number of positions of this feature map; None attends to the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        rel_q: see `AxialAttention`.
        rel_k: see `AxialAttention`.
        rel_v: see `AxialAttention`.
        qkv_norm: see `AxialAttention`.
        logit_norm: see `AxialAttention`.
        output_norm: see `AxialAttention`.
        activation: see `AxialAttention`.
        stride_mode: "slice" takes every stride-th position of an axis right after the attention along it;
            "average_pool" averages squares of stride x stride positions after both.
        squeeze_excite: whether squeeze-and-excite ends the residual branch.
        final_relu: whether ReLU follows the sum with the shortcut.
        checkpoint: recompute the block in the backward pass instead of keeping its activations.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the operation, see `axial_attention`.

    Raises:
        ValueError: as in `AxialAttention`, or the stride mode is none of the above.

    Source: figure 2 and section 3.2 of the paper; "average_pool" is the code that its first author published.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        stride: int = 1,
        num_heads: int = 8,
        key_channels: int | None = None,
        span: int | None = None,
        max_span: int = 255,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        output_norm: bool = True,
        activation: str = "softmax",
        stride_mode: str = "slice",
        squeeze_excite: bool = False,
        final_relu: bool = True,
        checkpoint: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        super().__init__()
        if stride_mode not in STRIDE_MODES:
            raise ValueError(
                f"stride_mode must be one of {list(STRIDE_MODES)}, got {stride_mode!r}; 'slice' is usual"
            )
        self.stride = stride
        self.stride_mode = stride_mode
        self.final_relu = final_relu
        self.checkpoint = checkpoint
        attention = partial(
            AxialAttention,
            width,
            width,
            num_heads=num_heads,
            key_channels=key_channels,
            span=span,
            max_span=max_span,
            stride=stride if stride_mode == "slice" else 1,
            rel_q=rel_q,
            rel_k=rel_k,
            rel_v=rel_v,
            qkv_norm=qkv_norm,
            logit_norm=logit_norm,
            output_norm=output_norm,
            activation=activation,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            impl=impl,
        )
        convolution = partial(ConvNorm, norm_eps=norm_eps, norm_momentum=norm_momentum)
        self.down = convolution(in_channels, width)
        self.height_attention = attention(axis="height")
        self.width_attention = attention(axis="width")
        self.up = convolution(width, out_channels, activation=False)
        # A block starts as its shortcut: gradients explode in a deep stack of random attention.
        nn.init.zeros_(self.up.get_parameter("norm.weight"))
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels:
            self.shortcut = convolution(in_channels, out_channels, activation=False)
        self.squeeze_excite = SqueezeExcite(out_channels) if squeeze_excite else None

    def forward(self, x: Tensor) -> Tensor:
        if self.checkpoint and self.training and torch.is_grad_enabled():
            y: Tensor = checkpoint(
                self._forward,
                x,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=self._recomputation,
            )
            return y
        with recompute_normalized():
            return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.width_attention(self.height_attention(self.down(x)))
        if self.stride > 1 and self.stride_mode == "average_pool":
            y = F.avg_pool2d(y, self.stride, ceil_mode=True)
        y = self.up(relu(y, inplace=True))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        x = _subsample(x, (self.stride, self.stride))
        if self.shortcut is not None:
            x = self.shortcut(x)
        y += x
        return F.relu(y, inplace=True) if self.final_relu else y

    def fused(self) -> FusedAxialBlock:
        """Return the block for inference, all its norms folded away."""
        return FusedAxialBlock(fold_layers(self))

    def _recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return the contexts of the first pass and of the second, which must not count the batch twice."""
        return nullcontext(), keep_running_statistics(self)


def along_axis(axis: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Swap (B, H, W, N, C) and (B, L, M, N, C), in either direction."""
    return tensors if axis == "height" else tuple(x.transpose(1, 2) for x in tensors)


def _strides(axis: str, stride: int) -> tuple[int, int]:
    return (stride, 1) if axis == "height" else (1, stride)


def _subsample(x: Tensor, strides: tuple[int, int]) -> Tensor:
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
