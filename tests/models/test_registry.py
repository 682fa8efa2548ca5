"""Names, arguments and the published sizes of the networks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import axial_deeplab
from axial_deeplab import create_model, list_models, load_weights, save_weights
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.weights import names

# Millions of parameters, tables 1, 2, 6, 7 and 10 of the paper.
PUBLISHED = [
    ("resnet50", {}, 25.6),
    ("axial_resnet_s", {}, 12.4),
    ("axial_resnet_m", {}, 26.4),
    ("axial_resnet_l", {}, 45.6),
    ("full_axial_resnet_s", {}, 12.5),
    ("full_axial_resnet_m", {}, 26.5),
    ("full_axial_resnet_l", {}, 45.8),
    ("axial_deeplab_s", {}, 12.1),
    ("axial_deeplab_m", {}, 25.9),
    ("axial_deeplab_l", {}, 44.9),
    ("axial_deeplab_xl", {}, 173.0),
    ("panoptic_deeplab_xception71", {}, 46.7),
    ("panoptic_deeplab_resnet50", {"aspp": False}, 24.8),
    ("panoptic_deeplab_resnet50", {}, 30.0),
    ("panoptic_deeplab_resnet101", {"aspp": False}, 43.8),
]


def count_without_norms(model: nn.Module) -> int:
    """Count parameters by the paper's rule, which leaves out the batch norms."""
    return sum(
        parameter.numel()
        for module in model.modules()
        if not isinstance(module, BatchNorm2d | LogitNorm)
        for parameter in module.parameters(recurse=False)
    )


@pytest.mark.parametrize(("name", "overrides", "millions"), PUBLISHED)
def test_published_parameter_counts(name: str, overrides: dict[str, object], millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, **overrides)
    assert count_without_norms(model) / 1e6 == pytest.approx(millions, rel=0.006)


def test_nano_is_small() -> None:
    with torch.device("meta"):
        model = create_model("axial_deeplab_nano", num_classes=19)
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 2e6


def test_list_models() -> None:
    assert list_models("axial_deeplab_*") == [
        f"axial_deeplab_{size}" for size in ("l", "m", "nano", "s", "xl")
    ]
    assert {
        *(f"axial_resnet_{size}" for size in ("s", "m", "l", "xl")),
        *(f"full_axial_resnet_{size}" for size in ("s", "m", "l", "xl")),
        *(f"panoptic_deeplab_{name}" for name in ("resnet50", "resnet101", "xception71")),
        *("axial_resnet26_s", "resnet50", "resnet101", "xception71"),
    } <= set(list_models())
    assert list_models() == sorted(list_models())
    assert list_models("nothing*") == []


def test_config_names_the_arguments() -> None:
    model = create_model("axial_deeplab_nano", num_classes=7, span=65, aspp=True, depths=[1, 1, 2, 1])
    assert model.config == {
        "name": "axial_deeplab_nano",
        "num_classes": 7,
        "in_channels": 3,
        "features_only": False,
        "span": 65,
        "aspp": True,
        "depths": (1, 1, 2, 1),
    }
    with torch.device("meta"):
        assert create_model("axial_deeplab_nano").config["num_classes"] == 133
        assert create_model("resnet50").config["num_classes"] == 1000


def test_span_and_heads_reach_every_attention() -> None:
    with torch.device("meta"):
        model = create_model("axial_deeplab_s", span=65, num_heads=4, max_span=33, decoder="axial")
    layers = [module for module in model.modules() if type(module).__name__ == "AxialAttention"]
    assert len(layers) == 2 * (3 + 4 + 6 + 3 + 3)
    assert all(x.span == 65 and x.num_heads == 4 and len(x.rel_q) == 65 for x in layers)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("axial_deeplab_s", "rel_q", False),
        ("axial_deeplab_s", "rel_k", False),
        ("axial_deeplab_s", "rel_v", False),
        ("axial_deeplab_s", "content_logits", False),
        ("axial_deeplab_s", "content_output", False),
        ("axial_deeplab_s", "qkv_norm", False),
        ("axial_deeplab_s", "logit_norm", False),
        ("axial_deeplab_s", "output_norm", False),
        ("axial_deeplab_s", "activation", "sigmoid"),
        ("axial_deeplab_s", "impl", "reference"),
        ("panoptic_deeplab_resnet50", "content_logits", False),
    ],
)
def test_every_switch_reaches_the_axial_decoder(name: str, option: str, value: Any) -> None:
    arguments = {"decoder": "axial", "aspp": False, option: value}
    with torch.device("meta"):
        model = create_model(name, **arguments)
        alone = AxialAttention(256, 128, **{option: value})
    layers = [module for module in model.modules() if type(module) is AxialAttention]
    # As many as the decoder has, and the backbone.
    assert len(layers) == 2 * (3 + (16 if "axial" in name else 0))
    assert {tuple(layer.state_dict()) for layer in layers} == {tuple(alone.state_dict())}
    assert {(x.activation, x.impl, x.content_logits) for x in layers} == {
        (alone.activation, alone.impl, alone.content_logits)
    }


