"""The implementations of an operation, and which of them is taken."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from axial_deeplab.ops.operands import Operands

_num_avoiding = 0


@contextmanager
def avoiding_compiled_code(avoid: bool) -> Iterator[None]:
    """Run the references instead of compiled code, in all threads: for programs of little work."""
    global _num_avoiding
    _num_avoiding += avoid
    try:
        yield
    finally:
        _num_avoiding -= avoid


def is_avoided() -> bool:
    """Return whether references are to run instead of compiled code."""
    return _num_avoiding > 0


@dataclass(frozen=True)
class Implementation:
    """One way to execute an operation.

    `why_not` returns None if it can run the operands or else the reason in a few words, `attend` runs them.
    `attend_sum` is what it has for the sum of both outputs, the positional one times a scale (N, V), without
    gradients; None adds the outputs of `attend`. A module of an implementation must import without the
    libraries that it needs; `why_not` says that they are missing.
    """

    name: str
    why_not: Callable[[Operands], str | None]
    attend: Callable[[Operands], tuple[Tensor, Tensor | None]]
    attend_sum: Callable[[Operands, Tensor], Tensor] | None = None


def choose(impl: str, implementations: Sequence[Implementation], operands: Operands) -> Implementation:
    """Return the implementation of this name, or for "auto" the first that can run the operands."""
    if impl == "auto":
        return next(i for i in implementations if i.why_not(operands) is None)
    by_name = {i.name: i for i in implementations}
    if impl not in by_name:
        raise ValueError(f"impl must be one of {['auto', *by_name]}, got {impl!r}; take 'auto' if in doubt")
    reason = by_name[impl].why_not(operands)
    if reason is not None:
        raise ValueError(
            f"impl must be able to run these arguments, got {impl!r}: {reason}; take 'auto' or 'reference'"
        )
    return by_name[impl]


def verdicts(implementations: Sequence[Implementation], operands: Operands) -> str:
    """Return a line for each implementation: whether "auto" takes it, and if it cannot run, why."""
    lines = []
    taken = False
    for implementation in implementations:
        reason = implementation.why_not(operands)
        verdict = f"cannot run: {reason}" if reason else "could run" if taken else "is taken"
        taken = taken or reason is None
        lines.append(f"{implementation.name}: {verdict}")
    return "\n".join(lines)


def is_exporting() -> bool:
    """Return whether a program is being exported, which must not need compiled code of ours."""
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def is_transformed() -> bool:
    """Return whether PyTorch follows tensors in a way that it cannot follow through compiled code of ours.

    That is inside of any transform of `torch.func` (grad, vjp, jvp, vmap, ...), where tensors are not what
    they seem, and in forward mode, where their tangents would be lost without a word.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def recomputed(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function and keep nothing that is made in it: the backward pass calls it again.

    `torch.func` has no such backward pass; there everything is kept. The options are PyTorch's.
    """
    if is_transformed():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **options)
