import pytest
import torch
from torch import Tensor

from attention_cases import LargestTensor, make_inputs
from axial_deeplab.ops import logit_statistics
from axial_deeplab.ops.logit_statistics import count_logits, logit_moments


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


@pytest.mark.parametrize("max_span", [1, 4, 80])
@pytest.mark.parametrize("span", [None, 1, 3, 7, 33, 201])
@pytest.mark.parametrize("length", [1, 2, 5, 40, 71])
def test_equals_the_moments_of_explicit_logits(length: int, span: int | None, max_span: int) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(length, max_span=max_span)
    logits = explicit_logits(q, k, rel_q, rel_k, span)
    mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k, span=span)
    torch.testing.assert_close(mean, logits.mean(-1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mean_of_squares, logits.square().mean(-1), rtol=1e-10, atol=1e-12)
    assert count_logits(2, length, 3, span) == logits.shape[-1]


@pytest.mark.parametrize(("length", "span"), [(4, None), (5, 3), (67, 3)])
def test_gradients(length: int, span: int | None) -> None:
    small = {"images": 1, "lines": 1, "heads": 1, "key_dim": 1} if length > 5 else {"key_dim": 2}
    q, k, _, rel_q, rel_k, *_ = make_inputs(length, max_span=3, requires_grad=True, **small)
    assert torch.autograd.gradcheck(lambda *x: logit_moments(*x, span=span), (q, k, rel_q, rel_k))


def test_chunks_of_lines_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(40, lines=5)
    expected = logit_moments(q, k, rel_q, rel_k, span=7)
    monkeypatch.setattr(
        logit_statistics, "CHUNK_LOGITS", 2 * 2 * 2 * 40 * 40
    )  # two lines of 2 images and 2 heads
    torch.testing.assert_close(logit_moments(q, k, rel_q, rel_k, span=7), expected)


def test_whole_axis_makes_no_logits() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(500, images=1, lines=1, heads=1, requires_grad=True)
    with LargestTensor() as mode:
        mean, mean_of_squares = logit_moments(q, k, rel_q, rel_k)
        (mean.sum() + mean_of_squares.sum()).backward()
    # The prefix sums of the products of table rows, 2 L - 1 + 1 matrices of D x D.
    assert mode.elements <= 2 * 500 * 4 * 4


def test_long_local_axis_keeps_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(2000, images=1, lines=1, heads=1)
    with LargestTensor() as mode:
        logit_moments(q, k, rel_q, rel_k, span=9)
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
def test_empty_batch_has_zero_moments(span: int | None) -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(7, images=0)
    for moments in logit_moments(q, k, rel_q, rel_k, span=span):
        torch.testing.assert_close(moments, torch.zeros(3, 2, dtype=torch.float64))


def test_half_precision_is_summed_in_single() -> None:
    q, k, _, rel_q, rel_k, *_ = make_inputs(33, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = logit_moments(q, k, rel_q, rel_k)
    expected = logit_moments(q.double(), k.double(), rel_q.double(), rel_k.double())
    for ours, exact in zip(result, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-4)