def test_norm_settings_reach_every_norm() -> None:
    with torch.device("meta"):
        model = create_model("axial_deeplab_nano", norm_eps=1e-3, norm_momentum=0.01)
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d | LogitNorm)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "axial_deeplab_nona",
            {},
            r"name must be .*, got 'axial_deeplab_nona'; did you mean axial_deeplab_nano",
        ),
        ("???", {}, r"name must be .*, got '\?\?\?'; see list_models\(\) or `axial-deeplab models`"),
        ("resnet50", {"span": 65}, "span must be None for resnet50, got 65"),
        ("resnet50", {"width_multiplyer": 2}, "got 'width_multiplyer'; choose from width_multiplier"),
        ("resnet50", {"qqq": 2}, "got 'qqq'; choose from checkpoint, depths"),
        ("panoptic_deeplab_resnet50", {"rel_q": False}, "must be without rel_q where no layer attends"),
        (
            "axial_deeplab_nano",
            {"num_classes": 2.5},
            "num_classes must be a whole number, got 2.5; correct it",
        ),
        ("axial_deeplab_nano", {"num_classes": "3"}, "num_classes must be a whole number, got '3'"),
        ("axial_deeplab_nano", {"num_classes": True}, "num_classes must be a whole number, got True"),
        ("resnet50", {"in_channels": None}, "in_channels must be at least 1, got None"),
        ("resnet50", {"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ("resnet50", {"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        ("resnet50", {"stem": "axial"}, "stem must be conv or three_conv, got 'axial'"),
        ("resnet50", {"depths": (1, 2, 3)}, r"depths must be four positive numbers .* got \(1, 2, 3\)"),
        ("axial_resnet_s", {"depths": (0, 1, 1, 1)}, r"depths must be four positive numbers"),
        ("axial_resnet_s", {"stem": "patch"}, "stem must be conv, three_conv or axial, got 'patch'"),
        ("axial_resnet_s", {"span": 4}, "span must be a positive odd number of positions, got 4"),
    ],
)
def test_refuses(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        create_model(name, **arguments)


def test_pretrained_without_weights() -> None:
    with pytest.raises(ValueError, match="pretrained must be False or name weights for xception71, got True"):
        create_model("xception71", pretrained=True)


def test_pretrained_with_several_weights() -> None:
    model = create_model("axial_deeplab_nano", pretrained=True)
    expected = load_weights("axial_deeplab_nano_scenes").model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    message = (
        "got True; name one of resnet50_imagenet, resnet50_strong_imagenet, resnet50_beta_strong_imagenet"
    )
    with pytest.raises(ValueError, match=message):
        create_model("resnet50", pretrained=True)


def test_pretrained_copies_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [{"id": i + 1, "name": f"class {i}", "isthing": i % 2} for i in range(3)]
    source = create_model("axial_deeplab_nano", num_classes=3)
    save_weights(
        tmp_path / "axial_deeplab_nano.safetensors", source, Categories.from_json(classes, source="test")
    )
    monkeypatch.setattr(names, "PRETRAINED_FOLDER", tmp_path)
    same = create_model("axial_deeplab_nano", num_classes=3, pretrained=True)
    other = create_model("axial_deeplab_nano", num_classes=8, pretrained=True)
    backbone = create_model("axial_deeplab_nano", features_only=True, pretrained=True)
    expected = source.state_dict()
    for name, value in same.state_dict().items():
        assert torch.equal(value, expected[name])
    for name, value in other.state_dict().items():
        assert torch.equal(value, expected[name]) or name.startswith("semantic_head.final")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, expected[f"backbone.{name}"])


def test_public_names_are_lazy() -> None:
    assert axial_deeplab.create_model is create_model
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = axial_deeplab.nothing
