"""Time and memory of inference with large images: folded networks against the reference path.

Each network runs in a process of its own whose memory is limited, once for a small image and once for the
large one, which is measured. Where it needs more memory than that, the table says so.

    python benchmarks/large_images.py --json large.json
"""

import argparse
import json
import multiprocessing
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from axial_deeplab.benchmark.measure import describe_machine, peak_mb
from axial_deeplab.benchmark.network import NetworkCandidate
from axial_deeplab.benchmark.report import describe
from axial_deeplab.util.files import atomic_path

CITYSCAPES_CLASSES = 19

# The sizes of COCO (133 classes) and of Cityscapes.
NETWORKS = (
    NetworkCandidate("axial_deeplab_s", height=1025, width=1025),
    NetworkCandidate("axial_deeplab_s", height=1025, width=1025, span=65),
    NetworkCandidate("axial_deeplab_l", height=1025, width=2049, span=65, num_classes=CITYSCAPES_CLASSES),
    NetworkCandidate("axial_deeplab_l", height=1025, width=2049, span=65),
)


def run(candidate: NetworkCandidate, limit_gb: float, threads: int) -> dict[str, Any]:
    """Return seconds and the peak of the memory beyond what was held before, or what went wrong."""
    torch.set_num_threads(threads)
    model = candidate.build()
    images = 255 * torch.rand(1, 3, candidate.height, candidate.width)
    with torch.inference_mode():
        model(images[..., :65, :65])
    spent: dict[str, float] = {}

    def step() -> None:
        start = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            model(images)
        spent["seconds"] = time.perf_counter() - start[0]
        spent["processor_seconds"] = time.process_time() - start[1]

    limit = int(limit_gb * 1e9)
    # The limit is on what can be written; libraries map much more than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        peak = peak_mb(step, "cpu")
    except (RuntimeError, MemoryError) as error:
        if "alloc" not in str(error).lower() and not isinstance(error, MemoryError):
            raise
        return {"failure": f"needs more than {limit_gb:g} GB"}
    return {**spent, "peak_mb": peak}


def measured(candidate: NetworkCandidate, limit_gb: float) -> dict[str, Any]:
    """Run a candidate in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (candidate, limit_gb, torch.get_num_threads()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory-limit", type=float, default=16.0, metavar="GB", help="default: %(default)s")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="rows of NETWORKS, from 0")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    machine = describe_machine()
    print(describe(machine))
    print("| network | image | span | classes | | seconds | processor seconds | peak MB |")
    print("| --- | --- | --- | ---: | --- | ---: | ---: | ---: |")
    rows = []
    for index, network in enumerate(NETWORKS):
        if options.only is not None and index not in options.only:
            continue
        for what, candidate in (
            ("fused", network),
            ("reference", replace(network, impl="reference", fuse=False)),
        ):
            result = measured(candidate, options.memory_limit)
            size = f"{network.height} x {network.width}"
            classes = str(network.num_classes or 133)
            cells = [network.name, size, str(network.span or "whole axis"), classes, what]
            if "failure" in result:
                cells += [result["failure"], "", ""]
            else:
                cells += [f"{result[key]:.1f}" for key in ("seconds", "processor_seconds")]
                cells.append(f"{result['peak_mb']:.0f}")
            print(f"| {' | '.join(cells)} |", flush=True)
            own = {"network": network.name, "size": size, "span": network.span, "classes": classes}
            rows.append({**own, "path": what, **result})
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
