"""What the finished runs measured, read from their files."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axial_deeplab.experiments.reproduction.networks import LOSSES, NETWORKS
from axial_deeplab.experiments.reproduction.runs import RUN, STRESS


@dataclass(frozen=True)
class Results:
    """The finished runs in a folder.

    Args:
        folder: folder of the runs.
        runs: content of the runs' files, by key of the network, then seed.
        seeds: seeds that were asked for.
    """

    folder: Path
    runs: dict[str, dict[int, dict[str, Any]]]
    seeds: tuple[int, ...]

    def values(self, key: str, measure: str) -> list[float]:
        """Return a measure of a network, a number for each finished seed where it is defined."""
        values = (run["scores"].get(measure, math.nan) for run in self.runs.get(key, {}).values())
        return [value for value in values if not math.isnan(value)]

    def table(self, measure: str) -> dict[tuple[str, int], float]:
        """Return a measure of all networks, a number for each key and seed where it is defined."""
        values = {
            (key, seed): run["scores"].get(measure, math.nan)
            for key, by_seed in self.runs.items()
            for seed, run in by_seed.items()
        }
        return {place: value for place, value in values.items() if not math.isnan(value)}

    def first(self, key: str) -> dict[str, Any] | None:
        """Return the content of the first run of a network, or None where there is none."""
        return next(iter(self.runs.get(key, {}).values()), None)

    def all(self) -> list[dict[str, Any]]:
        """Return the content of all runs."""
        return [record for by_seed in self.runs.values() for record in by_seed.values()]


def read_results(output: Path, seeds: Sequence[int]) -> Results:
    """Read the finished runs of some seeds.

    Raises:
        OSError: a file cannot be read.
    """
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for key in NETWORKS:
        for seed in seeds:
            folder = output / key / f"seed{seed}"
            if not (folder / RUN).exists():
                continue
            record = json.loads((folder / RUN).read_text(encoding="utf-8"))
            record["scores"] |= record["losses"] | _ratios(record["losses"])
            if (folder / STRESS).exists():
                stress = json.loads((folder / STRESS).read_text(encoding="utf-8"))
                record["scores"] |= stress["scores"]
                record["num_stress_images"] = stress["num_test_images"]
            runs.setdefault(key, {})[seed] = record
    return Results(output, runs, tuple(seeds))


def _ratios(losses: dict[str, float]) -> dict[str, float]:
    offset = losses["offset loss"]
    return {
        f"offset / {other} loss": offset / losses[f"{other} loss"] for other in LOSSES if other != "offset"
    }


def spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for a single value."""
    return statistics.stdev(values) if len(values) > 1 else None
