"""The fused GPU implementation against the reference in float64, and how it behaves within PyTorch.

Without a CUDA device the kernels run in Triton's interpreter (see tests/conftest.py), which takes
milliseconds for each line of a kernel: hence the small shapes.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from axial_deeplab.ops.axial import gpu as triton_gpu
from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum, explain
from axial_deeplab.ops.operands import Operands
from axial_deeplab.ops.triton import tilings
from axial_deeplab.ops.triton.tilings import Tiling, candidates
from error_budget import layer_arguments, outputs_and_gradients, shares_of_error_budget

pytest.importorskip("triton", reason="there is no Triton for this platform")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def choices_of_tilings() -> Iterator[None]:
    """Each test chooses its tilings again."""
    tilings.forget_choices()
    yield
    tilings.forget_choices()


@pytest.fixture
def short_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut axes into the shortest tiles, so that a short axis has several."""
    monkeypatch.setattr(triton_gpu, "candidates", lambda *arguments: [Tiling(16, 2, 2)])


def arguments_of(*sizes: int, **options: object) -> list[Tensor]:
    return layer_arguments(*sizes, device=DEVICE, **options)  # type: ignore[arg-type]


attend = partial(axial_attention, impl="triton")
reference = partial(axial_attention, impl="reference")


def check_error_budget(
    arguments: list[Tensor | None], span: int | None, dtype: torch.dtype = torch.float32
) -> None:
    shares = shares_of_error_budget("triton", arguments, dtype, span=span)
    assert all(share <= 1 for share in shares.values()), shares


@pytest.mark.parametrize(
    ("length", "span"),
    [(1, None), (2, None), (7, 1), (33, 65), (56, None), (65, 9)],
)
def test_lengths_and_spans(length: int, span: int | None) -> None:
    check_error_budget(arguments_of(1, length, 1, 1), span)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("length", "span"), [(14, None), (33, 9)])
def test_half_precision(dtype: torch.dtype, length: int, span: int | None, short_tiles: None) -> None:
    check_error_budget(arguments_of(1, length, 1, 1), span, dtype)


@pytest.mark.parametrize(
    ("sizes", "max_span", "span", "absent", "axis"),
    [
        ((2, 19, 1, 1, 5, 7), 3, None, (), "width"),
        ((1, 19, 2, 1, 1, 1), 1, 3, (), "height"),
        ((1, 35, 1, 1, 4, 8), 40, 35, (6,), "width"),
        ((1, 18, 1, 2, 3, 12), 7, 15, (3, 6), "height"),
        ((1, 18, 1, 2, 4, 8), 9, None, (4,), "width"),
        ((1, 17, 1, 1, 4, 8), 9, 3, (5,), "height"),
        ((1, 17, 1, 1, 4, 8), 9, 5, (3, 4, 5, 6), "height"),
    ],
)
def test_axes_of_several_tiles(
    sizes: tuple[int, ...],
    max_span: int,
    span: int | None,
    absent: tuple[int, ...],
    axis: str,
    short_tiles: None,
) -> None:
    arguments = arguments_of(*sizes, max_span, axis=axis)
    check_error_budget([None if i in absent else x for i, x in enumerate(arguments)], span)


@pytest.mark.parametrize("absent", [(3, 6), (3, 4, 5, 6)])
def test_absent_terms_on_an_axis_of_one_tile(absent: tuple[int, ...]) -> None:
    arguments = arguments_of(1, 9, 2, 2, 4, 8, 3)
    check_error_budget([None if i in absent else x for i, x in enumerate(arguments)], 5)


@pytest.mark.parametrize(("head_dim", "value_dim"), [(1, 1), (12, 24), (32, 64), (128, 128), (64, 256)])
def test_head_sizes(head_dim: int, value_dim: int) -> None:
    check_error_budget(arguments_of(1, 7, 1, 2, head_dim, value_dim), None)


@pytest.mark.parametrize("length", [3, 17])
def test_same_bits_again_and_for_any_strides(length: int, short_tiles: None) -> None:
    arguments = arguments_of(1, length)
    scattered = [x.mT.flip(-1).contiguous().flip(-1).mT for x in arguments]
    assert scattered[0].stride(-1) != 1
    expected = outputs_and_gradients("triton", arguments, torch.float32, span=3)
    again = outputs_and_gradients("triton", arguments, torch.float32, span=3)
    assert all(again[name].equal(value) for name, value in expected.items())
    content, positional = attend(*scattered, span=3)
    assert positional is not None
    assert content.equal(expected["content"])
    assert positional.equal(expected["positional"])


@pytest.mark.parametrize("axis", ["height", "width"])
def test_reads_slices_of_the_image_and_keeps_its_layout(axis: str) -> None:
    arguments = arguments_of(axis=axis)
    assert not arguments[0].is_contiguous()
    for output in attend(*arguments):
        assert output is not None
        image = output if axis == "height" else output.transpose(1, 2)
        assert image.is_contiguous()


