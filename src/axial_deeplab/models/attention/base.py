"""What all attention layers have in common: projection, norms and relative tables, and how they fold."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.folding.fold import folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.models.recomputation import add

STRIDE_MODES = ("average_pool", "slice")


class Attention(nn.Module):
    """Multi-head self-attention of the positions of a map; a subclass says which of them attend to which.

    A subclass gives `attend`, `logit_moments` and `subsample`, and its own `reset_parameters`.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, H', W')

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of num_heads.
        key_channels: channels of the queries, and of the keys, of all heads; a multiple of num_heads.
        table: makes a relative table of vectors of so many channels; None for a layer without tables.
        num_heads: attention heads.
        rel_q: whether the logits have the term q·r^q.
        rel_k: whether the logits have the term k·r^k.
        rel_v: whether the output has the positional term of r^v.
        qkv_norm: whether batch norm follows the projection.
        logit_norm: whether each term of the logits is batch-normalized, each head on its own.
        logit_bias: whether those norms have biases, which a softmax ignores.
        output_norm: whether content and positional output are batch-normalized before they are added.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the operation, see `axial_attention`.
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
        *,
        table: Callable[[int], Any] | None = None,
        num_heads: int = 8,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        logit_bias: bool = False,
        output_norm: bool = True,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.key_dim = key_channels // num_heads
        self.value_dim = out_channels // num_heads
        self.impl = impl
        rel_q, rel_k, rel_v = (wanted and table is not None for wanted in (rel_q, rel_k, rel_v))

        def batch_norm(channels: int, wanted: bool) -> nn.Module:
            return BatchNorm2d(channels, norm_eps, norm_momentum) if wanted else nn.Identity()

        qkv_channels = 2 * key_channels + out_channels
        self.qkv = nn.Conv2d(in_channels, qkv_channels, 1, bias=False)
        self.qkv_norm = batch_norm(qkv_channels, qkv_norm)
        self.rel_q = table(self.key_dim) if table and rel_q else None
        self.rel_k = table(self.key_dim) if table and rel_k else None
        self.rel_v = table(self.value_dim) if table and rel_v else None
        self.logit_norm: LogitNorm | None = None
        if logit_norm:
            self.logit_norm = LogitNorm(
                1 + rel_q + rel_k, num_heads, bias=logit_bias, eps=norm_eps, momentum=norm_momentum
            )
        self.content_norm = batch_norm(out_channels, output_norm)
        self.positional_norm = batch_norm(out_channels, output_norm) if rel_v else None
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

    def subsample(self, y: Tensor) -> Tensor:
        """Return an output (B, out_channels, H, W) with the layer's stride."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        content, positional = self._attended(x)
        y = self.content_norm(content)
        if positional is not None and self.positional_norm is not None:
            y = add(y, self.positional_norm(positional))
        return self.subsample(y)

    def split_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the views (B, H, W, N, D) of the queries, keys and values in (B, C, H, W)."""
        return split_heads(qkv, self.num_heads, self.key_dim, self.value_dim)

    def normalize_logits(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the scales (3, N) of the logit terms, zero for absent ones, and the bias (N,) of their sum.

        Shapes: q, k as `logit_moments` takes them.
        """
        if self.logit_norm is None:
            return None, None
        terms = logit_terms(rel_q, rel_k)

        def moments() -> tuple[Tensor, Tensor, int]:
            mean, mean_of_squares, count = self.logit_moments(q, k, rel_q, rel_k)
            return take_terms(mean, terms), take_terms(mean_of_squares, terms), count

        scale, bias = self.logit_norm(moments)
        return spread_terms(scale, terms), bias

    def _attended(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return both outputs (B, out_channels, H, W) before their norms."""
        qkv = self.qkv_norm(self.qkv(x))  # a name: parts of a map have its recipe while the map exists
        content, positional = self.attend(*self.split_heads(qkv))
        return merge_heads(content), None if positional is None else merge_heads(positional)


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


def logit_terms(rel_q: object | None, rel_k: object | None) -> list[int]:
    """Return which of the three terms a layer's logits have."""
    # Numbers, not a mask: a mask has no known size on the meta device.
    return [0] + [1] * (rel_q is not None) + [2] * (rel_k is not None)


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


def subsample_map(x: Tensor, stride: int, mode: str) -> Tensor:
    """Reduce a map (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
    if stride == 1:
        return x
    if mode == "average_pool":
        return F.avg_pool2d(x, stride, ceil_mode=True)
    # Pooling of single pixels: a slice with gaps cannot be exported for every size.
    return F.avg_pool2d(x, 1, stride)


def check_heads(out_channels: int, key_channels: int, num_heads: int) -> None:
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}; the paper's is 8")
    for name, channels in (("out_channels", out_channels), ("key_channels", key_channels)):
        if channels < 1 or channels % num_heads:
            better = max(round(channels / num_heads), 1) * num_heads
            raise ValueError(
                f"{name} must be a multiple of {num_heads}, the number of heads, got {channels}; try {better}"
            )


def check_stride(stride: int, stride_mode: str) -> None:
    if stride < 1:
        raise ValueError(f"stride must be at least 1 position, got {stride}; 1 keeps all positions")
    if stride_mode not in STRIDE_MODES:
        raise ValueError(
            f"stride_mode must be one of {list(STRIDE_MODES)}, got {stride_mode!r}; 'average_pool' is usual"
        )
