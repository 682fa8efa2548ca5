"""Axial attention on CUDA devices, forward and backward, compiled by Triton; see docs/kernels.md."""

import math
import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from axial_deeplab.ops.axial.reference import count_products
from axial_deeplab.ops.dispatch import is_avoided, is_exporting, is_transformed
from axial_deeplab.ops.library import registered
from axial_deeplab.ops.operands import SCHEMA, Operands, empty_like_image, reach_of
from axial_deeplab.ops.triton.tilings import Tiling, candidates, padded, run_tiled

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Wider heads are cut into no parts, and their tiles do not fit into the registers.
MOST_HEAD_DIM, MOST_VALUE_DIM = 128, 256
# Programs of the forward kernel on each multiprocessor, and of the backward kernel: more balance the load
# better, fewer load the tables less often and leave fewer partial sums.
FORWARD_PROGRAMS, BACKWARD_PROGRAMS = 16, 4
# Units of a program of the forward kernel: more gain little.
MOST_UNITS = 16
# The partial sums of the tables' gradients take at most this many bytes.
MOST_PARTIAL_SUMS = 2**27

# Triton decides it when the kernels are imported: they then run on the CPU, in NumPy.
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"
_triton_is_missing = find_spec("triton") is None


def why_not(operands: Operands) -> str | None:
    """Return why the operands cannot run here, or None."""
    q, v = operands.q, operands.v
    if q.device.type != "cuda" and not (INTERPRETED and q.device.type == "cpu" and not is_avoided()):
        return f"it runs on CUDA devices, q is on {q.device}"
    if _triton_is_missing:
        return "triton is not installed"
    if q.dtype not in DTYPES:
        return f"it has no kernel for {q.dtype}"
    if q.shape[-1] > MOST_HEAD_DIM or v.shape[-1] > MOST_VALUE_DIM:
        return f"its heads have at most {MOST_HEAD_DIM} and {MOST_VALUE_DIM} channels"
    if operands.activation != "softmax":
        return "it has the softmax only"
    if is_exporting():
        return "an exported program must not need its compiled code"
    if is_transformed():
        return "forward mode and the transforms of torch.func do not see into its compiled code"
    if q.device.type == "cuda" and torch.cuda.get_device_properties(q.device).major < 8:
        return "the device must have compute capability 8.0"
    return None


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4; logits are never stored.

    Products take operands of the type of `q` (the tables are rounded to it) and are summed in float32; the
    results have the precision of `v`. The same arguments give the same bits. It can be differentiated once.
    """
    content, positional, _ = _forward(*operands.flat, torch.is_grad_enabled())
    return content, None if operands.rel_v is None else positional


def attend_sum(operands: Operands, positional_scale: Tensor) -> Tensor:
    """What `attend` returns, added up in registers."""
    return _forward_sum(positional_scale, *operands.flat)


@registered(
    "triton_axial_attention", f"{SCHEMA}, bool differentiable", "(Tensor, Tensor, Tensor)", device="default"
)
def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, L, M, N, V) and, if differentiable, the kernel's statistics."""
    outputs = _allocate_outputs(*arguments)
    operands = Operands(*arguments[:-1])
    if operands.q.shape[:4].numel() > 0:
        call = _Call("forward", operands, outputs)
        run_tiled(call.key, call.tilings, call.forward)
    return outputs


