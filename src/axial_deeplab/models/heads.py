"""Prediction heads."""

from collections import OrderedDict

from torch import nn

from axial_deeplab.models.blocks.convolutions import ConvNorm, SeparableConv
from axial_deeplab.models.options import NORM, Norm


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