@pytest.mark.parametrize("absent", [(), (3, 5, 6)])
def test_opcheck(absent: tuple[int, ...]) -> None:
    leaves = [x.detach().requires_grad_() for x in arguments_of(axis="width")]
    arguments = [None if i in absent else x for i, x in enumerate(leaves)]
    operation = torch.ops.axial_deeplab.triton_axial_attention.default
    torch.library.opcheck(operation, (*arguments, 5, True))


def test_opcheck_of_the_backward_pass() -> None:
    arguments = arguments_of(1, 5, 1, 2)
    outputs = torch.ops.axial_deeplab.triton_axial_attention(*arguments, 3, True)
    operation = torch.ops.axial_deeplab.triton_axial_attention_backward.default
    torch.library.opcheck(operation, (*outputs[:2], *outputs, *arguments, 3, True))


def test_auto_takes_it_where_numba_cannot_run() -> None:
    arguments = arguments_of()
    content, _ = axial_attention(*arguments, impl="triton")
    lines = explain(*arguments).splitlines()
    if DEVICE == "cuda":
        assert "triton: is taken" in lines
        assert axial_attention(*arguments)[0].equal(content)
    else:
        assert "triton: could run" in lines
    assert content.equal(attend(*arguments)[0])


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda x: x.to("meta"), {}, r"'triton': it runs on CUDA devices, q is on meta"),
        (lambda x: x.double(), {}, r"it has no kernel for torch.float64"),
        (lambda x: x, {"activation": "sigmoid"}, r"it has the softmax only"),
        (lambda x: x.repeat_interleave(50, -1), {}, r"its heads have at most 128 and 256 channels"),
    ],
)
def test_says_what_it_cannot_run(
    change: Callable[[Tensor], Tensor], options: dict[str, str], reason: str
) -> None:
    *layer, scale = arguments_of()
    arguments = [change(x) for x in layer]
    with pytest.raises(ValueError, match=reason):
        axial_attention(*arguments, scale.to(arguments[0].device), impl="triton", **options)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = arguments_of()
    monkeypatch.setattr(triton_gpu, "_triton_is_missing", True)
    assert triton_gpu.why_not(Operands(*arguments)) == "triton is not installed"
    monkeypatch.setattr(triton_gpu, "INTERPRETED", False)
    reason = triton_gpu.why_not(Operands(*[x.cpu() for x in arguments]))
    assert reason == "it runs on CUDA devices, q is on cpu"


def test_tables_of_another_type_get_their_gradients_in_it() -> None:
    *images, rel_q, rel_k, rel_v, scale = arguments_of()
    tables = [x.requires_grad_() for x in (rel_q, rel_k, rel_v, scale)]
    content, _ = attend(*[x.bfloat16() for x in images], *tables)
    assert content.dtype == torch.bfloat16
    content.sum().backward()
    assert all(x.grad is not None and x.grad.dtype == torch.float32 for x in tables)


@pytest.mark.parametrize("argument", range(7))
def test_nan_in_gives_nan_out(argument: int) -> None:
    arguments = [x.clone() for x in arguments_of(1, 5, 1, 2)]
    arguments[argument].view(-1)[0] = math.nan
    expected = outputs_and_gradients("reference", arguments, torch.float32)
    results = outputs_and_gradients("triton", arguments, torch.float32)
    for name, value in expected.items():
        assert (results[name].isnan() | ~value.isnan()).all(), name


@pytest.mark.parametrize("argument", [0, 2])
def test_nan_stays_in_its_line(argument: int, short_tiles: None) -> None:
    arguments = [x.clone() for x in arguments_of(1, 17, 2, 1)]
    arguments[argument][0, 3, 1] = math.nan
    results = outputs_and_gradients("triton", arguments, torch.float32, span=3)
    expected = outputs_and_gradients("reference", arguments, torch.float32, span=3)
    for name in ("content", "positional", "grad_q", "grad_k", "grad_v"):
        assert results[name][:, :, 0].isfinite().all(), name
        assert (results[name].isnan() | ~expected[name].isnan()).all(), name


@pytest.mark.parametrize("length", [7, 17])
@pytest.mark.parametrize("factor", [1e2, 1e15])
def test_extreme_logits_stay_finite(factor: float, length: int, short_tiles: None) -> None:
    q, *others = arguments_of(1, length, 1, 2)
    results = outputs_and_gradients("triton", [q * factor, *others], torch.float32)
    assert all(x.isfinite().all() for x in results.values())
    if factor < 1e3:
        check_error_budget([q * factor, *others], None)


def test_infinite_logit_takes_no_weight_or_gives_nan() -> None:
    arguments = [x.clone() for x in arguments_of(1, 5, 1, 1, 1, 2)]
    arguments[1][0, 2, 0, 0, 0] = -math.inf
    expected, _ = reference(*arguments)
    content, _ = attend(*arguments)
    torch.testing.assert_close(content, expected, equal_nan=True)


@pytest.mark.parametrize("sizes", [(0, 7, 3, 2), (2, 7, 0, 2), (2, 0, 3, 2)])
def test_empty_inputs(sizes: tuple[int, ...]) -> None:
    arguments = arguments_of(*sizes, 4, 8, 3)
    results = outputs_and_gradients("triton", arguments, torch.float32)
    assert results["content"].shape == (*sizes, 8)
    assert results["grad_rel_v"].shape == (5, 8)
    assert not results["grad_rel_v"].any()


