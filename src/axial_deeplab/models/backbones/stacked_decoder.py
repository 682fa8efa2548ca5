"""The stacked decoder of MaX-DeepLab's backbones: from the coarsest map up to stride 4 and down again."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.options import NORM, Norm
from axial_deeplab.models.resize import resize_bilinear

FINEST_STRIDE = 4


class StackedDecoder(nn.Module):
    """Steps of a factor of two in resolution, each adding the maps that exist at its stride.

    Maps are not activated: they are sums that the next layer activates.

    Shapes: maps (B, C, ceil(H/s), ceil(W/s)) of the strides s = 4, 8, ..., output_stride of the image;
    result (B, C, H', W') as the last of them.

    Args:
        channels: stride -> channels of its maps.
        make_block: makes the residual block of a step from its channels and stride; the block takes an
            activated map and gives one that is not.
        norm: settings of the batch norms, see `Norm`.

    Source: MaX-DeepLab (Wang et al. 2021), one stack with one block a step.
    """

    def __init__(
        self, channels: Mapping[int, int], make_block: Callable[[int, int], nn.Module], *, norm: Norm = NORM
    ) -> None:
        super().__init__()
        down = sorted(channels)
        self.strides = [*down[-2::-1], *down[1:]]
        self.steps = nn.ModuleList()
        before = down[-1]
        for stride in self.strides:
            block = make_block(channels[stride], stride)
            self.steps.append(
                DecoderStep(channels[before], channels[stride], block, 2 if stride > before else 1, norm)
            )
            before = stride

    def forward(self, maps: Mapping[int, Tensor]) -> Tensor:
        at_stride = {stride: [x] for stride, x in maps.items()}
        x = maps[self.strides[-1]]
        for stride, step in zip(self.strides, self.steps, strict=True):
            x = step(x, at_stride[stride])
            at_stride[stride].append(x)
        return x


class DecoderStep(nn.Module):
    """Project a map to the channels and the size of others, add them all, apply a residual block.

    Shapes: x (B, in_channels, H, W), others (B, out_channels, H', W'); result as the others.

    Args:
        in_channels: channels of the map that comes from the step before.
        out_channels: channels of the other maps.
        block: the residual block.
        stride: 2 towards a coarser map; 1 towards a finer one, which is resized after the projection.
        norm: settings of the batch norm.
    """

    def __init__(
        self, in_channels: int, out_channels: int, block: nn.Module, stride: int, norm: Norm
    ) -> None:
        super().__init__()
        self.project = ConvNorm(in_channels, out_channels, stride=stride, activation=False, norm=norm)
        self.block = block

    def forward(self, x: Tensor, others: list[Tensor]) -> Tensor:
        y = resize_bilinear(self.project(F.relu(x)), others[0].shape[-2:])
        for other in others:
            y = y + other
        return self.block(F.relu(y))
