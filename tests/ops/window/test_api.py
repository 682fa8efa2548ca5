from typing import Any

import pytest
import torch
from torch import Tensor

from attention_cases import LargestTensor
from axial_deeplab.ops.axial.api import axial_attention
from axial_deeplab.ops.window.api import local_attention_2d
from axial_deeplab.ops.window.statistics import count_local_logits, local_logit_moments


def make_inputs(
    height: int, width: int, kernel_size: int, *, requires_grad: bool = False, **sizes: int
) -> tuple[Tensor, ...]:
    """Return random q, k, v, rel_q, rel_k, rel_v and logit_scale."""
    size = {"images": 2, "heads": 2, "key_dim": 2, "value_dim": 3} | sizes
    generator = torch.Generator().manual_seed(0)
    grid = (size["images"], height, width, size["heads"])
    table = (size["heads"], kernel_size**2)
    shapes = [(*grid, size["key_dim"])] * 2 + [(*grid, size["value_dim"])]
    shapes += [(*table, size["key_dim"])] * 2 + [(*table, size["value_dim"])]
    shapes += [(3, size["heads"])]
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(requires_grad)
        for shape in shapes
    )


def pairs_of(height: int, width: int, kernel_size: int) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Return for each query the existing keys of its square and their rows in the tables."""
    reach = kernel_size // 2
    return {
        (y, x): [
            (y + dy, x + dx, (dy + reach) * kernel_size + dx + reach)
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
            if 0 <= y + dy < height and 0 <= x + dx < width
        ]
        for y in range(height)
        for x in range(width)
    }


def terms_of(q: Tensor, k: Tensor, rel_q: Tensor, rel_k: Tensor, row: int) -> Tensor:
    """Return the three terms of one pair, (3, B, N)."""
    return torch.stack(
        [(q * k).sum(-1), (q * rel_q[:, row]).sum(-1), (k * rel_k[:, row]).sum(-1)],
    )


def attention_by_loops(
    q: Tensor, k: Tensor, v: Tensor, rel_q: Tensor, rel_k: Tensor, rel_v: Tensor, scale: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Eq. 3 over a square, one query and one key at a time."""
    content, positional = torch.zeros_like(v), torch.zeros_like(v)
    for (y, x), keys in pairs_of(q.shape[1], q.shape[2], size).items():
        logits = [
            (scale[:, None] * terms_of(q[:, y, x], k[:, py, px], rel_q, rel_k, row)).sum(0)
            for py, px, row in keys
        ]
        attention = torch.stack(logits, -1).softmax(-1)
        for i, (py, px, row) in enumerate(keys):
            content[:, y, x] += attention[..., i, None] * v[:, py, px]
            positional[:, y, x] += attention[..., i, None] * rel_v[:, row]
    return content, positional


WAYS = [("numba", None), ("reference", None), ("reference", 1), ("reference", 3)]


@pytest.mark.parametrize(("impl", "rows_per_chunk"), WAYS)
@pytest.mark.parametrize(
    ("height", "width", "kernel_size"), [(1, 1, 3), (4, 5, 3), (7, 3, 5), (2, 6, 7), (3, 3, 1)]
)
def test_equals_the_definition(
    height: int, width: int, kernel_size: int, impl: str, rows_per_chunk: int | None
) -> None:
    inputs = make_inputs(height, width, kernel_size)
    options = {"kernel_size": kernel_size, "rows_per_chunk": rows_per_chunk, "impl": impl}
    result = local_attention_2d(*inputs, **options)
    torch.testing.assert_close(result, attention_by_loops(*inputs, kernel_size), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("impl", "rows_per_chunk"), [("numba", None), ("reference", None), ("reference", 2)])
def test_gradients(impl: str, rows_per_chunk: int | None) -> None:
    inputs = make_inputs(3, 2, 3, images=1, heads=1, key_dim=1, value_dim=1, requires_grad=True)

    def attend(*x: Tensor) -> Any:
        return local_attention_2d(*x, kernel_size=3, rows_per_chunk=rows_per_chunk, impl=impl)

    assert torch.autograd.gradcheck(attend, inputs)


def test_absent_terms_are_zero_terms() -> None:
    q, k, v, rel_q, rel_k, rel_v, scale = make_inputs(4, 5, 3)
    zero = torch.zeros_like(rel_q)
    content, positional = local_attention_2d(q, k, v, None, None, None, scale, kernel_size=3)
    assert positional is None
    expected, _ = local_attention_2d(q, k, v, zero, zero, rel_v, scale, kernel_size=3)
    torch.testing.assert_close(content, expected, rtol=1e-12, atol=1e-12)
    ones = torch.ones_like(scale)
    plain = local_attention_2d(q, k, v, rel_q, rel_k, rel_v, kernel_size=3)
    torch.testing.assert_close(plain, local_attention_2d(q, k, v, rel_q, rel_k, rel_v, ones, kernel_size=3))


def test_a_square_that_covers_the_image_is_the_whole_image() -> None:
    q, k, v, *_ = make_inputs(4, 5, 9)
    content, _ = local_attention_2d(q, k, v, None, None, None, kernel_size=9)
    attention = torch.einsum("byxnd,bijnd->bnyxij", q, k).flatten(4).softmax(-1).unflatten(4, (4, 5))
    whole = torch.einsum("bnyxij,bijnv->byxnv", attention, v)
    torch.testing.assert_close(content, whole, rtol=1e-12, atol=1e-12)


