"""Check and time the GPU implementation: everything that docs/kernels.md says about CUDA devices.

    python benchmarks/gpu.py --output gpu_results                  (all parts; about 25 minutes on one GPU)
    python benchmarks/gpu.py --output gpu_results --parts correctness attention --minutes 9

Results are written after each measurement to results.json and results.md; a second run with other parts adds
to them. A part that fails is recorded and the next one begins. `--dry-run` goes through all parts on the CPU
with tiny shapes: it shows that the script works, its numbers mean nothing.
"""

import argparse
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if "--dry-run" in sys.argv:
    # Triton reads it on import: its kernels then run in an interpreter.
    os.environ["TRITON_INTERPRET"] = "1"

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "src"), str(ROOT / "tests")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from axial_deeplab.benchmark.attention import Shape, random_arguments  # noqa: E402
from axial_deeplab.models.folding.fold import fuse  # noqa: E402
from axial_deeplab.models.registry import create_model  # noqa: E402
from axial_deeplab.ops.axial import gpu as triton_gpu  # noqa: E402
from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum  # noqa: E402
from axial_deeplab.ops.triton.tilings import Tiling, candidates, forget_choices  # noqa: E402
from error_budget import layer_arguments, outputs_and_gradients, shares_of_error_budget  # noqa: E402
from gpu_measure import (  # noqa: E402
    DEVICE,
    DRY_RUN,
    OutOfTimeError,
    Results,
    Step,
    capture_or_run,
    captured,
    in_processes,
    interleaved,
    peak_megabytes,
)

# The layers of Axial-ResNet at 224 x 224 with batch 128 (S: 4 channels a head at stage 1, L: 8) and of
# Axial-DeepLab on a crop of 1025 x 1025.
SHAPES = {
    "S stage 1 at 224": Shape(128, 56, 56, 8, 4, 8),
    "L stage 1 at 224": Shape(128, 56, 56, 8, 8, 16),
    "S stage 1 at 1025": Shape(4, 257, 257, 8, 4, 8),
    "S stage 1 at 1025, span 65": Shape(4, 257, 257, 8, 4, 8, span=65),
    "S stage 2 at 224": Shape(128, 28, 28, 8, 8, 16),
    "S stage 3 at 224": Shape(128, 14, 14, 8, 16, 32),
    "S stage 4 at 224": Shape(128, 7, 7, 8, 32, 64),
    "L stage 4 at 224": Shape(128, 7, 7, 8, 64, 128),
    "S stage 4 at 1025": Shape(4, 65, 65, 8, 32, 64),
}
TINY_SHAPES = {"tiny": Shape(1, 5, 1, 2, 4, 8), "tiny, span 3": Shape(1, 17, 1, 1, 4, 8, span=3)}

# Batch, length, lines, heads, head_dim, value_dim, max_span; then the span.
CORRECTNESS_CASES = [
    ((2, 56, 5, 8, 4, 8, None), None),
    ((2, 56, 5, 8, 8, 16, 20), 9),
    ((1, 257, 3, 8, 4, 8, 255), None),
    ((1, 257, 3, 8, 4, 8, 255), 65),
    ((2, 28, 5, 8, 8, 16, None), None),
    ((2, 14, 5, 8, 16, 32, None), None),
    ((2, 7, 5, 8, 32, 64, None), None),
    ((2, 7, 5, 8, 64, 128, None), None),
    ((1, 65, 3, 4, 32, 64, None), None),
    ((1, 65, 3, 2, 64, 128, 33), 33),
    ((1, 33, 3, 3, 5, 7, 9), None),
    ((1, 1, 2, 2, 4, 8, 1), None),
    ((1, 2, 2, 2, 12, 24, 1), None),
    ((1, 40, 2, 1, 128, 128, None), None),
]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

