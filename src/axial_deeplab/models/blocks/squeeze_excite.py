"""Squeeze-and-excite: channels scaled by what the whole map holds."""

import torch.nn.functional as F
from torch import Tensor, nn

# deeplab2 rounds the sixth of its hard sigmoid to five digits.
SIXTH = 0.16667


class SqueezeExcite(nn.Module):
    """Scale each channel by a hard sigmoid of a linear function of all channels' means.

    Shapes: (B, C, H, W) -> (B, C, H, W).

    Source: CenterMask (Lee and Park 2020), which has one layer where Hu et al. 2018 have two; the hard
    sigmoid of MobileNetV3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.conv.weight, std=channels**-0.5)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * (F.relu6(self.conv(x.mean(dim=(2, 3), keepdim=True)) + 3) * SIXTH)
