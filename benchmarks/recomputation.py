"""Memory and time of a training step with and without recomputed maps: what `recompute` gains and costs.

Peak memory is the resident memory that a step, in a process of its own, takes beyond what is there before.

Run: python benchmarks/recomputation.py [--rounds 5]
"""

import argparse
import gc
import json
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F

from axial_deeplab import create_model
from axial_deeplab.benchmark.measure import CLEAR_REFS, RESET_PEAK, STATUS
from axial_deeplab.util.freed_memory import return_freed_memory


def resident(field: str) -> float:
    """Return a field of the process's status, MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def serve(name: str, batch: int, size: int, recompute: bool, requests: Connection) -> None:
    """Do a step for each request and send its seconds and peak memory in MB."""
    model = create_model(name, recompute=recompute).train()
    images, target = torch.randn(batch, 3, size, size), torch.arange(batch)
    while requests.recv():
        model.zero_grad(set_to_none=True)
        gc.collect()
        return_freed_memory()
        before = resident("VmRSS")
        CLEAR_REFS.write_text(RESET_PEAK)
        start = time.process_time()
        F.cross_entropy(model(images), target).backward()
        requests.send((time.process_time() - start, resident("VmHWM") - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="axial_resnet_s")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    servers, results = {}, {True: [], False: []}
    for recompute in results:
        ours, theirs = context.Pipe()
        arguments = (options.model, options.batch, options.size, recompute, theirs)
        context.Process(target=serve, args=arguments, daemon=True).start()
        servers[recompute] = ours
    for number in range(options.rounds + 1):
        for recompute, connection in servers.items():
            connection.send(True)
            measured = connection.recv()
            if number > 0 or options.rounds == 0:  # the first step compiles
                results[recompute].append(measured)
    for connection in servers.values():
        connection.send(False)
    print("| recompute | median processor seconds | peak MB |\n| --- | ---: | ---: |")
    for recompute, measured in results.items():
        seconds, peak = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"| {recompute} | {seconds:.2f} | {peak:.0f} |")
    if options.json:
        options.json.write_text(json.dumps({str(key): value for key, value in results.items()}))


if __name__ == "__main__":
    main()
