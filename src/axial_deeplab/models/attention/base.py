"""What all attention layers have in common: projection, norms and relative tables, and how they fold."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.folding.fold import can_fold, folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.models.options import AttentionOptions, Norm, check_map
from axial_deeplab.models.pointwise import Conv2d
from axial_deeplab.models.recomputation import add
from axial_deeplab.ops.operands import check_whole

STRIDE_MODES = ("slice", "average_pool")


class Attention(nn.Module):
    """Multi-head self-attention of the positions of a map; a subclass says which of them attend to which.

    A subclass gives `attend`, `logit_moments` and its own `reset_parameters`.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, H', W')

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of num_heads.
        key_channels: channels of the queries, and of the keys, of all heads; a multiple of num_heads.
        options: heads, terms, norms and implementation.
        norm: settings of the batch norms.
        table: makes a relative table of vectors of so many channels; None for a layer without tables.
        stride: how many positions of the input one of the output stands for.
        stride_mode: "average_pool" averages squares of stride x stride outputs, "slice" takes one of each.
        logit_bias: whether the norms of the logits have biases, which a softmax ignores.
    """

    # Parameters or modules: a subclass says which.
    rel_q: Any
    rel_k: Any
    rel_v: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        key_channels: int,
        options: AttentionOptions,
        norm: Norm,
        *,
        table: Callable[[int], Any] | None = None,
        stride: int = 1,
        stride_mode: str = "slice",
        logit_bias: bool = False,
    ) -> None:
        super().__init__()
        numbers = {"in_channels": in_channels, "out_channels": out_channels, "key_channels": key_channels}
        for name, number in (numbers | {"stride": stride}).items():
            check_whole(name, number)
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {in_channels}; count those of the input")
        self.in_channels = in_channels
        self.num_heads = options.num_heads
        check_multiple("out_channels", out_channels, self.num_heads, self.num_heads)
        check_multiple("key_channels", key_channels, self.num_heads, self.num_heads)
        if stride < 1:
            raise ValueError(f"stride must be at least 1 position, got {stride}; 1 keeps all positions")
        check_stride_mode(stride_mode)
        self.key_dim = key_channels // self.num_heads
        self.value_dim = out_channels // self.num_heads
        self.stride = stride
        self.stride_mode = stride_mode
        self.impl = options.impl
        self.content_logits = getattr(options, "content_logits", True)
        content_output = getattr(options, "content_output", True)

        def batch_norm(channels: int, wanted: bool) -> nn.Module:
            return BatchNorm2d(channels, norm.eps, norm.momentum) if wanted else nn.Identity()

        qkv_channels = 2 * key_channels + out_channels
        self.qkv: nn.Conv2d = Conv2d(in_channels, qkv_channels)
        self.qkv_norm = batch_norm(qkv_channels, options.qkv_norm)
        for name, channels in self.table_channels():
            wanted = table is not None and getattr(options, name)
            setattr(self, name, table(channels) if table and wanted else None)
        self.logit_norm: LogitNorm | None = None
        if options.logit_norm:
            self.logit_norm = LogitNorm(
                len(self.logit_terms()), self.num_heads, bias=logit_bias, eps=norm.eps, momentum=norm.momentum
            )
        self.content_norm = batch_norm(out_channels, options.output_norm) if content_output else None
        self.positional_norm = None if self.rel_v is None else batch_norm(out_channels, options.output_norm)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again."""
        raise NotImplementedError

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return content and positional output (B, H, W, N, V) before their norms.

        Shapes: q, k (B, H, W, N, D), v (B, H, W, N, V).
        """
        raise NotImplementedError

    def logit_moments(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor, Tensor, int]:
        """Return mean and mean square (3, N) of the terms of the logits, and the number of logits."""
        raise NotImplementedError

    def strides(self) -> tuple[int, int]:
        """Return the stride in height and in width."""
        return self.stride, self.stride

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.in_channels, self)
        content, positional = self._attended(x)
        if positional is None or self.positional_norm is None:
            y = content if self.content_norm is None else self.content_norm(content)
        elif self.content_norm is None:
            y = self.positional_norm(positional)
        else:
            y = self.content_norm(content)
            y = add(y, self.positional_norm(positional))
        return subsample(y, self.strides(), self.stride_mode)

    def can_fold(self) -> bool:
        """Return whether nobody has put something else in the place of a layer or table, see `can_fold`."""
        tables = [getattr(self, name) for name, _ in self.table_channels()]
        return can_fold(self.qkv, self.qkv_norm, self.content_norm, self.positional_norm) and all(
            table is None or isinstance(table, nn.Parameter | nn.Module) for table in tables
        )

    def split_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the views (B, H, W, N, D) of the queries, keys and values in (B, C, H, W)."""
        return split_heads(qkv, self.num_heads, self.key_dim, self.value_dim)

    def normalize_logits(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the scales (3, N) of the logit terms, zero for absent ones, and the bias (N,) of their sum.

        Shapes: q, k as `logit_moments` takes them.
        """
        terms = self.logit_terms()
        if self.logit_norm is None:
            # Without a norm a missing q·k alone has to be said; the others have no tables.
            return None if self.content_logits else without_content(q), None

        def moments() -> tuple[Tensor, Tensor, int]:
            mean, mean_of_squares, count = self.logit_moments(q, k, rel_q, rel_k)
            return take_terms(mean, terms), take_terms(mean_of_squares, terms), count

        scale, bias = self.logit_norm(moments)
        return spread_terms(scale, terms), bias

    def logit_terms(self) -> list[int]:
        """Return which of the three terms the logits have."""
        # Numbers, not a mask: a mask has no known size on the meta device.
        tables = self.rel_q, self.rel_k
        return [0] * self.content_logits + [i for i, table in enumerate(tables, 1) if table is not None]

    def table_channels(self) -> tuple[tuple[str, int], ...]:
        """Return the names of the relative tables and the channels of their vectors."""
        return ("rel_q", self.key_dim), ("rel_k", self.key_dim), ("rel_v", self.value_dim)

    def _attended(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return both outputs (B, out_channels, H, W) before their norms."""
        qkv = self.qkv_norm(self.qkv(x))  # a name: parts of a map have its recipe while the map exists
        content, positional = self.attend(*self.split_heads(qkv))
        return merge_heads(content), None if positional is None else merge_heads(positional)


class FusedAttention(nn.Module):
    """An attention layer in evaluation whose norms are constants.

    The norms of the projection and of the content are in the weights of the projection, and so are the shifts
    of both outputs, which weights that add up to one hand on from the values.

    Args:
        layer: taken over as it is now.
        hands_on: whether the weights of the attention add up to one; if not, `shift` is for the output.
    """

    logit_scale: Tensor | None
    logit_bias: Tensor | None
    positional_scale: Tensor
    shift: Tensor | None

    def __init__(self, layer: Attention, *, hands_on: bool = True) -> None:
        super().__init__()
        self.num_heads, self.key_dim, self.value_dim = layer.num_heads, layer.key_dim, layer.value_dim
        self.stride, self.stride_mode, self.impl = layer.stride, layer.stride_mode, layer.impl
        channels = layer.num_heads * layer.value_dim
        content_scale, shift = scale_and_shift(layer.content_norm, channels)
        if layer.content_norm is None:
            content_scale = torch.zeros_like(content_scale)
        positional_scale, positional_shift = scale_and_shift(layer.positional_norm, channels)
        shift = shift + positional_shift
        values_shift = shift if hands_on else torch.zeros_like(shift)
        self.qkv = fold_projection(layer.qkv, layer.qkv_norm, content_scale, values_shift)
        logit_scale = logit_bias = None
        if layer.logit_norm is not None:
            scale, logit_bias = layer.logit_norm.constants()
            logit_scale = spread_terms(scale, layer.logit_terms())
        elif not layer.content_logits:
            logit_scale = without_content(layer.qkv.weight.detach().new_empty(self.num_heads, 1))
        weight = layer.qkv.weight
        self.register_buffer("logit_scale", logit_scale)
        self.register_buffer("logit_bias", logit_bias)
        self.register_buffer(
            "positional_scale", positional_scale.unflatten(0, (self.num_heads, -1)).to(weight)
        )
        self.register_buffer("shift", None if hands_on else shift[:, None, None].to(weight))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (B, H, W, N, D)."""
        return split_heads(self.qkv(x), self.num_heads, self.key_dim, self.value_dim)


def reset_projection(qkv: nn.Conv2d, num_logit_channels: int, key_dim: int, unnormalized: bool) -> None:
    """Draw the weights of a projection to queries, keys and values for inputs and outputs of variance one.

    Args:
        qkv: the projection.
        num_logit_channels: how many of its first channels are queries or keys.
        key_dim: channels of a head's queries.
        unnormalized: whether no norm follows the logits, so that their variance should be one, too.
    """
    nn.init.normal_(qkv.weight, std=math.sqrt(1.0 / qkv.in_channels))
    if unnormalized:
        with torch.no_grad():
            qkv.weight[:num_logit_channels] *= key_dim**-0.25


def fold_projection(
    qkv: nn.Conv2d,
    norm: nn.Module,
    value_scale: Tensor,
    value_shift: Tensor,
    query_scale: Tensor | None = None,
) -> nn.Conv2d:
    """Return a projection with its norm folded in, whose values and queries are then scaled and shifted.

    Shapes: value_scale, value_shift (channels of the values,); query_scale (channels of the queries,).

    Args:
        qkv: the projection to queries, keys and values, in this order.
        norm: what follows it.
        value_scale: multiplies the values.
        value_shift: summand of the scaled values.
        query_scale: multiplies the queries.
    """
    scale, shift = scale_and_shift(norm, qkv.out_channels)
    values = slice(-len(value_scale), None)
    scale[values] *= value_scale
    shift[values] = shift[values] * value_scale + value_shift
    if query_scale is not None:
        scale[: len(query_scale)] *= query_scale
        shift[: len(query_scale)] *= query_scale
    folded = folded_convolution(qkv, scale, shift)
    assert isinstance(folded, nn.Conv2d)
    return folded


def without_content(q: Tensor) -> Tensor:
    """Return the scales (3, N) of logits without the term q·k, for queries (..., N, D)."""
    scale = q.new_ones(3, q.shape[-2], dtype=torch.promote_types(q.dtype, torch.float32))
    return scale.index_fill(0, torch.zeros(1, dtype=torch.long, device=q.device), 0.0)


def take_terms(moments: Tensor, terms: list[int]) -> Tensor:
    """Return those of the moments (3, N) of all terms that a layer has."""
    return moments if len(terms) == 3 else moments[terms]


def spread_terms(scale: Tensor, terms: list[int]) -> Tensor:
    """Return the scales (3, N) of all terms, zero for those that a layer does not have."""
    if len(terms) == 3:
        return scale
    absent = scale.new_zeros(3, scale.shape[1])
    return absent.index_put((torch.tensor(terms, device=scale.device),), scale)


def split_heads(qkv: Tensor, num_heads: int, key_dim: int, value_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the views (B, H, W, N, D) of the queries, keys and values in (B, C, H, W)."""
    channels = num_heads * key_dim, num_heads * key_dim, num_heads * value_dim
    q, k, v = (
        part.unflatten(-1, (num_heads, -1)) for part in qkv.permute(0, 2, 3, 1).split(channels, dim=-1)
    )
    return q, k, v


def merge_heads(x: Tensor) -> Tensor:
    """Return the feature map (B, N V, H, W) of an output (B, H, W, N, V)."""
    return x.flatten(3).permute(0, 3, 1, 2)


def subsample(x: Tensor, strides: tuple[int, int], mode: str = "slice") -> Tensor:
    """Reduce a map (B, C, H, W) to (B, C, ceil(H / strides[0]), ceil(W / strides[1]))."""
    if strides == (1, 1):
        return x
    if mode == "average_pool":
        return F.avg_pool2d(x, strides, ceil_mode=True)
    # Pooling of single pixels leaves no gaps in memory; those of a slice cannot be exported for every size.
    return F.avg_pool2d(x, 1, strides)


def check_multiple(name: str, channels: int, unit: int, num_heads: int) -> None:
    """Refuse channels that cannot be shared out among the heads."""
    if channels < 1 or channels % unit:
        better = max(round(channels / unit), 1) * unit
        raise ValueError(
            f"{name} must be a multiple of {unit} for {num_heads} heads, got {channels}; try {better}"
        )


def check_stride_mode(stride_mode: str) -> None:
    if stride_mode not in STRIDE_MODES:
        raise ValueError(
            f"stride_mode must be one of {list(STRIDE_MODES)}, got {stride_mode!r}; choose one of these"
        )
