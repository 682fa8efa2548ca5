"""Inputs of the attention operation and a definition of it that cannot be misread."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def make_inputs(
    length: int,
    *,
    images: int = 2,
    lines: int = 3,
    heads: int = 2,
    key_dim: int = 4,
    value_dim: int = 6,
    max_span: int = 4,
    dtype: torch.dtype = torch.float64,
    requires_grad: bool = False,
    seed: int = 0,
) -> tuple[Tensor, ...]:
    """Return random q, k, v, rel_q, rel_k, rel_v and logit_scale."""
    generator = torch.Generator().manual_seed(seed)
    rows = 2 * max_span - 1
    shapes = [(images, length, lines, heads, key_dim)] * 2 + [(images, length, lines, heads, value_dim)]
    shapes += [(rows, key_dim), (rows, key_dim), (rows, value_dim), (3, heads)]
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)
        for shape in shapes
    )


def attention_by_loops(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor,
    rel_k: Tensor,
    rel_v: Tensor,
    scale: Tensor,
    span: int | None,
) -> tuple[Tensor, Tensor]:
    """Eq. 3 and 4, one query and one key at a time."""
    length, max_span = q.shape[1], (len(rel_q) + 1) // 2
    content, positional = torch.zeros_like(v), torch.zeros_like(v)
    for o in range(length):
        logits, values, rows = [], [], []
        for p in range(length):
            if span is not None and abs(p - o) > (span - 1) // 2:
                continue
            row = min(max(p - o, -(max_span - 1)), max_span - 1) + max_span - 1
            q_o, k_p = q[:, o], k[:, p]  # (B, M, N, D)
            terms = (q_o * k_p).sum(-1), (q_o * rel_q[row]).sum(-1), (k_p * rel_k[row]).sum(-1)
            logits.append(scale[0] * terms[0] + scale[1] * terms[1] + scale[2] * terms[2])
            values.append(v[:, p])
            rows.append(rel_v[row])
        attention = torch.stack(logits, -1).softmax(-1)
        for i in range(len(values)):
            content[:, o] += attention[..., i, None] * values[i]
            positional[:, o] += attention[..., i, None] * rows[i]
    return content, positional


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation inside it made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else (result,):
            if isinstance(output, Tensor):
                self.elements = max(self.elements, output.numel())
        return result
