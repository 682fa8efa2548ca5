"""What benchmarks/gpu.py needs to measure: tables that survive a crash, interleaved times, CUDA graphs."""

import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from axial_deeplab.benchmark import measure
from axial_deeplab.benchmark.measure import Step, describe_machine, timed
from axial_deeplab.util.files import atomic_path

DRY_RUN = "--dry-run" in sys.argv
DEVICE = "cpu" if DRY_RUN else "cuda"


class OutOfTimeError(Exception):
    """The minutes that were asked for are over."""


class Results:
    """Tables by their names, written to the folder whenever a row is added."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self.deadline = time.monotonic() + 60 * minutes
        folder.mkdir(parents=True, exist_ok=True)
        stored = folder / "results.json"
        self.tables: dict[str, list[dict[str, Any]]] = (
            json.loads(stored.read_text())["tables"] if stored.exists() else {}
        )
        self.machine = describe_machine()

    def check_time(self) -> None:
        """Stop where the time is over."""
        if time.monotonic() > self.deadline:
            raise OutOfTimeError

    def start(self, table: str) -> None:
        """Empty a table of an earlier run."""
        self.tables[table] = []

    def add(self, table: str, **row: Any) -> None:
        """Add a row, print it and write all tables."""
        self.tables.setdefault(table, []).append(row)
        print(f"{table}: " + ", ".join(f"{key} {_cell(value)}" for key, value in row.items()), flush=True)
        with atomic_path(self.folder / "results.json") as path:
            path.write_text(json.dumps({"machine": self.machine, "tables": self.tables}, indent=1))
        with atomic_path(self.folder / "results.md") as path:
            path.write_text(self._markdown())

    def _markdown(self) -> str:
        lines = ["# GPU results", "", "```", json.dumps(self.machine, indent=1), "```", ""]
        for name, rows in self.tables.items():
            columns = list(dict.fromkeys(key for row in rows for key in row))
            lines += [f"## {name}", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
            lines += [f"| {' | '.join(_cell(row.get(key, '')) for key in columns)} |" for row in rows]
            lines.append("")
        return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Times:
    """Milliseconds of the interleaved rounds of one step."""

    values: list[float]

    @property
    def median(self) -> float:
        """Median."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        ordered = sorted(self.values)
        low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
        return f"{self.median:.3f} ({low:.3f} to {high:.3f})"


def interleaved(steps: dict[str, Step], rounds: int = 20) -> dict[str, Times]:
    """Time steps in turns, each with a cold second-level cache."""
    flush = torch.empty(1 if DRY_RUN else 2**28, dtype=torch.uint8, device=DEVICE)

    def seconds(step: Step) -> float:
        flush.zero_()
        return timed(step) if DRY_RUN else _seconds_of_device(step)

    times = measure.interleaved([partial(seconds, step) for step in steps.values()], 1 if DRY_RUN else rounds)
    return {name: Times(values) for name, values in zip(steps, times, strict=True)}


def _seconds_of_device(step: Step) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3


def captured(step: Step) -> Step:
    """Return the replay of a CUDA graph of the step: the time of the device alone, without that of Python."""
    for _ in range(1 if DRY_RUN else 3):
        step()
    if DRY_RUN:
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def capture_or_run(name: str, step: Step) -> Step:
    """Return the captured step, or the step itself where it cannot be captured."""
    try:
        return captured(step)
    except RuntimeError as error:
        print(f"{name} is timed without a CUDA graph: {error}", flush=True)
        return step


def peak_megabytes(step: Step) -> float:
    """Return the memory that a step takes at its peak beyond what is held before it."""
    step()
    if DRY_RUN:
        return math.nan
    return measure.peak_mb(step, DEVICE)


def in_processes(function: Callable[[Any], Any], tasks: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield tasks and what the function returns for them, as they finish: compiling occupies many cores."""
    if DRY_RUN:
        yield from ((task, function(task)) for task in tasks)
        return
    workers = min(12, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(function, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)
