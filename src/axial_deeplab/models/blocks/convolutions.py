"""Convolution units that the backbones and decoders share."""

import math
from collections import OrderedDict

from torch import nn

from axial_deeplab.models.folding.fold import can_fold, fold_layers, folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.options import NORM, Norm
from axial_deeplab.models.pointwise import Conv2d
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
        norm: settings of the batch norms, see `Norm`.
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
        norm: Norm = NORM,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        convolution = (
            Conv2d(in_channels, out_channels)
            if kernel_size == stride == groups == 1
            else nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False
            )
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=convolution, norm=BatchNorm2d(out_channels, eps=norm.eps, momentum=norm.momentum)
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
        if not can_fold(convolution, norm):
            return fold_layers(self)
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
        norm: settings of the batch norms, see `Norm`.
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
        norm: Norm = NORM,
    ) -> None:
        depthwise = ConvNorm(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            activation=activation,
            norm=norm,
        )
        pointwise = ConvNorm(in_channels, out_channels, activation=activation, norm=norm)
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def three_conv_stem(in_channels: int, width: int, *, norm: Norm = NORM) -> OrderedDict[str, nn.Module]:
    """Return three 3x3 convolutions of width, width and 2 * width channels, the first with stride 2.

    Source: the stem of Panoptic-DeepLab (64, 64, 128), which Axial-DeepLab scales by its width multiplier.
    """
    return OrderedDict(
        conv1=ConvNorm(in_channels, width, 3, stride=2, norm=norm),
        conv2=ConvNorm(width, width, 3, norm=norm),
        conv3=ConvNorm(width, 2 * width, 3, norm=norm),
    )


def convolutional_stem(
    name: str, in_channels: int, width: int, norm: Norm, others: tuple[str, ...] = ()
) -> tuple[OrderedDict[str, nn.Module], int]:
    """Return the layers of a stem with stride 2 and the channels of its output.

    Args:
        name: "conv" (7x7) or "three_conv" (3x3, the first with the stride).
        in_channels: channels of the images.
        width: channels of the first convolution.
        norm: settings of the batch norms.
        others: names of the stems that the caller makes itself.

    Raises:
        ValueError: the name is none of these.
    """
    if name == "conv":
        return OrderedDict(conv1=ConvNorm(in_channels, width, 7, stride=2, norm=norm)), width
    if name == "three_conv":
        return three_conv_stem(in_channels, width, norm=norm), 2 * width
    *names, last = "conv", "three_conv", *others
    raise ValueError(f"stem must be {', '.join(names)} or {last}, got {name!r}; choose one of these")
