"""What the app accepts, and how it stops a network that takes too long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

# Smaller pictures show nothing that somebody could click.
MIN_SIDE = 16
# Of a picture when it is decoded, whatever its channels and their type.
MAX_BYTES = 2**30


@dataclass(frozen=True)
class Limits:
    """What the app accepts.

    Args:
        max_side: longest side of a picture, pixels.
        seconds: time that the network may take for one.

    Raises:
        ValueError: a limit is not positive.
    """

    max_side: int = 2048
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.max_side < MIN_SIDE:
            raise ValueError(
                f"max_side must be {MIN_SIDE} pixels or more, got {self.max_side}; 2048 is usual"
            )
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"time_limit must be more than 0 seconds, got {self.seconds:g}; 60 is usual")


@contextmanager
def time_limit(model: nn.Module, seconds: float) -> Iterator[None]:
    """Let a network run for so long, then stop it before its next layer.

    Args:
        model: the network that the block runs, in this thread alone.
        seconds: time from here on.

    Raises:
        ValueError: the time is over and the network is not.
    """
    end = time.monotonic() + seconds

    def check(*_: Any) -> None:
        if time.monotonic() > end:
            raise ValueError(
                f"time for a picture must be at most {seconds:g} s, got more; send a smaller picture, "
                "or start the app with a longer --time-limit"
            )

    hooks = [module.register_forward_pre_hook(check) for module in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
