"""The attention operation to be timed: our implementations, and what general attention can express of it."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.benchmark.measure import CLOCKS, Step, compile_options, timed
from axial_deeplab.benchmark.network import DTYPES
from axial_deeplab.ops.axial.api import axial_attention
from axial_deeplab.ops.axial.prepared import PreparedAttention

GENERAL = ("sdpa", "flex")
"""Attention of PyTorch. It has no relative values: the positional output is missing, so it does less work."""

PREPARED = "prepared"
"""The kernel of folded networks: constant tables, the heads of a channel side by side, outputs added up."""


@dataclass(frozen=True)
class Shape:
    """One layer: B images, L positions, M lines, N heads of D and V channels, local span or None."""

    B: int
    L: int
    M: int
    N: int
    D: int
    V: int
    span: int | None = None

    def __str__(self) -> str:
        local = f", span {self.span}" if self.span else ""
        return f"B={self.B} L={self.L} M={self.M} N={self.N} D={self.D} V={self.V}{local}"

    @property
    def logits(self) -> int:
        """Number of logits that exist."""
        reach = self.L if self.span is None else (self.span - 1) // 2
        keys = sum(min(o + reach, self.L - 1) - max(o - reach, 0) + 1 for o in range(self.L))
        return self.B * self.M * self.N * keys

    def operations(self, backward: bool) -> int:
        """Return the floating-point operations of the products, two for each multiply-add.

        The backward pass computes the logits again and has two products for each one of the forward pass.
        """
        forward = 2 * self.logits * (3 * self.D + 2 * self.V)
        return forward + (2 * forward + 2 * self.logits * 3 * self.D if backward else 0)

    def traffic(self, backward: bool, item_size: int) -> int:
        """Return the bytes of inputs and outputs, each moved once (twice what is read again backward)."""
        positions = self.B * self.L * self.M * self.N * item_size
        inputs, outputs = positions * (2 * self.D + self.V), positions * 2 * self.V
        return inputs + outputs + (2 * inputs + outputs if backward else 0)


SHAPES_AT_224 = (
    Shape(1, 56, 56, 8, 4, 8),
    Shape(1, 28, 28, 8, 8, 16),
    Shape(1, 14, 14, 8, 16, 32),
    Shape(1, 7, 7, 8, 32, 64),
)
"""The layers of Axial-ResNet-S at 224 x 224, one of each stage."""

SHAPES_OF_GROWTH = tuple(Shape(1, length, 65, 8, 8, 16, span=65) for length in (33, 65, 129, 257))
"""The same lines, longer and longer, with a span of 65: the time must grow as the length does."""


@dataclass(frozen=True)
class AttentionCandidate:
    """One way to execute the operation.

    Args:
        shape: shape of the layer.
        impl: an implementation of `axial_attention`, "sdpa", "flex" or "prepared".
        backward: forward and backward pass; else the forward pass without gradients.
        compiled: run it through `torch.compile`.
        dtype: "float32", "bfloat16" or "float16".
        device: "cpu" or "cuda".
    """

    shape: Shape
    impl: str = "auto"
    backward: bool = False
    compiled: bool = False
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def label(self) -> str:
        """Name in the table."""
        return self.impl + (", compiled" if self.compiled else "")

    def prepare(self) -> Step:
        """Return the pass that is timed, on random inputs with the layout of a channels-last projection."""
        arguments = random_arguments(self.shape, DTYPES[self.dtype], self.device)
        if self.impl == PREPARED:
            return _prepared(self.shape, *arguments)
        attend = self._attend()
        if self.compiled:
            attend = torch.compile(attend, fullgraph=self.impl not in GENERAL, **compile_options())
        if not self.backward:

            def forward() -> None:
                with torch.inference_mode():
                    attend(*arguments)

            return forward
        leaves = [x.detach().clone().requires_grad_() for x in arguments]
        # The tables of values take no part in what general attention computes.
        used = [x for i, x in enumerate(leaves) if self.impl not in GENERAL or i != 5]
        grads = [torch.randn_like(x) for x in attend(*leaves)]

        def forward_and_backward() -> None:
            torch.autograd.grad(attend(*leaves), used, grads)

        return forward_and_backward

    def _attend(self) -> Callable[..., tuple[Tensor, ...]]:
        span = self.shape.span
        if self.impl == "sdpa":
            return lambda *arguments: _sdpa(*arguments, span=span)
        if self.impl == "flex":
            return lambda *arguments: _flex(*arguments, span=span)

        def attend(*arguments: Tensor) -> tuple[Tensor, ...]:
            content, positional = axial_attention(*arguments, span=span, impl=self.impl)
            assert positional is not None
            return content, positional

        return attend


def random_arguments(shape: Shape, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Return q, k and v as slices of a channels-last projection, the relative tables and the scales."""
    torch.manual_seed(0)
    projection = torch.randn(shape.B, shape.L, shape.M, shape.N * (2 * shape.D + shape.V))
    widths = [shape.N * shape.D, shape.N * shape.D, shape.N * shape.V]
    heads = [x.unflatten(-1, (shape.N, -1)) for x in projection.to(device, dtype).split(widths, dim=-1)]
    tables = [torch.randn(2 * shape.L - 1, channels) for channels in (shape.D, shape.D, shape.V)]
    return [*heads, *(x.to(device, dtype) for x in (*tables, torch.rand(3, shape.N) / math.sqrt(shape.D)))]


