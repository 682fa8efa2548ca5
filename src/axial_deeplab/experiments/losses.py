"""Training losses of several runs over their steps (figure 9 of the paper)."""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.experiments.plots import panels, require_matplotlib, require_suffix, save
from axial_deeplab.util.files import opened

LOSSES = {
    "train/semantic": "semantic loss",
    "train/center": "center heatmap loss",
    "train/offset": "center offset loss",
}


@dataclass(frozen=True)
class LossCurves:
    """The losses of a run.

    Args:
        name: name of the run.
        steps: steps (N,) at which they were logged.
        losses: values (N,) of each name in `LOSSES`.
    """

    name: str
    steps: NDArray[np.int64]
    losses: dict[str, NDArray[np.float64]]

    def smoothed(self, loss: str, window: int) -> NDArray[np.float64]:
        """Return the mean of each logged value and those before it, `window` in all where there are."""
        sums = np.concatenate([[0.0], np.cumsum(self.losses[loss])])
        ends = np.arange(1, len(sums))
        starts = np.maximum(ends - window, 0)
        return (sums[ends] - sums[starts]) / (ends - starts)

    def final(self, loss: str) -> float:
        """Return the mean of the last tenth of the logged values."""
        return float(self.losses[loss][-math.ceil(len(self.steps) / 10) :].mean())


def read_losses(run: str | os.PathLike[str], name: str | None = None) -> LossCurves:
    """Read the losses of a training run.

    Args:
        run: folder of the run, or its metrics.csv.
        name: what to call it; None takes the name of the folder.

    Raises:
        ValueError: the file has no losses of a panoptic training, or a number that is none.
        OSError: the file cannot be read.
    """
    path = Path(run)
    path = path / "metrics.csv" if path.is_dir() else path
    steps: list[int] = []
    losses: dict[str, list[float]] = {loss: [] for loss in LOSSES}
    with io.TextIOWrapper(opened(path), encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            values = {loss: row.get(loss) for loss in LOSSES}
            if not any(values.values()):  # a line of a validation
                continue
            try:
                steps.append(int(row["step"]))
                for loss, value in values.items():
                    losses[loss].append(float(value or ""))
            except (KeyError, ValueError):
                raise ValueError(
                    f"{path} line {number} must have step, {', '.join(LOSSES)} as numbers, "
                    f"got {[row.get('step'), *values.values()]}; give the metrics.csv of a panoptic training"
                ) from None
    if not steps:
        raise ValueError(
            f"{path} must have the columns {', '.join(LOSSES)}, got no line with them; "
            "give the metrics.csv of a panoptic training"
        )
    arrays = {loss: np.array(values) for loss, values in losses.items()}
    return LossCurves(name or path.resolve().parent.name, np.array(steps), arrays)


def losses_table(curves: Sequence[LossCurves]) -> str:
    """Return the mean of the last tenth of each loss, one line a run."""
    width = max(12, *(len(each.name) + 2 for each in curves))
    lines = [f"{'':{width}}{'steps':>10}" + "".join(f"{title:>22}" for title in LOSSES.values())]
    for each in curves:
        finals = "".join(f"{each.final(loss):>22.4g}" for loss in LOSSES)
        lines.append(f"{each.name:{width}}{each.steps[-1]:>10d}{finals}")
    return "\n".join(lines)


def draw_losses(curves: Sequence[LossCurves], output: str | os.PathLike[str], *, window: int = 10) -> None:
    """Draw the losses of runs, a panel for each loss.

    Args:
        curves: curves of the runs.
        output: the picture, PNG, PDF or SVG.
        window: logged values that are averaged.

    Raises:
        ValueError: matplotlib is missing, the window is below 1, or the picture is of another kind.
        OSError: the picture cannot be written.
    """
    require_matplotlib()
    if window < 1:
        raise ValueError(f"window must be at least 1 logged value, got {window}; 1 does not smooth")
    require_suffix(output)
    drawing, axes = panels(list(LOSSES.values()))
    for axis, loss in zip(axes, LOSSES, strict=True):
        for each in curves:
            axis.plot(each.steps, each.smoothed(loss, window), label=each.name)
        axis.set_xlabel("step")
    axes[0].legend()
    save(drawing, output)
