"""Residual networks of convolutions whose last stages are axial attention: MaX-DeepLab's and SWideRNet's."""

from collections import OrderedDict
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone, check_depths
from axial_deeplab.models.backbones.resnet import BasicBlock, Bottleneck
from axial_deeplab.models.backbones.stacked_decoder import FINEST_STRIDE, StackedDecoder
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, three_conv_stem

STAGE_WIDTH = 64
EXPANSION = 4
STRIDES = (2, 4, 8, 16, 32)
# Strides of the last stage of a wide network, whose blocks are bottlenecks, and of its first one.
LAST_STRIDE, FIRST_STRIDE = 32, 2
FIRST_STAGE_DEPTH = 3


class HybridResNet(Backbone):
    """A residual network with convolutions in its fine stages and axial attention in its coarse ones.

    Shapes: see `Backbone`; any height and width. With the stacked decoder there is one more map, "decoded",
    of the size of res5, which the classifier uses instead.

    Args:
        num_classes: classes of the classifier.
        in_channels: channels of the images.
        width_multiplier: scale of all channels.
        depths: blocks in the stages res2 to res5.
        blocks: "bottleneck" (1x1, 3x3, 1x1, after a stem of three 3x3 convolutions) or "wide" (two 3x3, wide
            bottlenecks in res5, after a stem of a 3x3 convolution and three such blocks at stride 2).
        stem_multiplier: scale of the stem's channels; None is `width_multiplier`.
        axial_from_stride: blocks whose input has this stride or a coarser one are axial; None for none. All
            such strides are those of output stride 32, whatever the output stride.
        switchable_from_stride: the 3x3 convolutions of stages that end at this stride or a coarser one are
            switchable atrous convolutions; None for none.
        squeeze_excite: whether squeeze-and-excite ends each residual branch.
        stacked_decoder: whether a `StackedDecoder` follows.
        output_stride: 32, 16 or 8; where a stride is removed, the following 3x3 convolutions are atrous
            instead (attention is never atrous).
        span: positions that a query attends to, odd; None is the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        num_heads: attention heads.
        checkpoint: recompute each block in the backward pass instead of keeping its activations.
        features_only: make no classifier and return the maps res2 to res5.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the attention, see `ops.axial_attention`.

    Source: MaX-DeepLab (Wang et al. 2021) and SWideRNet (Chen et al. 2020) as deeplab2 has them: the stride
    is in the first block of a stage, and there is no max-pool.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        width_multiplier: float = 1.0,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        blocks: Literal["bottleneck", "wide"] = "bottleneck",
        stem_multiplier: float | None = None,
        axial_from_stride: int | None = 16,
        switchable_from_stride: int | None = None,
        squeeze_excite: bool = False,
        stacked_decoder: bool = False,
        output_stride: int = 16,
        span: int | None = None,
        max_span: int = 255,
        num_heads: int = 8,
        checkpoint: bool = False,
        features_only: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        check_depths(depths)
        if blocks not in ("bottleneck", "wide"):
            raise ValueError(f"blocks must be bottleneck or wide, got {blocks!r}; choose one of these")
        _check_stride("axial_from_stride", axial_from_stride)
        _check_stride("switchable_from_stride", switchable_from_stride)
        widths = tuple(round(STAGE_WIDTH * width_multiplier) * 2**stage for stage in range(4))
        super().__init__(
            tuple(EXPANSION * width for width in widths), output_stride, num_classes, features_only
        )
        self.checkpoint = checkpoint
        norm: dict[str, Any] = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        wide = blocks == "wide"

        def block(
            in_channels: int, width: int, before: int, after: int, stride: int = 1, final_relu: bool = True
        ) -> nn.Module:
            """Make a block of a stage that leads from one stride to another (at output stride 32)."""
            shared: dict[str, Any] = {"stride": stride, "squeeze_excite": squeeze_excite, **norm}
            shared["final_relu"] = final_relu
            if axial_from_stride is not None and before >= axial_from_stride:
                return AxialBlock(
                    in_channels,
                    (4 if wide else 2) * width,
                    EXPANSION * width,
                    num_heads=num_heads,
                    span=span,
                    max_span=max_span,
                    impl=impl,
                    **shared,
                )
            shared["switchable"] = switchable_from_stride is not None and after >= switchable_from_stride
            dilations = max(before // output_stride, 1), max(after // output_stride, 1)
            if wide and after < LAST_STRIDE:
                return BasicBlock(in_channels, EXPANSION * width, dilations=dilations, **shared)
            inner_width = 2 * width if wide else width
            return Bottleneck(in_channels, width, inner_width=inner_width, dilation=dilations[0], **shared)

        layers: OrderedDict[str, nn.Module] = OrderedDict()
        stem_width = round(64 * (width_multiplier if stem_multiplier is None else stem_multiplier))
        if wide:
            layers["conv1"] = ConvNorm(in_channels, stem_width, 3, stride=2, **norm)
            channels = stem_width
            for number in range(1, FIRST_STAGE_DEPTH + 1):
                layers[f"block{number}"] = block(channels, stem_width // 2, FIRST_STRIDE, FIRST_STRIDE)
                channels = EXPANSION * (stem_width // 2)
        else:
            layers.update(three_conv_stem(in_channels, stem_width, **norm))
            channels = 2 * stem_width
        self.stem = nn.Sequential(layers)

        for name, width, depth, before in zip(FEATURE_NAMES, widths, depths, STRIDES, strict=False):
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            if stacked_decoder and name != FEATURE_NAMES[0]:
                stage["relu"] = nn.ReLU()  # of the map before, which the decoder takes without
            for index in range(depth):
                first, last = index == 0, index == depth - 1
                stage[str(index)] = block(
                    channels,
                    width,
                    before if first else 2 * before,
                    2 * before,
                    stride=2 if first and before < output_stride else 1,
                    final_relu=not (stacked_decoder and last),
                )
                channels = EXPANSION * width
            self.add_module(name, nn.Sequential(stage))

        self.stacked_decoder: StackedDecoder | None = None
        if stacked_decoder:
            # Of several maps with the output stride, the last one.
            of_stride = {self.feature_strides[name]: self.feature_channels[name] for name in FEATURE_NAMES}

            def step(channels: int, stride: int) -> nn.Module:
                stride = LAST_STRIDE if stride == output_stride else stride
                return block(channels, channels // EXPANSION, stride, stride, final_relu=False)

            assert min(of_stride) == FINEST_STRIDE
            self.stacked_decoder = StackedDecoder(of_stride, step, **norm)
            self.feature_channels["decoded"] = self.feature_channels["res5"]
            self.feature_strides["decoded"] = output_stride
        _start_as_shortcuts(self)

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        maps = super().forward_features(images)
        if self.stacked_decoder is None:
            return maps
        features = {name: F.relu(x) for name, x in maps.items()}
        of_stride = {self.feature_strides[name]: x for name, x in maps.items()}
        features["decoded"] = F.relu(self._run(self.stacked_decoder, of_stride))
        return features


def _start_as_shortcuts(network: nn.Module) -> None:
    """Zero the last norm of the convolutional blocks, as the axial ones do themselves."""
    for module in network.modules():
        last = getattr(module, {Bottleneck: "conv3", BasicBlock: "conv2"}.get(type(module), ""), None)
        if last is not None:
            nn.init.zeros_(last.norm.weight)


def _check_stride(name: str, stride: int | None) -> None:
    if stride is not None and stride not in STRIDES:
        raise ValueError(f"{name} must be one of {list(STRIDES)} or None, got {stride}; 16 is usual")
