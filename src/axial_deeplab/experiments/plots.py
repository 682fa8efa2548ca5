"""What the pictures of the experiments share."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.packages import require_package

SUFFIXES = (".png", ".pdf", ".svg")


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib.

    Raises:
        ValueError: it is missing.
    """
    require_package("matplotlib", "plot", "a plot needs")


def panels(titles: list[str], *, panel_size: tuple[float, float] = (4.0, 3.2)) -> tuple[Any, list[Any]]:
    """Return a figure with one panel for each title, side by side, and the panels.

    Args:
        titles: titles of the panels.
        panel_size: width and height of a panel, inches.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # which touches no window system

    width, height = panel_size
    drawing = Figure(figsize=(width * len(titles), height), layout="constrained")
    axes = list(drawing.subplots(1, len(titles), squeeze=False)[0])
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.grid(alpha=0.3)
    return drawing, axes


def save(drawing: Any, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Write a figure."""
    with atomic_path(path) as temporary:
        drawing.savefig(temporary, dpi=dpi)


def require_suffix(output: str | os.PathLike[str], suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse a picture of another kind, before anything is computed for it.

    Raises:
        ValueError: the name ends otherwise.
    """
    if Path(output).suffix.lower() not in suffixes:
        *first, last = suffixes
        kinds = f"{', '.join(first)} or {last}" if first else last
        raise ValueError(f"output must end in {kinds}, got {output}; give another name")


def names_of(weights: Sequence[str | os.PathLike[str]], names: Sequence[str] | None) -> Sequence[str]:
    """Return what to call weights: as it is given, or else as their files.

    Raises:
        ValueError: there are more or fewer names than weights.
    """
    if names is None:
        return [Path(each).stem for each in weights]
    if len(names) != len(weights):
        raise ValueError(f"names must be {len(weights)}, one for each weights, got {len(names)}; name all")
    return names
