"""What a benchmark has measured: its table, JSON and plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axial_deeplab.benchmark.attention import Ceiling
from axial_deeplab.benchmark.measure import Measurement, describe_machine
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.packages import require_package


@dataclass(frozen=True)
class Section:
    """What was measured in one interleaved run.

    Attributes:
        what: the computation, such as "forward and backward".
        case: its subject, such as the shape of the layer.
        measurements: one for each candidate; ratios are against the first.
        ceiling_share: for each candidate, the share of the machine's ceiling that it reached; empty where
            that was not measured.
        size: pixels of an image, or the length of an axis, for the plot.
        size_name: what stands at this size in the plot.
    """

    what: str
    case: str
    measurements: Sequence[Measurement]
    ceiling_share: Sequence[float] = ()
    size: int | None = None
    size_name: str = ""

    @property
    def title(self) -> str:
        """Headline of the table."""
        return f"{self.what}: {self.case}"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        rows = [measurement.to_json() for measurement in self.measurements]
        for row, share in zip(rows, self.ceiling_share, strict=False):
            row["share_of_ceiling"] = round(share, 4)
        return {"title": self.title, "size": self.size, "rows": rows}


@dataclass(frozen=True)
class Report:
    """Sections, the machine on which they were measured, and by which clock; `size_means` is for the plot.

    `published_ms` are times that the paper prints, by what they are of.
    """

    sections: Sequence[Section]
    machine: dict[str, Any] = field(default_factory=describe_machine)
    ceiling: Ceiling | None = None
    cpu_time: bool = False
    size_means: str = "image, pixels"
    published_ms: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        ceiling = {"ceiling": self.ceiling.to_json()} if self.ceiling else {}
        sections = [section.to_json() for section in self.sections]
        published = {"published_ms": self.published_ms} if self.published_ms else {}
        return {
            "machine": self.machine,
            "cpu_time": self.cpu_time,
            **ceiling,
            "sections": sections,
            **published,
        }

    def to_text(self) -> str:
        """Return tables in Markdown, which also reads well in a terminal."""
        lines = [describe(self.machine)]
        if self.ceiling:
            bandwidth, rate = self.ceiling.bytes_per_second / 1e9, self.ceiling.operations_per_second / 1e9
            lines.append(f"Ceiling: copying {bandwidth:.1f} GB/s, matrix product {rate:.0f} GFLOP/s.")
        if self.cpu_time:
            lines.append("Times are those of the processor, all threads together.")
        for section in self.sections:
            lines += ["", f"**{section.title}**", "", *_table(section)]
        lines += [f"\nPublished: {what}, {ms} ms." for what, ms in self.published_ms.items()]
        return "\n".join(lines)


def describe(machine: dict[str, Any]) -> str:
    """Return the machine in one line."""
    units = "/".join(machine["vector_units"])
    libraries = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    gpu = f"; {machine['gpu']}" if machine["gpu"] else ""
    return f"{machine['processor']} ({units}), {machine['threads']} threads{gpu}; {libraries}"


def _table(section: Section) -> list[str]:
    shares = list(section.ceiling_share)
    header = ["", "median ms", "quartiles", "times faster", "peak MB"] + ["of ceiling"] * bool(shares)
    lines = [" | ".join(["", *header, ""]).strip(), "| --- |" + " ---: |" * (len(header) - 1)]
    for i, row in enumerate(section.measurements):
        low, high = row.spread_ms
        peak = (
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}" if row.peak_mb >= 10 else f"{row.peak_mb:.1f}"
        )
        cells = [row.label, _ms(row.median_ms), f"{_ms(low)} to {_ms(high)}", f"{row.ratio:.2f}", peak]
        cells += [f"{100 * shares[i]:.0f} %"] if shares else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ms(milliseconds: float) -> str:
    """Three significant digits."""
    digits = max(0, 2 - math.floor(math.log10(milliseconds))) if milliseconds > 0 else 0
    return f"{milliseconds:.{digits}f}"


def draw(report: Report, path: Path) -> None:
    """Draw time and memory of every candidate against the size.

    Raises:
        ValueError: fewer than two sizes were measured, or matplotlib is missing.
    """
    kinds = {section.what for section in report.sections}
    curves: dict[str, list[tuple[int, Measurement]]] = {}
    for section in report.sections:
        for row in section.measurements:
            if section.size is not None:
                label = row.label if len(kinds) == 1 else f"{row.label}, {section.what}"
                curves.setdefault(label, []).append((section.size, row))
    curves = {label: points for label, points in curves.items() if len(points) > 1}
    if not curves:
        raise ValueError(
            "plot must have at least two sizes, got one; give several, such as --input 224x224 448x448"
        )
    require_package("matplotlib", "plot", "plots need")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for label, points in curves.items():
        sizes = [size for size, _ in points]
        time_axes.loglog(sizes, [row.median_ms for _, row in points], marker="o", label=label)
        peaks = [row.peak_mb for _, row in points]
        if all(peak is not None and peak > 0 for peak in peaks):
            memory_axes.loglog(sizes, peaks, marker="o", label=label)
    names = {section.size: section.size_name for section in report.sections if section.size is not None}
    for axes, what in ((time_axes, "median time (ms)"), (memory_axes, "peak memory (MB)")):
        axes.set_xticks(list(names), list(names.values()), rotation=30, ha="right")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(report.size_means)
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
    time_axes.legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.lstrip(".") or "png")
