"""Refusing to build networks that are larger than anything that can be meant."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)


@contextmanager
def network_at_most(numbers: int, tensors: int) -> Iterator[None]:
    """Stop the construction of modules in the block once their parameters and buffers are more than this.

    A tensor is counted before it is filled, so the memory of one that is too large is never touched.

    Args:
        numbers: numbers of all tensors together.
        tensors: how many tensors.

    Raises:
        ValueError: there are more.
    """
    thread, sizes = threading.get_ident(), [0, 0]

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None or threading.get_ident() != thread:
            return
        sizes[:] = sizes[0] + tensor.numel(), sizes[1] + 1
        if sizes[0] > numbers or sizes[1] > tensors:
            raise ValueError(
                f"network must have at most {numbers} numbers in {tensors} tensors, got more at {name} of "
                f"shape {tuple(tensor.shape)} in {type(module).__name__}; make it smaller"
            )

    hooks = [
        register(count)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
