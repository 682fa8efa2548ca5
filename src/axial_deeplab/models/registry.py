"""Every network by its name."""

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from axial_deeplab.models.backbones.attention_resnet import AttentionResNet
from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.backbones.hybrid_resnet import HybridResNet
from axial_deeplab.models.backbones.resnet import ResNet
from axial_deeplab.models.backbones.xception import Xception71
from axial_deeplab.models.options import AxialOptions, keyword_arguments
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.ops.operands import check_whole

# Settings of attention that a network without any refuses; these four it has always passed over.
ATTENTION_SWITCHES = AxialOptions.keywords().keys() - {"num_heads", "span", "max_span", "impl"}


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone class and the arguments that make it the named network."""

    network: type[Backbone]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 1000

    @property
    def options(self) -> set[str]:
        """Names of the arguments that a caller may override."""
        return keyword_arguments(self.network)

    def build(self, **options: Any) -> Backbone:
        """Make the network."""
        return self.network(**{**self.arguments, **options})


@dataclass(frozen=True)
class SegmentationEntry:
    """A backbone and the arguments of the panoptic network around it; an option of both goes to both."""

    backbone: BackboneEntry
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 133

    @property
    def options(self) -> set[str]:
        """Names of the arguments that a caller may override."""
        return self.backbone.options | keyword_arguments(PanopticDeepLab)

    def build(self, *, features_only: bool = False, **options: Any) -> nn.Module:
        """Make the network, or its backbone alone."""
        options = {**self.backbone.arguments, **self.arguments, **options}
        idle = ATTENTION_SWITCHES & options.keys() - self.backbone.options
        if idle and options.get("decoder") != "axial":
            raise ValueError(
                f"overrides must be without {min(idle)} where no layer attends, got it; "
                "give decoder='axial', too, or leave it out"
            )
        of_backbone = self.backbone.options - {"num_classes", "features_only"}
        backbone = self.backbone.build(
            features_only=True, **{name: value for name, value in options.items() if name in of_backbone}
        )
        if features_only:
            return backbone
        of_network = keyword_arguments(PanopticDeepLab)
        return PanopticDeepLab(
            backbone, **{name: value for name, value in options.items() if name in of_network}
        )


WIDTH_MULTIPLIERS = {"s": 0.5, "m": 0.75, "l": 1.0, "xl": 2.0}

# A tenth of S in size and far less attention at stride 4, where it is most expensive: for CPUs.
NANO_BACKBONE = {"width_multiplier": 0.25, "depths": (1, 2, 3, 1), "num_heads": 4, "stem": "three_conv"}
NANO_DECODERS = {
    "semantic_channels": 96,
    "instance_channels": 64,
    "instance_head_channels": 32,
    "semantic_low_level_channels": (32, 16),
    "instance_low_level_channels": (16, 8),
}


# Networks that are public as deeplab2's: with its norms and, around them, its decoders and normalization.
DEEPLAB2_NORM = {"norm_eps": 1e-3, "norm_momentum": 0.01}
DEEPLAB2_PANOPTIC = {"pixel_mean": 127.5, "pixel_std": 127.5, "aspp_channels": 256}
SWIDERNET_DEPTHS = {"1_1_1": (3, 6, 3, 3), "1_1_3": (9, 18, 9, 9), "1_1_4_5": (13, 27, 13, 13)}


def _deeplab2_entries() -> dict[str, BackboneEntry | SegmentationEntry]:
    wide = {"blocks": "wide", "depths": (3, 6, 3, 3), "axial_from_stride": None}
    backbones: dict[str, dict[str, Any]] = {
        "max_deeplab_s_backbone": {},
        "max_deeplab_l_backbone": {**wide, "axial_from_stride": 16, "stacked_decoder": True},
        "wide_resnet41": wide,
    }
    for scale, depths in SWIDERNET_DEPTHS.items():
        backbones[f"axial_swidernet_{scale}"] = {**wide, "depths": depths, "axial_from_stride": 16}
        backbones[f"swidernet_sac_{scale}"] = {**wide, "depths": depths, "switchable_from_stride": 32}
    entries: dict[str, BackboneEntry | SegmentationEntry] = {}
    for name, arguments in backbones.items():
        backbone = BackboneEntry(HybridResNet, {**arguments, **DEEPLAB2_NORM})
        panoptic: dict[str, Any] = {**DEEPLAB2_PANOPTIC}
        if arguments.get("axial_from_stride", 16) is None:
            panoptic |= {"aspp": True, "aspp_separable": False}
        if "stacked_decoder" in arguments:
            panoptic["stacked_decoder"] = False  # the decoders take res5, res3 and res2 alone
        entries[name] = backbone
        entries[f"panoptic_deeplab_{name}"] = SegmentationEntry(backbone, panoptic)
    return entries


def _entries() -> dict[str, BackboneEntry | SegmentationEntry]:
    entries: dict[str, BackboneEntry | SegmentationEntry] = {}
    for size, width in WIDTH_MULTIPLIERS.items():
        entries[f"axial_resnet_{size}"] = BackboneEntry(AxialResNet, {"width_multiplier": width})
        entries[f"full_axial_resnet_{size}"] = BackboneEntry(
            AxialResNet, {"width_multiplier": width, "stem": "axial"}
        )
        entries[f"axial_deeplab_{size}"] = SegmentationEntry(
            BackboneEntry(AxialResNet, {"width_multiplier": width, "stem": "three_conv", "output_stride": 16})
        )
    entries["axial_resnet26_s"] = BackboneEntry(
        AxialResNet, {"width_multiplier": 0.5, "depths": (1, 2, 4, 1)}
    )
    for width in (0.5, 0.75, 1.25, 1.5):
        entries[f"ps_attention_resnet50_x{str(width).replace('.', '_')}"] = BackboneEntry(
            AttentionResNet, {"width_multiplier": width}
        )
    backbones = {
        "resnet50": BackboneEntry(ResNet),
        "resnet101": BackboneEntry(ResNet, {"depths": (3, 4, 23, 3)}),
        "xception71": BackboneEntry(Xception71),
        "sasa_resnet50": BackboneEntry(AttentionResNet, {"attention": "sasa"}),
        "sasa_bn_resnet50": BackboneEntry(AttentionResNet, {"attention": "sasa_bn"}),
        "ps_attention_resnet50": BackboneEntry(AttentionResNet),
        "full_sasa_resnet50": BackboneEntry(AttentionResNet, {"attention": "sasa", "stem": "attention"}),
    }
    for name, entry in backbones.items():
        entries[name] = entry
        own_stem = entry.network is Xception71 or "stem" in entry.arguments
        stem = {} if own_stem else {"stem": "three_conv"}
        entries[f"panoptic_deeplab_{name}"] = SegmentationEntry(
            entry, {"output_stride": 16, "aspp": True, **stem}
        )
    nano = BackboneEntry(AxialResNet, NANO_BACKBONE)
    entries["axial_resnet_nano"] = nano
    entries["axial_deeplab_nano"] = SegmentationEntry(nano, {"output_stride": 16, **NANO_DECODERS})
    return entries | _deeplab2_entries()


ENTRIES = _entries()


def list_models(pattern: str = "*") -> list[str]:
    """Return the sorted names of the networks that match a shell pattern such as ``"axial_deeplab_*"``."""
    return sorted(fnmatch.filter(ENTRIES, pattern))


def is_classifier(name: str) -> bool:
    """Return whether a name is that of a classification network."""
    return isinstance(ENTRIES.get(name), BackboneEntry)


def find_entry(name: str) -> BackboneEntry | SegmentationEntry:
    """Return what stands under a name.

    Raises:
        ValueError: for an unknown name.
    """
    entry = ENTRIES.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, ENTRIES, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else "see list_models() or `axial-deeplab models`"
        raise ValueError(f"name must be a network of list_models(), got {name!r}; {hint}")
    return entry


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    span: int | None = None,
    in_channels: int = 3,
    features_only: bool = False,
    **overrides: Any,
) -> nn.Module:
    """Build a network by its name, with random weights.

    Arguments, result and errors are those of `weights.factory.create_model`, without `pretrained`.
    """
    entry = find_entry(name)
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in overrides.items()
    }
    for option in options:
        if option not in entry.options:
            close = difflib.get_close_matches(option, entry.options, n=3, cutoff=0.4)
            hint = ", ".join(close or sorted(entry.options))
            raise ValueError(f"overrides must be arguments of {name}, got {option!r}; choose from {hint}")
    for argument, number in (("num_classes", num_classes), ("in_channels", in_channels)):
        check_whole(argument, number)
    if num_classes is None:
        num_classes = entry.num_classes
    elif num_classes < 1:
        raise ValueError(
            f"num_classes must be at least 1, got {num_classes}; use features_only for no classifier"
        )
    if in_channels is None or in_channels < 1:
        raise ValueError(f"in_channels must be at least 1, got {in_channels}; 3 is that of colors")
    if span is not None:
        if "span" not in entry.options:
            raise ValueError(f"span must be None for {name}, got {span}; the network has no attention")
        options["span"] = span
    options.update(num_classes=num_classes, in_channels=in_channels, features_only=features_only)
    model = entry.build(**options)
    config: Any = {"name": name, **options}
    model.config = config
    return model