def test_gradient_of_one_output_that_is_expanded() -> None:
    leaves = [x.detach().requires_grad_() for x in arguments_of(1, 5, 1, 2)]
    derivatives = [
        torch.autograd.grad(attend(*leaves)[1].sum(), leaves, allow_unused=True, materialize_grads=True)
        for attend in (attend, reference)
    ]
    torch.testing.assert_close(*derivatives, rtol=1e-4, atol=1e-5)


def test_second_derivative_is_refused() -> None:
    leaves = [x.detach().requires_grad_() for x in arguments_of(1, 3, 1, 1)]
    (first,) = torch.autograd.grad(attend(*leaves)[0].sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="triton_axial_attention_backward"):
        first.sum().backward()


class Attention(torch.nn.Module):
    def forward(self, *arguments: Tensor) -> Tensor:
        return axial_attention(*arguments, impl="triton")[0]


def test_compiles_to_one_graph_with_gradients() -> None:
    leaves = [x.detach().requires_grad_() for x in arguments_of(1, 5, 1, 2)]
    expected = torch.autograd.grad(Attention()(*leaves).square().sum(), leaves, allow_unused=True)
    compiled = torch.compile(Attention(), backend="aot_eager", fullgraph=True)
    results = torch.autograd.grad(compiled(*leaves).square().sum(), leaves, allow_unused=True)
    torch.testing.assert_close(results[:5], expected[:5])


def test_gradient_checkpointing_and_autocast() -> None:
    leaves = [x.detach().requires_grad_() for x in arguments_of(1, 5, 1, 2)]
    expected = torch.autograd.grad(Attention()(*leaves).sum(), leaves, allow_unused=True)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        content = checkpoint(Attention(), *leaves, use_reentrant=False)
    assert content.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(content.sum(), leaves, allow_unused=True), expected)


def test_is_never_exported() -> None:
    arguments = tuple(arguments_of(1, 5, 1, 1))
    with pytest.raises(Exception, match="an exported program must not need its compiled code"):
        torch.export.export(Attention(), arguments)


def test_statistics_are_kept_for_a_backward_pass_alone() -> None:
    arguments = arguments_of(1, 5, 1, 2)
    operation = torch.ops.axial_deeplab.triton_axial_attention
    assert operation(*arguments, None, True)[2].shape == (2, 2, 5)
    assert operation(*arguments, None, False)[2].numel() == 0


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [(1, 1), (8, 16), (64, 128), (128, 256)])
def test_tilings_fit_the_axis(direction: str, dtype: torch.dtype, channels: tuple[int, int]) -> None:
    for length in (1, 7, 33, 56, 257):
        tilings = candidates(direction, length, *channels, dtype)
        assert 1 <= len(tilings) <= 9
        assert all(tiling.block in (16, 32, 64) for tiling in tilings)
        assert all(tiling.block < max(2 * length, 32) for tiling in tilings)


def test_a_tiling_that_the_device_has_no_room_for_is_passed_over() -> None:
    from triton.runtime.errors import OutOfResources

    tried = []

    def run(tiling: Tiling) -> int:
        tried.append(tiling.block)
        if tiling.block == 64:
            raise OutOfResources(300_000, 200_000, "shared memory")
        return tiling.block

    options = [Tiling(64, 4, 2), Tiling(32, 4, 2), Tiling(16, 2, 2)]
    assert tilings.run_tiled("a shape", options, run) == 32
    assert tilings.run_tiled("a shape", options, run) == 32
    assert tried == [64, 32, 32]
    with pytest.raises(OutOfResources):
        tilings.run_tiled("another shape", options[:1], run)


def test_benchmark_mode_takes_the_fastest_tiling(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {64: 3.0, 32: math.inf, 16: 2.0}
    monkeypatch.setattr(tilings, "_may_measure", lambda: True)
    monkeypatch.setattr(tilings, "milliseconds", lambda function: times[function()])
    options = [Tiling(64, 4, 2), Tiling(32, 4, 2), Tiling(16, 2, 2)]
    assert tilings.run_tiled("a shape", options, lambda tiling: tiling.block) == 16


@pytest.mark.parametrize("absent", [(), (5,)])
@torch.no_grad()
def test_outputs_added_up_in_registers(absent: tuple[int, ...]) -> None:
    arguments = [None if i in absent else x for i, x in enumerate(arguments_of(1, 5, 2, 2, 3, 7))]
    scale = torch.tensor([[0.5], [-2.0]]).expand(2, 7).to(DEVICE)
    content, positional = reference(*arguments, span=3)
    expected = content if positional is None else content + positional * scale
    result = axial_attention_sum(*arguments, scale, span=3, impl="triton")
    torch.testing.assert_close(result, expected)
    operation = torch.ops.axial_deeplab.triton_axial_attention_sum.default
    torch.library.opcheck(operation, (scale, *arguments, 3))
    empty = [x if x is None or x.dim() < 5 else x[:0] for x in arguments]
    assert axial_attention_sum(*empty, scale, impl="triton").shape == (0, 5, 2, 2, 7)
