"""Xception-71: its shape and its atrous stages."""

import torch
from torch import nn

from axial_deeplab.models.backbones.xception import Xception71


def depthwise(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]


def test_has_71_layers() -> None:
    with torch.device("meta"):
        network = Xception71()
    # Two convolutions in the stem and three separable ones in each of 23 blocks.
    assert sum(len(network.get_submodule(stage)) for stage in ("res2", "res3", "res4", "res5")) == 23
    assert len(network.stem) == 2
    assert len(depthwise(network)) == 69


def test_atrous_rates_replace_the_strides() -> None:
    with torch.device("meta"):
        networks = {stride: Xception71(output_stride=stride) for stride in (32, 16, 8)}

    def rates(stride: int, stage: str) -> list[int]:
        return [conv.dilation[0] for conv in depthwise(networks[stride].get_submodule(stage))]

    assert set(rates(32, "res4") + rates(32, "res5")) == {1}
    # The block that lost its stride keeps the rate before; the following ones see as far as with the stride.
    assert rates(16, "res5") == [1, 1, 1, 2, 2, 2]
    assert rates(8, "res4") == [1] * 3 + [2] * 48
    assert rates(8, "res5") == [2, 2, 2, 4, 4, 4]


def test_last_block_activates_inside_and_has_no_shortcut() -> None:
    network = Xception71(width_multiplier=0.05, features_only=True).eval()
    with torch.no_grad():
        features = network(torch.randn(1, 3, 33, 47))
    assert (features["res5"] >= 0).all()
    assert (features["res4"] < 0).any()
    assert not network.res5[1].has_shortcut
