"""What the values of settings must be: each by itself, and those that depend on each other."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

Rule = tuple[str, Callable[[Any], bool]]

POSITIVE: Rule = ("positive", lambda x: x > 0)
NOT_NEGATIVE: Rule = ("zero or more", lambda x: x >= 0)
UP_TO_1: Rule = ("between 0 and 1", lambda x: 0 <= x <= 1)
BELOW_1: Rule = ("in [0, 1)", lambda x: 0 <= x < 1)
PART: Rule = ("in (0, 1]", lambda x: 0 < x <= 1)
NULL_OR_POSITIVE: Rule = ("null or positive", POSITIVE[1])
RISING: Rule = ("two positive numbers in rising order", lambda x: 0 < x[0] <= x[1])

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("data.train_limit", "data.val_limit", "data.long_side", "data.max_size"),
            "data.page",
            "post_processing.top_k_area",
        ),
        NULL_OR_POSITIVE,
    ),
    "data.scales": ("positive numbers, one or more", lambda x: len(x) > 0 and min(x) > 0),
    "data.channels": ("null or numbers from 1 on, one or more", lambda x: len(x) > 0 and min(x) > 0),
    "augmentation.crop_size": ("two positive numbers of pixels", lambda x: min(x) > 0),
    "augmentation.scale_range": RISING,
    "augmentation.color_jitter": UP_TO_1,
    "augmentation.elastic": NOT_NEGATIVE,
    "augmentation.elastic_spacing": POSITIVE,
    "augmentation.intensity.inversion": UP_TO_1,
    "augmentation.intensity.stretch": UP_TO_1,
    "augmentation.intensity.hue": ("between 0 and 0.5", lambda x: 0 <= x <= 0.5),
    "classification.area_range": RISING,
    "classification.aspect_range": RISING,
    "classification.label_smoothing": BELOW_1,
    "classification.val_size": POSITIVE,
    "classification.val_batch_size": POSITIVE,
    "target.sigma": POSITIVE,
    "target.small_instance_area": NOT_NEGATIVE,
    "target.neighbor_distance": NOT_NEGATIVE,
    "loss.top_k_fraction": PART,
    "optim.lr": POSITIVE,
    "optim.max_steps": POSITIVE,
    "optim.lookahead_steps": POSITIVE,
    "optim.lookahead_alpha": PART,
    "optim.momentum": BELOW_1,
    "optim.ema_decay": ("null or in [0, 1)", BELOW_1[1]),
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.poly_power": NOT_NEGATIVE,
    "optim.gradient_clip": ("null or zero or more", NOT_NEGATIVE[1]),
    **{
        f"trainer.{name}": POSITIVE
        for name in ("batch_size", "accumulate", "num_nodes", "val_interval", "checkpoint_interval")
    },
    "trainer.log_interval": POSITIVE,
    "trainer.num_workers": NOT_NEGATIVE,
    "trainer.seed": NOT_NEGATIVE,
}
"""Setting -> its rule, in words and as a function of a number, or of a tuple of them."""

LARGEST = 2**31 - 1
MOST = {
    "data.scales": 32,
    "data.channels": 1000,
    "augmentation.crop_size": 2**15,
    "augmentation.scale_range": 32,
    "augmentation.elastic_spacing": 2**15,
    "augmentation.intensity.blur": 1000,
    "classification.val_size": 2**15,
    "classification.val_batch_size": 2**16,
    "target.sigma": 1000,
    "target.neighbor_distance": 1000,
    "optim.lookahead_steps": 10**6,
    "trainer.batch_size": 2**20,
    "trainer.accumulate": 2**20,
    "trainer.num_workers": 1000,
    "trainer.num_nodes": 10**5,
}
"""Setting -> its largest number, where a larger one than `LARGEST` would take all memory or time."""


def require_rules(config: Any) -> None:
    """Refuse settings that break a rule, all of them in one message.

    Raises:
        ValueError: a value is not what its rule says, or two contradict each other.
    """
    broken = dict(_broken(config))
    if broken:
        problems = "; ".join(f"{name} must be {problem}" for name, problem in broken.items())
        options = " ".join(f"--{name} VALUE" for name in broken)
        change = "it" if len(broken) == 1 else "them"
        raise ValueError(f"{problems}; change {change} in the YAML or give {options}")


def _broken(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the name of each setting that breaks a rule, and its rule and value."""
    for name, value in _leaves(config):
        rule, holds = RULES.get(name, ("a number", lambda x: True))
        numbers = value if isinstance(value, tuple) else (value,)
        most = MOST.get(name, LARGEST)
        # Integers may be too large for the function.
        if not all(isinstance(n, int) or math.isfinite(n) for n in numbers) or not holds(value):
            yield name, f"{rule}, got {value}"
        elif max(map(abs, numbers)) > most:
            yield name, f"at most {most}, got {value}"
    optim, trainer = config.optim, config.trainer
    if not 0 <= optim.warmup_steps < optim.max_steps:
        rule = f"between 0 and max_steps = {optim.max_steps}"
        yield "optim.warmup_steps", f"{rule}, got {optim.warmup_steps}"
    if config.data.channels is not None and len(config.data.channels) != 3:
        augmentation = config.augmentation
        for name, value in (
            ("augmentation.color_jitter", augmentation.color_jitter),
            ("augmentation.intensity.hue", augmentation.intensity.hue),
        ):
            if value:
                yield name, f"0 for images of {len(config.data.channels)} channels, got {value}"
    # At these steps fast and slow weights coincide, so what is measured and stored is one set of weights.
    k = optim.lookahead_steps if optim.optimizer == "radam_lookahead" else 1
    for name, steps in (
        ("trainer.val_interval", trainer.val_interval),
        ("trainer.checkpoint_interval", trainer.checkpoint_interval),
        ("optim.max_steps", optim.max_steps),
    ):
        if k > 0 and steps > 0 and steps % k:
            yield name, f"a multiple of optim.lookahead_steps = {k}, got {steps}"


def _leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of each number, or tuple of numbers, in a section of settings."""
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{name}.")
        elif _is_number(value) or (isinstance(value, tuple) and all(map(_is_number, value))):
            yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
