"""Attention of inference on the CPU with constant tables, prepared once; see docs/kernels.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.ops.numba import call
from axial_deeplab.ops.operands import reach_of

HEADS = 8  # those that are computed together
_KEPT_PLANS = 4  # a map in strips has two sizes


@dataclass(frozen=True)
class _Plan:
    """All of a call that depends on the size of the map alone.

    Attributes:
        size: shape of the map (B, H, W, C).
        output_size: shape of the output.
        arguments: kernel's table, without the addresses of this very call.
        scratch_size: numbers in the scratch memory of all threads.
        threads: how many take part.
        kept: tensors that the table has addresses of, by their columns.
    """

    size: tuple[int, ...]
    output_size: tuple[int, ...]
    arguments: NDArray[np.int64]
    scratch_size: int
    threads: int
    kept: dict[str, Tensor]


class PreparedAttention:
    """`axial_attention_sum` along one axis of a map, in float32, with constant tables and scales.

    Shapes:
        (B, H, W, 2 N D + N V), dense: queries, keys and values, each with the heads of a channel side by side
        (`heads_last`) -> (B, H', W', V N) likewise; the attended axis has ceil(size / stride) positions.

    Args:
        axis: "height" or "width".
        head_dim: D.
        stride: every stride-th position of the axis has an output; the others are not computed.
        relu: whether ReLU follows.

    The other arguments are those of `axial_attention_sum`.
    """

    def __init__(
        self,
        rel_q: Tensor | None,
        rel_k: Tensor | None,
        rel_v: Tensor | None,
        logit_scale: Tensor | None,
        positional_scale: Tensor,
        *,
        axis: str,
        head_dim: int,
        span: int | None,
        stride: int,
        relu: bool,
    ) -> None:
        self.num_heads, self.value_dim = positional_scale.shape
        self.head_dim = head_dim
        self.along_width = axis == "width"
        self.span = span
        self.stride = stride
        self.relu = relu
        constants = positional_scale.detach()
        absent = (constants.new_zeros(1, head_dim), constants.new_zeros(1, head_dim))
        self._logit_tables = [
            none if table is None else table.detach()
            for table, none in zip((rel_q, rel_k), absent, strict=True)
        ]
        self._value_table = constants.new_zeros(1, self.value_dim) if rel_v is None else rel_v.detach()
        self._positional_scale = constants.T.contiguous()  # (V, N)
        scale = constants.new_ones(3, self.num_heads) if logit_scale is None else logit_scale.detach()
        self._scale = scale.contiguous()
        self._plans: dict[tuple[tuple[int, ...], int], _Plan] = {}

    @staticmethod
    def why_not(num_heads: int, x: Tensor) -> str | None:
        """Return why a layer with so many heads cannot run for maps like x, or None."""
        if x.dtype != torch.float32:
            return f"it computes in float32, not {x.dtype}"
        if num_heads % HEADS:
            return f"it computes {HEADS} heads at once"
        return call.why_not_tensor(x)

    def __call__(self, qkv: Tensor) -> Tensor:
        key = (tuple(qkv.shape), torch.get_num_threads())
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) == _KEPT_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(qkv.shape)
        output = qkv.new_empty(plan.output_size)
        scratch = qkv.new_empty(plan.scratch_size)
        layout = _layout()
        arguments = plan.arguments.copy()
        for column, tensor in ((layout.QKV, qkv), (layout.OUTPUT, output), (layout.SCRATCH, scratch)):
            arguments[column] = tensor.data_ptr()
        memory = {**plan.kept, "QKV": qkv, "OUTPUT": output, "SCRATCH": scratch}
        call.launch("infer", "float32", arguments, plan.threads, memory)
        return output

    def _make_plan(self, size: Sequence[int]) -> _Plan:
        layout = _layout()
        batch, height, width, channels = size
        length, lines = (width, height) if self.along_width else (height, width)
        queries = -(-length // self.stride)
        output_size = (batch, height, queries) if self.along_width else (batch, queries, width)
        reach = reach_of(self.span, length)
        threads = self._threads(size)
        scratch_size = layout.scratch_size(length, self.head_dim, self.value_dim, self.stride)
        table = call.KernelCall(self._scale, layout)
        table.set_numbers(
            BATCH=batch,
            LENGTH=length,
            LINES=lines,
            GROUPS=self.num_heads // HEADS,
            HEAD_DIM=self.head_dim,
            VALUE_DIM=self.value_dim,
            REACH=reach,
            STRIDE=self.stride,
            RELU=self.relu,
            SCRATCH_SIZE=scratch_size,
        )
        rel_q, rel_k, rel_v = self._expanded_tables(reach)
        table.set_addresses(
            REL_Q=rel_q,
            REL_K=rel_k,
            REL_V=rel_v,
            SCALE=self._scale,
            POSITIONAL_SCALE=self._positional_scale,
        )
        out_channels = self.num_heads * self.value_dim
        for column, (rows, columns), pitch in (
            (layout.QKV, (height, width), channels),
            (layout.OUTPUT, output_size[1:], out_channels),
        ):
            along, across = (pitch, columns * pitch) if self.along_width else (columns * pitch, pitch)
            table.arguments[column + 1 : column + 4] = (rows * columns * pitch, along, across)
        return _Plan(
            size=tuple(size),
            output_size=(*output_size, out_channels),
            arguments=table.arguments,
            scratch_size=threads * scratch_size,
            threads=threads,
            kept=table.kept,
        )

    def _expanded_tables(self, reach: int) -> tuple[Tensor, ...]:
        """Return the rows of the distances that the kernel reads, see its arguments."""
        beyond = reach + _layout().table_margin(self.stride)
        distances = torch.arange(-beyond, beyond + 1)

        def rows(table: Tensor) -> Tensor:
            max_distance = table.shape[0] // 2
            return table[distances.clamp(-max_distance, max_distance) + max_distance]

        return tuple(rows(table).T.contiguous() for table in (*self._logit_tables, self._value_table))

    def _threads(self, size: Sequence[int]) -> int:
        """Return how many threads pay."""
        batch, height, width, _ = size
        length, lines = (width, height) if self.along_width else (height, width)
        units = batch * lines * self.num_heads // HEADS
        keys = min(length, 2 * reach_of(self.span, length) + 1)
        pairs = units * HEADS * -(-length // self.stride) * keys
        work = pairs * (3 * self.head_dim + 2 * self.value_dim)
        return call.threads_for(work, units)


def heads_last(num_heads: int, *widths: int) -> Tensor:
    """Return which channel of a usual projection each channel of one with the heads side by side is.

    Args:
        num_heads: N.
        widths: channels of a head in each part, such as those of queries, keys and values.
    """
    parts = []
    start = 0
    for width in widths:
        part = torch.arange(start, start + num_heads * width)
        parts.append(part.unflatten(0, (num_heads, width)).T.flatten())
        start += num_heads * width
    return torch.cat(parts)


@cache
def _layout() -> ModuleType:
    """Return the module of the kernel, on first use: it imports Numba, which takes a second."""
    from axial_deeplab.ops.numba import inference

    return inference
