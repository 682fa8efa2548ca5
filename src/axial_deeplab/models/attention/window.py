"""Attention over a square around each position."""

from functools import partial

import torch
from torch import Tensor, nn

from axial_deeplab._moved import contents_moved
from axial_deeplab.models.attention.base import (
    Attention,
    check_heads,
    check_stride,
    fold_projection,
    logit_terms,
    merge_heads,
    reset_projection,
    split_heads,
    spread_terms,
    subsample_map,
)
from axial_deeplab.models.folding.fold import scale_and_shift
from axial_deeplab.ops.window.api import local_attention_2d
from axial_deeplab.ops.window.statistics import count_local_logits, local_logit_moments

# GlobalAttention2d was here until version 0.1.
__getattr__ = contents_moved(__name__, "axial_deeplab.models.attention.global_")


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


class LocalAttention2d(Attention):
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
        impl: implementation of the operation, see `local_attention_2d`.

    Raises:
        ValueError: the channels cannot be shared out among the heads, or kernel_size, stride or stride_mode
            is none of the above.

    Source: Ramachandran et al. 2019; Eq. 2 and 3 of the paper.
    """

    rel_q: RelativeTable2d | None
    rel_k: RelativeTable2d | None
    rel_v: RelativeTable2d | None

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
        impl: str = "auto",
    ) -> None:
        key_channels = out_channels if key_channels is None else key_channels
        check_heads(out_channels, key_channels, num_heads)
        check_stride(stride, stride_mode)
        if kernel_size < 1 or kernel_size % 2 == 0:
            better = max(kernel_size, 0) // 2 * 2 + 1
            raise ValueError(
                f"kernel_size must be a positive odd number of positions, got {kernel_size}; try {better}"
            )
        super().__init__(
            in_channels,
            out_channels,
            key_channels,
            table=partial(RelativeTable2d, num_heads, kernel_size),
            num_heads=num_heads,
            rel_q=rel_q,
            rel_k=rel_k,
            rel_v=rel_v,
            qkv_norm=qkv_norm,
            logit_norm=logit_norm,
            output_norm=output_norm,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            impl=impl,
        )
        self.kernel_size = kernel_size
        self.stride = stride
        self.stride_mode = stride_mode
        self.rows_per_chunk = rows_per_chunk

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

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        rel_q, rel_k, rel_v = (
            None if table is None else table() for table in (self.rel_q, self.rel_k, self.rel_v)
        )
        return local_attention_2d(
            q,
            k,
            v,
            rel_q,
            rel_k,
            rel_v,
            self.normalize_logits(q, k, rel_q, rel_k)[0],
            kernel_size=self.kernel_size,
            rows_per_chunk=self.rows_per_chunk,
            impl=self.impl,
        )

    def logit_moments(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor, Tensor, int]:
        moments = local_logit_moments(q, k, rel_q, rel_k, kernel_size=self.kernel_size, impl=self.impl)
        images, height, width = q.shape[:3]
        return *moments, count_local_logits(images, height, width, self.kernel_size)

    def subsample(self, y: Tensor) -> Tensor:
        return subsample_map(y, self.stride, self.stride_mode)

    def fused(self) -> "FusedLocalAttention2d":
        """Return the layer for inference, all its norms folded away."""
        return FusedLocalAttention2d(self)


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
        self.impl = layer.impl
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
            impl=self.impl,
        )
        if positional is not None:
            y = y + positional
        return subsample_map(merge_heads(y), self.stride, self.stride_mode)
