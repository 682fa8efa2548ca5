"""ResNet-50 and ResNet-101 as convolutional backbones."""

from collections import OrderedDict
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone, check_depths, stage_strides
from axial_deeplab.models.blocks.convolutions import ConvNorm, three_conv_stem
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.blocks.switchable_convolution import SwitchableConvNorm

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
        norm: dict[str, Any],
    ) -> None:
        """Make the layers that come after the convolutions."""
        self.final_relu = final_relu
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, stride=stride, activation=False, **norm)
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
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
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
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        inner_width = inner_width or width
        out_channels = EXPANSION * width
        convolution = SwitchableConvNorm if switchable else ConvNorm
        self.conv1 = ConvNorm(in_channels, width, **norm)
        self.conv2 = convolution(width, inner_width, 3, stride=stride, dilation=dilation, **norm)
        self.conv3 = ConvNorm(inner_width, out_channels, activation=False, **norm)
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
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
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
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        convolution = SwitchableConvNorm if switchable else ConvNorm
        self.conv1 = convolution(in_channels, out_channels, 3, stride=stride, dilation=dilations[0], **norm)
        self.conv2 = convolution(
            out_channels, out_channels, 3, dilation=dilations[1], activation=False, **norm
        )
        self._finish_layers(in_channels, out_channels, stride, squeeze_excite, final_relu, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self._finish(self.conv2(self.conv1(x)), x)


class ResNet(Backbone):
    """ResNet with bottleneck blocks, as encoder or classifier.

    Shapes: see `Backbone`; any height and width.

    Args:
        num_classes: classes of the classifier.
        in_channels: channels of the images.
        width_multiplier: scale of the stages' channels.
        depths: blocks in the stages res2 to res5.
        stem: "conv" (7x7, stride 2) or "three_conv" (3x3, the first with stride 2).
        stem_multiplier: scale of the stem's channels.
        max_pool: whether a 3x3 max-pool with stride 2 ends the stem; without it the first block of res2 has
            stride 2.
        output_stride: 32, 16 or 8; where a stride is removed, the following 3x3 convolutions are atrous
            instead.
        checkpoint: recompute each block in the backward pass instead of keeping its activations.
        features_only: make no classifier and return the maps res2 to res5.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.

    Source: He et al. 2016, with the stride in the 3x3 convolution; atrous rates as deeplab2: the first block
    of a stage that lost its stride keeps the rate of the stage before.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        width_multiplier: float = 1.0,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        stem: Literal["conv", "three_conv"] = "conv",
        stem_multiplier: float = 1.0,
        max_pool: bool = True,
        output_stride: int = 32,
        checkpoint: bool = False,
        features_only: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        check_depths(depths)
        widths = tuple(round(STAGE_WIDTH * width_multiplier) * 2**stage for stage in range(4))
        super().__init__(
            tuple(EXPANSION * width for width in widths), output_stride, num_classes, features_only
        )
        self.checkpoint = checkpoint
        norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        stem_width = round(64 * stem_multiplier)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if stem == "conv":
            layers["conv1"] = ConvNorm(in_channels, stem_width, 7, stride=2, **norm)
            channels = stem_width
        elif stem == "three_conv":
            layers.update(three_conv_stem(in_channels, stem_width, **norm))
            channels = 2 * stem_width
        else:
            raise ValueError(f"stem must be conv or three_conv, got {stem!r}; choose one of these")
        if max_pool:
            layers["max_pool"] = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(layers)

        dilation = 1
        for name, width, depth, stride in zip(
            FEATURE_NAMES, widths, depths, stage_strides(output_stride), strict=True
        ):
            if name == "res2" and not max_pool:
                stride = 2
            blocks = [Bottleneck(channels, width, stride=stride, dilation=dilation, **norm)]
            channels = EXPANSION * width
            if stride == 1 and name != "res2":
                dilation *= 2
            blocks += [Bottleneck(channels, width, dilation=dilation, **norm) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*blocks))
