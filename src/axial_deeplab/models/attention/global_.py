"""Attention over the whole image, without positional terms."""

import copy
from contextlib import nullcontext
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from axial_deeplab.models.attention.base import Attention, fold_projection, reset_projection
from axial_deeplab.models.folding.fold import exact, fold_layers, scale_and_shift
from axial_deeplab.models.options import ATTENTION, NORM, AttentionOptions, Norm, with_keywords
from axial_deeplab.ops.axial.statistics import logit_moments
from axial_deeplab.ops.dispatch import is_transformed


class GlobalAttention2d(Attention):
    """Multi-head self-attention of each position to all of the image, without positional terms: non-local.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of num_heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is out_channels.
        stride: how many positions of the input one of the output stands for, on both axes.
        stride_mode: "average_pool" averages squares of stride x stride outputs, "slice" takes one of each.
        attention: settings of the attention, see `AttentionOptions`; `impl` is that of the logits'
            statistics, the attention is PyTorch's.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

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
        key_channels: int | None = None,
        stride: int = 1,
        stride_mode: str = "average_pool",
        attention: AttentionOptions = ATTENTION,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        attention, norm = with_keywords(keywords, attention, norm)
        key_channels = out_channels if key_channels is None else key_channels
        super().__init__(
            in_channels, out_channels, key_channels, attention, norm, stride=stride, stride_mode=stride_mode
        )

    def reset_parameters(self) -> None:
        """Draw the projection again."""
        reset_projection(self.qkv, 2 * self.num_heads * self.key_dim, self.key_dim, self.logit_norm is None)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
        scale, _ = self.normalize_logits(q, k, None, None)
        if scale is not None:
            q = q * scale[0, :, None].to(q.dtype)
        # The memory-saving implementations of PyTorch want heads of one width: zeros change no product.
        channels = max(self.key_dim, self.value_dim)
        queries, keys, values = (
            F.pad(y, (0, channels - y.shape[-1])).flatten(1, 2).transpose(1, 2) for y in (q, k, v)
        )  # (B, N, H·W, channels)
        # The implementations that save memory lose tangents.
        with sdpa_kernel(SDPBackend.MATH) if is_transformed() else nullcontext():
            y = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        return y[..., : self.value_dim].transpose(1, 2).unflatten(1, q.shape[1:3]), None  # (B, H, W, N, V)

    def logit_moments(
        self, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
    ) -> tuple[Tensor, Tensor, int]:
        queries, keys = (y.flatten(1, 2)[:, :, None] for y in (q, k))  # (B, H·W, 1, N, D)
        moments = logit_moments(queries, keys, None, None, impl=self.impl)
        return *moments, q.shape[0] * (q.shape[1] * q.shape[2]) ** 2

    def fused(self) -> "GlobalAttention2d":
        """Return the layer for inference, all its norms folded into the projection."""
        if not self.can_fold():
            return fold_layers(self)
        folded = copy.deepcopy(self).eval()
        query_scale = None
        if self.logit_norm is not None:
            query_scale = exact(self.logit_norm.constants()[0][0]).repeat_interleave(self.key_dim)
        content = scale_and_shift(self.content_norm, self.num_heads * self.value_dim)
        folded.qkv = fold_projection(self.qkv, self.qkv_norm, *content, query_scale)
        folded.qkv_norm, folded.logit_norm, folded.content_norm = nn.Identity(), None, nn.Identity()
        return folded
