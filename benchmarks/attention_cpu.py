"""Time axial attention on the CPU: the compiled implementation against the eager reference.

Runs are interleaved, so that a busy machine slows all implementations alike. Every shape is that of a layer
of an Axial-ResNet-S at 224 x 224, or of longer axes.

    python benchmarks/attention_cpu.py --json times.json
    OMP_NUM_THREADS=1 python benchmarks/attention_cpu.py --cpu-time      (where others keep the cores busy)
"""

import argparse
import json
import platform
import statistics
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from axial_deeplab.benchmark.attention import AttentionCandidate, Shape
from axial_deeplab.benchmark.measure import measure

IMPLEMENTATIONS = ("reference", "numba")

SHAPES = (
    Shape(1, 56, 56, 8, 4, 8),
    Shape(1, 28, 28, 8, 8, 16),
    Shape(1, 14, 14, 8, 16, 32),
    Shape(1, 7, 7, 8, 32, 64),
    Shape(4, 64, 64, 4, 4, 8),
    Shape(1, 257, 32, 8, 4, 8, span=65),
)


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
    libraries = {name: version(name) for name in ("torch", "numba", "llvmlite")}
    print(platform.processor() or platform.machine(), f"{torch.get_num_threads()} threads", libraries)
    print("milliseconds: median (fastest); the ratios are of the fastest runs, which others disturb least")
    print(f"{'layer':38} {'pass':22} {'reference':>18} {'numba':>18} {'ratio':>6}")
    rows = []
    for shape in SHAPES:
        for name, backward in (("forward", False), ("forward and backward", True)):
            candidates = [AttentionCandidate(shape, impl, backward) for impl in IMPLEMENTATIONS]
            times = {
                result.label: result.times_ms
                for result in measure(
                    candidates, rounds=options.rounds, memory=False, cpu_time=options.cpu_time
                )
            }
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