fused = partial(axial_attention, impl="triton")
eager = partial(axial_attention, impl="reference")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for fixed shapes."""
    return torch.compile(function, dynamic=False, backend="eager" if DRY_RUN else "inductor")


def ceilings(results: Results) -> None:
    """Bandwidth of a large copy and rate of a large matrix product."""
    size = 2**10 if DRY_RUN else 2**30
    source = torch.randn(size, device=DEVICE)
    target = torch.empty_like(source)
    a, b = (torch.randn(64 if DRY_RUN else 8192, 64 if DRY_RUN else 8192, device=DEVICE) for _ in range(2))
    a, b = a.bfloat16(), b.bfloat16()
    product = torch.empty_like(a)
    steps: dict[str, Step] = {
        "copy": partial(target.copy_, source),
        "matrix product": partial(torch.matmul, a, b, out=product),
    }
    times = interleaved(steps)
    bytes_moved, operations = 2 * source.nbytes, 2 * a.shape[0] ** 3
    results.start("ceilings")
    results.add(
        "ceilings",
        copy_tb_s=bytes_moved / times["copy"].median / 1e9,
        bf16_product_tflop_s=operations / times["matrix product"].median / 1e9,
    )


def budget_shares(task: tuple[Any, ...]) -> dict[str, float]:
    """Return the shares of the error budget of one case in one type, the larger of both axes."""
    sizes, span, dtype = task
    by_axis = [
        shares_of_error_budget("triton", layer_arguments(*sizes, axis=axis, device=DEVICE), dtype, span=span)
        for axis in ("height", "width")
    ]
    return {name: max(shares[name] for shares in by_axis) for name in by_axis[0]}


def correctness(results: Results) -> None:
    """Errors of values and gradients as shares of the error budget, and what else must hold."""
    results.start("correctness")
    cases = CORRECTNESS_CASES[-2:-1] if DRY_RUN else CORRECTNESS_CASES
    tasks = [(sizes, span, dtype) for sizes, span in cases for dtype in DTYPES]
    for (sizes, span, dtype), shares in in_processes(budget_shares, tasks):
        results.check_time()
        worst = max(shares, key=shares.__getitem__)
        results.add(
            "correctness",
            case=f"{sizes} span {span}",
            dtype=str(dtype),
            largest_share_of_budget=shares[worst],
            of=worst,
            passed=all(share <= 1 for share in shares.values()),
        )
    absent(results)
    same_bits(results)
    if not DRY_RUN:
        beyond_32_bits(results)


def absent(results: Results) -> None:
    """Terms that are left out."""
    for missing in ((3,), (4,), (5,), (6,), (3, 4, 5, 6)):
        arguments = layer_arguments(1, 5 if DRY_RUN else 70, 2, 2, device=DEVICE)
        arguments = [None if i in missing else x for i, x in enumerate(arguments)]
        shares = shares_of_error_budget("triton", arguments, torch.bfloat16, span=9)
        passed = all(share <= 1 for share in shares.values())
        results.add("correctness", case=f"without arguments {missing}", dtype="bfloat16", passed=passed)


def same_bits(results: Results) -> None:
    """Two runs give the same bits; extreme logits stay finite; NaN stays NaN."""
    arguments = layer_arguments(1 if DRY_RUN else 16, 5 if DRY_RUN else 257, 2, 2, device=DEVICE)
    for dtype in DTYPES:
        first, second = (outputs_and_gradients("triton", arguments, dtype) for _ in range(2))
        passed = all(first[name].equal(second[name]) for name in first)
        results.add("correctness", case="same bits twice", dtype=str(dtype), passed=passed)
    q, *others = arguments
    for factor in (1e4, 1e15):
        large = outputs_and_gradients("triton", [q * factor, *others], torch.float32)
        passed = all(bool(x.isfinite().all()) for x in large.values())
        results.add("correctness", case=f"queries times {factor}", dtype="float32", passed=passed)
    q = q.clone()
    q[0, 0, 0, 0, 0] = math.nan
    outputs = outputs_and_gradients("triton", [q, *others], torch.float32)
    passed = bool(outputs["content"][0, 0, 0, 0].isnan().all() and outputs["grad_rel_q"].isnan().any())
    results.add("correctness", case="NaN in, NaN out", dtype="float32", passed=passed)


def beyond_32_bits(results: Results) -> None:
    """Values of more than 2^31 elements: the last image must come out as it does alone."""
    shape = Shape(66, 8, 8192, 8, 32, 64)
    generator = torch.Generator(DEVICE).manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, device=DEVICE, dtype=torch.bfloat16)

    grid = (shape.B, shape.L, shape.M, shape.N)
    q, k, v = (normal(*grid, channels).requires_grad_() for channels in (shape.D, shape.D, shape.V))
    assert v.numel() > 2**31
    tables = [normal(2 * shape.L - 1, channels) for channels in (shape.D, shape.D, shape.V)]
    content, positional = fused(q, k, v, *tables)
    grads = torch.autograd.grad((content, positional), (q, k, v), (v.detach(), v.detach()))
    last = [x[-1:].detach().requires_grad_() for x in (q, k, v)]
    expected = fused(*last, *tables)
    last_grads = torch.autograd.grad(expected, last, (last[2].detach(), last[2].detach()))
    pairs = zip((content, positional, *grads), (*expected, *last_grads), strict=True)
    passed = all(whole[-1:].equal(alone) for whole, alone in pairs)
    results.add("correctness", case=f"{v.numel()} values", dtype="bfloat16", passed=passed)


def attention(results: Results) -> None:
    """Times of the operation against the reference, eager and compiled, and the share of the bandwidth."""
    results.start("attention, bfloat16, milliseconds on the device")
    bandwidth = results.tables["ceilings"][0]["copy_tb_s"] * 1e9  # bytes in a millisecond
    for name, shape in (TINY_SHAPES if DRY_RUN else SHAPES).items():
        for backward in (False, True):
            results.check_time()
            torch._dynamo.reset()
            implementations: dict[str, Callable[..., Any]] = {
                "ours": fused,
                "eager": eager,
                "compiled": compiled(eager),
            }
            steps = {
                implementation: attention_step(attend, shape, backward)
                for implementation, attend in implementations.items()
            }
            if not backward:
                steps["ours, outputs added"] = added_step(shape)
            memory = {key: peak_megabytes(step) for key, step in steps.items()}
            times = interleaved({key: capture_or_run(key, step) for key, step in steps.items()})
            seconds_at_ceiling = shape.traffic(backward, item_size=2) / bandwidth
            results.add(
                "attention, bfloat16, milliseconds on the device",
                layer=f"{name}: {shape}",
                step="forward and backward" if backward else "forward",
                **{key: str(value) for key, value in times.items()},
                eager_over_ours=times["eager"].median / times["ours"].median,
                compiled_over_ours=times["compiled"].median / times["ours"].median,
                share_of_bandwidth=seconds_at_ceiling / times["ours"].median,
                **{f"MB {key}": round(value, 1) for key, value in memory.items()},
            )


def attention_step(attend: Callable[..., Any], shape: Shape, backward: bool) -> Step:
    """Return a forward pass without gradients, or a forward and backward pass."""
    arguments = random_arguments(shape, torch.bfloat16, DEVICE)
    if not backward:

        def forward() -> None:
            with torch.no_grad():
                attend(*arguments, span=shape.span)

        return forward
    leaves = [x.detach().requires_grad_() for x in arguments]
    grads = [torch.randn_like(leaves[2]) for _ in range(2)]

    def forward_backward() -> None:
        torch.autograd.grad(attend(*leaves, span=shape.span), leaves, grads)

    return forward_backward


def added_step(shape: Shape) -> Step:
    """Return what a folded layer computes."""
    arguments = random_arguments(shape, torch.bfloat16, DEVICE)
    scale = torch.rand(shape.N, shape.V, device=DEVICE)

    def forward() -> None:
        with torch.no_grad():
            axial_attention_sum(*arguments, scale, span=shape.span, impl="triton")

    return forward


@contextmanager
def only_tiling(direction: str, tiling: Tiling) -> Iterator[None]:
    """Let the kernel of a direction have one tiling."""

    def one(kind: str, *arguments: Any) -> list[Tiling]:
        return [tiling] if kind == direction else candidates(kind, *arguments)

    triton_gpu.candidates = one
    forget_choices()
    try:
        yield
    finally:
        triton_gpu.candidates = candidates
        forget_choices()


def compile_tiling(task: tuple[Shape, str, Tiling]) -> str | None:
    """Compile the kernel of one tiling into the cache; return why it cannot run, or None."""
    shape, direction, tiling = task
    try:
        with only_tiling(direction, tiling):
            attention_step(fused, replace(shape, B=1), direction == "backward")()
    except Exception as error:  # whatever the compiler or the device has against it
        return f"{type(error).__name__}: {error}"[:80]
    return None


def tiling_time(shape: Shape, direction: str, tiling: Tiling) -> float:
    """Return the milliseconds of one kernel; those of the backward kernel are the rest of both passes."""
    steps = {"forward": False} if direction == "forward" else {"forward": False, "both": True}
    with only_tiling(direction, tiling):
        captures = {
            name: captured(attention_step(fused, shape, backward)) for name, backward in steps.items()
        }
        times = interleaved(captures, rounds=7)
    forward = times["forward"].median
    return forward if direction == "forward" else times["both"].median - forward


def tilings(results: Results) -> None:
    """The time of every tiling, to choose the ones that are taken first."""
    table = "tilings, bfloat16, milliseconds on the device"
    results.start(table)
    shapes = TINY_SHAPES if DRY_RUN else SHAPES
    tasks = []
    for shape in shapes.values():
        blocks = [block for block in (16, 32, 64) if block < max(2 * shape.L, 32)]
        every = [Tiling(block, warps, stages=2) for block in blocks for warps in (2, 4, 8)]
        tasks += [(shape, direction, tiling) for direction in ("forward", "backward") for tiling in every]
    tasks = tasks[:2] if DRY_RUN else tasks
    names = {shape: name for name, shape in shapes.items()}
    # All are compiled before the first is timed: other processes must not use the device meanwhile.
    for (shape, direction, tiling), reason in list(in_processes(compile_tiling, tasks)):
        results.check_time()
        row = {"layer": names[shape], "kernel": direction, "block": tiling.block, "warps": tiling.warps}
        usual = candidates(direction, shape.L, shape.D, shape.V, torch.bfloat16)
        cost = reason or tiling_time(shape, direction, tiling)
        results.add(table, **row, first_choice=tiling == usual[0], time=cost)


def image_batch(batch: int, size: int, dtype: torch.dtype) -> Tensor:
    """Return random images, channels last."""
    images = torch.randn(batch, 3, size, size, device=DEVICE, dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last)


def network(name: str, dtype: torch.dtype, *, folded: bool) -> nn.Module:
    """Return a network for inference with random weights, channels last."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    model = fuse(model) if folded else model
    return model.to(DEVICE, dtype, memory_format=torch.channels_last)


