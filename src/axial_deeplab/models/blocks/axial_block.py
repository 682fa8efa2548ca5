"""The residual block that is made of two axial-attention layers."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.base import check_stride_mode, subsample
from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.folding.fold import fold_layers
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.models.norm import statistics_of_passes
from axial_deeplab.models.options import AXIAL, NORM, AxialOptions, Norm, check_map, with_keywords
from axial_deeplab.models.recomputation import recompute_normalized, relu
from axial_deeplab.ops.dispatch import recomputed


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
        key_channels: channels of the queries, and of the keys, of all heads; None is half of width.
        stride_mode: "slice" takes every stride-th position of an axis right after the attention along it;
            "average_pool" averages squares of stride x stride positions after both.
        squeeze_excite: whether squeeze-and-excite ends the residual branch.
        final_relu: whether ReLU follows the sum with the shortcut.
        checkpoint: recompute the block in the backward pass instead of keeping its activations.
        recompute: compute normalized maps again in the backward pass instead of keeping them in training;
            values and gradients stay the same. What it saves and costs: docs/performance.md.
        attention: settings of the attention, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

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
        key_channels: int | None = None,
        stride_mode: str = "slice",
        squeeze_excite: bool = False,
        final_relu: bool = True,
        checkpoint: bool = False,
        recompute: bool = True,
        attention: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        super().__init__()
        attention, norm = with_keywords(keywords, attention, norm)
        check_stride_mode(stride_mode)
        self.in_channels = in_channels
        self.stride = stride
        self.stride_mode = stride_mode
        self.final_relu = final_relu
        self.checkpoint = checkpoint
        self.recompute = recompute
        layer = partial(
            AxialAttention,
            width,
            width,
            key_channels=key_channels,
            stride=stride if stride_mode == "slice" else 1,
            attention=attention,
            norm=norm,
        )
        convolution = partial(ConvNorm, norm=norm)
        self.down = convolution(in_channels, width)
        self.height_attention = layer(axis="height")
        self.width_attention = layer(axis="width")
        self.up = convolution(width, out_channels, activation=False)
        # A block starts as its shortcut: gradients explode in a deep stack of random attention.
        nn.init.zeros_(self.up.get_parameter("norm.weight"))
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels:
            self.shortcut = convolution(in_channels, out_channels, activation=False)
        self.squeeze_excite = SqueezeExcite(out_channels) if squeeze_excite else None

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.in_channels, self)
        if self.checkpoint and self.training and torch.is_grad_enabled():
            y: Tensor = recomputed(self._forward, x, context_fn=partial(statistics_of_passes, self))
            return y
        with recompute_normalized(self.recompute):
            return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.width_attention(self.height_attention(self.down(x)))
        if self.stride_mode == "average_pool":
            y = subsample(y, (self.stride, self.stride), self.stride_mode)
        y = self.up(relu(y, inplace=True))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        x = subsample(x, (self.stride, self.stride))
        if self.shortcut is not None:
            x = self.shortcut(x)
        y += x
        return F.relu(y, inplace=True) if self.final_relu else y

    def fused(self) -> FusedAxialBlock:
        """Return the block for inference, all its norms folded away."""
        return FusedAxialBlock(fold_layers(self))
