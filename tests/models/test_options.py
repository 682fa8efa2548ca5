"""Options travel as one value inside and are taken as keyword arguments from outside."""

import inspect
from typing import Any

import pytest
import torch

from axial_deeplab import AxialAttention, AxialBlock, GlobalAttention2d, LocalAttention2d
from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from axial_deeplab.models.options import AxialOptions, Norm, keyword_arguments, with_keywords


def test_keywords_are_fields_of_the_options() -> None:
    torch.manual_seed(0)
    ours = AxialBlock(6, 8, 6, num_heads=2, span=3, max_span=4, norm_eps=1e-3)
    torch.manual_seed(0)
    theirs = AxialBlock(6, 8, 6, attention=AxialOptions(num_heads=2, span=3, max_span=4), norm=Norm(eps=1e-3))
    x = torch.randn(1, 6, 5, 7)
    assert torch.equal(ours(x), theirs(x))
    assert ours.height_attention.qkv_norm.eps == 1e-3


def test_a_keyword_replaces_its_field_alone() -> None:
    attention, norm = with_keywords({"span": 5, "norm_momentum": 0.5}, AxialOptions(num_heads=2), Norm(1e-3))
    assert (attention.span, attention.num_heads) == (5, 2)
    assert norm == Norm(1e-3, 0.5)


@pytest.mark.parametrize(
    ("layer", "keyword"),
    [(AxialAttention, "kernel_size"), (LocalAttention2d, "span"), (GlobalAttention2d, "rel_q")],
)
def test_refuses_options_of_other_layers(layer: type, keyword: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'; known are .*'num_heads'"):
        layer(8, 16, **{keyword: 3})


@pytest.mark.parametrize("layer", [AxialAttention, LocalAttention2d, GlobalAttention2d, AxialBlock])
def test_every_attention_has_an_implementation(layer: type) -> None:
    assert "impl" in keyword_arguments(layer)


def test_networks_have_the_fields_in_place_of_the_options() -> None:
    names = keyword_arguments(AxialResNet)
    assert {"span", "rel_q", "norm_eps", "depths", "num_classes", "impl"} <= names
    assert not {"attention", "norm", "backbone"} & names
    assert {"attention", "norm", "backbone"} <= set(inspect.signature(AxialResNet).parameters)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"span": 5.5}, r"span must be a whole number, got 5\.5; correct it"),
        ({"span": "5"}, "span must be a whole number, got '5'"),
        ({"num_heads": 2.0}, r"num_heads must be a whole number, got 2\.0"),
        ({"max_span": 9.0}, "max_span must be a whole number"),
        ({"stride": 1.5}, r"stride must be a whole number, got 1\.5"),
        ({"in_channels": 8.0}, "in_channels must be a whole number"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0; count those of the input"),
    ],
)
def test_refuses_numbers_that_are_not_whole(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AxialAttention(**{"in_channels": 8, "out_channels": 16, **keywords})
