"""Attention over a square around each position."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from axial_deeplab._moved import contents_moved
from axial_deeplab.models.attention.base import (
    Attention,
    FusedAttention,
    merge_heads,
    reset_projection,
    subsample,
)
from axial_deeplab.models.folding.fold import fold_layers
from axial_deeplab.models.options import NORM, WINDOW, Norm, WindowOptions, with_keywords
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
        key_channels: channels of the queries, and of the keys, of all heads; None is out_channels.
        stride: how many positions of the input one of the output stands for, on both axes.
        stride_mode: "average_pool" averages squares of stride x stride outputs, "slice" takes one of each.
        attention: settings of the attention, see `WindowOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

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
        key_channels: int | None = None,
        stride: int = 1,
        stride_mode: str = "average_pool",
        attention: WindowOptions = WINDOW,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        attention, norm = with_keywords(keywords, attention, norm)
        super().__init__(
            in_channels,
            out_channels,
            out_channels if key_channels is None else key_channels,
            attention,
            norm,
            table=partial(RelativeTable2d, attention.num_heads, attention.kernel_size),
            stride=stride,
            stride_mode=stride_mode,
        )
        self.kernel_size = attention.kernel_size
        self.rows_per_chunk = attention.rows_per_chunk

    def reset_parameters(self) -> None:
        """Draw the projection and the relative tables again.

        Without norms of the logits, queries, keys and their tables are drawn so small that a term of the
        logits has a variance of about one.
        """
        reset_projection(self.qkv, 2 * self.num_heads * self.key_dim, self.key_dim, self.logit_norm is None)
        for name, channels in self.table_channels():
            table = getattr(self, name)
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

    def fused(self) -> nn.Module:
        """Return the layer for inference, all its norms folded away."""
        return FusedLocalAttention2d(self) if self.can_fold() else fold_layers(self)


class FusedLocalAttention2d(FusedAttention):
    """A `LocalAttention2d` for inference, see `FusedAttention`; the positional norm is in the table r^v."""

    rel_q: Tensor | None
    rel_k: Tensor | None
    rel_v: Tensor | None

    def __init__(self, layer: LocalAttention2d) -> None:
        super().__init__(layer)
        self.kernel_size, self.rows_per_chunk = layer.kernel_size, layer.rows_per_chunk
        for name, _ in layer.table_channels():
            table = getattr(layer, name)
            self.register_buffer(name, None if table is None else table().detach())
        if self.rel_v is not None:
            self.rel_v *= self.positional_scale[:, None]
        del self.positional_scale

    def forward(self, x: Tensor) -> Tensor:
        y, positional = local_attention_2d(
            *self.project(x),
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
        return subsample(merge_heads(y), (self.stride, self.stride), self.stride_mode)
