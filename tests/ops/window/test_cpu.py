"""The fused attention to squares against the reference in float64, and how it behaves within PyTorch."""

import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.ops.numba import call
from axial_deeplab.ops.window.api import explain_local_attention_2d, local_attention_2d
from axial_deeplab.ops.window.statistics import local_logit_moments
from error_budget import outputs_and_gradients, shares_of_error_budget

attend = partial(local_attention_2d, impl="numba")
reference = partial(local_attention_2d, impl="reference")


def square_arguments(
    batch: int = 2,
    height: int = 5,
    width: int = 9,
    heads: int = 2,
    head_dim: int = 4,
    value_dim: int = 8,
    kernel_size: int = 3,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """The tensors of a layer: q, k and v are slices of one channels-last projection."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    channels = heads * head_dim, heads * head_dim, heads * value_dim
    image = normal(batch, height, width, sum(channels))
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in image.split(channels, dim=-1))
    tables = [normal(heads, kernel_size**2, width) for width in (head_dim, head_dim, value_dim)]
    return [q, k, v, *tables, normal(3, heads).abs()]


def results_of(impl: str, arguments: list[Any], kernel_size: int = 3, **options: Any) -> dict[str, Tensor]:
    return outputs_and_gradients(
        impl, arguments, arguments[0].dtype, operation=local_attention_2d, kernel_size=kernel_size, **options
    )


def check_error_budget(arguments: list[Any], kernel_size: int) -> None:
    shares = shares_of_error_budget(
        "numba", arguments, torch.float32, operation=local_attention_2d, kernel_size=kernel_size
    )
    assert all(share <= 1 for share in shares.values()), shares


@pytest.mark.parametrize(
    ("height", "width", "kernel_size"), [(7, 7, 7), (1, 9, 5), (9, 1, 5), (3, 4, 21), (2, 70, 5), (2, 130, 3)]
)
def test_sizes(height: int, width: int, kernel_size: int) -> None:
    check_error_budget(square_arguments(1, height, width, 2, kernel_size=kernel_size), kernel_size)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, limit) for limit in (2, 12, 20, 3, 10, 18)]),
    reach=st.integers(0, 5),
    absent=st.sets(st.sampled_from(range(3, 7))),
    seed=st.integers(0, 1000),
)
def test_random_shapes(sizes: tuple[int, ...], reach: int, absent: set[int], seed: int) -> None:
    arguments = square_arguments(*sizes, 2 * reach + 1, seed=seed)
    check_error_budget([None if i in absent else x for i, x in enumerate(arguments)], 2 * reach + 1)


@pytest.mark.parametrize(("head_dim", "value_dim"), [(1, 1), (3, 5), (64, 64), (128, 128)])
def test_head_sizes(head_dim: int, value_dim: int) -> None:
    check_error_budget(square_arguments(1, 4, 6, 2, head_dim, value_dim, 3), 3)


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_gradcheck(kernel_size: int) -> None:
    arguments = square_arguments(1, 3, 4, 2, 2, 3, kernel_size, dtype=torch.float64)
    leaves = [x.detach().requires_grad_() for x in arguments]
    assert torch.autograd.gradcheck(lambda *x: attend(*x, kernel_size=kernel_size), leaves, fast_mode=True)


@pytest.mark.parametrize("absent", [(), (4, 5), (3, 6)])
def test_opcheck(absent: tuple[int, ...]) -> None:
    leaves = [x.detach().requires_grad_() for x in square_arguments()]
    arguments = [None if i in absent else x for i, x in enumerate(leaves)]
    torch.library.opcheck(torch.ops.axial_deeplab.local_attention_2d.default, (*arguments, 3))


def test_opcheck_of_the_backward_pass() -> None:
    arguments = square_arguments()
    outputs = torch.ops.axial_deeplab.local_attention_2d(*arguments, 3)
    operation = torch.ops.axial_deeplab.local_attention_2d_backward.default
    torch.library.opcheck(operation, (*outputs, *arguments, 3))


def test_auto_takes_it_and_explicit_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = square_arguments()
    lines = explain_local_attention_2d(*arguments, kernel_size=3).splitlines()
    assert lines == ["numba: is taken", "reference: could run"]
    taken, _ = local_attention_2d(*arguments, kernel_size=3)
    assert taken.equal(attend(*arguments, kernel_size=3)[0])
    monkeypatch.setattr(call, "_numba_is_missing", True)
    lines = explain_local_attention_2d(*arguments, kernel_size=3).splitlines()
    assert lines == ["numba: cannot run: numba is not installed", "reference: is taken"]
    with pytest.raises(ValueError, match="got 'numba': numba is not installed; take 'auto'"):
        attend(*arguments, kernel_size=3)


@pytest.fixture
def threads() -> Iterator[None]:
    """Numbers of threads may be set."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_number_of_threads_does_not_change_a_bit(threads: None) -> None:
    arguments = square_arguments(3, 14, 56, 2)
    assert 2 * call.WORK_FOR_A_THREAD < 3 * 14 * 56 * 2 * 9 * (3 * 4 + 2 * 8)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(results_of("numba", arguments))
    assert all(x.equal(results[0][name]) for other in results[1:] for name, x in other.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("argument", range(7))
def test_nan_in_gives_nan_out(argument: int, dtype: torch.dtype) -> None:
    arguments = [x.clone() for x in square_arguments(dtype=dtype)]
    # In reach of all offsets; at an offset that every query has.
    arguments[argument][(0, 2, 4, 0, 0) if argument < 3 else (0, 4, 0) if argument < 6 else (0, 0)] = math.nan
    expected = results_of("reference", arguments)
    for name, x in results_of("numba", arguments).items():
        assert (x.isnan() | ~expected[name].isnan()).all(), name


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_nan_stays_in_its_squares(argument: int) -> None:
    arguments = [x.clone() for x in square_arguments(1, 6, 12, 2)]
    arguments[argument][0, 3, 5, 1] = math.nan
    expected, _ = reference(*arguments, kernel_size=3)
    content, _ = attend(*arguments, kernel_size=3)
    assert content.isnan().equal(expected.isnan())


@pytest.mark.parametrize("factor", [1e2, 1e4, 1e15])
def test_extreme_logits_stay_finite(factor: float) -> None:
    q, *others = square_arguments()
    assert all(x.isfinite().all() for x in results_of("numba", [q * factor, *others]).values())
    if factor < 1e3:
        check_error_budget([q * factor, *others], 3)


@pytest.mark.parametrize("sizes", [(0, 5, 4, 2), (2, 0, 4, 2), (2, 5, 0, 2)])
@pytest.mark.parametrize("impl", ["numba", "reference"])
def test_empty_inputs(sizes: tuple[int, ...], impl: str) -> None:
    results = results_of(impl, square_arguments(*sizes))
    assert results["content"].shape == (*sizes, 8)
    assert results["grad_rel_v"].shape == (2, 9, 8)
    assert not results["grad_rel_v"].any()


def test_any_strides_and_offsets() -> None:
    arguments = square_arguments()
    scattered = [x.flip(-1).contiguous().flip(-1).mT.contiguous().mT for x in arguments]
    offset = [torch.cat((x[:1], x))[1:] for x in arguments]
    expected = attend(*arguments, kernel_size=3)
    assert scattered[0].stride(-1) != 1
    for others in (scattered, offset):
        for x, y in zip(attend(*others, kernel_size=3), expected, strict=True):
            assert x.equal(y)


def test_expanded_inputs() -> None:
    leaves = [x[:1, :1].detach().requires_grad_() for x in square_arguments()[:3]]
    expanded = [x.expand(2, 5, -1, -1, -1) for x in leaves]
    tables = [x[:1, :1].expand(2, 9, -1) for x in square_arguments()[3:6]]
    scale = torch.ones(1, 1).expand(3, 2)
    results = []
    for impl in ("numba", "reference"):
        content, positional = local_attention_2d(*expanded, *tables, scale, kernel_size=3, impl=impl)
        assert positional is not None
        grads = torch.autograd.grad(content.sum() + positional.sum(), leaves)  # expanded gradients, too
        results.append((content, positional, *grads))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_gradient_of_one_output() -> None:
    leaves = [x.detach().requires_grad_() for x in square_arguments()]
    for output in (0, 1):
        derivatives = [
            torch.autograd.grad(
                implementation(*leaves, kernel_size=3)[output].square().sum(),
                leaves,
                allow_unused=True,
                materialize_grads=True,
            )
            for implementation in (attend, reference)
        ]
        torch.testing.assert_close(*derivatives, rtol=1e-4, atol=1e-4)


def test_second_derivative_is_refused() -> None:
    leaves = [x.detach().requires_grad_() for x in square_arguments()]
    content, _ = attend(*leaves, kernel_size=3)
    (first,) = torch.autograd.grad(content.sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="local_attention_2d_backward"):
        first.sum().backward()


def test_tables_of_another_type_get_their_gradients_in_it() -> None:
    q, k, v, *tables = square_arguments()
    tables = [x.requires_grad_() for x in tables]
    content, positional = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), *tables, kernel_size=3)
    assert content.dtype == torch.bfloat16
    (content.sum() + positional.sum()).backward()
    assert all(x.grad is not None and x.grad.dtype == torch.float32 for x in tables)


