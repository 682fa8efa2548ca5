"""Accuracy on ImageNet against parameters and multiply-adds (figure 3 and table 10 of the paper)."""

import os
from collections.abc import Iterable, Sequence

from axial_deeplab.accounting.accuracies import Report
from axial_deeplab.accounting.published import ACCURACIES, PublishedRow
from axial_deeplab.experiments.plots import panels, require_matplotlib, require_suffix, save

# What the paper draws as one line each: the beginning of the labels.
FAMILIES = (
    "ResNet-50",
    "Conv-Stem + Attention",
    "PS-Attention",
    "Conv-Stem + Axial-Attention",
    "Full Attention",
    "Full Axial-Attention",
)
COSTS = {"parameters, millions": "params_m", "multiply-adds, billions": "madds_b"}


def width_families() -> dict[str, list[PublishedRow]]:
    """Return the published rows of tables 1 and 10 by family, from the narrowest network to the widest."""
    tables = [rows for title, rows in ACCURACIES.items() if "ImageNet" in title]
    rows = {row.label: row for table in tables for row in table}.values()
    families: dict[str, list[PublishedRow]] = {family: [] for family in FAMILIES}
    for row in sorted(rows, key=lambda row: row.params_m or 0):
        label = row.label.replace("Conv-Stem + PS-Attention", "PS-Attention")
        family = max((each for each in FAMILIES if label.startswith(each)), key=len)
        families[family].append(row)
    return families


def widths_table(reports: Sequence[Report] = ()) -> str:
    """Return a line for each network: published parameters, multiply-adds and top-1, and one's own top-1."""
    width = max(len(row.label) for row in _rows()) + 2
    titles = ("params M", "M-Adds B", "top-1", *(["here"] if reports else []))
    lines = [" " * width + "".join(f"{title:>10}" for title in titles)]
    for row in _rows():
        own = ", ".join(f"{score:.1f}" for score in _own(row, reports))
        cells = (str(row.params), str(row.madds), f"{row.scores['top-1']:.1f}", *([own] if own else []))
        lines.append(f"{row.label:{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def draw_widths(output: str | os.PathLike[str], reports: Sequence[Report] = ()) -> None:
    """Draw top-1 against parameters and multiply-adds: published lines, and stars for one's own results.

    Args:
        output: picture, PNG, PDF or SVG.
        reports: what `accounting.accuracies.read_reports` found.

    Raises:
        ValueError: matplotlib is missing, or the picture is of another kind.
        OSError: the picture cannot be written.
    """
    require_matplotlib()
    require_suffix(output)
    drawing, axes = panels(list(COSTS), panel_size=(5.0, 4.0))
    for axis, cost in zip(axes, COSTS.values(), strict=True):
        for family, rows in width_families().items():
            places = [getattr(row, cost) for row in rows]
            (line,) = axis.plot(places, [row.scores["top-1"] for row in rows], marker="o", label=family)
            own = [(getattr(row, cost), score) for row in rows for score in _own(row, reports)]
            if own:
                style = {"color": line.get_color(), "markersize": 12, "label": f"{family}, here"}
                axis.plot(*zip(*own, strict=True), "*", **style)
        axis.set_ylabel("top-1 on ImageNet, percent")
    axes[0].legend(fontsize="x-small")
    save(drawing, output)


def _rows() -> list[PublishedRow]:
    return [row for rows in width_families().values() for row in rows]


def _own(row: PublishedRow, reports: Iterable[Report]) -> list[float]:
    return [report.scores["top-1"] for report in reports if report.belongs_to(row)]
