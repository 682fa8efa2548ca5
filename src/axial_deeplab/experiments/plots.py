"""What the plots of the experiments share."""

from typing import Any

from axial_deeplab.util.packages import require_package


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
