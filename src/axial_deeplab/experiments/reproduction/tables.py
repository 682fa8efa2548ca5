"""The tables of the report, as Markdown and as CSV, made from the files of the runs alone."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from axial_deeplab.experiments.reproduction.equal_madds import STEM_WIDTH
from axial_deeplab.experiments.reproduction.networks import NETWORKS, TABLES, Table
from axial_deeplab.experiments.reproduction.results import Results, spread
from axial_deeplab.util.files import write_text


def write_tables(results: Results, output: Path) -> None:
    """Write each table of which there is a run as TABLE.md and TABLE.csv.

    Raises:
        OSError: a file cannot be written.
    """
    for name, table in TABLES.items():
        if any(results.first(key) for key in table.networks):
            for suffix, text in (
                (".md", markdown(table, results)),
                (".csv", comma_separated(table, results)),
            ):
                write_text(output / f"{name}{suffix}", text)


def markdown(table: Table, results: Results) -> str:
    """Return a table as Markdown; a network without runs has dashes."""
    results_columns = [measure.replace("_", " ") for measure in table.columns]
    columns = ["network", "parameters, M", "M-Adds, M", *results_columns, "seeds", "steps", "CPU minutes"]
    rules = ["---", *["---:"] * (len(columns) - 1)]
    rows = [_cells(key, label, table, results) for key, label in table.networks.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows)) + "\n"


def comma_separated(table: Table, results: Results) -> str:
    """Return a table as CSV: means, sample standard deviations, and numbers of seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = [f"{name} {kind}" for name in table.columns for kind in ("mean", "spread", "seeds")]
    writer.writerow(["network", "parameters", "madds", *measures, "steps", "cpu_minutes"])
    for key in table.networks:
        run = results.first(key)
        if run is None:
            continue
        numbers: list[Any] = []
        for measure in table.columns:
            values = results.values(key, measure)
            deviation = spread(values)
            numbers += [
                f"{fmean(values):.6g}" if values else "",
                "" if deviation is None else f"{deviation:.6g}",
                len(values),
            ]
        minutes = f"{_cpu_minutes(key, results):.2f}"
        writer.writerow([key, run["parameters"], run["madds"], *numbers, _steps(run), minutes])
    return text.getvalue()


def chosen_widths(results: Results) -> str:
    """Return a sentence about the channels that give networks the M-Adds of the first one."""
    parts = []
    for key, label in TABLES["networks"].networks.items():
        unit, run = NETWORKS[key].width_unit, results.first(key)
        if unit is None or run is None:
            continue
        options: Mapping[str, Any] = run["settings"]["model"]["overrides"]
        width = round(options["width_multiplier"] * unit.stage_width)
        stem = round(options["stem_multiplier"] * STEM_WIDTH)
        difference = run["madds"] / run["base_madds"] - 1
        parts.append(f"{label}: {width} and {stem} ({difference:+.1%} M-Adds)")
    return "; ".join(parts)


def number_of_seeds(key: str, measure: str, results: Results) -> str:
    """Return of how many seeds a network has a measure; marked where some are missing."""
    count, wanted = len(results.values(key, measure)), len(results.seeds)
    return str(count) if count == wanted else f"{count} of {wanted}"


def _cells(key: str, label: str, table: Table, results: Results) -> list[str]:
    run = results.first(key)
    seeds = number_of_seeds(key, table.measures[0], results)
    if run is None:
        return [label, "-", "-", *["-"] * len(table.columns), seeds, "-", "-"]
    return [
        label,
        f"{run['parameters'] / 1e6:.2f}",
        f"{run['madds'] / 1e6:.0f}",
        *(_mean_and_spread(results.values(key, measure), measure) for measure in table.columns),
        seeds,
        str(_steps(run)),
        f"{_cpu_minutes(key, results):.1f}",
    ]


def _mean_and_spread(values: list[float], measure: str) -> str:
    if not values:
        return "-"
    form = ".3g" if "loss" in measure else ".1f"
    deviation = spread(values)
    return f"{fmean(values):{form}}" + ("" if deviation is None else f" ± {deviation:{form}}")


def _steps(run: Mapping[str, Any]) -> int:
    return int(run["settings"]["optim"]["max_steps"])


def _cpu_minutes(key: str, results: Results) -> float:
    return fmean(run["cpu_seconds"] for run in results.runs[key].values()) / 60
