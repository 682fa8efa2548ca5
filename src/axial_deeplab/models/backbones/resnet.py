"""ResNet-50 and ResNet-101 as convolutional backbones."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.blocks.convolutions import ConvNorm, convolutional_stem
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.blocks.switchable_convolution import SwitchableConvNorm
from axial_deeplab.models.options import NORM, RESIDUAL, Norm, ResidualOptions, with_keywords

STAGE_WIDTH = 64
EXPANSION = 4


class ConvBlock(nn.Module):
    """What the residual blocks of convolutions share: shortcut, squeeze-and-excite, ReLU."""

    shortcut: nn.Module
    squeeze_excite: SqueezeExcite | None

    def _finish_layers(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        squeeze_excite: bool,
        final_relu: bool,
        norm: Norm,
    ) -> None:
        """Make the layers that come after the convolutions."""
        self.final_relu = final_relu
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, stride=stride, activation=False, norm=norm)
        elif stride > 1:
            # Pooling of single pixels: every stride-th row and column.
            self.shortcut = nn.AvgPool2d(1, stride)
        self.squeeze_excite = SqueezeExcite(out_channels) if squeeze_excite else None

    def _finish(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the output of the block from that of its convolutions and its input."""
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = y + self.shortcut(x)
        return F.relu(y) if self.final_relu else y


class Bottleneck(ConvBlock):
    """A bottleneck residual block: 1x1 convolution, 3x3 (strided or atrous), 1x1 to four times the width.

    Shapes: (B, in_channels, H, W) -> (B, 4 * width, ceil(H/stride), ceil(W/stride)).

    Args:
        in_channels: channels of the input.
        width: channels after the first convolution.
        inner_width: channels of the 3x3 convolution's output; None is `width`.
        stride: stride of the 3x3 convolution, pixels.
        dilation: dilation of the 3x3 convolution, pixels.
        switchable: whether the 3x3 convolution is a `SwitchableConvNorm`.
        squeeze_excite: whether squeeze-and-excite follows the convolutions.
        final_relu: whether ReLU follows the sum with the shortcut.
        norm: settings of the batch norms, see `Norm`.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        inner_width: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        switchable: bool = False,
        squeeze_excite: bool = False,
        final_relu: bool = True,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        inner_width = inner_width or width
        out_channels = EXPANSION * width
        convolution = SwitchableConvNorm if switchable else ConvNorm
        self.conv1 = ConvNorm(in_channels, width, norm=norm)
        self.conv2 = convolution(width, inner_width, 3, stride=stride, dilation=dilation, norm=norm)
        self.conv3 = ConvNorm(inner_width, out_channels, activation=False, norm=norm)
        self._finish_layers(in_channels, out_channels, stride, squeeze_excite, final_relu, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self._finish(self.conv3(self.conv2(self.conv1(x))), x)


class BasicBlock(ConvBlock):
    """A basic residual block: two 3x3 convolutions, the first one strided.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride)).

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions.
        stride: stride of the first convolution, pixels.
        dilations: dilations of the two convolutions, pixels.
        switchable: whether the convolutions are `SwitchableConvNorm`.
        squeeze_excite: whether squeeze-and-excite follows the convolutions.
        final_relu: whether ReLU follows the sum with the shortcut.
        norm: settings of the batch norms, see `Norm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
        switchable: bool = False,
        squeeze_excite: bool = False,
        final_relu: bool = True,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        convolution = SwitchableConvNorm if switchable else ConvNorm
        self.conv1 = convolution(
            in_channels, out_channels, 3, stride=stride, dilation=dilations[0], norm=norm
        )
        self.conv2 = convolution(
            out_channels, out_channels, 3, dilation=dilations[1], activation=False, norm=norm
        )
        self._finish_layers(in_channels, out_channels, stride, squeeze_excite, final_relu, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self._finish(self.conv2(self.conv1(x)), x)


class ResNet(Backbone):
    """ResNet with bottleneck blocks, as encoder or classifier.

    Shapes: see `Backbone`; any height and width.

    Args:
        stem: "conv" (7x7, stride 2) or "three_conv" (3x3, the first with stride 2).
        stem_multiplier: scale of the stem's channels.
        max_pool: whether a 3x3 max-pool with stride 2 ends the stem; without it the first block of res2 has
            stride 2.
        backbone: what all backbones have, see `ResidualOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: He et al. 2016, with the stride in the 3x3 convolution; atrous rates as deeplab2: the first block
    of a stage that lost its stride keeps the rate of the stage before.
    """

    def __init__(
        self,
        *,
        stem: Literal["conv", "three_conv"] = "conv",
        stem_multiplier: float = 1.0,
        max_pool: bool = True,
        backbone: ResidualOptions = RESIDUAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        backbone, norm = with_keywords(keywords, backbone, norm)
        widths = tuple(round(STAGE_WIDTH * backbone.width_multiplier) * 2**stage for stage in range(4))
        super().__init__(tuple(EXPANSION * width for width in widths), backbone)
        layers, channels = convolutional_stem(stem, backbone.in_channels, round(64 * stem_multiplier), norm)
        if max_pool:
            layers["max_pool"] = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(layers)

        def block(in_channels: int, width: int, stride: int, dilation: int) -> nn.Module:
            return Bottleneck(in_channels, width, stride=stride, dilation=dilation, norm=norm)

        self._add_stages(channels, widths, backbone.depths, block, max_pool=max_pool)
