"""1x1 convolutions as they train on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Below, PyTorch has another way for single images.
_FEWEST_NUMBERS = 20480


class Conv2d(nn.Conv2d):
    """A 1x1 convolution without bias that multiplies in oneDNN with one thread, too.

    With one thread PyTorch takes MKL for it, which leaves AVX-512 unused on processors of AMD: it takes 2.2
    times as long, forward and backward. Dilated convolutions always run in oneDNN, and the one position of a
    1x1 kernel has no neighbor that a dilation could move.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # A program that others will run gets the plain convolution.
        if (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or x.dtype != torch.float32
            or not x.is_cpu
            or x.numel() <= _FEWEST_NUMBERS
            or torch.is_autocast_enabled("cpu")
            or not torch.backends.mkldnn.is_available()
        ):
            return super().forward(x)
        return F.conv2d(x, self.weight, self.bias, dilation=2)
