"""The attention ResNet: a residual network whose 3x3 convolutions are attention over squares of m x m."""

import copy
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.attention.base import fold_projection, merge_heads, reset_projection
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.blocks.convolutions import ConvNorm, convolutional_stem
from axial_deeplab.models.folding.fold import can_fold, fold_layers, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.options import (
    NORM,
    RESIDUAL,
    WINDOW,
    Norm,
    ResidualOptions,
    WindowOptions,
    with_keywords,
)
from axial_deeplab.models.pointwise import Conv2d
from axial_deeplab.models.resize import crop

STAGE_WIDTH = 64
EXPANSION = 4
STEM_WIDTH = 64

AttentionName = Literal["sasa", "sasa_bn", "position_sensitive"]

# What distinguishes the three attentions that table 1 of the paper compares.
_NO_NORMS = {"qkv_norm": False, "logit_norm": False, "output_norm": False}
ATTENTIONS: dict[str, dict[str, Any]] = {
    "sasa": {"rel_k": False, "rel_v": False, **_NO_NORMS},
    "sasa_bn": {"rel_k": False, "rel_v": False},
    "position_sensitive": {},
}


class AttentionBlock(nn.Module):
    """A bottleneck residual block: 1x1 convolution, attention over a square, 1x1 to four times the width.

    Shapes: (B, in_channels, H, W) -> (B, 4 * width, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        width: channels of the attention.
        stride: positions; the attention runs before it, on the finer map.
        attention: settings of the attention, see `WindowOptions`.
        norm: settings of the batch norms, see `Norm`.
    """

    def __init__(
        self, in_channels: int, width: int, *, stride: int = 1, attention: WindowOptions, norm: Norm = NORM
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.down = ConvNorm(in_channels, width, norm=norm)
        self.attention = LocalAttention2d(width, width, stride=stride, attention=attention, norm=norm)
        self.up = ConvNorm(width, out_channels, activation=False, norm=norm)
        # The block starts as its shortcut, like the axial block.
        nn.init.zeros_(self.up.get_parameter("norm.weight"))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, stride=stride, activation=False, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(F.relu(self.attention(self.down(x)), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


class SpatiallyAwareStem(nn.Module):
    """The attention stem: each pixel attends to its block of 4x4 pixels, then the block is max-pooled.

    A pixel's value is a mixture of several projections, whose weights depend on its place in the block.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H / 4), ceil(W / 4)).

    Args:
        in_channels: channels of the images.
        out_channels: channels of the output, a multiple of num_heads.
        num_heads: attention heads.
        num_mixtures: projections that a value is mixed of.
        norm: settings of the batch norms, see `Norm`.

    Source: Ramachandran et al. 2019, section 3.2 and appendix. The width of the embeddings of rows and
    columns is not published; it is that of a head.
    """

    block_size = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int = STEM_WIDTH,
        *,
        num_heads: int = 8,
        num_mixtures: int = 4,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_mixtures = num_mixtures
        self.head_dim = out_channels // num_heads
        self.qkv: nn.Conv2d = Conv2d(in_channels, (2 + num_mixtures) * out_channels)
        self.row_embedding = nn.Parameter(torch.empty(self.block_size, self.head_dim))
        self.column_embedding = nn.Parameter(torch.empty(self.block_size, self.head_dim))
        self.mixture_embedding = nn.Parameter(torch.empty(num_mixtures, self.head_dim))
        self.norm: nn.Module = BatchNorm2d(out_channels, norm.eps, norm.momentum)
        reset_projection(self.qkv, 2 * out_channels, self.head_dim, unnormalized=True)
        for embedding in (self.row_embedding, self.column_embedding, self.mixture_embedding):
            nn.init.normal_(embedding)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # Multiples of the block as such: an exported program cannot see that n + -n % 4 is one.
        bottom, right = (-(-n // self.block_size) * self.block_size - n for n in (height, width))
        padding = (0, right, 0, bottom)
        padded = F.pad(x, padding)
        exists = F.pad(x.new_ones(1, 1, height, width), padding)
        heads = self._blocks(self.qkv(padded)).unflatten(-1, (2 + self.num_mixtures, self.num_heads, -1))
        q, k = heads[..., 0, :, :], heads[..., 1, :, :]  # (B, blocks in y, in x, 16, N, D)
        v = torch.einsum("byxpmnd,pm->byxpnd", heads[..., 2:, :, :], self._mixture())
        outside = self._blocks(exists)[:, :, :, None, None, :, 0] == 0
        logits = torch.einsum("byxond,byxpnd->byxnop", q, k).masked_fill(outside, float("-inf"))
        y = torch.einsum("byxnop,byxpnd->byxond", logits.softmax(-1), v)
        y = y.unflatten(3, (self.block_size, self.block_size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        y = self.norm(crop(merge_heads(y), (height, width)))
        return F.max_pool2d(y, self.block_size, ceil_mode=True)

    def fused(self) -> "SpatiallyAwareStem":
        """Return the stem for inference, its norm folded into the values."""
        if not can_fold(self.qkv, self.norm):
            return fold_layers(self)
        folded = copy.deepcopy(self).eval()
        norm = scale_and_shift(self.norm, self.num_heads * self.head_dim)
        # The weights of a mixture and of a softmax add up to one and hand on what is added to all values.
        of_mixtures = (x.repeat(self.num_mixtures) for x in norm)
        folded.qkv = fold_projection(self.qkv, nn.Identity(), *of_mixtures)
        folded.norm = nn.Identity()
        return folded

    def _mixture(self) -> Tensor:
        """Return the weights (16, num_mixtures) of the projections at each place of a block."""
        places = (self.row_embedding[:, None] + self.column_embedding).flatten(0, 1)
        return (places @ self.mixture_embedding.T).softmax(-1)

    def _blocks(self, x: Tensor) -> Tensor:
        """Cut (B, C, H, W) into (B, H / 4, W / 4, 16, C)."""
        size = self.block_size
        return x.unflatten(3, (-1, size)).unflatten(2, (-1, size)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)


class AttentionResNet(Backbone):
    """A ResNet whose 3x3 convolutions are attention over m x m squares, as encoder or classifier.

    Shapes: see `Backbone`; any height and width.

    Args:
        attention: "sasa" (logits q·k + q·r^q, no norms), "sasa_bn" (the same, with norms) or
            "position_sensitive" (Eq. 3).
        stem: "conv" (7x7, stride 2, and max-pool), "three_conv" (3x3, the first with stride 2, and max-pool)
            or "attention" (`SpatiallyAwareStem`).
        stem_multiplier: scale of the stem's channels.
        span: the side m of the square, odd, in positions of the feature map.
        backbone: what all backbones have, see `ResidualOptions`.
        window: settings of the attention, see `WindowOptions`; `span` and `attention` have the last word.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: Ramachandran et al. 2019; "Conv-Stem + Attention", "+ PS-Attention" and "Full Attention" in table
    1 of the paper. Queries and keys are as wide as values, and a strided block averages 2x2 positions after
    its attention: only so do parameters and multiply-adds come out.
    """

    def __init__(
        self,
        *,
        attention: AttentionName = "position_sensitive",
        stem: Literal["conv", "three_conv", "attention"] = "conv",
        stem_multiplier: float = 1.0,
        span: int = 7,
        backbone: ResidualOptions = RESIDUAL,
        window: WindowOptions = WINDOW,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        backbone, window, norm = with_keywords(keywords, backbone, window, norm)
        if attention not in ATTENTIONS:
            raise ValueError(
                f"attention must be one of {list(ATTENTIONS)}, got {attention!r}; choose one of these"
            )
        widths = tuple(round(STAGE_WIDTH * backbone.width_multiplier) * 2**stage for stage in range(4))
        super().__init__(tuple(EXPANSION * width for width in widths), backbone)
        options = replace(window, kernel_size=span, **ATTENTIONS[attention])
        width = round(STEM_WIDTH * stem_multiplier)
        if stem == "attention":
            channels = width
            self.stem = SpatiallyAwareStem(
                backbone.in_channels, width, num_heads=options.num_heads, norm=norm
            )
        else:
            layers, channels = convolutional_stem(stem, backbone.in_channels, width, norm, ("attention",))
            layers["max_pool"] = nn.MaxPool2d(3, stride=2, padding=1)
            self.stem = nn.Sequential(layers)

        def block(in_channels: int, width: int, stride: int, _: int) -> nn.Module:
            return AttentionBlock(in_channels, width, stride=stride, attention=options, norm=norm)

        self._add_stages(channels, widths, backbone.depths, block)