def inference_step(model: Callable[[Tensor], Tensor], images: Tensor) -> Step:
    """Return one inference."""

    def infer() -> None:
        with torch.no_grad():
            model(images)

    return infer


def latency(results: Results) -> None:
    """One image at a time; the paper reports 16.54 ms for Axial-ResNet-L on a V100."""
    results.start("latency, one image of 224 x 224, milliseconds")
    for name in ("axial_resnet_s",) if DRY_RUN else ("axial_resnet_l", "axial_resnet_s", "resnet50"):
        for dtype in (torch.bfloat16, torch.float32):
            results.check_time()
            torch._dynamo.reset()
            images = image_batch(1, 32 if DRY_RUN else 224, dtype)
            plain = network(name, dtype, folded=False)
            folded = network(name, dtype, folded=True)
            steps = {
                "eager": inference_step(plain, images),
                "folded": inference_step(folded, images),
                "folded, compiled": inference_step(compiled(folded), images),
            }
            for step in steps.values():
                for _ in range(1 if DRY_RUN else 3):
                    step()
            graphs = {f"{key}, CUDA graph": capture_or_run(key, step) for key, step in steps.items()}
            times = interleaved(steps | graphs)
            cells = {key: str(value) for key, value in times.items()}
            results.add(
                "latency, one image of 224 x 224, milliseconds", network=name, dtype=str(dtype), **cells
            )


