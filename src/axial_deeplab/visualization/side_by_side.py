"""Pictures in rows and columns with titles: input, ground truth, prediction."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from axial_deeplab.visualization.fonts import readable
from axial_deeplab.visualization.legend import INK, PAPER, LegendEntry, draw_legend

PANEL_WIDTH = 640
"""Width of a column unless told otherwise, pixels."""


def side_by_side(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    *,
    legend: Sequence[LegendEntry] = (),
    panel_width: int = PANEL_WIDTH,
) -> Image.Image:
    """Lay pictures out in a table.

    Args:
        rows: the pictures of each row, as many as there are titles.
        titles: titles of the columns.
        legend: swatches to draw below the table.
        panel_width: width of each column, pixels; pictures are scaled to it and keep their proportions.

    Raises:
        ValueError: there is no row, or a row has another number of pictures than there are titles.
    """
    lengths = {len(row) for row in rows}
    if lengths != {len(titles)} or not titles:
        raise ValueError(
            f"rows must have one picture for each of {len(titles)} titles, got {sorted(lengths)}; add them"
        )
    gap = max(4, panel_width // 64)
    size = max(12, panel_width // 28)
    font, titles = readable(titles, size)
    width = gap + len(titles) * (panel_width + gap)
    scaled = [[scaled_to_width(picture, panel_width) for picture in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in scaled]
    strip = draw_legend(legend, width - gap, size) if legend else None
    title_height = 2 * size
    height = title_height + sum(heights) + gap * len(heights) + (strip.height if strip else 0)
    table = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(table)
    for column, title in enumerate(titles):
        middle = gap + column * (panel_width + gap) + panel_width / 2
        pen.text((middle, title_height / 2), title, fill=INK, font=font, anchor="mm")
    top = title_height
    for row, row_height in zip(scaled, heights, strict=True):
        for column, picture in enumerate(row):
            table.paste(
                picture, (gap + column * (panel_width + gap), top + (row_height - picture.height) // 2)
            )
        top += row_height + gap
    if strip:
        table.paste(strip, (gap // 2, top))
    return table


def scaled_to_width(picture: Image.Image, width: int = PANEL_WIDTH) -> Image.Image:
    """Return a picture as a column of so many pixels shows it."""
    height = max(1, round(picture.height * width / picture.width))
    # Enlarged pictures keep their pixels visible: they show what the network saw.
    enlarged = width > 2 * picture.width
    return picture.convert("RGB").resize(
        (width, height), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    )
