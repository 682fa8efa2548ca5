"""Residual networks of convolutions whose last stages are axial attention: MaX-DeepLab's and SWideRNet's."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone
from axial_deeplab.models.backbones.resnet import BasicBlock, Bottleneck
from axial_deeplab.models.backbones.stacked_decoder import FINEST_STRIDE, StackedDecoder
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, three_conv_stem
from axial_deeplab.models.options import AXIAL, NORM, AxialOptions, Norm, ResidualOptions, with_keywords

STAGE_WIDTH = 64
EXPANSION = 4
STRIDES = (2, 4, 8, 16, 32)
# Strides of the last stage of a wide network, whose blocks are bottlenecks, and of its first one.
LAST_STRIDE, FIRST_STRIDE = 32, 2
FIRST_STAGE_DEPTH = 3
HYBRID = ResidualOptions(output_stride=16)


class HybridResNet(Backbone):
    """A residual network with convolutions in its fine stages and axial attention in its coarse ones.

    Shapes: see `Backbone`; any height and width. With the stacked decoder there is one more map, "decoded",
    of the size of res5, which the classifier uses instead.

    Args:
        blocks: "bottleneck" (1x1, 3x3, 1x1, after a stem of three 3x3 convolutions) or "wide" (two 3x3, wide
            bottlenecks in res5, after a stem of a 3x3 convolution and three such blocks at stride 2).
        stem_multiplier: scale of the stem's channels; None is `width_multiplier`.
        axial_from_stride: blocks whose input has this stride or a coarser one are axial; None for none. All
            such strides are those of output stride 32, whatever the output stride.
        switchable_from_stride: the 3x3 convolutions of stages that end at this stride or a coarser one are
            switchable atrous convolutions; None for none.
        squeeze_excite: whether squeeze-and-excite ends each residual branch.
        stacked_decoder: whether a `StackedDecoder` follows.
        recompute: whether normalized maps are computed again in the backward pass, see `AxialBlock`.
        backbone: what all backbones have, see `ResidualOptions`.
        attention: settings of the attention, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: MaX-DeepLab (Wang et al. 2021) and SWideRNet (Chen et al. 2020) as deeplab2 has them: the stride
    is in the first block of a stage, and there is no max-pool.
    """

    def __init__(
        self,
        *,
        blocks: Literal["bottleneck", "wide"] = "bottleneck",
        stem_multiplier: float | None = None,
        axial_from_stride: int | None = 16,
        switchable_from_stride: int | None = None,
        squeeze_excite: bool = False,
        stacked_decoder: bool = False,
        recompute: bool = True,
        backbone: ResidualOptions = HYBRID,
        attention: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        backbone, attention, norm = with_keywords(keywords, backbone, attention, norm)
        if blocks not in ("bottleneck", "wide"):
            raise ValueError(f"blocks must be bottleneck or wide, got {blocks!r}; choose one of these")
        _check_stride("axial_from_stride", axial_from_stride)
        _check_stride("switchable_from_stride", switchable_from_stride)
        widths = tuple(round(STAGE_WIDTH * backbone.width_multiplier) * 2**stage for stage in range(4))
        super().__init__(tuple(EXPANSION * width for width in widths), backbone)
        output_stride = backbone.output_stride
        wide = blocks == "wide"

        def block(
            in_channels: int, width: int, before: int, after: int, stride: int = 1, final_relu: bool = True
        ) -> nn.Module:
            """Make a block of a stage that leads from one stride to another (at output stride 32)."""
            shared: dict[str, Any] = {"stride": stride, "squeeze_excite": squeeze_excite, "norm": norm}
            shared["final_relu"] = final_relu
            if axial_from_stride is not None and before >= axial_from_stride:
                return AxialBlock(
                    in_channels,
                    (4 if wide else 2) * width,
                    EXPANSION * width,
                    recompute=recompute,
                    attention=attention,
                    **shared,
                )
            shared["switchable"] = switchable_from_stride is not None and after >= switchable_from_stride
            dilations = max(before // output_stride, 1), max(after // output_stride, 1)
            if wide and after < LAST_STRIDE:
                return BasicBlock(in_channels, EXPANSION * width, dilations=dilations, **shared)
            inner_width = 2 * width if wide else width
            return Bottleneck(in_channels, width, inner_width=inner_width, dilation=dilations[0], **shared)

        layers: OrderedDict[str, nn.Module] = OrderedDict()
        stem_width = round(64 * (backbone.width_multiplier if stem_multiplier is None else stem_multiplier))
        if wide:
            layers["conv1"] = ConvNorm(backbone.in_channels, stem_width, 3, stride=2, norm=norm)
            channels = stem_width
            for number in range(1, FIRST_STAGE_DEPTH + 1):
                layers[f"block{number}"] = block(channels, stem_width // 2, FIRST_STRIDE, FIRST_STRIDE)
                channels = EXPANSION * (stem_width // 2)
        else:
            layers.update(three_conv_stem(backbone.in_channels, stem_width, norm=norm))
            channels = 2 * stem_width
        self.stem = nn.Sequential(layers)

        for name, width, depth, before in zip(FEATURE_NAMES, widths, backbone.depths, STRIDES, strict=False):
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
            self.stacked_decoder = StackedDecoder(of_stride, step, norm=norm)
            self.feature_channels["decoded"] = self.feature_channels["res5"]
            self.feature_strides["decoded"] = output_stride
        _start_as_shortcuts(self)

    def iterate_features(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        if self.stacked_decoder is None:
            yield from super().iterate_features(images)
            return
        of_stride = {}
        for name, x in super().iterate_features(images):
            of_stride[self.feature_strides[name]] = x
            yield name, F.relu(x)
        yield "decoded", F.relu(self._run(self.stacked_decoder, of_stride))


def _start_as_shortcuts(network: nn.Module) -> None:
    """Zero the last norm of the convolutional blocks, as the axial ones do themselves."""
    for module in network.modules():
        last = getattr(module, {Bottleneck: "conv3", BasicBlock: "conv2"}.get(type(module), ""), None)
        if last is not None:
            nn.init.zeros_(last.norm.weight)


def _check_stride(name: str, stride: int | None) -> None:
    if stride is not None and stride not in STRIDES:
        raise ValueError(f"{name} must be one of {list(STRIDES)} or None, got {stride}; 16 is usual")