def _prepared(shape: Shape, *arguments: Tensor) -> Step:
    q, k, v, rel_q, rel_k, rel_v, scale = arguments
    attend = PreparedAttention(
        rel_q,
        rel_k,
        rel_v,
        scale,
        torch.ones(shape.N, shape.V),
        axis="height",
        head_dim=shape.D,
        span=shape.span,
        stride=1,
        relu=False,
    )
    projection = torch.cat([x.transpose(-1, -2).flatten(-2) for x in (q, k, v)], dim=-1)
    return lambda: attend(projection)


def _sdpa(*arguments: Tensor, span: int | None) -> tuple[Tensor]:
    """Content output by scaled dot-product attention, with both relative terms as a bias (B M, N, L, L)."""
    q, k, v, rel_q, rel_k, _, scale = arguments
    length = q.shape[1]
    q, k, v = (x.permute(0, 2, 3, 1, 4).flatten(0, 1) for x in (q, k, v))  # (B M, N, L, D)
    positions = torch.arange(length, device=q.device)
    distance = positions - positions[:, None]
    rows = distance + length - 1
    s1, s2, s3 = scale[:, None, :, None, None]
    index = rows.expand(*q.shape[:2], -1, -1)
    bias = s2 * (q @ rel_q.T).gather(-1, index) + s3 * (k @ rel_k.T).gather(-1, index.mT).mT
    if span is not None:
        bias = bias.masked_fill(distance.abs() > (span - 1) // 2, -math.inf)
    return (F.scaled_dot_product_attention(q * s1, k, v, attn_mask=bias, scale=1.0),)


@cache
def _compiled_flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, **compile_options())


def _flex(*arguments: Tensor, span: int | None) -> tuple[Tensor]:
    """Content output by FlexAttention, whose score looks up both relative terms of size (B M, N, L, R)."""
    q, k, v, rel_q, rel_k, _, scale = arguments
    from torch.nn.attention.flex_attention import create_block_mask

    length = q.shape[1]
    q, k, v = (x.permute(0, 2, 3, 1, 4).flatten(0, 1).contiguous() for x in (q, k, v))
    s1, s2, s3 = scale[:, None, :, None, None]
    of_query, of_key = s2 * (q @ rel_q.T), s3 * (k @ rel_k.T)

    def score(logit: Tensor, line: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        row = key - query + length - 1
        relative: Tensor = logit + of_query[line, head, query, row] + of_key[line, head, key, row]
        return relative

    mask = None
    if span is not None:
        reach = (span - 1) // 2
        mask = create_block_mask(
            lambda line, head, query, key: (key - query).abs() <= reach,
            None,
            None,
            length,
            length,
            device=q.device.type,
        )
    return (_compiled_flex()(q * s1, k, v, score_mod=score, block_mask=mask, scale=1.0),)


@dataclass(frozen=True)
class Ceiling:
    """What the machine reached in this very run: the measure of how much is left.

    Attributes:
        bytes_per_second: read and written bytes together, copying a large tensor.
        operations_per_second: operations in a large matrix product, in the precision of the benchmark.
    """

    bytes_per_second: float
    operations_per_second: float

    def least_seconds(self, shape: Shape, backward: bool, item_size: int) -> float:
        """Return the time that the slower of memory and arithmetic needs at the ceiling."""
        return max(
            shape.traffic(backward, item_size) / self.bytes_per_second,
            shape.operations(backward) / self.operations_per_second,
        )

    def to_json(self) -> dict[str, float]:
        """Return the numbers for a JSON file."""
        return {name: round(value / 1e9, 2) for name, value in asdict(self).items()} | {"unit": 1e9}


def measure_ceiling(
    dtype: str = "float32", device: str = "cpu", rounds: int = 9, *, cpu_time: bool = False
) -> Ceiling:
    """Measure the bandwidth of memory and the rate of a matrix product, by the clock of `measure`."""
    size = 8192 if device == "cuda" else 1024
    elements = (1 << 30 if device == "cuda" else 1 << 26) // DTYPES[dtype].itemsize
    source = torch.ones(elements, dtype=DTYPES[dtype], device=device)
    target = torch.empty_like(source)
    matrix = torch.ones(size, size, dtype=DTYPES[dtype], device=device)
    product = torch.empty_like(matrix)

    def fastest(step: Step) -> float:
        return min(timed(step, device, CLOCKS[cpu_time]) for _ in range(rounds))

    copying = fastest(lambda: target.copy_(source))
    multiplying = fastest(lambda: torch.mm(matrix, matrix, out=product))
    moved = 2 * source.numel() * source.element_size()
    return Ceiling(moved / copying, 2 * size**3 / multiplying)
