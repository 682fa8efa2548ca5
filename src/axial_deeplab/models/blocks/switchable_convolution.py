"""Switchable atrous convolution: each position chooses between two atrous rates of the same kernel."""

import math
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.folding.fold import can_fold, folded_convolution, scale_and_shift
from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.options import NORM, Norm

LARGE_DILATION = 3
SWITCH_WINDOW = 5


class GlobalContext(nn.Module):
    """Add a linear function of all channels' means to each position.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.mean(dim=(2, 3), keepdim=True))


class SwitchableConv2d(nn.Conv2d):
    """A convolution with a kernel at two atrous rates, mixed by a switch at each position.

    The switch is a linear function of the mean of 5x5 positions; those outside the map do not exist. It
    starts at 0, the smaller rate.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, pixels.
        dilation: the smaller atrous rate; the larger one is three times as large.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(
            in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False
        )
        self.switch = nn.Conv2d(in_channels, 1, 1)
        nn.init.zeros_(self.switch.weight)
        assert self.switch.bias is not None
        nn.init.zeros_(self.switch.bias)

    def forward(self, x: Tensor) -> Tensor:
        around = F.avg_pool2d(x, SWITCH_WINDOW, 1, SWITCH_WINDOW // 2, count_include_pad=False)
        small = super().forward(x)
        padding, dilation = (
            [LARGE_DILATION * int(n) for n in pair] for pair in (self.padding, self.dilation)
        )
        large = F.conv2d(x, self.weight, None, 1, padding, dilation)
        return small + self.switch(around) * (large - small)


class SwitchableConvNorm(nn.Sequential):
    """What `ConvNorm` is, with a switchable atrous convolution between two global contexts.

    A strided convolution is a plain one, also between global contexts.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, pixels.
        stride: pixels.
        dilation: the smaller atrous rate.
        activation: whether ReLU follows.
        norm: settings of the batch norms, see `Norm`.

    Source: DetectoRS (Qiao et al. 2021), as SWideRNet (Chen et al. 2020) has it.
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
        if stride == 1:
            convolution: nn.Conv2d = SwitchableConv2d(
                in_channels, out_channels, kernel_size, dilation=dilation
            )
        else:
            padding = dilation * (kernel_size // 2)
            convolution = nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            pre_context=GlobalContext(in_channels),
            conv=convolution,
            post_context=GlobalContext(out_channels),
            norm=BatchNorm2d(out_channels, eps=norm.eps, momentum=norm.momentum),
        )
        if activation:
            layers["relu"] = nn.ReLU(inplace=True)
        super().__init__(layers)
        nn.init.normal_(convolution.weight, std=math.sqrt(2.0 / (out_channels * kernel_size**2)))

    def fused(self) -> nn.Module:
        """Return the layer with the norm as a depthwise 1x1 convolution, for the context lies between."""
        layers = OrderedDict(self.named_children())
        norm = layers["norm"]
        channels = self.get_parameter("norm.weight").numel()
        identity = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        if not can_fold(identity, norm):
            return self
        identity = identity.to(self.get_parameter("norm.weight"))
        nn.init.ones_(identity.weight)
        layers["norm"] = folded_convolution(identity, *scale_and_shift(norm, channels))
        return nn.Sequential(layers)
