"""Decoders and heads: from the maps of a backbone to one at stride 4, and from that to what is predicted."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, SeparableConv
from axial_deeplab.models.options import (
    AXIAL,
    DECODER,
    NORM,
    AxialOptions,
    DecoderOptions,
    Norm,
    with_keywords,
)
from axial_deeplab.models.resize import resize_bilinear, resize_bilinear_rows
from axial_deeplab.models.strips import JoinedStrips, strips

# Dilations of ASPP at output stride 16; another output stride scales them, so that they span the same pixels.
ATROUS_RATES = (6, 12, 18)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 convolution, atrous ones and the pooled map, projected together.

    Shapes: (B, in_channels, H, W) -> (B, channels, H, W).

    A single image pools to one value a channel, which has no batch statistics: in training mode, too, the
    norm of that branch then uses its running statistics (see `BatchNorm2d`).

    Args:
        in_channels: channels of the input.
        channels: channels of each branch and of the output.
        atrous_rates: dilations of the 3x3 convolutions in pixels of the input map (6, 12, 18 at output
            stride 16).
        separable: whether the atrous convolutions are depthwise-separable.
        pool_size: None pools the whole map; else a window of this height and width in pixels of the input
            map slides over it with stride 1 and the result is resized back, as deeplab2 does for its
            training crop. A map smaller than the window is pooled whole.
        norm: settings of the batch norms, see `Norm`.

    Source: DeepLabv3 (Chen et al. 2017). deeplab2 has plain atrous convolutions; depthwise-separable ones
    give the parameter counts of the paper.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        *,
        atrous_rates: Sequence[int] = ATROUS_RATES,
        separable: bool = True,
        pool_size: tuple[int, int] | None = None,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        convolution = SeparableConv if separable else ConvNorm
        self.pool_size = pool_size
        self.branches = nn.ModuleList([ConvNorm(in_channels, channels, norm=norm)])
        self.branches.extend(
            convolution(in_channels, channels, 3, dilation=rate, norm=norm) for rate in atrous_rates
        )
        self.pool = ConvNorm(in_channels, channels, norm=norm)
        self.project = ConvNorm((len(self.branches) + 1) * channels, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        branches = [branch(x) for branch in self.branches]
        branches.append(resize_bilinear(self._pooled(x), x.shape[-2:]))
        return self.project(torch.cat(branches, dim=1))

    def _pooled(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.pool_size is None:
            pooled = x.mean(dim=(2, 3), keepdim=True)
        else:
            window = (min(self.pool_size[0], height), min(self.pool_size[1], width))
            pooled = F.avg_pool2d(x, window, stride=1)
        return self.pool(pooled)


class ConvDecoder(nn.Module):
    """The decoder of Panoptic-DeepLab: ASPP or a 1x1 projection, then two fusions with finer maps.

    A fusion resizes to the finer map, concatenates a 1x1 projection of that map behind, and applies a 5x5
    convolution, depthwise-separable unless told otherwise.

    Shapes: features res2 (stride 4), res3 (stride 8), res5; result (B, channels, H/4, W/4).

    Args:
        feature_channels: channels of the backbone's maps by name.
        channels: channels after each fusion: 256 (semantic) or 128 (instance).
        low_level_channels: channels of the projections of res3 and of res2: (64, 32) or (32, 16).
        aspp_channels: channels of the projection or the ASPP in front; None is `channels` for the projection
            and 256 for the ASPP.
        options: ASPP and convolutions, see `DecoderOptions`.
        norm: settings of the batch norms, see `Norm`.

    Source: Panoptic-DeepLab (Cheng et al. 2020).
    """

    def __init__(
        self,
        feature_channels: Mapping[str, int],
        *,
        channels: int,
        low_level_channels: tuple[int, int],
        aspp_channels: int | None = None,
        options: DecoderOptions = DECODER,
        norm: Norm = NORM,
    ) -> None:
        super().__init__()
        if options.aspp:
            context_channels = aspp_channels or 256
            self.context: nn.Module = ASPP(
                feature_channels["res5"],
                context_channels,
                atrous_rates=options.atrous_rates or ATROUS_RATES,
                separable=options.aspp_separable,
                pool_size=options.aspp_pool_size,
                norm=norm,
            )
        else:
            context_channels = aspp_channels or channels
            self.context = ConvNorm(feature_channels["res5"], context_channels, norm=norm)
        res3_channels, res2_channels = low_level_channels
        self.project_res3 = ConvNorm(feature_channels["res3"], res3_channels, norm=norm)
        self.project_res2 = ConvNorm(feature_channels["res2"], res2_channels, norm=norm)
        convolution = SeparableConv if options.decoder_separable else ConvNorm
        self.fuse_res3 = convolution(context_channels + res3_channels, channels, 5, norm=norm)
        self.fuse_res2 = convolution(channels + res2_channels, channels, 5, norm=norm)
        self.out_channels = channels

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        x = self.context(features["res5"])
        x = self.fuse_res3(_concatenate(x, self.project_res3(features["res3"])))
        return self.fuse_res2(_concatenate(x, self.project_res2(features["res2"])))

    inputs = ("res2", "res3", "res5")

    def project(self, name: str, x: Tensor) -> Tensor:
        """Return what the decoder needs of a map of the backbone, one of `inputs`: few channels of it."""
        layers = {"res2": self.project_res2, "res3": self.project_res3, "res5": self.context}
        projected: Tensor = layers[name](x)
        return projected

    def decode_strips(
        self, projected: Mapping[str, Tensor], heads: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        """Return what heads make of the decoder's map, which never exists as a whole.

        Shapes: projected maps of res2 (B, C2, H2, W2), res3, res5; results (B, ., H2, W2).

        Args:
            projected: what `project` made of the backbone's maps.
            heads: 5x5 convolutions at most.
        """
        coarse = self.fuse_res3(_concatenate(projected["res5"], projected["res3"]))
        fine = projected["res2"]
        height, width = fine.shape[-2:]
        channels = coarse.shape[1] + fine.shape[1]

        joined = {name: JoinedStrips(height) for name in heads}
        # Two rows for the convolution of the fusion, two for that of the heads.
        for strip in strips(height, 4 * channels * width * fine.shape[0], halo=4):
            x = resize_bilinear_rows(coarse, (height, width), strip.first, strip.last)
            x = self.fuse_res2(torch.cat((x, fine[:, :, strip.first : strip.last]), dim=1))
            for name, head in heads.items():
                joined[name].put(strip, head(x))
        return {name: each.map for name, each in joined.items()}


class AxialDecoder(nn.Module):
    """The axial decoder: one axial block after each fusion with a finer map, and a third one for all heads.

    Shapes: features res2 (stride 4), res3 (stride 8), res5; result (B, channels, H/4, W/4).

    Args:
        feature_channels: channels of the backbone's maps by name.
        channels: channels of the blocks' outputs; their attention has half as many.
        low_level_channels: channels of the projections of res3 and of res2.
        checkpoint: recompute each block in the backward pass.
        recompute: whether normalized maps are computed again in the backward pass, see `AxialBlock`.
        attention: settings of the attention, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: appendix B of the paper: one block at each upsampling stage, three blocks "analogous to the three
    5x5 convolutions in Panoptic-DeepLab". There, the third convolution is that of the heads, so the third
    block follows the second at stride 4 and the heads keep only their 1x1 convolutions. The widths are not
    published.
    """

    def __init__(
        self,
        feature_channels: Mapping[str, int],
        *,
        channels: int = 256,
        low_level_channels: tuple[int, int] = (64, 32),
        checkpoint: bool = False,
        recompute: bool = True,
        attention: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        super().__init__()
        attention, norm = with_keywords(keywords, attention, norm)

        def block(in_channels: int) -> AxialBlock:
            return AxialBlock(
                in_channels,
                channels // 2,
                channels,
                checkpoint=checkpoint,
                recompute=recompute,
                attention=attention,
                norm=norm,
            )

        res3_channels, res2_channels = low_level_channels
        self.context = ConvNorm(feature_channels["res5"], channels, norm=norm)
        self.project_res3 = ConvNorm(feature_channels["res3"], res3_channels, norm=norm)
        self.project_res2 = ConvNorm(feature_channels["res2"], res2_channels, norm=norm)
        self.fuse_res3 = block(channels + res3_channels)
        self.fuse_res2 = block(channels + res2_channels)
        self.refine = block(channels)
        self.out_channels = channels

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        x = self.context(features["res5"])
        x = self.fuse_res3(_concatenate(x, self.project_res3(features["res3"])))
        x = self.fuse_res2(_concatenate(x, self.project_res2(features["res2"])))
        return self.refine(x)


class Head(nn.Sequential):
    """A 5x5 convolution, depthwise-separable or not, and a 1x1 convolution to the predicted maps.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), raw (no softmax, no sigmoid).

    Args:
        in_channels: channels of the decoder.
        hidden_channels: channels between the two convolutions; None leaves only the 1x1 convolution.
        out_channels: semantic classes, 1 (center heatmap) or 2 (offsets).
        separable: whether the 5x5 convolution is depthwise-separable.
        norm: settings of the batch norms, see `Norm`.

    Source: Panoptic-DeepLab (Cheng et al. 2020); 256 channels for the semantic head, 32 for the other two.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | None,
        out_channels: int,
        *,
        separable: bool = True,
        norm: Norm = NORM,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if hidden_channels is not None:
            convolution = SeparableConv if separable else ConvNorm
            layers["hidden"] = convolution(in_channels, hidden_channels, 5, norm=norm)
        final = nn.Conv2d(hidden_channels or in_channels, out_channels, 1)
        # Small, so that training starts from even class probabilities and an empty heatmap.
        nn.init.normal_(final.weight, std=0.01)
        assert final.bias is not None
        nn.init.zeros_(final.bias)
        layers["final"] = final
        super().__init__(layers)


def _concatenate(coarse: Tensor, fine: Tensor) -> Tensor:
    """Resize a coarse map to a finer one and concatenate them in this order."""
    return torch.cat((resize_bilinear(coarse, fine.shape[-2:]), fine), dim=1)
