import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attention_cases import LargestTensor, make_inputs
from axial_deeplab.ops.axial import statistics as logit_statistics
from axial_deeplab.ops.axial.statistics import count_logits, logit_moments
from axial_deeplab.ops.numba.call import WORK_FOR_A_THREAD


def explicit_logits(q: Tensor, k: Tensor, rel_q: Tensor, rel_k: Tensor, span: int | None) -> Tensor:
    """Return all logits that exist, (3, N, number)."""
    positions = torch.arange(q.shape[1])
    distances = positions - positions[:, None]  # p - o
    farthest = len(rel_q) // 2
    rows = distances.clamp(-farthest, farthest) + farthest
    terms = (
        torch.einsum("bomnd,bpmnd->nbmop", q, k),
        torch.einsum("bomnd,opd->nbmop", q, rel_q[rows]),
        torch.einsum("bpmnd,opd->nbmop", k, rel_k[rows]),
    )
    inside = distances.abs() <= (q.shape[1] if span is None else span // 2)
    return torch.stack([term[..., inside].flatten(1) for term in terms])


IMPLEMENTATIONS = ("numba", "reference")


@pytest.mark.parametrize("max_span", [1, 4, 80])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("span", [None, 1, 3, 7, 33, 201])
@pytest.mark.parametrize("length", [1, 2, 5, 40, 71])
def test_equals_the_moments_of_explicit_logits(
    length: int, span: int | None, max_span: int, impl: str
) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(length, max_span=max_span)
    logits = explicit_logits(q, k, rel_q, rel_k, span)
    mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, span=span, impl=impl)
    torch.testing.assert_close(mean, logits.mean(-1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mean_of_squares, logits.square().mean(-1), rtol=1e-10, atol=1e-12)
    assert count_logits(2, length, 3, span) == logits.shape[-1]


@pytest.mark.parametrize(
    ("impl", "length", "span"),
    [
        ("numba", 4, None),
        ("numba", 5, 3),
        ("numba", 67, 3),
        ("reference", 4, None),
        ("reference", 5, 3),
        ("reference", 67, 3),
    ],
)
def test_gradients(length: int, span: int | None, impl: str) -> None:
    small = {"images": 1, "lines": 1, "heads": 1, "key_dim": 1} if length > 5 else {"key_dim": 2}
    q, k, _, rel_q, rel_k, *_ = make_inputs(length, max_span=3, requires_grad=True, **small)
    assert torch.autograd.gradcheck(lambda *x: logit_moments(*x, span=span, impl=impl), (q, k, rel_q, rel_k))


def test_chunks_of_lines_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(40, lines=5)
    expected = logit_moments(q, k, rel_q, rel_k, span=7, impl="reference")
    monkeypatch.setattr(
        logit_statistics, "CHUNK_LOGITS", 2 * 2 * 2 * 40 * 40
    )  # two lines of 2 images and 2 heads
    result = logit_moments(q, k, rel_q, rel_k, span=7, impl="reference")
    torch.testing.assert_close(result, expected)


def test_whole_axis_makes_no_logits() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(500, images=1, lines=1, heads=1, requires_grad=True)
    with LargestTensor() as mode:
        mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, impl="reference")
        (mean.sum() + mean_of_squares.sum()).backward()
    # The prefix sums of the products of table rows, 2 L - 1 + 1 matrices of D x D.
    assert mode.elements <= 2 * 500 * 4 * 4


