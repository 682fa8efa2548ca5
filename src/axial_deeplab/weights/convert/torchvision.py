"""ResNet-50 and ResNet-101 as torchvision names their tensors; many other projects do the same."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from axial_deeplab.weights.convert.deeplab2_names import Sources
from axial_deeplab.weights.convert.first_author import count_blocks, renamed_modules

# The first tensor that a ResNet with basic blocks lacks.
MARK = "layer1.0.conv3.weight"
BLOCK = {
    "conv1.conv": "conv1",
    "conv1.norm": "bn1",
    "conv2.conv": "conv2",
    "conv2.norm": "bn2",
    "conv3.conv": "conv3",
    "conv3.norm": "bn3",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
}


def is_torchvision(names: Collection[str]) -> bool:
    """Return whether names of tensors are those of a ResNet with bottleneck blocks."""
    return all(name in names for name in ("conv1.weight", MARK, "layer4.0.downsample.1.weight"))


def without_influence(model: nn.Module, name: str) -> bool:
    """Return whether a tensor of torchvision changes none of the outputs of ours: a counter of batches."""
    return name.endswith("num_batches_tracked")


def torchvision_arguments(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the arguments of `create_model` for tensors of these shapes."""
    depths = count_blocks(shapes)
    arguments: dict[str, Any] = {"name": "resnet101" if depths == (3, 4, 23, 3) else "resnet50"}
    if "fc.bias" in shapes:
        arguments["num_classes"] = shapes["fc.bias"][0]
    width = shapes["conv1.weight"][0] / 64
    return arguments | {"depths": depths, "width_multiplier": width, "stem_multiplier": width}


def torchvision_names(model: nn.Module) -> Sources:
    """Return the source of each tensor of a `ResNet` in a state dict of torchvision."""
    return renamed_modules(model, BLOCK)
