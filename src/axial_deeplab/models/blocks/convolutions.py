"""Convolution units that the backbones and decoders share."""

import math
from collections import OrderedDict
from typing import Any

from torch import nn

from axial_deeplab.models.folding.fold import folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.recomputation import ReLU


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch norm and, if asked for, ReLU.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, pixels.
        stride: pixels.
        dilation: the atrous rate.
        groups: channel groups; `in_channels` makes the convolution depthwise.
        activation: whether ReLU follows.
        norm_eps: epsilon of the batch norm.
        norm_momentum: weight of the new batch in the running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: bool = True,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=convolution,
            norm=BatchNorm2d(out_channels, eps=norm_eps, momentum=norm_momentum),
        )
        if activation:
            layers["relu"] = ReLU(inplace=True)
        super().__init__(layers)
        # He's normal distribution; fan out per group: a depthwise convolution counts its own channel alone.
        fan_out = out_channels // groups * kernel_size**2
        nn.init.normal_(convolution.weight, std=math.sqrt(2.0 / fan_out))

    def fused(self) -> nn.Module:
        """Return the convolution with the norm in its weights and bias, and ReLU where there is one."""
        convolution, norm, *activation = self
        assert isinstance(convolution, nn.Conv2d)
        constants = scale_and_shift(norm, convolution.out_channels)
        return folded_convolution(convolution, *constants, relu=bool(activation))


class SeparableConv(nn.Sequential):
    """A depthwise convolution and a pointwise one, each followed by batch norm and, if asked for, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, pixels.
        stride: pixels, of the depthwise convolution.
        dilation: the atrous rate of the depthwise convolution.
        activation: whether ReLU follows each of the two norms.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        activation: bool = True,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        depthwise = ConvNorm(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            activation=activation,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
        )
        pointwise = ConvNorm(
            in_channels,
            out_channels,
            activation=activation,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
        )
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def three_conv_stem(
    in_channels: int, width: int, *, norm_eps: float = 1e-5, norm_momentum: float = 0.1
) -> OrderedDict[str, nn.Module]:
    """Return three 3x3 convolutions of width, width and 2 * width channels, the first with stride 2.

    Source: the stem of Panoptic-DeepLab (64, 64, 128), which Axial-DeepLab scales by its width multiplier.
    """
    norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
    return OrderedDict(
        conv1=ConvNorm(in_channels, width, 3, stride=2, **norm),
        conv2=ConvNorm(width, width, 3, **norm),
        conv3=ConvNorm(width, 2 * width, 3, **norm),
    )