def test_a_square_one_position_wide_is_one_line_of_axial_attention() -> None:
    """On an image of one row only the middle row of the tables is used: the axial operation, head by head."""
    q, k, v, rel_q, rel_k, rel_v, scale = make_inputs(1, 9, 5, heads=1)
    result = local_attention_2d(q, k, v, rel_q, rel_k, rel_v, scale, kernel_size=5)
    tables = (table[0, 10:15] for table in (rel_q, rel_k, rel_v))
    expected = axial_attention(
        *(x.transpose(1, 2) for x in (q, k, v)), *tables, scale, span=5, impl="reference"
    )
    for ours, theirs in zip(result, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["numba", "reference"])
@pytest.mark.parametrize(("height", "width", "kernel_size"), [(1, 1, 3), (4, 5, 3), (2, 6, 7)])
def test_moments_are_those_of_all_existing_pairs(
    height: int, width: int, kernel_size: int, impl: str
) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(height, width, kernel_size)
    terms = torch.stack(
        [
            terms_of(q[:, y, x], k[:, py, px], rel_q, rel_k, row)
            for (y, x), keys in pairs_of(height, width, kernel_size).items()
            for py, px, row in keys
        ]
    )  # (pairs, 3, B, N)
    assert count_local_logits(2, height, width, kernel_size) == terms.shape[0] * terms.shape[2]
    mean, square = local_logit_moments(q, k, rel_q, rel_k, kernel_size=kernel_size, impl=impl)
    torch.testing.assert_close(mean, terms.mean((0, 2)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(square, terms.square().mean((0, 2)), rtol=1e-12, atol=1e-12)
    mean, square = local_logit_moments(q, k, None, None, kernel_size=kernel_size, impl=impl)
    assert not mean[1:].any()
    assert not square[1:].any()


@pytest.mark.parametrize("impl", ["numba", "reference"])
def test_gradients_of_moments(impl: str) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(3, 2, 3, images=1, key_dim=1, requires_grad=True)

    def moments(*x: Tensor) -> Any:
        return local_logit_moments(*x, kernel_size=3, impl=impl)

    assert torch.autograd.gradcheck(moments, (q, k, rel_q, rel_k))


def test_chunks_bound_the_memory() -> None:
    def largest(height: int, rows: int | None) -> int:
        inputs = make_inputs(height, 16, 7, images=1, requires_grad=True)
        with LargestTensor() as mode:
            content, positional = local_attention_2d(
                *inputs, kernel_size=7, rows_per_chunk=rows, impl="reference"
            )
            assert positional is not None
            (content.sum() + positional.sum()).backward()
        return mode.elements

    # The greatest tensor is a term of the logits for all keys, also those that pad the image.
    assert largest(64, None) == (64 + 6) * (16 + 6) * 2 * 49
    assert largest(64, 4) == largest(32, 4) == (4 + 6) * (16 + 6) * 2 * 49


@pytest.mark.parametrize("impl", ["numba", "reference"])
def test_half_precision_is_computed_in_single(impl: str) -> None:
    halves = [x.to(torch.bfloat16) for x in make_inputs(5, 6, 3)]
    result = local_attention_2d(*halves, kernel_size=3, impl=impl)
    exact = local_attention_2d(*(x.double() for x in halves), kernel_size=3)
    for ours, theirs in zip(result, exact, strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.double(), theirs, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 4, 5, 2)}, r"q, k and v must be .*unflatten their heads"),
        (
            {"q": torch.zeros(2, 4, 5, 2, 2)},
            r"q, k and v must share a floating-point type, got torch.float32",
        ),
        ({"rel_k": torch.zeros(2, 9, 2).long()}, r"must be floating-point, got torch.int64; convert"),
        ({"rel_k": torch.zeros(2, 9, 2, device="meta")}, r"must be on one device, got cpu and meta; move"),
        ({"rel_q": torch.zeros(2, 8, 2)}, r"rel_q must be \(2, 9, 2\), got shape \(2, 8, 2\)"),
        ({"rel_v": torch.zeros(1, 9, 3)}, r"rel_v must be \(2, 9, 3\), got shape \(1, 9, 3\)"),
        ({"logit_scale": torch.zeros(2, 2)}, r"logit_scale must be \(3, 2\), got shape \(2, 2\)"),
        ({"kernel_size": 4}, "kernel_size must be a positive odd number of positions, got 4; try 5"),
        ({"rows_per_chunk": 0}, "rows_per_chunk must be at least 1 row, got 0"),
        ({"impl": "triton"}, r"impl must be one of \['auto', 'numba', 'reference'\], got 'triton'"),
    ],
)
def test_refuses(change: dict[str, Any], message: str) -> None:
    names = ("q", "k", "v", "rel_q", "rel_k", "rel_v", "logit_scale")
    arguments: dict[str, Any] = dict(zip(names, make_inputs(4, 5, 3), strict=True))
    with pytest.raises(ValueError, match=message):
        local_attention_2d(**{**arguments, "kernel_size": 3, **change})