def throughput(results: Results) -> None:
    """Axial-ResNet-S against ResNet-50: batch 128, bfloat16, channels last, both compiled."""
    table = "throughput, 128 images of 224 x 224, bfloat16, compiled, milliseconds"
    results.start(table)
    batch, size = (2, 32) if DRY_RUN else (128, 224)
    names = ("axial_resnet_s", "resnet50")
    for mode in ("inference", "training"):
        results.check_time()
        torch._dynamo.reset()
        if mode == "inference":
            images = image_batch(batch, size, torch.bfloat16)
            models = {name: compiled(network(name, torch.bfloat16, folded=True)) for name in names}
            steps = {name: inference_step(model, images) for name, model in models.items()}
        else:
            steps = {name: training_step(name, batch, size) for name in names}
        memory = {name: peak_megabytes(step) for name, step in steps.items()}
        for step in steps.values():
            for _ in range(1 if DRY_RUN else 3):
                step()
        times = interleaved(steps, rounds=15)
        results.add(
            table,
            step=mode,
            **{name: str(value) for name, value in times.items()},
            resnet50_over_ours=times["resnet50"].median / times["axial_resnet_s"].median,
            **{f"images/s {name}": round(1e3 * batch / value.median) for name, value in times.items()},
            **{f"MB {name}": round(value, 1) for name, value in memory.items()},
        )


