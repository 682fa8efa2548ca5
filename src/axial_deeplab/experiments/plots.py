"""What the plots of the experiments share."""

from types import ModuleType
from typing import Any

from axial_deeplab.util.packages import require_package


def require_matplotlib() -> ModuleType:
    """Return matplotlib's figure module; no window system is touched.

    Raises:
        ValueError: matplotlib is missing.
    """
    require_package("matplotlib", "plot", "a plot needs")
    from matplotlib import figure

    return figure


def panels(titles: list[str], *, panel_size: tuple[float, float] = (4.0, 3.2)) -> tuple[Any, list[Any]]:
    """Return a figure with one panel for each title, side by side, and the panels.

    Args:
        titles: titles of the panels.
        panel_size: width and height of a panel, inches.
    """
    width, height = panel_size
    drawing = require_matplotlib().Figure(figsize=(width * len(titles), height), layout="constrained")
    axes = list(drawing.subplots(1, len(titles), squeeze=False)[0])
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.grid(alpha=0.3)
    return drawing, axes
