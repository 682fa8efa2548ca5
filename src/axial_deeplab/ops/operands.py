"""What an attention operation works on: the one home of its list of arguments."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SCHEMA = (
    "Tensor q, Tensor k, Tensor v, Tensor? rel_q, Tensor? rel_k, Tensor? rel_v, Tensor? logit_scale, "
    "SymInt? span"
)
"""`Operands.flat` in the language of `torch.library`, whose operations take no objects."""


@dataclass(frozen=True)
class Operands:
    """The arguments of `axial_attention` or of `local_attention_2d`, whose docstrings tell their meaning.

    Args:
        span: for windows, their side.
        rows_per_chunk: for windows only.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    rel_q: Tensor | None
    rel_k: Tensor | None
    rel_v: Tensor | None
    logit_scale: Tensor | None = None
    span: int | None = None
    activation: str = "softmax"
    logit_bias: Tensor | None = None
    rows_per_chunk: int | None = None

    @property
    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values."""
        return self.q, self.k, self.v

    @property
    def tables(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The relative tables r^q, r^k, r^v."""
        return self.rel_q, self.rel_k, self.rel_v

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """All that a registered operation has gradients for."""
        return *self.images, *self.tables, self.logit_scale

    @property
    def flat(self) -> tuple[Tensor | int | None, ...]:
        """The arguments of a registered operation, see `SCHEMA`; `Operands(*flat)` is the way back."""
        return *self.tensors, self.span

    @property
    def needs_gradients(self) -> bool:
        """Whether a backward pass may follow."""
        return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in self.tensors)

    @property
    def products_of_a_pair(self) -> int:
        """Multiply-adds for a query and a key of one head: those of all logit terms and of both outputs."""
        terms = [1 + (x is not None) for x in (self.rel_q, self.rel_v)]
        return self.q.shape[4] * (terms[0] + (self.rel_k is not None)) + self.v.shape[4] * terms[1]

    def widened(self) -> "Operands":
        """Return the same in float32 at least, the type of all sums."""
        dtype = torch.promote_types(self.q.dtype, torch.float32)

        def widen(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(dtype)

        names = ("q", "k", "v", "rel_q", "rel_k", "rel_v", "logit_scale", "logit_bias")
        wide: dict[str, Any] = {name: widen(getattr(self, name)) for name in names}
        return replace(self, **wide)

    def scales(self) -> Tensor:
        """Return the factors (3, N) of the logit terms, ones if there are none."""
        return self.q.new_ones(3, self.q.shape[3]) if self.logit_scale is None else self.logit_scale

    def new_gradients(self) -> list[Tensor]:
        """Return room for the gradients of `tensors`, zeros where they are sums; empty for an absent one."""
        return gradients_like(self.images, (*self.tables, self.logit_scale))

    def check_types(self) -> None:
        """Refuse tensors of different devices, or whose numbers are not as they must be."""
        q, k, v = self.images
        if not (q.is_floating_point() and q.dtype == k.dtype == v.dtype):
            raise ValueError(
                "q, k and v must share a floating-point type, "
                f"got {q.dtype}, {k.dtype}, {v.dtype}; convert them"
            )
        for x in (*self.tensors, self.logit_bias):
            check_like(x, q)

    def check_scale(self) -> None:
        """Refuse a `logit_scale` of another shape."""
        heads, scale = self.q.shape[3], self.logit_scale
        if scale is not None and scale.shape != (3, heads):
            raise ValueError(
                f"logit_scale must be (3, {heads}), got shape {shape_of(scale)}; one row for each term"
            )


def check_like(x: Tensor | None, q: Tensor) -> None:
    """Refuse a tensor on another device than the queries or of integers."""
    if x is None:
        return
    if x.device != q.device:
        raise ValueError(
            f"arguments must be on one device, got {q.device} and {x.device}; move them with .to()"
        )
    if not x.is_floating_point():
        raise ValueError(f"tables, scales and biases must be floating-point, got {x.dtype}; convert them")


def check_odd(name: str, positions: int) -> None:
    """Refuse a reach that has no center."""
    check_whole(name, positions)
    if positions < 1 or positions % 2 == 0:
        better = max(positions, 0) // 2 * 2 + 1
        raise ValueError(f"{name} must be a positive odd number of positions, got {positions}; try {better}")


def check_whole(name: str, number: object) -> None:
    """Refuse what is no whole number, None aside; sizes of traced programs are numbers, too."""
    if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__")):
        raise ValueError(f"{name} must be a whole number, got {number!r}; correct it")


def shape_of(x: Tensor) -> tuple[int, ...]:
    """Return the shape as messages show it."""
    return tuple(x.shape)


def reach_of(span: int | None, length: int) -> int:
    """Return how far a span reaches along an axis of so many positions; farther there is nothing."""
    return max(length - 1 if span is None else min(span // 2, length - 1), 0)


def empty_like_image(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a dense tensor of the shape of x (B, L, M, N, C) whose two axes are nested as those of x."""
    batch, length, lines, heads, channels = x.shape
    if x.stride(1) < x.stride(2):
        return x.new_empty(batch, lines, length, heads, channels, dtype=dtype).transpose(1, 2)
    return x.new_empty(batch, length, lines, heads, channels, dtype=dtype)


def gradients_like(images: Sequence[Tensor], others: Sequence[Tensor | None]) -> list[Tensor]:
    """Return room for the gradients of images, and zeros for those that are sums; empty for absent ones."""
    sums = [images[0].new_zeros(() if x is None else x.shape) for x in others]
    return [empty_like_image(x) for x in images] + sums


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast is off for the device: sums over many terms need it."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