def test_compiles_to_one_graph_with_gradients() -> None:
    leaves = [x.detach().requires_grad_() for x in square_arguments()]

    def loss(*x: Tensor) -> Tensor:
        content, positional = local_attention_2d(*x, kernel_size=3)
        assert positional is not None
        return (content * positional).sum()

    expected = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)


@pytest.fixture
def layer() -> LocalAttention2d:
    torch.manual_seed(0)
    return LocalAttention2d(6, 8, num_heads=2, kernel_size=3, stride=2)


def test_a_layer_in_a_checkpoint_under_autocast(layer: LocalAttention2d) -> None:
    x = torch.randn(2, 6, 5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = checkpoint(layer, x, use_reentrant=False)
    y.float().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_exports_the_reference(layer: LocalAttention2d) -> None:
    x = torch.randn(2, 6, 5, 4)
    exported = torch.export.export(layer.eval(), (x,))
    assert not any("axial_deeplab" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x), layer(x), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(
        *[st.integers(0, limit) for limit in (3, 9, 20)], *[st.integers(1, limit) for limit in (3, 9)]
    ),
    reach=st.integers(0, 4),
    absent=st.sets(st.sampled_from([2, 3])),
    seed=st.integers(0, 1000),
)
def test_moments_equal_those_of_plain_pytorch(
    sizes: tuple[int, ...], reach: int, absent: set[int], seed: int
) -> None:
    arguments = square_arguments(*sizes, 1, 2 * reach + 1, seed=seed, dtype=torch.float64)
    q, k, _, rel_q, rel_k, *_ = (x.detach().requires_grad_() for x in arguments)
    tensors = [None if i in absent else x for i, x in enumerate((q, k, rel_q, rel_k))]
    leaves = [x for x in tensors if x is not None]
    results = []
    for impl in ("numba", "reference"):
        outputs = local_logit_moments(*tensors, kernel_size=2 * reach + 1, impl=impl)
        weights = [torch.arange(1.0, 1 + y.numel()).reshape(y.shape).double().sin() for y in outputs]
        results.append([*outputs, *torch.autograd.grad(outputs, leaves, weights)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-11)


def test_moments_are_within_the_error_budget() -> None:
    q, k, _, rel_q, rel_k, *_ = square_arguments(2, 30, 70, 2)
    results = [
        torch.stack(
            local_logit_moments(*(x.to(dtype) for x in (q, k, rel_q, rel_k)), kernel_size=3, impl=impl)
        )
        for impl, dtype in (
            ("numba", torch.float32),
            ("reference", torch.float32),
            ("reference", torch.float64),
        )
    ]
    fast, plain = ((x - results[2]).abs().max() for x in results[:2])
    assert fast <= 2 * plain + torch.finfo(torch.float32).eps * results[2].abs().max()


@pytest.mark.parametrize("argument", [0, 1, 2, 3])
def test_moments_of_nan_are_nan(argument: int) -> None:
    q, k, _, rel_q, rel_k, *_ = square_arguments()
    tensors = [x.clone() for x in (q, k, rel_q, rel_k)]
    tensors[argument][(0, 2, 4, 0, 0) if argument < 2 else (0, 4, 0)] = math.nan
    expected = local_logit_moments(*tensors, kernel_size=3, impl="reference")
    for x, exact in zip(local_logit_moments(*tensors, kernel_size=3), expected, strict=True):
        assert x.isnan().equal(exact.isnan())


def test_opcheck_of_the_moments() -> None:
    q, k, _, rel_q, rel_k, *_ = (x.requires_grad_() for x in square_arguments())
    torch.library.opcheck(torch.ops.axial_deeplab.square_moments.default, (q, k, rel_q, rel_k, 1, 1))
    inputs = (torch.rand(2, 3, 2), q.detach(), k.detach(), None, rel_k.detach(), 1, 1)
    torch.library.opcheck(torch.ops.axial_deeplab.square_moments_backward.default, inputs)


def test_vectors_that_reach_behind_the_last_column_take_no_weight() -> None:
    """Their logits are those of the keys' term alone; 128, base 2, would be infinite as a weight."""
    q, k, v, rel_q, rel_k, rel_v, scale = square_arguments(1, 3, 9, 2)
    rel_k = torch.full_like(rel_k, 128 * math.log(2) / 4)
    results = results_of("numba", [q, torch.ones_like(k), v, rel_q, rel_k, rel_v, torch.ones_like(scale)])
    assert all(x.isfinite().all() for x in results.values())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_no_logits_are_stored() -> None:
    height, kernel_size = 256, 15
    arguments = square_arguments(1, height, height, 1, 2, 2, kernel_size)
    leaves = [x.detach().requires_grad_() for x in arguments]
    small = [x.detach().requires_grad_() for x in square_arguments()]
    attend(*small, kernel_size=3)[0].sum().backward()  # compiled before memory is counted
    local_logit_moments(*small[:2], *small[3:5], kernel_size=3)[1].sum().backward()

    def memory(column: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(column))

    Path("/proc/self/clear_refs").write_text("5")  # The peak starts again from what is in use.
    before = memory("VmRSS")
    content, positional = attend(*leaves, kernel_size=kernel_size)
    (content.sum() + positional.sum()).backward()
    mean, mean_of_squares = local_logit_moments(*leaves[:2], *leaves[3:5], kernel_size=kernel_size)
    (mean.sum() + mean_of_squares.sum()).backward()
    assert memory("VmHWM") - before < 4 * height**2 * kernel_size**2 / 4
