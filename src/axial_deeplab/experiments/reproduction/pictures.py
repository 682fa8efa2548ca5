"""The pictures of the report: a dot for each run, scores over the magnification, losses over the training."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from axial_deeplab.experiments.losses import LOSSES, read_losses
from axial_deeplab.experiments.plots import panels, save
from axial_deeplab.experiments.reproduction.networks import STRESS_SCALES, TABLES, Table
from axial_deeplab.experiments.reproduction.results import Results, spread
from axial_deeplab.experiments.stress import magnification_axis

LABEL_WIDTH = 30
LOSS_WINDOW = 10


def picture_name(page: str | os.PathLike[str], table: str) -> str:
    """Return the path of a table's picture, relative to the folder of the page."""
    return f"images/{Path(page).stem}_{table}.png"


def caption(table: str) -> str:
    """Return what a table's picture shows."""
    captions = {
        "stress": "Means over the runs, and their standard deviations.",
        "losses": f"Means over the runs and {LOSS_WINDOW} logged values; in pale how far the runs lie apart.",
    }
    return captions.get(table, "A dot is a run, a line the mean of the runs.")


def write_pictures(results: Results, page: str | os.PathLike[str], tables: Sequence[str]) -> None:
    """Draw the tables beside the report.

    Raises:
        ValueError: matplotlib is missing, or losses cannot be understood.
        OSError: a file cannot be read or written.
    """
    for name in tables:
        table = TABLES[name]
        if name == "stress":
            drawing = _draw_stress(table, results)
        elif name == "losses":
            drawing = _draw_losses(table, results)
        else:
            drawing = _draw_scores(table, results)
        save(drawing, Path(page).parent / picture_name(page, name), dpi=110)


def _draw_scores(table: Table, results: Results) -> Any:
    """Return a panel for each score: a dot for each run, a line at their mean."""
    rows = [textwrap.fill(label, LABEL_WIDTH) for label in table.networks.values()]
    drawing, axes = panels(list(table.measures), panel_size=(3.4, 1.2 + 0.45 * len(rows)))
    for axis, measure in zip(axes, table.measures, strict=True):
        for row, key in enumerate(table.networks):
            values = results.values(key, measure)
            axis.plot(values, [row] * len(values), "o", color=f"C{row}", alpha=0.6)
            if values:
                axis.plot([fmean(values)], [row], "|", color=f"C{row}", markersize=22, markeredgewidth=2)
        axis.set_yticks(range(len(rows)), rows if axis is axes[0] else [""] * len(rows))
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlabel("percent")
    return drawing


def _draw_stress(table: Table, results: Results) -> Any:
    """Return a panel of PQ over the magnification, with the standard deviation over the runs."""
    drawing, (axis,) = panels(["PQ"], panel_size=(6.4, 4.0))
    for key, label in table.networks.items():
        by_scale = {
            scale: values
            for scale, measure in zip(STRESS_SCALES, table.measures, strict=False)
            if (values := results.values(key, measure))
        }
        axis.errorbar(
            list(by_scale),
            [fmean(values) for values in by_scale.values()],
            [spread(values) or 0.0 for values in by_scale.values()],
            marker="o",
            capsize=3,
            label=label,
        )
    magnification_axis(axis, STRESS_SCALES)
    axis.set_ylabel("percent")
    axis.set_ylim(bottom=0)
    axis.legend()
    return drawing


def _draw_losses(table: Table, results: Results) -> Any:
    """Return a panel for each loss: the mean over the runs, and in pale how far they lie apart."""
    drawing, axes = panels(list(LOSSES.values()))
    for key, label in table.networks.items():
        curves = [read_losses(results.folder / key / f"seed{seed}") for seed in results.runs.get(key, {})]
        if not curves:
            continue
        steps = curves[0].steps
        for axis, loss in zip(axes, LOSSES, strict=True):
            # A run that was stopped may lack a step.
            runs = np.array(
                [np.interp(steps, each.steps, each.smoothed(loss, LOSS_WINDOW)) for each in curves]
            )
            (line,) = axis.plot(steps, runs.mean(0), label=label)
            axis.fill_between(steps, runs.min(0), runs.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    for axis in axes:
        axis.set_xlabel("step")
    axes[0].legend(fontsize="small")
    return drawing