def training_step(name: str, batch: int, size: int) -> Step:
    """Return forward pass, backward pass and a step of SGD, bfloat16 by autocast."""
    torch.manual_seed(0)
    model = create_model(name).to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images = image_batch(batch, size, torch.float32)
    labels = torch.arange(batch, device=DEVICE)
    forward = compiled(model)

    def train() -> None:
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = forward(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return train


PARTS: dict[str, Callable[[Results], None]] = {
    "correctness": correctness,
    "attention": attention,
    "latency": latency,
    "throughput": throughput,
    "tilings": tilings,
}


def run_parts(results: Results, parts: list[str]) -> Iterator[str]:
    """Run the parts in turn and yield the names of those that failed."""
    for name in parts:
        try:
            PARTS[name](results)
        except OutOfTimeError:
            results.add("stopped", part=name, reason="the time is over")
            yield name
            return
        except Exception:
            results.add("stopped", part=name, reason=traceback.format_exc().splitlines()[-1])
            traceback.print_exc()
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of results.json and results.md")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to run")
    parser.add_argument("--minutes", type=float, default=60.0, help="no measurement begins after so many")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU")
    options = parser.parse_args()
    if not DRY_RUN and not torch.cuda.is_available():
        parser.error("a CUDA device must be there, got none; try --dry-run")
    results = Results(options.output, options.minutes)
    results.start("stopped")
    ceilings(results)
    failed = list(run_parts(results, options.parts))
    wrong = [row["case"] for row in results.tables.get("correctness", []) if not row["passed"]]
    print("failed or stopped parts:", failed or "none", "\nwrong results:", wrong or "none")
    sys.exit(bool(failed or wrong))


if __name__ == "__main__":
    main()
