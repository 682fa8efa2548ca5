"""Networks without what other networks show: to trace a block for a compiler takes seconds.

What decides which code runs are the modules of a network, not how many channels they have. A block all of
whose parts are known from earlier blocks gives its place to a convolution, and a network whose stem, stages,
decoders and heads are then all known needs no tracing.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from axial_deeplab.models.backbones.attention_resnet import AttentionBlock
from axial_deeplab.models.backbones.resnet import ConvBlock
from axial_deeplab.models.backbones.xception import XceptionBlock
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm

BLOCKS = (AxialBlock, AttentionBlock, ConvBlock, XceptionBlock)
Part = tuple[Any, ...]


class Case(NamedTuple):
    """A network to trace: its name, the overrides that make it small, and the parts of earlier blocks."""

    name: str
    overrides: dict[str, Any]
    known: frozenset[Part]


def cases_to_trace(
    build: Callable[..., nn.Module], variants: Iterable[tuple[str, dict[str, Any]]]
) -> list[Case]:
    """Return networks that together have all that the variants have, in blocks and around them."""
    cases = []
    known: frozenset[Part] = frozenset()
    for name, overrides in variants:
        with torch.device("meta"):
            model = build(name, **overrides)
        parts = frozenset(part for _, block in blocks_of(model) for part in parts_of(block))
        parts |= surroundings_of(abridged(model, parts))
        if not parts <= known:
            cases.append(Case(name, overrides, known))
        known |= parts
    return cases


def surroundings_of(model: nn.Module) -> frozenset[Part]:
    """Return the stem, stages, decoders and heads of a network, each with its modules, and the classes."""
    backbone = getattr(model, "backbone", model)
    children = {**dict(backbone.named_children()), **dict(model.named_children())}
    children.pop("backbone", None)
    modules = {
        (name, *((path, type(module)) for path, module in child.named_modules()))
        for name, child in children.items()
    }
    return frozenset({*modules, (type(backbone),), (type(model),)})


def abridged(model: nn.Module, known: frozenset[Part]) -> nn.Module:
    """Put a convolution in the place of each block that shows nothing but known parts, strided ones first."""
    for path, block in sorted(blocks_of(model), key=lambda pair: _stride(pair[1]), reverse=True):
        parts = parts_of(block)
        if parts <= known:
            model.set_submodule(path, _stand_in(block))
        known |= parts
    return model


def blocks_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the residual blocks of a network and where they are."""
    return [(path, module) for path, module in model.named_modules() if isinstance(module, BLOCKS)]


def parts_of(block: nn.Module) -> frozenset[Part]:
    """Return the modules of a block, with their spans; a strided one is also the same without its stride."""
    parts: set[Part] = set()
    for path, module in block.named_modules():
        part = type(block), path, type(module), getattr(module, "span", None)
        parts |= {part, (*part, _stride(module))} if _stride(module) > 1 else {part}
    return frozenset(parts)


def _stand_in(block: nn.Module) -> nn.Module:
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    return ConvNorm(convolutions[0].in_channels, convolutions[-1].out_channels, stride=_stride(block))


def _stride(module: nn.Module) -> int:
    """Return the greatest stride of a module and those in it."""
    strides = [getattr(inner, "stride", 1) for inner in module.modules()]
    return max(stride[0] if isinstance(stride, tuple) else stride for stride in strides)
