"""The fused CPU implementation against the reference in float64, and how it behaves within PyTorch."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum, explain
from axial_deeplab.ops.numba import call, entries, threads
from axial_deeplab.ops.numba.call import WORK_FOR_A_THREAD
from error_budget import layer_arguments, outputs_and_gradients, shares_of_error_budget

attend = partial(axial_attention, impl="numba")
reference = partial(axial_attention, impl="reference")


def check_error_budget(arguments: list[Tensor | None], span: int | None) -> None:
    shares = shares_of_error_budget("numba", arguments, torch.float32, span=span)
    assert all(share <= 1 for share in shares.values()), shares


@pytest.mark.parametrize("length", [1, 2, 33, 56, 65, 257])
@pytest.mark.parametrize("span", [None, 9, 65])
def test_lengths_and_spans(length: int, span: int | None) -> None:
    check_error_budget(layer_arguments(1, length, 2, 2), span)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, limit) for limit in (2, 40, 3, 3, 10, 18)]),
    max_span=st.integers(1, 50),
    span=st.none() | st.integers(0, 25).map(lambda reach: 2 * reach + 1),
    absent=st.sets(st.sampled_from(range(3, 7))),
    axis=st.sampled_from(["height", "width"]),
    seed=st.integers(0, 1000),
)
def test_random_shapes(
    sizes: tuple[int, ...], max_span: int, span: int | None, absent: set[int], axis: str, seed: int
) -> None:
    arguments = layer_arguments(*sizes, max_span, seed=seed, axis=axis)
    check_error_budget([None if i in absent else x for i, x in enumerate(arguments)], span)


@pytest.mark.parametrize(("head_dim", "value_dim"), [(1, 1), (2, 4), (16, 32), (32, 64), (128, 128)])
def test_head_sizes(head_dim: int, value_dim: int) -> None:
    check_error_budget(layer_arguments(1, 14, 2, 2, head_dim, value_dim), None)


@pytest.mark.parametrize("span", [None, 3])
def test_gradcheck(span: int | None) -> None:
    arguments = layer_arguments(1, 5, 2, 2, 3, 2, 4, dtype=torch.float64)
    leaves = [x.detach().requires_grad_() for x in arguments]
    assert torch.autograd.gradcheck(lambda *x: attend(*x, span=span), leaves)


@pytest.mark.parametrize("absent", [(), (3, 6), (3, 4, 5, 6)])
@pytest.mark.parametrize("axis", ["height", "width"])
def test_opcheck(absent: tuple[int, ...], axis: str) -> None:
    leaves = [x.detach().requires_grad_() for x in layer_arguments(axis=axis)]
    arguments = [None if i in absent else x for i, x in enumerate(leaves)]
    torch.library.opcheck(torch.ops.axial_deeplab.axial_attention.default, (*arguments, 5))


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(
        *[st.integers(0 if i < 3 else 1, limit) for i, limit in enumerate((2, 40, 3, 3, 10, 18))]
    ),
    span=st.none() | st.integers(0, 25).map(lambda reach: 2 * reach + 1),
    absent=st.sets(st.sampled_from(range(3, 7))),
    axis=st.sampled_from(["height", "width"]),
    seed=st.integers(0, 1000),
)
def test_sum_of_both_outputs(
    sizes: tuple[int, ...], span: int | None, absent: set[int], axis: str, seed: int
) -> None:
    arguments: list[Any] = list(layer_arguments(*sizes, 5, seed=seed, axis=axis, dtype=torch.float64))
    arguments = [None if i in absent else x for i, x in enumerate(arguments)]
    positional_scale = torch.randn(sizes[3], sizes[5], dtype=torch.float64)
    content, positional = attend(*arguments, span=span)
    expected = content if positional is None else content + positional_scale * positional
    result = axial_attention_sum(*arguments, positional_scale, span=span, impl="numba")
    torch.testing.assert_close(result, expected, rtol=1e-13, atol=1e-13)
    assert result.stride() == content.stride()


def test_sum_has_gradients() -> None:
    arguments = layer_arguments(1, 5, 2, 2, 3, 2, 4, dtype=torch.float64)
    leaves = [x.detach().requires_grad_() for x in (*arguments, torch.randn(2, 2, dtype=torch.float64))]
    assert torch.autograd.gradcheck(lambda *x: axial_attention_sum(*x, impl="numba"), leaves)


@pytest.mark.parametrize("argument", range(8))
def test_nan_in_gives_nan_in_the_sum(argument: int) -> None:
    arguments = [x.clone() for x in (*layer_arguments(), torch.ones(2, 8))]
    arguments[argument].view(-1)[0] = float("nan")
    expected = axial_attention_sum(*arguments, impl="reference")
    assert expected.isnan().any()
    assert (axial_attention_sum(*arguments, impl="numba").isnan() | ~expected.isnan()).all()


@pytest.mark.parametrize("axis", ["height", "width"])
def test_opcheck_of_the_sum(axis: str) -> None:
    operation = torch.ops.axial_deeplab.axial_attention_sum.default
    torch.library.opcheck(operation, (torch.rand(2, 8), *layer_arguments(axis=axis), 5))


@pytest.mark.parametrize("axis", ["height", "width"])
def test_opcheck_of_the_backward_pass(axis: str) -> None:
    arguments = layer_arguments(axis=axis)
    content, positional, maxima = torch.ops.axial_deeplab.axial_attention(*arguments, 5)
    operation = torch.ops.axial_deeplab.axial_attention_backward.default
    torch.library.opcheck(operation, (content, positional, maxima, *arguments, 5))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def large_arguments() -> list[Tensor]:
    """Enough work for two threads."""
    arguments = layer_arguments(2, 33, 9, 4)
    assert 2 * WORK_FOR_A_THREAD < 2 * 9 * 4 * 33 * 33 * (3 * 4 + 2 * 8)
    return arguments


def test_auto_takes_it() -> None:
    arguments = layer_arguments()
    assert explain(*arguments).splitlines()[0] == "numba: is taken"
    content, positional = axial_attention(*arguments, impl="numba")
    taken, also_taken = axial_attention(*arguments)
    assert taken.equal(content)
    assert positional is not None
    assert also_taken is not None
    assert also_taken.equal(positional)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda x: x.to("meta"), {}, r"it runs on the CPU, q is on meta"),
        (lambda x: x.to(torch.float8_e5m2), {}, r"it has no kernel for torch.float8_e5m2"),
        (lambda x: x, {"activation": "sigmoid"}, r"it has the softmax only"),
    ],
)
def test_says_what_it_cannot_run(
    change: Callable[[Tensor], Tensor], options: dict[str, str], reason: str
) -> None:
    arguments = [change(x) for x in layer_arguments()]
    with pytest.raises(ValueError, match=reason):
        axial_attention(*arguments, impl="numba", **options)


def test_says_that_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_numba_is_missing", True)
    assert explain(*layer_arguments()).startswith("numba: cannot run: numba is not installed")


@pytest.mark.parametrize("threads_wanted", [1, 2, 5])
def test_number_of_threads_does_not_change_a_bit(threads_wanted: int, two_threads: None) -> None:
    arguments = large_arguments()
    expected = outputs_and_gradients("numba", arguments, torch.float32)
    torch.set_num_threads(threads_wanted)
    results = outputs_and_gradients("numba", arguments, torch.float32)
    assert all(results[name].equal(value) for name, value in expected.items())


def test_runs_in_python_threads_without_openmp(monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
    arguments = large_arguments()
    expected, _ = attend(*arguments)
    monkeypatch.setattr(threads, "_openmp_parallel", lambda: None)
    content, _ = attend(*arguments)
    assert content.equal(expected)


def test_finds_the_openmp_runtime_of_pytorch() -> None:
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info() or sys.platform != "linux":
        pytest.skip("this PyTorch was built without OpenMP")
    assert threads._openmp_parallel() is not None


def attend_in_child(arguments: list[Tensor], expected: Tensor) -> None:
    content, _ = attend(*arguments)
    sys.exit(0 if content.equal(expected) else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="processes do not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_runs_in_a_forked_child_after_the_parent_used_threads(two_threads: None) -> None:
    arguments = large_arguments()
    expected, _ = attend(*arguments)
    child = multiprocessing.get_context("fork").Process(target=attend_in_child, args=(arguments, expected))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0


class AttendedLines(torch.utils.data.Dataset[Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        content, _ = attend(*layer_arguments(seed=index))
        return content


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_runs_in_the_workers_of_a_data_loader(two_threads: None) -> None:
    attend(*large_arguments())
    loaded = list(DataLoader(AttendedLines(), batch_size=None, num_workers=2))
    expected = [AttendedLines()[index] for index in range(4)]
    torch.testing.assert_close(loaded, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    arguments = [x.to(dtype) for x in layer_arguments()]
    expected, _ = attend(*[x.float() for x in arguments])
    content, positional = attend(*arguments)
    assert positional is not None
    assert content.dtype == positional.dtype == dtype
    assert content.equal(expected.to(dtype))


def test_tables_of_another_type_get_their_gradients_in_it() -> None:
    *images, rel_q, rel_k, rel_v, scale = layer_arguments()
    tables = [x.requires_grad_() for x in (rel_q, rel_k, rel_v, scale)]
    content, _ = attend(*[x.bfloat16() for x in images], *tables)
    content.sum().backward()
    assert all(x.grad is not None and x.grad.dtype == torch.float32 for x in tables)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("argument", range(7))
def test_nan_in_gives_nan_out(argument: int, dtype: torch.dtype) -> None:
    arguments = [x.clone() for x in layer_arguments(dtype=dtype)]
    arguments[argument].view(-1)[0] = float("nan")
    expected = outputs_and_gradients("reference", arguments, dtype)
    results = outputs_and_gradients("numba", arguments, dtype)
    for name, value in expected.items():
        assert (results[name].isnan() | ~value.isnan()).all(), name


@pytest.mark.parametrize("factor", [1e2, 1e4, 1e15])
def test_extreme_logits_stay_finite(factor: float) -> None:
    q, *others = layer_arguments()
    results = outputs_and_gradients("numba", [q * factor, *others], torch.float32)
    assert all(x.isfinite().all() for x in results.values())
    if factor < 1e3:
        check_error_budget([q * factor, *others], None)


def test_infinite_logit_takes_no_weight_or_gives_nan() -> None:
    arguments = [x.clone() for x in layer_arguments(1, 5, 1, 1, 1, 2)]
    arguments[1][0, 2, 0, 0, 0] = float("-inf")
    expected, _ = axial_attention(*arguments)
    content, _ = attend(*arguments)
    torch.testing.assert_close(content, expected, equal_nan=True)


@pytest.mark.parametrize("sizes", [(0, 7, 3, 2), (2, 7, 0, 2), (2, 0, 3, 2)])
def test_empty_inputs(sizes: tuple[int, ...]) -> None:
    arguments = layer_arguments(*sizes, 4, 8, 3)
    results = outputs_and_gradients("numba", arguments, torch.float32)
    assert results["content"].shape == (*sizes, 8)
    assert results["grad_rel_v"].shape == (5, 8)
    assert not results["grad_rel_v"].any()


def test_any_strides() -> None:
    arguments = layer_arguments()
    expected = outputs_and_gradients("numba", arguments, torch.float32, span=3)
    scattered = [x.flip(-1).contiguous().flip(-1) for x in arguments]
    scattered = [x.mT.contiguous().mT for x in scattered]
    assert scattered[0].stride(-1) != 1
    content, positional = attend(*scattered, span=3)
    assert positional is not None
    assert content.equal(expected["content"])
    assert positional.equal(expected["positional"])


def test_gradient_of_a_sum_and_of_one_output() -> None:
    leaves = [x.detach().requires_grad_() for x in layer_arguments()]
    for output in (0, 1):
        derivatives = [
            torch.autograd.grad(
                implementation(*leaves)[output].sum(), leaves, allow_unused=True, materialize_grads=True
            )
            for implementation in (attend, reference)
        ]
        torch.testing.assert_close(*derivatives, rtol=1e-4, atol=1e-5)


def test_second_derivative_is_refused() -> None:
    leaves = [x.detach().requires_grad_() for x in layer_arguments()]
    (first,) = torch.autograd.grad(attend(*leaves)[0].sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="axial_attention_backward"):
        first.sum().backward()


@pytest.mark.parametrize("axis", ["height", "width"])
def test_outputs_keep_the_layout_of_the_image(axis: str) -> None:
    for output in attend(*layer_arguments(axis=axis)):
        assert output is not None
        image = output if axis == "height" else output.transpose(1, 2)
        assert image.is_contiguous()


def test_compiles_to_one_graph_with_gradients() -> None:
    leaves = [x.detach().requires_grad_() for x in layer_arguments()]

    def loss(*x: Tensor) -> Tensor:
        content, positional = axial_attention(*x, span=5)
        assert positional is not None
        return (content * positional).sum()

    expected = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)


class Attention(torch.nn.Module):
    def forward(self, *arguments: Tensor) -> Tensor:
        return axial_attention(*arguments)[0]


def test_exports_the_reference() -> None:
    arguments = tuple(layer_arguments())
    exported = torch.export.export(Attention(), arguments)
    assert not any("axial_deeplab" in str(node.target) for node in exported.graph.nodes)
    expected, _ = axial_attention(*arguments)
    torch.testing.assert_close(exported.module()(*arguments), expected)


def test_gradient_checkpointing_and_autocast() -> None:
    leaves = [x.detach().requires_grad_() for x in layer_arguments()]
    expected = torch.autograd.grad(Attention()(*leaves).sum(), leaves, allow_unused=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        content = checkpoint(Attention(), *leaves, use_reentrant=False)
    assert content.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(content.sum(), leaves, allow_unused=True), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_is_linear_in_the_length() -> None:
    length = 4096
    leaves = [x.detach().requires_grad_() for x in layer_arguments(1, length, 1, 1, 2, 4)]
    attend(*layer_arguments())  # compiled before memory is counted

    def memory(column: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(column))

    Path("/proc/self/clear_refs").write_text("5")  # The peak starts again from what is in use.
    before = memory("VmRSS")
    content, positional = attend(*leaves)
    assert positional is not None
    (content.sum() + positional.sum()).backward()
    assert memory("VmHWM") - before < 4 * length * length / 2


def test_runs_where_the_cache_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    original = entries.cfunc

    def refuse(signature: object, **options: object) -> object:
        if options:
            raise RuntimeError("cannot cache function: no locator available")
        return original(signature)

    monkeypatch.setattr(entries, "cfunc", refuse)
    function = entries.compiled.__wrapped__("expand_tables", "float32")
    assert function.address