def test_whole_axis_makes_no_logits_in_the_kernel() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(500, images=1, lines=1, heads=1, requires_grad=True)
    with LargestTensor() as mode:
        mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, impl="numba")
        (mean.sum() + mean_of_squares.sum()).backward()
    # Sums of queries and keys and of their outer products at each position, in rows of 8 numbers.
    assert mode.elements <= 2 * 500 * (4 + 1) * 8 + 8


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, most) for most in (30, 3, 3, 3, 17)]),
    absent=st.sampled_from([(), (0,), (1,)]),
    span=st.none() | st.integers(0, 15).map(lambda reach: 2 * reach + 1),
    axis=st.sampled_from(["height", "width"]),
    seed=st.integers(0, 1000),
)
def test_kernel_equals_plain_pytorch(
    sizes: tuple[int, ...], absent: tuple[int, ...], span: int | None, axis: str, seed: int
) -> None:
    length, images, lines, heads, key_dim = sizes
    options = {"images": images, "lines": lines, "heads": heads, "key_dim": key_dim, "seed": seed}
    q, k, _, *tables = make_inputs(length, **options)[:5]
    tables = [None if i in absent else table for i, table in enumerate(tables)]
    if axis == "width":
        q, k = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k))
    results = []
    for impl in IMPLEMENTATIONS:
        leaves = [x.detach().requires_grad_() for x in (q, k, *tables) if x is not None]
        inputs = iter(leaves)
        arguments = [None if x is None else next(inputs) for x in (q, k, *tables)]
        outputs = logit_moments(*arguments, span=span, impl=impl)
        weights = [torch.arange(1.0, 1 + y.numel()).reshape(y.shape).double().sin() for y in outputs]
        results.append([*outputs, *torch.autograd.grad(outputs, leaves, weights)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-11)


def test_local_span_makes_no_logits_in_the_kernel() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(500, images=1, lines=4, heads=2, requires_grad=True)
    with LargestTensor() as mode:
        mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, span=65, impl="numba")
        (mean.sum() + mean_of_squares.sum()).backward()
    # The memory of one thread: rows of queries and keys and their gradients, sums and one segment of terms.
    assert mode.elements < 4 * 500 * 2 * 65 / 2


def test_number_of_threads_does_not_change_a_bit() -> None:
    q, k, _, rel_q, rel_k, *_ = (x.float() for x in make_inputs(40, images=4, lines=16, heads=5, key_dim=8))
    assert 4 * q.numel() * 8 > 2 * WORK_FOR_A_THREAD
    before = torch.get_num_threads()
    results, squares = [], []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(torch.ops.axial_deeplab.axis_moments(q, k, rel_q, rel_k)[0])
            squares.append(torch.ops.axial_deeplab.square_moments(q, k, None, None, 1, 2))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert all(torch.equal(result, squares[0]) for result in squares)


def test_opcheck() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(6, dtype=torch.float32, requires_grad=True)
    for tables in ((rel_q, rel_k), (None, rel_k), (None, None)):
        arguments = (q, k, *tables)
        torch.library.opcheck(torch.ops.axial_deeplab.axis_moments.default, arguments)
        values = [None if x is None else x.detach() for x in arguments]
        sums, packed = torch.ops.axial_deeplab.axis_moments(*values)
        backward = torch.ops.axial_deeplab.axis_moments_backward.default
        torch.library.opcheck(backward, (sums, packed, *values))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_nan_gives_nan(impl: str) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(6)
    q[0, 2, 1, 1, 0] = float("nan")
    mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, impl=impl)
    for moments in (mean, mean_of_squares):
        assert moments[:2, 1].isnan().all()
        assert moments[:, 0].isfinite().all()
        assert moments[2].isfinite().all()


def test_long_local_axis_keeps_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(2000, images=1, lines=1, heads=1)
    with LargestTensor() as mode:
        logit_moments(q, k, rel_q, rel_k, span=9, impl="reference")
    assert mode.elements < 2000 * 40


def test_absent_terms_are_zero() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(7)
    full = logit_moments(q, k, rel_q, rel_k)
    without_q = logit_moments(q, k, None, rel_k)
    without_k = logit_moments(q, k, rel_q, None)
    for whole, no_q, no_k in zip(full, without_q, without_k, strict=True):
        assert not no_q[1].any()
        assert not no_k[2].any()
        torch.testing.assert_close(no_q[[0, 2]], whole[[0, 2]])
        torch.testing.assert_close(no_k[[0, 1]], whole[[0, 1]])


@pytest.mark.parametrize("span", [None, 3])
@pytest.mark.parametrize(("length", "images"), [(7, 0), (0, 2)])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_nothing_has_zero_moments(span: int | None, length: int, images: int, impl: str) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(length, images=images)
    for moments in logit_moments(q, k, rel_q, rel_k, span=span, impl=impl):
        torch.testing.assert_close(moments, torch.zeros(3, 2, dtype=torch.float64))


def test_half_precision_is_summed_in_single() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(33, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = logit_moments(q, k, rel_q, rel_k)
    expected = logit_moments(q.double(), k.double(), rel_q.double(), rel_k.double())
    for ours, exact in zip(result, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-4)


def test_gradients_of_the_kernel_under_autocast_are_those_in_single() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(20, dtype=torch.float32, requires_grad=True)
    leaves = (q, k, rel_q, rel_k)
    gradients = []
    for enabled in (True, False):
        mean, mean_of_squares = logit_moments(*leaves, impl="numba")
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad((mean + mean_of_squares).sum(), leaves))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)
