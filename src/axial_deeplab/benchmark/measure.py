"""Interleaved times and peak memory of several ways to compute the same thing."""

import gc
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from axial_deeplab.util.freed_memory import return_freed_memory

Step = Callable[[], object]

CLOCKS = {False: time.perf_counter, True: time.process_time}
"""By whether the time of the processor is wanted."""

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
PEAK_ROUNDS = 3
"""Steps whose peak of the memory is read, if there are as many rounds."""

RESET_PEAK = "5"  # proc(5): resets the peak of the resident memory to its present size


class Candidate(Protocol):
    """One thing to be timed. It must be possible to pickle it: its memory is measured in a fresh process."""

    @property
    def label(self) -> str:
        """Name in the table."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda"."""
        ...

    def prepare(self) -> Step:
        """Return what is timed, with all that it needs already built."""
        ...


@dataclass(frozen=True)
class Measurement:
    """What one candidate took.

    Attributes:
        label: name of the candidate.
        times_ms: time of every round, milliseconds.
        ratios: for every round, the time of the first candidate divided by that of this one: how many times
            faster it was in the same moment.
        peak_mb: memory at its highest point during a step beyond what was held before it, MB, median of up to
            three steps in a process of their own; None where it was not measured.
    """

    label: str
    times_ms: tuple[float, ...]
    ratios: tuple[float, ...]
    peak_mb: float | None = None

    @property
    def median_ms(self) -> float:
        """Median time in milliseconds."""
        return statistics.median(self.times_ms)

    @property
    def spread_ms(self) -> tuple[float, float]:
        """Quartiles of the time in milliseconds."""
        return quartiles(self.times_ms)

    @property
    def ratio(self) -> float:
        """Median of the ratios, which a busy machine disturbs less than the ratio of the medians."""
        return statistics.median(self.ratios)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        low, high = self.spread_ms
        return {
            "name": self.label,
            "median_ms": round(self.median_ms, 4),
            "quartiles_ms": [round(low, 4), round(high, 4)],
            "fastest_ms": round(min(self.times_ms), 4),
            "rounds": len(self.times_ms),
            "times_faster_than_first": round(self.ratio, 4),
            "ratio_quartiles": [round(x, 4) for x in quartiles(self.ratios)],
            "peak_mb": None if self.peak_mb is None else round(self.peak_mb, 1),
        }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile; of a single value, twice that value."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def measure(
    candidates: Sequence[Candidate],
    *,
    rounds: int,
    memory: bool = True,
    cpu_time: bool = False,
    progress: bool = False,
) -> list[Measurement]:
    """Time candidates in turns, so that whatever else the machine does slows all of them alike.

    Args:
        candidates: the first is the one that the others are compared with.
        rounds: timed runs of each, after one that is not counted.
        memory: whether each also runs once in a process of its own, where its peak memory is read.
        cpu_time: measure the time of the processor, all threads together, instead of what passes.
        progress: whether to show a progress bar.

    Raises:
        ValueError: there is no candidate or no round.
    """
    if not candidates or rounds < 1:
        raise ValueError(
            f"rounds and candidates must be at least 1, got {rounds} and {len(candidates)}; name what to time"
        )
    repeats = min(rounds, PEAK_ROUNDS)
    peaks = [_peak_in_fresh_process(candidate, repeats) if memory else None for candidate in candidates]
    clock = CLOCKS[cpu_time]
    steps = []
    for candidate in candidates:
        step = candidate.prepare()
        timed(step, candidate.device)
        steps.append(partial(timed, step, candidate.device, clock))
    times = interleaved(steps, rounds, progress=progress)
    return [
        Measurement(
            candidate.label,
            tuple(own),
            tuple(first / t for first, t in zip(times[0], own, strict=True)),
            peak,
        )
        for candidate, own, peak in zip(candidates, times, peaks, strict=True)
    ]


def interleaved(
    timers: Sequence[Callable[[], float]], rounds: int, *, progress: bool = False
) -> list[list[float]]:
    """Call timers in turns and return what each took in every round, milliseconds.

    Args:
        timers: each does its work and returns the seconds that it took, such as `partial(timed, step)`.
        rounds: calls of each.
        progress: whether to show a progress bar.
    """
    times: list[list[float]] = [[] for _ in timers]
    with tqdm(total=rounds, unit="round", disable=not progress, leave=False) as bar, no_collection():
        for _ in range(rounds):
            for timer, own in zip(timers, times, strict=True):
                own.append(1e3 * timer())
            bar.update()
    return times


def compile_options() -> dict[str, Any]:
    """Return the options of `torch.compile`: each shape is compiled for itself, however many one run has."""
    torch._dynamo.config.recompile_limit = 1000
    return {"dynamic": False}


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from running in the middle of a timed step."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(step: Step, device: str = "cpu", clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that a step takes."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def _peak_in_fresh_process(candidate: Candidate, repeats: int) -> float | None:
    """Return the median peak memory of a candidate's steps in MB; None where the system does not tell it."""
    if candidate.device == "cpu" and not CLEAR_REFS.exists():
        return None
    # Its process ends by itself: one that is killed leaves the helpers of its compiler behind.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_of_steps, candidate, repeats, torch.get_num_threads()).result()


def _peak_of_steps(candidate: Candidate, repeats: int, threads: int) -> float:
    torch.set_num_threads(threads)
    step = candidate.prepare()
    step()  # compilers and libraries load at the first use
    return statistics.median(peak_mb(step, candidate.device) for _ in range(repeats))


def peak_mb(step: Step, device: str) -> float:
    """Return the memory of a step at its highest point beyond what is held before it, MB (CPU: Linux)."""
    if device == "cuda":
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    # What earlier steps freed may still be resident and would hide the peak of this one.
    gc.collect()
    return_freed_memory()
    resident = resident_mb("VmRSS")
    CLEAR_REFS.write_text(RESET_PEAK)
    step()
    return resident_mb("VmHWM") - resident


def resident_mb(field: str) -> float:
    """Return a field of the memory of this process such as VmRSS, MB (Linux)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024 / 1e6


def describe_machine() -> dict[str, Any]:
    """Return what a time means nothing without: processor, vector units, threads, GPU and versions."""
    processor, flags = _processor()
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd") if name in flags]
    return {
        "processor": processor,
        "vector_units": units,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            **_versions("torch", "numba", "triton", "onnxruntime", "openvino"),
        },
    }


def _processor() -> tuple[str, set[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name") or platform.machine(), flags


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
