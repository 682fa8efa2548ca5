"""Registering operations with PyTorch, which then differentiates, compiles and exports what calls them."""

import functools
import sys
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from axial_deeplab.ops.dispatch import is_transformed
from axial_deeplab.ops.flop_counter import count_products


class Operation:
    """An operation `torch.ops.axial_deeplab.NAME`, and what calls it.

    `torch.library.custom_op` would do the same, but its first call imports PyTorch's compiler, which takes a
    process seconds and serves few.

    Args:
        name: last part of the name.
        schema: its arguments and results, in the language of `torch.library`.
        device: "cpu", "cuda", ... that it has a kernel for, "default" for all.
        kernel: computes it.
    """

    def __init__(self, name: str, schema: str, device: str, kernel: Callable[..., Any]) -> None:
        self._name = f"axial_deeplab::{name}"
        # The compiler keeps the strides of the arguments, as the fake kernels see them.
        tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)
        torch.library.define(self._name, schema, tags=tags)
        unfollowed = functools.partial(self._refuse_or_run, kernel)
        torch.library.impl(self._name, device, _unseen_by_the_compiler(unfollowed))
        # The first stop of a call in a transform of `torch.func`, and where `is_grads_batched` leads to in
        # the backward pass, which is no such transform.
        for key in ("FuncTorchDynamicLayerFrontMode", "Batched"):
            torch.library.impl(self._name, key, self._refuse_to_be_transformed)
        self._operation = getattr(torch.ops.axial_deeplab, name).default
        self._differentiate = self._refuse_to_differentiate
        self._setup_context: Callable[..., None] | None = None
        torch.library.register_autograd(
            self._name,
            lambda *arguments: self._differentiate(*arguments),
            setup_context=self._keep_for_backward,
        )

    def __call__(self, *arguments: Any) -> Any:
        if is_transformed():  # in the backward pass: the forward operation was not chosen inside of it
            self._refuse_to_be_transformed()
        return self._operation(*arguments)

    def count_products(self, multiply_adds: Callable[..., int]) -> None:
        """Register how many multiply-adds a call with these arguments is, for PyTorch's counter."""
        count_products(self._operation._overloadpacket, multiply_adds)

    def register_fake(self, fake: Callable[..., Any]) -> Callable[..., Any]:
        """Register what returns results without numbers; a decorator."""
        torch.library.register_fake(self._name, fake)
        return fake

    def register_autograd(
        self, differentiate: Callable[..., Any], *, setup_context: Callable[..., None]
    ) -> None:
        """Register a backward pass, see `torch.library.register_autograd`."""
        self._differentiate, self._setup_context = differentiate, setup_context

    def differentiate_by(
        self, backward: Callable[..., Any], num_outputs: int = 1, *, keep_outputs: bool = False
    ) -> None:
        """Register a backward pass that is an operation, too.

        Args:
            backward: gets the gradients of the outputs, the further results and the arguments of this
                operation; returns the gradients of the tensors among the arguments, which come first.
            num_outputs: results that can be differentiated; the further ones are for the backward pass.
            keep_outputs: whether `backward` gets all results, not just the further ones.
        """

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            ctx.mark_non_differentiable(*outputs[num_outputs:])
            results = outputs if keep_outputs else outputs[num_outputs:]
            ctx.save_for_backward(*results, *(x if isinstance(x, Tensor) else None for x in inputs))
            ctx.numbers = [None] * len(results) + [None if isinstance(x, Tensor) else x for x in inputs]
            ctx.num_results = len(results)

        def differentiate(ctx: Any, *output_grads: Tensor) -> tuple[Tensor | None, ...]:
            kept = [
                number if tensor is None else tensor
                for tensor, number in zip(ctx.saved_tensors, ctx.numbers, strict=True)
            ]
            grads = backward(*output_grads[:num_outputs], *kept)
            inputs = kept[ctx.num_results :]
            return tuple(grad if isinstance(x, Tensor) else None for x, grad in zip_longest(inputs, grads))

        self.register_autograd(differentiate, setup_context=setup_context)

    def _keep_for_backward(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if self._setup_context is not None:
            self._setup_context(ctx, inputs, output)

    def _refuse_or_run(self, kernel: Callable[..., Any], *arguments: Any) -> Any:
        if is_transformed():  # the tangents of forward mode are not seen here, and would be lost
            self._refuse_to_be_transformed()
        return kernel(*arguments)

    def _refuse_to_be_transformed(self, *arguments: Any) -> Any:
        raise RuntimeError(
            f"{self._name} must not be transformed, got a call in forward mode or in a transform of "
            "torch.func (grad, vmap, ...); choose impl='reference' of the function that calls it"
        )

    def _refuse_to_differentiate(self, *arguments: Any) -> Any:
        raise RuntimeError(
            f"{self._name} must not be differentiated, got a backward pass through it; differentiate once, "
            "or choose the reference implementation"
        )


def registered(name: str, arguments: str, results: str, device: str = "cpu") -> Any:
    """Return a decorator that makes a kernel an `Operation` with these lists, see `operands.SCHEMA`."""
    return functools.partial(Operation, name, f"({arguments}) -> {results}", device)


def _unseen_by_the_compiler(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Keep torch.compile, if a process uses it, from looking into a kernel."""
    hidden: Callable[..., Any] | None = None

    @functools.wraps(kernel)
    def run(*arguments: Any) -> Any:
        nonlocal hidden
        if hidden is None and hasattr(sys.modules.get("torch._dynamo"), "disable"):
            hidden = torch.compiler.disable(kernel)
        return (hidden or kernel)(*arguments)

    return run
