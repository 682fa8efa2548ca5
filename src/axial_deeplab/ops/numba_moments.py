"""The sums that the variances of whole-axis logits are made of, on the CPU, compiled by Numba.

The kernel sums queries, keys and their outer products, at each position and over each line; what the relative
tables add to that does not grow with the batch and is plain PyTorch. See docs/kernels.md.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from axial_deeplab.ops.kernel_call import KernelCall, kernel_layout, registered, threads_for, why_not_tensor
from axial_deeplab.ops.operands import empty_like_image
from axial_deeplab.ops.precision import full_precision
from axial_deeplab.ops.table_moments import add_rows_in_reach, rows_in_reach, sums_over_queries, window_sums

_SCHEMA = "Tensor q, Tensor k, Tensor? rel_q, Tensor? rel_k"


class _Packed(NamedTuple):
    """What the kernel puts side by side for each head, or its gradient: views of one tensor.

    Args:
        of_position: of the queries and of the keys, their sums (N, L, D) at each position and those of their
            outer products (N, L, D, D).
        content: the sums of q·k and of its square over all pairs, (N, 2).
    """

    of_position: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    content: Tensor


def can_run(q: Tensor) -> bool:
    """Return whether queries and keys of this type and device have a kernel, in a program that may use it."""
    return q.dtype in (torch.float32, torch.float64) and why_not_tensor(q) is None


def sums_of_terms(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> Tensor:
    """Return the sums of the three terms and of their squares over all pairs of a whole axis.

    It can be differentiated once.

    Shapes:
        q, k: (B, L, M, N, D); rel_q, rel_k: (R, D) as in `axial_attention`. Returns (2, 3, N).

    Args:
        q: float32 or float64, see `can_run`.
        rel_q: None has sums of zero, as `rel_k`.
    """
    sums: Tensor = _sums(q, k, rel_q, rel_k)[0]
    return sums


@registered("axis_moments", _SCHEMA, "(Tensor, Tensor)")
def _sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sums (2, 3, N) and what the kernel summed (N, `layout.moments_size`)."""
    sums, packed = _allocate_sums(q, k, rel_q, rel_k)
    sums.zero_()
    if q.numel() == 0:
        return sums, packed.zero_()
    _run("moments", q, k, packed)
    parts = _unpack(packed, q)
    sums[:, 0] = parts.content.mT
    reach = q.shape[1] - 1
    tables = _seen_from_each((rel_q, rel_k))
    for term, (table, (of_vectors, of_products)) in enumerate(zip(tables, parts.of_position, strict=True), 1):
        if table is not None:
            of_rows, of_row_products = window_sums(rows_in_reach(table, reach), q.shape[1])
            sums[0, term] = of_vectors.flatten(1) @ of_rows.flatten()
            sums[1, term] = of_products.flatten(1) @ of_row_products.flatten()
    return sums, packed


@_sums.register_fake
def _allocate_sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> tuple[Tensor, Tensor]:
    heads = q.shape[3]
    size = kernel_layout().moments_size(q.shape[1], q.shape[4])
    return q.new_empty(2, 3, heads), q.new_empty(heads, size)


@registered("axis_moments_backward", f"Tensor grad, Tensor packed, {_SCHEMA}", "Tensor[]")
def _backward(
    grad: Tensor, packed: Tensor, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
) -> list[Tensor]:
    """Return the gradients of queries, keys and tables; empty for an absent one."""
    grads = _allocate_gradients(grad, packed, q, k, rel_q, rel_k)
    if q.numel() == 0:
        return [each.zero_() for each in grads]
    grad_packed = torch.zeros_like(packed)
    _unpack(grad_packed, q).content.copy_(grad[:, 0].mT)
    # Whoever calls backward() under autocast wants no less.
    with full_precision(q.device):
        for term, table in enumerate(_seen_from_each((rel_q, rel_k)), 1):
            if table is not None:
                grad_table = _differentiate_term(term, table, grad, packed, grad_packed, q)
                grads[1 + term] += grad_table.flip(0) if term == 2 else grad_table
    _run("moments_backward", q, k, grad_packed, grads[0], grads[1])
    return grads


@_backward.register_fake
def _allocate_gradients(
    grad: Tensor, packed: Tensor, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
) -> list[Tensor]:
    images = [empty_like_image(x) for x in (q, k)]
    return images + [q.new_zeros(() if x is None else x.shape) for x in (rel_q, rel_k)]


def _differentiate_term(
    term: int, table: Tensor, grad: Tensor, packed: Tensor, grad_packed: Tensor, q: Tensor
) -> Tensor:
    """Write the gradient of what a table is multiplied with into `grad_packed`; return that of the table."""
    length = q.shape[1]
    reach = length - 1
    first, second = grad[:, term]
    rows = rows_in_reach(table, reach)
    of_rows, of_row_products = window_sums(rows, length)
    grad_vectors, grad_products = _unpack(grad_packed, q).of_position[term - 1]
    torch.mul(first[:, None, None], of_rows, out=grad_vectors)
    # An outer product x xᵀ has the gradient (G + Gᵀ) x, and G is symmetric.
    torch.mul(2 * second[:, None, None, None], of_row_products, out=grad_products)
    of_vectors, of_products = _unpack(packed, q).of_position[term - 1]
    of_queries = sums_over_queries((first @ of_vectors.flatten(1)).view(length, -1), reach)
    of_query_products = sums_over_queries((second @ of_products.flatten(1)).view(length, -1), reach)
    products = of_query_products.unflatten(1, (rows.shape[1], -1))
    grad_rows = of_queries + 2 * (products @ rows[:, :, None])[:, :, 0]
    grad_table = torch.zeros_like(table)
    add_rows_in_reach(grad_table, grad_rows, reach)
    return grad_table


def _seen_from_each(tables: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
    """Return both tables by the distance from the query or key that they are multiplied with."""
    rel_q, rel_k = tables
    return rel_q, None if rel_k is None else rel_k.flip(0)


def _unpack(packed: Tensor, q: Tensor) -> _Packed:
    length, head_dim = q.shape[1], q.shape[4]
    pitch = kernel_layout().whole_vectors(head_dim)
    sums, products = length * pitch, length * head_dim * pitch
    parts = packed.split((sums, products, sums, products, packed.shape[1] - 2 * (sums + products)), dim=1)

    def of_position(i: int) -> tuple[Tensor, Tensor]:
        return (
            parts[i].unflatten(1, (length, pitch))[..., :head_dim],
            parts[i + 1].unflatten(1, (length, head_dim, pitch))[..., :head_dim],
        )

    return _Packed((of_position(0), of_position(2)), parts[4][:, :2])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    packed, *tensors = ctx.saved_tensors
    grads = _backward(grad, packed, *tensors)
    return tuple(None if x is None else own for x, own in zip(tensors, grads, strict=True))


_sums.register_autograd(_differentiate, setup_context=_setup_context)


def _run(entry: str, q: Tensor, k: Tensor, moments: Tensor, *grads: Tensor) -> None:
    batch, length, lines, heads, head_dim = q.shape
    call = KernelCall(q)
    threads = threads_for(4 * batch * length * lines * heads * head_dim**2, heads)
    call.set_numbers(BATCH=batch, LENGTH=length, LINES=lines, HEADS=heads, HEAD_DIM=head_dim, CHUNKS=threads)
    call.set_scratch(call.layout.moments_scratch_size(length, head_dim), threads)
    call.set_addresses(MOMENTS=moments)
    call.set_images(Q=q, K=k, **dict(zip(("GRAD_Q", "GRAD_K"), grads, strict=False)))
    call.run(entry, threads)
