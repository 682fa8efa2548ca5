"""Axial-ResNet: a residual network whose 3x3 convolutions are replaced by axial attention."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from axial_deeplab.models.attention.axial import channels_last
from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import convolutional_stem
from axial_deeplab.models.options import (
    AXIAL,
    NORM,
    RESIDUAL,
    AxialOptions,
    Norm,
    ResidualOptions,
    with_keywords,
)
from axial_deeplab.models.recomputation import recompute_normalized

# Attention width of the first stage of Axial-ResNet-L; the output of a block has twice its width.
STAGE_WIDTH = 128
EXPANSION = 2

StemName = Literal["conv", "three_conv", "axial"]


class AxialResNet(Backbone):
    """Axial-ResNet with a convolutional or an axial stem, as encoder or classifier.

    Shapes: see `Backbone`; any height and width.

    Args:
        stem: "conv" (7x7, stride 2), "three_conv" (3x3, the first with stride 2) or "axial" (three axial
            blocks, the first with stride 2: Full Axial-ResNet).
        stem_multiplier: scale of the stem's channels; None is 1 for "conv" and `width_multiplier` for the
            others.
        stem_span: span of the axial stem in positions; None attends to the whole axis.
        max_pool: whether a 3x3 max-pool with stride 2 ends the stem; without it the first block of res2 has
            stride 2.
        stride_mode: how strided blocks subsample, see `AxialBlock`.
        recompute: whether normalized maps are computed again in the backward pass, see `AxialBlock`.
        backbone: what all backbones have, see `ResidualOptions`.
        attention: settings of the attention, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: section 3.2 of the paper. The stem's channels are not in its text; they follow from its parameter
    counts.
    """

    def __init__(
        self,
        *,
        stem: StemName = "conv",
        stem_multiplier: float | None = None,
        stem_span: int | None = 15,
        max_pool: bool = True,
        stride_mode: str = "slice",
        recompute: bool = True,
        backbone: ResidualOptions = RESIDUAL,
        attention: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        backbone, attention, norm = with_keywords(keywords, backbone, attention, norm)
        widths = tuple(round(STAGE_WIDTH * backbone.width_multiplier) * 2**stage for stage in range(4))
        super().__init__(tuple(EXPANSION * width for width in widths), backbone)
        self.recompute = recompute
        self.checkpoint = False  # the blocks do it themselves
        if stem_multiplier is None:
            stem_multiplier = 1.0 if stem == "conv" else backbone.width_multiplier

        def block(in_channels: int, width: int, stride: int, _: int, of_stem: bool = False) -> AxialBlock:
            return AxialBlock(
                in_channels,
                width,
                EXPANSION * width,
                stride=stride,
                stride_mode=stride_mode,
                checkpoint=backbone.checkpoint,
                recompute=recompute,
                attention=replace(attention, span=stem_span) if of_stem else attention,
                norm=norm,
            )

        stem_width = round(64 * stem_multiplier)
        layers: OrderedDict[str, nn.Module]
        if stem == "axial":
            channels = EXPANSION * stem_width
            layers = OrderedDict(
                block1=block(backbone.in_channels, stem_width, 2, 1, of_stem=True),
                block2=block(channels, stem_width, 1, 1, of_stem=True),
                block3=block(channels, stem_width, 1, 1, of_stem=True),
            )
        else:
            layers, channels = convolutional_stem(stem, backbone.in_channels, stem_width, norm, ("axial",))
        if max_pool:
            layers["max_pool"] = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(layers)
        self._add_stages(channels, widths, backbone.depths, block, max_pool=max_pool)

    def iterate_features(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        # As the attention wants it: PyTorch's max pool is ten times as fast so, too (CPU, PyTorch 2.13.0).
        images = channels_last(images) if self.training and images.ndim == 4 else images
        with recompute_normalized(self.recompute):
            yield from super().iterate_features(images)
