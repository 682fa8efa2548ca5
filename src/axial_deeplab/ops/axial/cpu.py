"""Axial attention on the CPU, forward and backward, compiled by Numba; see docs/kernels.md."""

from typing import Any

from torch import Tensor

from axial_deeplab.ops.axial.reference import count_products
from axial_deeplab.ops.library import registered
from axial_deeplab.ops.numba.call import KernelCall, kernel_layout, threads_for, why_not_tensor
from axial_deeplab.ops.operands import SCHEMA, Operands, empty_like_image, reach_of

# Each chunk of bundles sums the gradients of the tables on its own, so the result depends on the shapes
# alone, not on the number of threads. More chunks occupy more threads and take more memory.
FEWEST_CHUNKS, MOST_CHUNKS, BUNDLES_IN_A_CHUNK = 8, 64, 4


def why_not(operands: Operands) -> str | None:
    """Return why the operands cannot run here, or None."""
    if operands.activation != "softmax":
        return "it has the softmax only"
    return why_not_tensor(operands.q)


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4; logits are never stored.

    Half precision is computed in float32; the results have the precision of `v`. It can be differentiated
    once.
    """
    dtype = operands.v.dtype
    content, positional, _ = _forward(*operands.widened().flat)
    return content.to(dtype), None if operands.rel_v is None else positional.to(dtype)


def attend_sum(operands: Operands, positional_scale: Tensor) -> Tensor:
    """What `attend` returns, added up in cache."""
    wide = operands.widened()
    return _forward_sum(positional_scale.to(wide.q.dtype), *wide.flat).to(operands.v.dtype)


@registered("axial_attention_sum", f"Tensor positional_scale, {SCHEMA}", "Tensor")
def _forward_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    """Return content + positional_scale * positional, (B, L, M, N, V)."""
    operands = Operands(*flat)
    output = _allocate_sum(positional_scale, *flat)
    call = _Call(operands, _allocate_maxima(operands.q))
    call.set_images(CONTENT=output)
    call.set_addresses(POSITIONAL_SCALE=positional_scale.contiguous())
    call.launch("forward")
    return output


@_forward_sum.register_fake
def _allocate_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    return empty_like_image(Operands(*flat).v)


@registered("axial_attention", SCHEMA, "(Tensor, Tensor, Tensor)")
def _forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, L, M, N, V) and the largest logit of each query, base 2."""
    content, positional, maxima = _allocate_outputs(*flat)
    call = _Call(Operands(*flat), maxima)
    call.set_images(CONTENT=content, POSITIONAL=positional)
    call.launch("forward")
    return content, positional, maxima


@_forward.register_fake
def _allocate_outputs(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands = Operands(*flat)
    return empty_like_image(operands.v), empty_like_image(operands.v), _allocate_maxima(operands.q)


@registered(
    "axial_attention_backward",
    f"Tensor grad_content, Tensor grad_positional, Tensor maxima, {SCHEMA}",
    "Tensor[]",
)
def _backward(grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any) -> list[Tensor]:
    """Return the gradients of `Operands.tensors`; empty for an absent one."""
    operands = Operands(*flat)
    grads = operands.new_gradients()
    call = _Call(operands, maxima)
    call.set_images(CONTENT=grad_content, POSITIONAL=grad_positional)
    call.set_images(GRAD_Q=grads[0], GRAD_K=grads[1], GRAD_V=grads[2])
    for column, grad in zip(("GRAD_REL_Q", "GRAD_REL_K", "GRAD_REL_V", "GRAD_SCALE"), grads[3:], strict=True):
        if grad.dim() == 2:
            call.set_addresses(**{column: grad})
    call.launch("backward")
    return grads


@_backward.register_fake
def _allocate_gradients(*arguments: Any) -> list[Tensor]:
    _, _, _, *flat = arguments
    return Operands(*flat).new_gradients()


_forward.differentiate_by(_backward, num_outputs=2)
_forward.count_products(lambda *flat: count_products(Operands(*flat)))
_forward_sum.count_products(lambda _scale, *flat: count_products(Operands(*flat)))
_backward.count_products(lambda _content, _positional, _maxima, *flat: 2 * count_products(Operands(*flat)))


def _allocate_maxima(q: Tensor) -> Tensor:
    batch, length, lines, heads = q.shape[:4]
    lanes = kernel_layout().LANES
    return q.new_empty(-(-batch * lines * heads // lanes), -(-length // 4) * 4, lanes)


class _Call(KernelCall):
    """One call of the forward or backward kernel."""

    def __init__(self, operands: Operands, maxima: Tensor) -> None:
        super().__init__(operands.q)
        self.batch, self.length, self.lines, self.heads, self.head_dim = operands.q.shape
        self.value_dim = operands.v.shape[-1]
        self.reach = reach_of(operands.span, self.length)
        rel_q, rel_k, rel_v = (None if x is None else x.contiguous() for x in operands.tables)
        self.set_numbers(
            BATCH=self.batch,
            LENGTH=self.length,
            LINES=self.lines,
            HEADS=self.heads,
            HEAD_DIM=self.head_dim,
            VALUE_DIM=self.value_dim,
            REACH=self.reach,
            MAX_DISTANCE=next((x.shape[0] // 2 for x in operands.tables if x is not None), 0),
        )
        self.set_images(Q=operands.q, K=operands.k, V=operands.v)
        self.set_addresses(REL_Q=rel_q, REL_K=rel_k, REL_V=rel_v, SCALE=operands.scales().contiguous())
        self.set_addresses(MAXIMA=maxima)

    def launch(self, direction: str) -> None:
        """Run the kernel "forward" or "backward"."""
        units = self.batch * self.lines * self.heads
        if units == 0 or self.length == 0:
            return
        layout = self.layout
        backward = direction == "backward"
        sizes = (self.head_dim, self.value_dim)
        if backward:
            scratch_size = layout.backward_scratch_size(self.length, *sizes, self.reach)
        else:
            scratch_size = layout.forward_scratch_size(self.length, *sizes)
        grads_size = layout.table_grads_size(self.reach, *sizes, self.heads) if backward else 0
        bundles = -(-units // layout.LANES)
        chunks = min(bundles, max(FEWEST_CHUNKS, min(bundles // BUNDLES_IN_A_CHUNK, MOST_CHUNKS)))
        pairs = units * self.length * min(self.length, 2 * self.reach + 1)
        threads = threads_for(pairs * (3 * self.head_dim + 2 * self.value_dim), chunks)
        self.set_scratch(scratch_size, threads)
        self.set_numbers(TABLE_GRADS_SIZE=grads_size, CHUNKS=chunks, UNITS=units)
        self.set_addresses(
            TABLES=self.like.new_empty(layout.tables_size(self.reach, *sizes)),
            TABLE_GRADS=self.like.new_empty(chunks * grads_size),
        )
        self.run("expand_tables")
        self.run(direction, threads)
        if backward:
            self.run("collect_table_grads")
