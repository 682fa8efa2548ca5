"""Attention layers in two dimensions: over a square around each position, and over the whole image."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.folding.fold import exact, folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.ops.axial.statistics import logit_moments
from axial_deeplab.ops.window.api import local_attention_2d
from axial_deeplab.ops.window.statistics import count_local_logits, local_logit_moments

STRIDE_MODES = ("average_pool", "slice")


class RelativeTable2d(nn.Module):
    """A vector for each distance in a square, whose halves depend on its row and on its column alone.

    Shapes: () -> (num_heads, kernel_size², channels)

    Args:
        num_heads: each attention head has its own vectors.
        kernel_size: side of the square in positions.
        channels: channels of a vector.

    Source: Ramachandran et al. 2019, section 3.
    """

    def __init__(self, num_heads: int, kernel_size: int, channels: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.empty(num_heads, kernel_size, channels // 2))
        self.columns = nn.Parameter(torch.empty(num_heads, kernel_size, channels - channels // 2))

    def reset_parameters(self, std: float) -> None:
        """Draw all vectors again from a normal distribution of this deviation."""
        nn.init.normal_(self.rows, std=std)
        nn.init.normal_(self.columns, std=std)

    def forward(self) -> Tensor:
        side = self.rows.shape[1]
        rows = self.rows[:, :, None].expand(-1, -1, side, -1)
        columns = self.columns[:, None].expand(-1, side, -1, -1)
        return torch.cat((rows, columns), dim=-1).flatten(1, 2)


class LocalAttention2d(nn.Module):
    """Multi-head self-attention of each position to the m x m square around it.

    With all terms and norms this is position-sensitive attention (Eq. 3) over a square; with `rel_q` alone
    and no norms it is the layer of stand-alone self-attention. Positions outside the image do not exist.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of num_heads.
        num_heads: attention heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is out_channels.
        kernel_size: the paper's m, an odd number of positions of this feature map.
        stride: how many positions of the input one of the output stands for, on both axes.
        rel_q: whether the logits have the term q·r^q.
        rel_k: whether the logits have the term k·r^k.
        rel_v: whether the output has the positional term of r^v.
        qkv_norm: whether batch norm follows the projection.
        logit_norm: whether each term of the logits is batch-normalized, each head on its own.
        output_norm: whether content and positional output are batch-normalized before they are added.
        stride_mode: "average_pool" averages squares of stride x stride outputs, "slice" takes one of each.
        rows_per_chunk: rows of queries that are computed together, see `local_attention_2d`.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.

    Raises:
        ValueError: the channels cannot be shared out among the heads, or kernel_size, stride or stride_mode
            is none of the above.

    Source: Ramachandran et al. 2019; Eq. 2 and 3 of the paper.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_heads: int = 8,
        key_channels: int | None = None,
        kernel_size: int = 7,
        stride: int = 1,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        output_norm: bool = True,
        stride_mode: str = "average_pool",
        rows_per_chunk: int | None = None,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        key_channels = out_channels if key_channels is None else key_channels
        _check_heads(out_channels, key_channels, num_heads)
        _check_stride(stride, stride_mode)
        if kernel_size < 1 or kernel_size % 2 == 0:
            better = max(kernel_size, 0) // 2 * 2 + 1
            raise ValueError(
                f"kernel_size must be a positive odd number of positions, got {kernel_size}; try {better}"
            )
        self.num_heads = num_heads
        self.key_dim = key_channels // num_heads
        self.value_dim = out_channels // num_heads
        self.kernel_size = kernel_size
        self.stride = stride
        self.stride_mode = stride_mode
        self.rows_per_chunk = rows_per_chunk

        def table(channels: int, wanted: bool) -> RelativeTable2d | None:
            return RelativeTable2d(num_heads, kernel_size, channels) if wanted else None

        def batch_norm(channels: int, wanted: bool) -> nn.Module:
            return BatchNorm2d(channels, norm_eps, norm_momentum) if wanted else nn.Identity()

        qkv_channels = 2 * key_channels + out_channels
        self.qkv = nn.Conv2d(in_channels, qkv_channels, 1, bias=False)
        self.qkv_norm = batch_norm(qkv_channels, qkv_norm)
        self.rel_q = table(self.key_dim, rel_q)
        self.rel_k = table(self.key_dim, rel_k)
        self.rel_v = table(self.value_dim, rel_v)
        self.logit_norm: LogitNorm | None = None
        if logit_norm:
            self.logit_norm = LogitNorm(1 + rel_q + rel_k, num_heads, eps=norm_eps, momentum=norm_momentum)
        self.content_norm = batch_norm(out_channels, output_norm)
        self.positional_norm = batch_norm(out_channels, output_norm) if rel_v else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again.

        Without norms of the logits, queries, keys and their tables are drawn so small that a term of the
        logits has a variance of about one.
        """
        reset_projection(self.qkv, 2 * self.num_heads * self.key_dim, self.key_dim, self.logit_norm is None)
        for table, channels in (
            (self.rel_q, self.key_dim),
            (self.rel_k, self.key_dim),
            (self.rel_v, self.value_dim),
        ):
            if table is not None:
                table.reset_parameters(channels**-0.25 if self.logit_norm is None else channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv_norm(self.qkv(x)), self.num_heads, self.key_dim, self.value_dim)
        rel_q, rel_k, rel_v = (
            None if table is None else table() for table in (self.rel_q, self.rel_k, self.rel_v)
        )
        content, positional = local_attention_2d(
            q,
            k,
            v,
            rel_q,
            rel_k,
            rel_v,
            self._normalize_logits(q, k, rel_q, rel_k),
            kernel_size=self.kernel_size,
            rows_per_chunk=self.rows_per_chunk,
        )
        y = self.content_norm(merge_heads(content))
        if positional is not None and self.positional_norm is not None:
            y = y + self.positional_norm(merge_heads(positional))
        return subsample(y, self.stride, self.stride_mode)

    def fused(self) -> "FusedLocalAttention2d":
        """Return the layer for inference, all its norms folded away."""
        return FusedLocalAttention2d(self)

    def _normalize_logits(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> Tensor | None:
        """Return the scales (3, N) of the logit terms, zero for absent ones."""
        if self.logit_norm is None:
            return None
        terms = logit_terms(rel_q, rel_k)

        def moments() -> tuple[Tensor, Tensor, int]:
            mean, mean_of_squares = local_logit_moments(q, k, rel_q, rel_k, kernel_size=self.kernel_size)
            images, height, width = q.shape[:3]
            return (
                take_terms(mean, terms),
                take_terms(mean_of_squares, terms),
                count_local_logits(images, height, width, self.kernel_size),
            )

        scale, _ = self.logit_norm(moments)
        return spread_terms(scale, terms)


class FusedLocalAttention2d(nn.Module):
    """A `LocalAttention2d` in evaluation whose norms are constants.

    The norms of the projection and of the content are in the weights of the projection, the factors of the
    positional norm in the table r^v; the shifts of both outputs are in the values, whose weights add up to
    one.

    Args:
        layer: taken over as it is now.
    """

    rel_q: Tensor | None
    rel_k: Tensor | None
    rel_v: Tensor | None
    logit_scale: Tensor | None

    def __init__(self, layer: LocalAttention2d) -> None:
        super().__init__()
        self.num_heads = layer.num_heads
        self.key_dim = layer.key_dim
        self.value_dim = layer.value_dim
        self.kernel_size = layer.kernel_size
        self.stride = layer.stride
        self.stride_mode = layer.stride_mode
        self.rows_per_chunk = layer.rows_per_chunk
        channels = layer.num_heads * layer.value_dim
        content_scale, content_shift = scale_and_shift(layer.content_norm, channels)
        scale, shift = scale_and_shift(layer.positional_norm, channels)
        self.qkv = fold_projection(layer.qkv, layer.qkv_norm, content_scale, content_shift + shift)
        logit_scale = None
        if layer.logit_norm is not None:
            terms = logit_terms(layer.rel_q, layer.rel_k)
            logit_scale = spread_terms(layer.logit_norm.constants()[0], terms)
        self.register_buffer("logit_scale", logit_scale)
        for name, table in (("rel_q", layer.rel_q), ("rel_k", layer.rel_k), ("rel_v", layer.rel_v)):
            self.register_buffer(name, None if table is None else table().detach())
        if self.rel_v is not None:
            self.rel_v *= scale.unflatten(0, (self.num_heads, 1, -1)).to(self.rel_v)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv(x), self.num_heads, self.key_dim, self.value_dim)
        y, positional = local_attention_2d(
            q,
            k,
            v,
            self.rel_q,
            self.rel_k,
            self.rel_v,
            self.logit_scale,
            kernel_size=self.kernel_size,
            rows_per_chunk=self.rows_per_chunk,
        )
        if positional is not None:
            y = y + positional
        return subsample(merge_heads(y), self.stride, self.stride_mode)


class GlobalAttention2d(nn.Module):
    """Multi-head self-attention of each position to all of the image, without positional terms: non-local.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of num_heads.
        num_heads: attention heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is out_channels.
        stride: how many positions of the input one of the output stands for, on both axes.
        qkv_norm: whether batch norm follows the projection.
        logit_norm: whether the logits are batch-normalized, each head on its own.
        output_norm: whether the output is batch-normalized.
        stride_mode: "average_pool" averages squares of stride x stride outputs, "slice" takes one of each.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.

    Raises:
        ValueError: the channels cannot be shared out among the heads, or stride or stride_mode is none of the
            above.

    Source: Eq. 1 of the paper.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_heads: int = 8,
        key_channels: int | None = None,
        stride: int = 1,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        output_norm: bool = True,
        stride_mode: str = "average_pool",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        key_channels = out_channels if key_channels is None else key_channels
        _check_heads(out_channels, key_channels, num_heads)
        _check_stride(stride, stride_mode)
        self.num_heads = num_heads
        self.key_dim = key_channels // num_heads
        self.value_dim = out_channels // num_heads
        self.stride = stride
        self.stride_mode = stride_mode

        def batch_norm(channels: int, wanted: bool) -> nn.Module:
            return BatchNorm2d(channels, norm_eps, norm_momentum) if wanted else nn.Identity()

        qkv_channels = 2 * key_channels + out_channels
        self.qkv = nn.Conv2d(in_channels, qkv_channels, 1, bias=False)
        self.qkv_norm = batch_norm(qkv_channels, qkv_norm)
        self.logit_norm: LogitNorm | None = (
            LogitNorm(1, num_heads, eps=norm_eps, momentum=norm_momentum) if logit_norm else None
        )
        self.content_norm = batch_norm(out_channels, output_norm)
        reset_projection(self.qkv, 2 * key_channels, self.key_dim, not logit_norm)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv_norm(self.qkv(x)), self.num_heads, self.key_dim, self.value_dim)
        if self.logit_norm is not None:

            def moments() -> tuple[Tensor, Tensor, int]:
                one_line = [y.flatten(1, 2)[:, :, None] for y in (q, k)]  # (B, H·W, 1, N, D)
                mean, mean_of_squares = logit_moments(one_line[0], one_line[1], None, None)
                return mean[:1], mean_of_squares[:1], q.shape[0] * (q.shape[1] * q.shape[2]) ** 2

            scale, _ = self.logit_norm(moments)
            q = q * scale[0, :, None].to(q.dtype)
        # The memory-saving implementations of PyTorch want heads of one width: zeros change no product.
        channels = max(self.key_dim, self.value_dim)
        queries, keys, values = (
            F.pad(y, (0, channels - y.shape[-1])).flatten(1, 2).transpose(1, 2) for y in (q, k, v)
        )  # (B, N, H·W, channels)
        y = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        content = y[..., : self.value_dim].transpose(1, 2).unflatten(1, x.shape[-2:])  # (B, H, W, N, V)
        return subsample(self.content_norm(merge_heads(content)), self.stride, self.stride_mode)

    def fused(self) -> "GlobalAttention2d":
        """Return the layer for inference, all its norms folded into the projection."""
        folded = copy.deepcopy(self).eval()
        query_scale = None
        if self.logit_norm is not None:
            query_scale = exact(self.logit_norm.constants()[0][0]).repeat_interleave(self.key_dim)
        content = scale_and_shift(self.content_norm, self.num_heads * self.value_dim)
        folded.qkv = fold_projection(self.qkv, self.qkv_norm, *content, query_scale)
        folded.qkv_norm, folded.logit_norm, folded.content_norm = nn.Identity(), None, nn.Identity()
        return folded


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


def subsample(x: Tensor, stride: int, mode: str) -> Tensor:
    """Reduce a map (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
    if stride == 1:
        return x
    if mode == "average_pool":
        return F.avg_pool2d(x, stride, ceil_mode=True)
    # Pooling of single pixels: a slice with gaps cannot be exported for every size.
    return F.avg_pool2d(x, 1, stride)


def _check_heads(out_channels: int, key_channels: int, num_heads: int) -> None:
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}; the paper's is 8")
    for name, channels in (("out_channels", out_channels), ("key_channels", key_channels)):
        if channels < 1 or channels % num_heads:
            better = max(round(channels / num_heads), 1) * num_heads
            raise ValueError(
                f"{name} must be a multiple of {num_heads}, the number of heads, got {channels}; try {better}"
            )


def _check_stride(stride: int, stride_mode: str) -> None:
    if stride < 1:
        raise ValueError(f"stride must be at least 1 position, got {stride}; 1 keeps all positions")
    if stride_mode not in STRIDE_MODES:
        raise ValueError(
            f"stride_mode must be one of {list(STRIDE_MODES)}, got {stride_mode!r}; 'average_pool' is usual"
        )
