"""Xception-71, aligned as in DeepLab, as a convolutional backbone."""

from collections import OrderedDict
from typing import Any, Literal

from torch import Tensor, nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone, stage_strides
from axial_deeplab.models.blocks.convolutions import ConvNorm, SeparableConv
from axial_deeplab.models.options import BACKBONE, NORM, BackboneOptions, Norm, with_keywords

# Channels of the three separable convolutions of each block; the first block of a stage has its stride.
ENTRY_2 = ((128, 128, 128), (256, 256, 256))
ENTRY_3 = ((256, 256, 256), (728, 728, 728))
ENTRY_AND_MIDDLE_4 = ((728, 728, 728),) * 17
EXIT_5 = ((728, 1024, 1024), (1536, 1536, 2048))


class XceptionBlock(nn.Module):
    """Three 3x3 depthwise-separable convolutions, the last one strided, and a shortcut.

    Shapes: (B, in_channels, H, W) -> (B, channels[-1], ceil(H/stride), ceil(W/stride)).

    Args:
        in_channels: channels of the input.
        channels: channels after each of the three convolutions.
        stride: stride of the last convolution, pixels.
        dilation: dilation of all three, pixels.
        shortcut: "conv" (1x1, norm), "sum" (the input itself) or "none".
        activation_inside: ReLU after each norm of the separable convolutions instead of before each
            convolution.
        norm: settings of the batch norms, see `Norm`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...],
        *,
        stride: int = 1,
        dilation: int = 1,
        shortcut: Literal["conv", "sum", "none"],
        activation_inside: bool = False,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        self.has_shortcut = shortcut != "none"
        self.shortcut: nn.Module = nn.Identity()
        if shortcut == "conv":
            self.shortcut = ConvNorm(in_channels, channels[-1], stride=stride, activation=False, norm=norm)
        layers: list[nn.Module] = []
        for index, out_channels in enumerate(channels):
            if not activation_inside:
                layers.append(nn.ReLU())
            layers.append(
                SeparableConv(
                    in_channels,
                    out_channels,
                    3,
                    stride=stride if index == len(channels) - 1 else 1,
                    dilation=dilation,
                    activation=activation_inside,
                    norm=norm,
                )
            )
            in_channels = out_channels
        self.residual = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.residual(x)
        return residual + self.shortcut(x) if self.has_shortcut else residual


class Xception71(Backbone):
    """Xception-71, as encoder or classifier.

    Shapes: see `Backbone`; any height and width. res2, res3 and res4 are outputs of pre-activated blocks, so
    they are not activated.

    Args:
        backbone: what all backbones have, see `BackboneOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: the modified aligned Xception of DeepLabv3+ (Chen et al. 2018) with the two more entry blocks of
    Xception-71.
    """

    def __init__(self, *, backbone: BackboneOptions = BACKBONE, norm: Norm = NORM, **keywords: Any) -> None:
        backbone, norm = with_keywords(keywords, backbone, norm)
        stages = (ENTRY_2, ENTRY_3, ENTRY_AND_MIDDLE_4, EXIT_5)

        def scaled(channels: int) -> int:
            return max(round(channels * backbone.width_multiplier), 1)

        super().__init__(tuple(scaled(stage[-1][-1]) for stage in stages), backbone)
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=ConvNorm(backbone.in_channels, scaled(32), 3, stride=2, norm=norm),
                conv2=ConvNorm(scaled(32), scaled(64), 3, norm=norm),
            )
        )
        channels = scaled(64)
        dilation = 1
        # The stem has no pooling, so res2 starts with a stride.
        strides = (2, *stage_strides(backbone.output_stride)[1:])
        for name, stage, stage_stride in zip(FEATURE_NAMES, stages, strides, strict=True):
            blocks = []
            for index, block_channels in enumerate(stage):
                last = name == "res5" and index == len(stage) - 1
                stride = stage_stride if index == 0 else 1
                same = index > 0 and block_channels[-1] == stage[index - 1][-1]
                blocks.append(
                    XceptionBlock(
                        channels,
                        tuple(scaled(c) for c in block_channels),
                        stride=stride,
                        dilation=dilation,
                        shortcut="none" if last else "sum" if same else "conv",
                        activation_inside=last,
                        norm=norm,
                    )
                )
                channels = scaled(block_channels[-1])
                if index == 0 and stage_stride == 1:
                    dilation *= 2
            self.add_module(name, nn.Sequential(*blocks))
