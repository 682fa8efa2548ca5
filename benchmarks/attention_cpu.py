"""Time axial attention on the CPU: the fused implementation against the eager reference.

Runs are interleaved, so that a busy machine slows all implementations alike. Every shape is that of a layer
of an Axial-ResNet-S at 224 x 224, or of longer axes.

    python benchmarks/attention_cpu.py --json times.json
    OMP_NUM_THREADS=1 python benchmarks/attention_cpu.py --cpu-time      (where others keep the cores busy)
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from axial_deeplab.ops.axial.api import axial_attention

IMPLEMENTATIONS = ("reference", "numba")


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


SHAPES = (
    Shape(1, 56, 56, 8, 4, 8),
    Shape(1, 28, 28, 8, 8, 16),
    Shape(1, 14, 14, 8, 16, 32),
    Shape(1, 7, 7, 8, 32, 64),
    Shape(4, 64, 64, 4, 4, 8),
    Shape(1, 257, 32, 8, 4, 8, span=65),
)


def random_arguments(shape: Shape) -> list[Tensor]:
    """q, k, v as slices of a channels-last projection, the relative tables and the scales."""
    projection = torch.randn(shape.B, shape.L, shape.M, shape.N * (2 * shape.D + shape.V))
    heads = projection.unflatten(-1, (shape.N, -1)).split([shape.D, shape.D, shape.V], dim=-1)
    tables = [torch.randn(2 * shape.L - 1, channels) for channels in (shape.D, shape.D, shape.V)]
    return [*heads, *tables, torch.rand(3, shape.N)]


def steps(shape: Shape, impl: str) -> dict[str, Callable[[], None]]:
    """What is timed: inference, and a forward and backward pass."""
    arguments = random_arguments(shape)
    leaves = [x.clone().requires_grad_() for x in arguments]
    grads = [torch.randn_like(leaves[2]) for _ in range(2)]

    def forward() -> None:
        with torch.no_grad():
            axial_attention(*arguments, span=shape.span, impl=impl)

    def forward_backward() -> None:
        outputs = axial_attention(*leaves, span=shape.span, impl=impl)
        torch.autograd.grad(outputs, leaves, grads)

    return {"forward": forward, "forward and backward": forward_backward}


def interleaved_times(
    functions: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each function in each round; the first call of each is not counted."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            function()
            times[name].append(1e3 * (clock() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="interleaved runs of each implementation")
    parser.add_argument(
        "--cpu-time", action="store_true", help="processor time of all threads, not wall time"
    )
    parser.add_argument("--json", type=Path, help="write the medians and the fastest to this file")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    libraries = {name: version(name) for name in ("torch", "numba", "llvmlite")}
    print(platform.processor() or platform.machine(), f"{torch.get_num_threads()} threads", libraries)
    print("milliseconds: median (fastest); the ratios are of the fastest runs, which others disturb least")
    print(f"{'layer':38} {'pass':22} {'reference':>18} {'numba':>18} {'ratio':>6}")
    rows = []
    for shape in SHAPES:
        timed = {impl: steps(shape, impl) for impl in IMPLEMENTATIONS}
        for name in ("forward", "forward and backward"):
            functions = {impl: timed[impl][name] for impl in IMPLEMENTATIONS}
            times = interleaved_times(functions, options.rounds, clock)
            medians = {impl: statistics.median(values) for impl, values in times.items()}
            fastest = {impl: min(values) for impl, values in times.items()}
            cells = [f"{medians[impl]:8.2f} ({fastest[impl]:7.2f})" for impl in IMPLEMENTATIONS]
            ratio = fastest["reference"] / fastest["numba"]
            print(f"{shape!s:38} {name:22} {cells[0]:>18} {cells[1]:>18} {ratio:6.1f}", flush=True)
            rows.append({"shape": asdict(shape), "pass": name, "median_ms": medians, "fastest_ms": fastest})
    if options.json:
        options.json.write_text(json.dumps({"libraries": libraries, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
