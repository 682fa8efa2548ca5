"""Axial-ResNet: a residual network whose 3x3 convolutions are replaced by axial attention."""

from collections import OrderedDict
from typing import Any, Literal

from torch import Tensor, nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone, check_depths, stage_strides
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, three_conv_stem
from axial_deeplab.models.recomputation import recompute_normalized

# Attention width of the first stage of Axial-ResNet-L; the output of a block has twice its width.
STAGE_WIDTH = 128
EXPANSION = 2

StemName = Literal["conv", "three_conv", "axial"]


class AxialResNet(Backbone):
    """Axial-ResNet with a convolutional or an axial stem, as encoder or classifier.

    Shapes: see `Backbone`; any height and width.

    Args:
        num_classes: classes of the classifier.
        in_channels: channels of the images.
        width_multiplier: scale of all channels; 0.5, 0.75, 1 and 2 are S, M, L and XL.
        depths: blocks in the stages res2 to res5.
        stem: "conv" (7x7, stride 2), "three_conv" (3x3, the first with stride 2) or "axial" (three axial
            blocks, the first with stride 2: Full Axial-ResNet).
        stem_multiplier: scale of the stem's channels; None is 1 for "conv" and `width_multiplier` for the
            others.
        stem_span: span of the axial stem in positions; None attends to the whole axis.
        max_pool: whether a 3x3 max-pool with stride 2 ends the stem; without it the first block of res2 has
            stride 2.
        output_stride: 32, 16 or 8; strides are removed from the last stages (attention is never atrous).
        span: positions that a query attends to, odd; None is the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        num_heads: attention heads.
        rel_q: see `AxialAttention`.
        rel_k: see `AxialAttention`.
        rel_v: see `AxialAttention`.
        stride_mode: how strided blocks subsample, see `AxialBlock`.
        checkpoint: recompute each block in the backward pass instead of keeping its activations.
        features_only: make no classifier and return the maps res2 to res5.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the attention, see `ops.axial_attention`.

    Source: section 3.2 of the paper. The stem's channels are not in its text; they follow from its parameter
    counts.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        width_multiplier: float = 1.0,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        stem: StemName = "conv",
        stem_multiplier: float | None = None,
        stem_span: int | None = 15,
        max_pool: bool = True,
        output_stride: int = 32,
        span: int | None = None,
        max_span: int = 255,
        num_heads: int = 8,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        stride_mode: str = "slice",
        checkpoint: bool = False,
        features_only: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        check_depths(depths)
        widths = tuple(round(STAGE_WIDTH * width_multiplier) * 2**stage for stage in range(4))
        super().__init__(
            tuple(EXPANSION * width for width in widths), output_stride, num_classes, features_only
        )
        if stem_multiplier is None:
            stem_multiplier = 1.0 if stem == "conv" else width_multiplier
        norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}

        def block(in_channels: int, width: int, stride: int, span: int | None) -> AxialBlock:
            return AxialBlock(
                in_channels,
                width,
                EXPANSION * width,
                stride=stride,
                num_heads=num_heads,
                span=span,
                max_span=max_span,
                rel_q=rel_q,
                rel_k=rel_k,
                rel_v=rel_v,
                stride_mode=stride_mode,
                checkpoint=checkpoint,
                impl=impl,
                **norm,
            )

        stem_width = round(64 * stem_multiplier)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if stem == "conv":
            layers["conv1"] = ConvNorm(in_channels, stem_width, 7, stride=2, **norm)
            channels = stem_width
        elif stem == "three_conv":
            layers.update(three_conv_stem(in_channels, stem_width, **norm))
            channels = 2 * stem_width
        elif stem == "axial":
            layers["block1"] = block(in_channels, stem_width, 2, stem_span)
            layers["block2"] = block(EXPANSION * stem_width, stem_width, 1, stem_span)
            layers["block3"] = block(EXPANSION * stem_width, stem_width, 1, stem_span)
            channels = EXPANSION * stem_width
        else:
            raise ValueError(f"stem must be conv, three_conv or axial, got {stem!r}; choose one of these")
        if max_pool:
            layers["max_pool"] = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(layers)

        strides = stage_strides(output_stride)
        if not max_pool:
            strides = (2, *strides[1:])
        for name, width, depth, stride in zip(FEATURE_NAMES, widths, depths, strides, strict=True):
            blocks = [block(channels, width, stride, span)]
            channels = EXPANSION * width
            blocks += [block(channels, width, 1, span) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*blocks))

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        with recompute_normalized():
            return super().forward_features(images)