@_forward.register_fake
def _allocate_outputs(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *flat, differentiable = arguments
    operands = Operands(*flat)
    batch, length, lines, heads = operands.q.shape[:4]
    content = empty_like_image(operands.v)
    positional = content.new_empty(0) if operands.rel_v is None else empty_like_image(operands.v)
    units = batch * lines * heads if differentiable else 0
    return content, positional, content.new_empty(units, 2, length, dtype=torch.float32)


@registered("triton_axial_attention_sum", f"Tensor positional_scale, {SCHEMA}", "Tensor", device="default")
def _forward_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    """Return content + positional_scale * positional, (B, L, M, N, V)."""
    operands = Operands(*flat)
    output = _allocate_sum(positional_scale, *flat)
    if output.numel() > 0:
        call = _Call("forward", operands, (output, output, output.new_empty(0)))
        if operands.rel_v is not None:
            call.positional_scale = positional_scale.contiguous()
        run_tiled(call.key, call.tilings, call.forward)
    return output


@_forward_sum.register_fake
def _allocate_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    return empty_like_image(Operands(*flat).v)


@registered(
    "triton_axial_attention_backward",
    "Tensor grad_content, Tensor grad_positional, Tensor content, Tensor positional, Tensor statistics, "
    f"{SCHEMA}, bool differentiable",
    "Tensor[]",
    device="default",
)
def _backward(grad_content: Tensor, grad_positional: Tensor, *arguments: Any) -> list[Tensor]:
    """Return the gradients of `Operands.tensors`; empty for an absent one."""
    *flat, _ = arguments[3:]
    operands = Operands(*flat)
    if operands.q.shape[:4].numel() == 0:
        return [operands.q.new_empty(0) if x is None else torch.zeros_like(x) for x in operands.tensors]
    call = _Call("backward", operands, arguments[:3])
    call.output_grads = grad_content, grad_positional
    return run_tiled(call.key, call.tilings, call.backward)


@_backward.register_fake
def _allocate_gradients(*arguments: Any) -> list[Tensor]:
    *flat, _ = arguments[5:]
    operands = Operands(*flat)
    grads = [empty_like_image(x) for x in operands.images]
    others = (*operands.tables, operands.logit_scale)
    return grads + [grads[0].new_empty(0) if x is None else x.new_empty(x.shape) for x in others]


_forward.differentiate_by(_backward, num_outputs=2, keep_outputs=True)
_forward.count_products(lambda *arguments: count_products(Operands(*arguments[:-1])))
_forward_sum.count_products(lambda _scale, *flat: count_products(Operands(*flat)))
_backward.count_products(lambda *arguments: 2 * count_products(Operands(*arguments[5:-1])))


class _Call:
    """One call of a kernel: its arguments, and how it is launched."""

    def __init__(self, direction: str, operands: Operands, outputs: Sequence[Tensor]) -> None:
        q, scale = operands.q, operands.logit_scale
        self.images = operands.images
        self.tables = tuple(None if x is None else x.contiguous() for x in operands.tables)
        self.logit_scale = None if scale is None else scale.contiguous()
        self.positional_scale: Tensor | None = None
        self.outputs = outputs
        self.output_grads: Sequence[Tensor] = outputs[:2]
        batch, self.length, self.lines, self.heads, self.head_dim = q.shape
        self.value_dim = operands.v.shape[-1]
        self.units = batch * self.lines * self.heads
        self.reach = reach_of(operands.span, self.length)
        self.max_distance = next((x.shape[0] // 2 for x in self.tables if x is not None), 0)
        self.tilings = candidates(direction, self.length, self.head_dim, self.value_dim, q.dtype)
        terms = tuple(x is None for x in self.tables)
        shape = (self.length, self.reach, self.head_dim, self.value_dim, self.units.bit_length())
        self.key = (direction, q.device, q.dtype, terms, shape)

    def forward(self, tiling: Tiling) -> None:
        """Launch the forward kernel."""
        query_tiles = -(-self.length // tiling.block)
        programs = FORWARD_PROGRAMS * _multiprocessors(self.images[0].device)
        units_in_program = min(max(self.units * query_tiles // programs, 1), MOST_UNITS)
        content, positional, statistics = self.outputs
        with torch.cuda.device_of(content):
            _kernel("forward")[query_tiles * -(-self.units // units_in_program),](
                *self._inputs(),
                content,
                positional,
                content.stride(),
                statistics if len(statistics) else None,
                self.positional_scale,
                self.units,
                units_in_program,
                *self._sizes(),
                **self._constants(tiling, content),
            )

    def backward(self, tiling: Tiling) -> list[Tensor]:
        """Launch the backward kernel and add up its partial sums."""
        q, k, v = self.images
        one_tile = self.length <= tiling.block
        rows = 2 * self.reach + 1
        programs = min(
            BACKWARD_PROGRAMS * _multiprocessors(q.device),
            max(MOST_PARTIAL_SUMS // (4 * rows * (2 * self.head_dim + self.value_dim)), 1),
        )
        units_in_program = -(-self.units // programs)
        programs = -(-self.units // units_in_program)
        grad_q = empty_like_image(q, q.dtype if one_tile else torch.float32)
        if not one_tile:
            grad_q.zero_()
        grad_k, grad_v = empty_like_image(k), empty_like_image(v)

        def zeros(*shape: int) -> Tensor:
            return q.new_zeros(shape, dtype=torch.float32)

        sums = [None if x is None else zeros(programs, rows, x.shape[1]) for x in self.tables]
        scale_grads = None if self.logit_scale is None else zeros(self.units, 3)
        corrections = zeros(0 if one_tile else self.units, self.length)
        content, positional, statistics = self.outputs
        grad_content, grad_positional = self.output_grads
        with torch.cuda.device_of(q):
            _kernel("backward")[programs,](
                *self._inputs(),
                content,
                positional,
                content.stride(),
                statistics,
                grad_content,
                grad_content.stride(),
                grad_positional,
                grad_positional.stride(),
                *(argument for x in (grad_q, grad_k, grad_v) for argument in (x, x.stride())),
                *sums,
                scale_grads,
                corrections,
                self.units,
                units_in_program,
                *self._sizes(),
                **self._constants(tiling, content, grad_content, grad_positional, grad_q, grad_k, grad_v),
            )
        grads = [grad_q.to(q.dtype), grad_k, grad_v]
        for table, partial_sums in zip(self.tables, sums, strict=True):
            if table is None or partial_sums is None:
                grads.append(q.new_empty(0))
            else:
                grads.append(_fold_rows(partial_sums.sum(0), self.max_distance).to(table.dtype))
        if self.logit_scale is None or scale_grads is None:
            grads.append(q.new_empty(0))
        else:
            by_head = scale_grads.unflatten(0, (-1, self.heads)).sum(0)
            grads.append(by_head.t().contiguous().to(self.logit_scale.dtype))
        return grads

    def _inputs(self) -> tuple[Any, ...]:
        images = (argument for x in self.images for argument in (x, x.stride()))
        return *images, *self.tables, self.logit_scale

    def _sizes(self) -> tuple[int, ...]:
        return self.length, self.lines, self.heads, self.reach, self.max_distance

    def _constants(self, tiling: Tiling, *made: Tensor) -> dict[str, Any]:
        strides = [stride for x in (*self.images, *made) if x.dim() == 5 for stride in x.stride()[:4]]
        return {
            "HEAD_DIM": self.head_dim,
            "VALUE_DIM": self.value_dim,
            "D": padded(self.head_dim),
            "V": padded(self.value_dim),
            "BLOCK": tiling.block,
            "ONE_TILE": self.length <= tiling.block,
            "ALIGNMENT": math.gcd(16, *strides),
            "INTERPRETED": INTERPRETED,
            "num_warps": tiling.warps,
            "num_stages": tiling.stages,
        }


def _fold_rows(grads: Tensor, max_distance: int) -> Tensor:
    """Return the gradient of a table (2 max_distance + 1, C) from those of the distances -reach ... reach.

    Distances beyond the table share its first and last row.
    """
    reach = grads.shape[0] // 2
    if reach <= max_distance:
        return torch.nn.functional.pad(grads, (0, 0, max_distance - reach, max_distance - reach))
    if max_distance == 0:
        return grads.sum(0, keepdim=True)
    beyond = reach - max_distance
    first = grads[: beyond + 1].sum(0, keepdim=True)
    last = grads[-beyond - 1 :].sum(0, keepdim=True)
    return torch.cat((first, grads[beyond + 1 : -beyond - 1], last))


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@cache
def _kernel(direction: str) -> Any:
    """Return the kernel, on first use: it imports Triton."""
    if direction == "forward":
        from axial_deeplab.ops.triton.forward import forward_kernel

        return forward_kernel
    from axial_deeplab.ops.triton.backward import backward_kernel

    return backward_kernel
