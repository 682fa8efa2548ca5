"""Widths that give a network as many multiply-adds as another one."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch

from axial_deeplab.accounting.counting import MaddsCounter, count_parameters
from axial_deeplab.experiments.reproduction.networks import BASE, NANO, Network, WidthUnit
from axial_deeplab.models.registry import create_model

STEM_WIDTH = 64
TOLERANCE = 0.03
RULE = (
    "the width of the stages is the one whose M-Adds are nearest to those of Axial-DeepLab, with its 16 "
    f"channels in the stem; if they are still more than {TOLERANCE:.0%} away, the stem gets as many channels "
    "more or less as it takes"
)


def model_arguments(network: Network, num_classes: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return the further arguments of a network's builder, its widths among them.

    Args:
        network: a row of a table.
        num_classes: semantic classes.
        size: height and width of the images in pixels, at which M-Adds are counted.
    """
    if network.width_unit is None:
        return dict(network.options)
    target = madds(BASE, BASE.options, num_classes, size)

    def count(width: int, stem: int) -> int:
        return madds(network, _with_widths(network, width, stem), num_classes, size)

    return _with_widths(network, *equal_widths(count, target, network.width_unit.step))


def equal_widths(count: Callable[[int, int], int], target: int, step: int) -> tuple[int, int]:
    """Return the channels of the first stage and of the stem that give a number of M-Adds (see `RULE`).

    Args:
        count: returns the M-Adds for these channels; grows with both.
        target: the number.
        step: the channels of the stage are a multiple of it.

    Raises:
        ValueError: no stem gives that number within the tolerance.
    """
    stem = base_stem()
    width = step
    while count(width + step, stem) < target:
        width += step
    width = min(width, width + step, key=lambda each: abs(count(each, stem) - target))
    direction = 1 if count(width, stem) < target else -1
    nearest = stem
    while abs(count(width, nearest) / target - 1) > TOLERANCE:
        nearest += direction
        if nearest < 1 or (count(width, nearest) - target) * direction > TOLERANCE * target:
            raise ValueError(
                f"target must be M-Adds that a stem can reach within {TOLERANCE:.0%}, got {target}; choose "
                "other decoders or depths"
            )
    return width, nearest


def madds(network: Network, options: Mapping[str, Any], num_classes: int, size: tuple[int, int]) -> int:
    """Return the multiply-adds of a network for one image, by the paper's rule."""
    return _counts(network.name, network.span, _hashable(options), num_classes, size)[0]


def parameters(network: Network, options: Mapping[str, Any], num_classes: int, size: tuple[int, int]) -> int:
    """Return how many parameters a network has."""
    return _counts(network.name, network.span, _hashable(options), num_classes, size)[1]


def base_stem() -> int:
    """Return the channels of the stem of `BASE`."""
    return round(STEM_WIDTH * NANO["width_multiplier"])


def _with_widths(network: Network, width: int, stem: int) -> dict[str, Any]:
    assert isinstance(network.width_unit, WidthUnit)
    widths = {
        "width_multiplier": width / network.width_unit.stage_width,
        "stem_multiplier": stem / STEM_WIDTH,
    }
    return {**network.options, **widths}


@cache
def _counts(
    name: str, span: int | None, options: tuple[tuple[str, Any], ...], num_classes: int, size: tuple[int, int]
) -> tuple[int, int]:
    with torch.device("meta"):
        model = create_model(name, num_classes=num_classes, span=span, **dict(options))
    return MaddsCounter(model).as_it_runs(*size).by_the_rule, count_parameters(model)


def _hashable(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(options.items()))
