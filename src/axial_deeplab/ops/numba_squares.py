"""Fused attention to squares on the CPU, forward and backward, compiled by Numba; see docs/kernels.md."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.kernel_call import KernelCall, registered, threads_for, why_not_tensor
from axial_deeplab.ops.operands import SCHEMA, Operands, empty_like_image, reach_of

# Chunks depend on the shapes alone, so that the number of threads changes no bit.
FEWEST_CHUNKS = 16


def why_not(operands: Operands) -> str | None:
    """Return why the operands cannot run here, or None."""
    return why_not_tensor(operands.q)


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention to squares, Eq. 2 and 3; logits are never stored.

    Half precision is computed in float32; the results have the precision of `v`. It can be differentiated
    once.
    """
    dtype = operands.v.dtype
    content, positional, _ = _forward(*operands.widened().flat)
    return content.to(dtype), None if operands.rel_v is None else positional.to(dtype)


@registered("local_attention_2d", SCHEMA, "(Tensor, Tensor, Tensor)")
def _forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, H, W, N, V) and the largest logit of each query, base 2."""
    content, positional, maxima = _allocate_outputs(*flat)
    call = _Call(Operands(*flat), maxima)
    call.set_rows(CONTENT=content)
    if positional.numel() > 0:
        call.set_rows(POSITIONAL=positional)
    call.forward()
    return content, positional, maxima


@_forward.register_fake
def _allocate_outputs(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands = Operands(*flat)
    batch, height, width, heads, _ = operands.q.shape
    content = empty_like_image(operands.v)
    positional = content.new_empty(0) if operands.rel_v is None else empty_like_image(operands.v)
    padded_width = (width + 7) // 8 * 8
    return content, positional, content.new_empty(batch * heads * height, padded_width)


@registered(
    "local_attention_2d_backward",
    f"Tensor grad_content, Tensor grad_positional, Tensor maxima, {SCHEMA}",
    "Tensor[]",
)
def _backward(grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any) -> list[Tensor]:
    """Return the gradients of `Operands.tensors`; empty for an absent one."""
    operands = Operands(*flat)
    grads = _allocate_gradients(grad_content, grad_positional, maxima, *flat)
    call = _Call(operands, maxima)
    call.set_rows(CONTENT=grad_content, GRAD_Q=grads[0], GRAD_K=grads[1], GRAD_V=grads[2])
    if operands.rel_v is not None:
        call.set_rows(POSITIONAL=grad_positional)
    if call.is_empty:
        return grads
    by_scaled_table, by_content_scale = call.backward()
    scale_grads = torch.zeros_like(operands.scales())
    scale_grads[0] = by_content_scale
    for i, (table, grad) in enumerate(zip(operands.tables, by_scaled_table, strict=True)):
        if table is not None:
            grads[3 + i] = grad * call.table_scales[i]
            if i < 2:
                scale_grads[1 + i] = (grad * table).sum((1, 2))
    if operands.logit_scale is not None:
        grads[6] = scale_grads
    return grads


@_backward.register_fake
def _allocate_gradients(
    grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any
) -> list[Tensor]:
    operands = Operands(*flat)
    grads = [empty_like_image(x) for x in operands.images]
    others = (*operands.tables, operands.logit_scale)
    return grads + [grads[0].new_zeros(() if x is None else x.shape) for x in others]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.span = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*tensors, output[2])


def _differentiate(
    ctx: Any, grad_content: Tensor, grad_positional: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    *tensors, maxima = ctx.saved_tensors
    grads = _backward(grad_content, grad_positional, maxima, *tensors, ctx.span)
    return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None


_forward.register_autograd(_differentiate, setup_context=_setup_context)


class _Call(KernelCall):
    """One call of the forward or backward kernel."""

    def __init__(self, operands: Operands, maxima: Tensor) -> None:
        super().__init__(operands.q)
        self.batch, self.height, self.width, self.heads, self.head_dim = operands.q.shape
        self.value_dim = operands.v.shape[-1]
        self.is_empty = operands.q.shape[:4].numel() == 0
        assert operands.span is not None
        self.kernel_size = operands.span
        self.reach = reach_of(operands.span, self.width)
        self.row_reach = reach_of(operands.span, self.height)
        self.sizes = (self.reach, self.row_reach, self.head_dim, self.value_dim)
        content_scale, *scales = operands.scales().contiguous()
        self.table_scales = (*(x[:, None, None] for x in scales), 1.0)
        rel_q, rel_k, rel_v = (
            None if table is None else self._packed(table * scale)
            for table, scale in zip(operands.tables, self.table_scales, strict=True)
        )
        self.set_numbers(
            BATCH=self.batch,
            LENGTH=self.width,
            LINES=self.height,
            HEADS=self.heads,
            HEAD_DIM=self.head_dim,
            VALUE_DIM=self.value_dim,
            REACH=self.reach,
            ROW_REACH=self.row_reach,
        )
        self.set_addresses(REL_Q=rel_q, REL_K=rel_k, REL_V=rel_v, SCALE=content_scale, MAXIMA=maxima)
        self.set_rows(Q=operands.q, K=operands.k, V=operands.v)

    def set_rows(self, **tensors: Tensor) -> None:
        """Set the addresses and strides of tensors (B, H, W, N, C), whose lines are the rows of an image."""
        self.set_images(**{column: x.transpose(1, 2) for column, x in tensors.items()})

    def forward(self) -> None:
        """Run the forward kernel."""
        if self.is_empty:
            return
        units = self.batch * self.heads * self.height
        self._launch("squares", min(units, max(self.batch * self.heads, FEWEST_CHUNKS)))

    def backward(self) -> tuple[list[Tensor], Tensor]:
        """Run the backward kernel.

        Returns:
            the gradients of the tables as the kernel has them, (N, m·m, C) each, and of the content's scale.
        """
        groups = min(self.batch, -(-FEWEST_CHUNKS // self.heads))
        size = self.layout.square_table_grads_size(*self.sizes)
        sums = self.like.new_empty(self.heads, groups, size)
        self.set_numbers(TABLE_GRADS_SIZE=size)
        self.set_addresses(TABLE_GRADS=sums)
        self._launch("squares_backward", self.heads * groups)
        offsets = self.layout.offsets(self.reach, self.row_reach)
        widths = (self.head_dim, self.head_dim, self.value_dim)
        padded = [self.layout.whole_tiles(width) for width in widths]
        *tables, scale = sums.sum(1).split([*(offsets * width for width in padded), 1], dim=1)
        return [self._unpacked(table, width) for table, width in zip(tables, widths, strict=True)], scale[
            :, 0
        ]

    def _launch(self, entry: str, chunks: int) -> None:
        side, row_side = min(self.width, 2 * self.reach + 1), min(self.height, 2 * self.row_reach + 1)
        pairs = self.batch * self.heads * self.height * self.width * side * row_side
        threads = threads_for(pairs * (3 * self.head_dim + 2 * self.value_dim), chunks)
        scratch_size = getattr(self.layout, f"{entry}_scratch_size")
        self.set_scratch(scratch_size(self.height, self.width, *self.sizes), threads)
        self.set_numbers(CHUNKS=chunks)
        self.run(entry, threads)

    def _packed(self, table: Tensor) -> Tensor:
        """Return a table (N, m·m, C) as the kernel reads it: offsets in reach alone, whole tiles."""
        rows, columns = self._in_reach()
        near = table.unflatten(1, (self.kernel_size, self.kernel_size))[:, rows, columns]
        missing = [self.layout.whole_tiles(n) - n for n in near.shape[2:]]
        return F.pad(near, (0, missing[1], 0, missing[0])).contiguous()

    def _unpacked(self, grads: Tensor, channels: int) -> Tensor:
        """Return the gradient of a table (N, m·m, C), zero beyond reach."""
        side, row_side = 2 * self.reach + 1, 2 * self.row_reach + 1
        near = grads.reshape(self.heads, row_side, self.layout.whole_tiles(side), -1)[:, :, :side, :channels]
        whole = grads.new_zeros(self.heads, self.kernel_size, self.kernel_size, channels)
        rows, columns = self._in_reach()
        whole[:, rows, columns] = near
        return whole.flatten(1, 2)

    def _in_reach(self) -> tuple[slice, slice]:
        """Return the rows and columns of a table that lie in reach."""
        center = self.kernel_size // 2
        rows, columns = (slice(center - r, center + r + 1) for r in (self.row_reach, self.reach))
        return rows, columns
