"""The scale stress test: the same weights on images of other resolutions (figure 4 of the paper)."""

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axial_deeplab.config.schema import DataConfig
from axial_deeplab.evaluation.evaluate import evaluate
from axial_deeplab.experiments.plots import names_of, panels, require_matplotlib, save
from axial_deeplab.prediction.multi_scale import parse_scales
from axial_deeplab.util.files import atomic_path

SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)

MEASURES = {"PQ": "PQ", "PQ_things": "PQ (things)", "PQ_stuff": "PQ (stuff)"}


@dataclass(frozen=True)
class StressTest:
    """Panoptic quality by weights and scale.

    Args:
        names: names of the weights.
        scales: magnifications of the images.
        qualities: percent, by weights, then scale; keys are those of `MEASURES`, nan where there is none.
    """

    names: tuple[str, ...]
    scales: tuple[float, ...]
    qualities: tuple[tuple[dict[str, float], ...], ...]

    def gains(self, measure: str = "PQ") -> list[float]:
        """Return by how many percent the first weights are better than the second, by scale; nan over 0."""
        first, second = ([quality[measure] for quality in row] for row in self.qualities[:2])
        return [
            100 * (ours / theirs - 1) if theirs else math.nan
            for ours, theirs in zip(first, second, strict=True)
        ]

    def to_text(self) -> str:
        """Return a table: the qualities of each of the weights, percent, and the gain of the first ones."""
        width = max(12, *(len(name) + 2 for name in (*self.names, *MEASURES.values())))
        lines = []
        for measure, title in MEASURES.items():
            lines.append(f"{title:{width}}" + "".join(f"{f'{scale:g}x':>8}" for scale in self.scales))
            for name, row in zip(self.names, self.qualities, strict=True):
                lines.append(f"{name:{width}}" + "".join(_number(quality[measure]) for quality in row))
            if len(self.names) == 2:
                gains = "".join(_number(gain, sign=True) for gain in self.gains(measure))
                lines.append(f"{'gain, %':{width}}{gains}")
        return "\n".join(lines)


def stress_test(
    weights: Sequence[str | os.PathLike[str]],
    data: DataConfig,
    *,
    names: Sequence[str] | None = None,
    scales: Sequence[float] = SCALES,
    limit: int | None = None,
    device: str = "auto",
    progress: bool = False,
    **knobs: Any,
) -> StressTest:
    """Measure panoptic quality with the images magnified before the network sees them.

    The maps of the network are brought back to the size of the image, so that all scales are scored against
    the same ground truth.

    Args:
        weights: files of weights, checkpoints or names of shipped weights, usually two to compare.
        data: the settings of the data set, whose part val it is.
        names: what to call them; None takes the names of the files.
        scales: magnifications.
        limit: only the first so many images, None for as many as the settings say.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...
        progress: show a progress bar for each.
        knobs: arguments of `PostProcessing` that replace those stored with the weights.

    Raises:
        ValueError: an argument, the weights or the data are not valid.
        OSError: a file is missing.
    """
    scales = parse_scales(scales)
    if not weights:
        raise ValueError("weights must be at least one, got none; name those to test")
    names = names_of(weights, names)
    qualities = []
    for each in weights:
        row = []
        for scale in scales:
            result = evaluate(
                each, data, scales=[scale], limit=limit, device=device, progress=progress, **knobs
            )
            row.append({measure: result.summary()[measure] for measure in MEASURES})
        qualities.append(tuple(row))
    return StressTest(tuple(names), tuple(scales), tuple(qualities))


def write_stress_test(result: StressTest, output: str | os.PathLike[str]) -> None:
    """Write the numbers as stress.csv and draw them as stress.png, for two weights with the gain (figure 4).

    Raises:
        ValueError: matplotlib is missing.
        OSError: a file cannot be written.
    """
    require_matplotlib()
    with atomic_path(Path(output) / "stress.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["weights", "scale", *MEASURES])
        for name, row in zip(result.names, result.qualities, strict=True):
            for scale, quality in zip(result.scales, row, strict=True):
                writer.writerow([name, f"{scale:g}", *(f"{quality[key]:.6g}" for key in MEASURES)])
    save(_draw(result), Path(output) / "stress.png")


def magnification_axis(axis: Any, scales: Sequence[float]) -> None:
    """Let the horizontal axis of a panel be magnifications."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
    axis.set_xlabel("magnification of the images")


def _draw(result: StressTest) -> Any:
    """Return a panel for each measure, and for two weights a panel of the gains."""
    gain = [f"{result.names[0]} over {result.names[1]}"] if len(result.names) == 2 else []
    drawing, axes = panels([*MEASURES.values(), *gain])
    for axis, measure in zip(axes, MEASURES, strict=False):
        for name, row in zip(result.names, result.qualities, strict=True):
            axis.plot(result.scales, [quality[measure] for quality in row], marker="o", label=name)
        axis.set_ylabel("percent")
        axis.set_ylim(bottom=0)
    if gain:
        for measure, title in MEASURES.items():
            axes[-1].plot(result.scales, result.gains(measure), marker="o", label=title)
        axes[-1].set_ylabel("gain, percent of the second")
        axes[-1].legend()
    for axis in axes:
        magnification_axis(axis, result.scales)
    axes[0].legend()
    return drawing


def _number(value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return f"{'-':>8}"
    return f"{value:>+8.1f}" if sign else f"{value:>8.1f}"
