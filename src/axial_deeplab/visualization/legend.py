"""Strips of color swatches with names."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from axial_deeplab.panoptic.categories import Color
from axial_deeplab.visualization.fonts import readable
from axial_deeplab.visualization.labels import font_size

PAPER: Color = (255, 255, 255)
INK: Color = (32, 33, 36)


class LegendEntry(NamedTuple):
    """One swatch of a legend, hatched if it has a second color."""

    name: str
    color: Color
    stripe: Color | None = None


def append_legend(picture: Image.Image, entries: Sequence[LegendEntry]) -> Image.Image:
    """Return the picture with a legend below it, on wider paper if a name needs it."""
    strip = draw_legend(entries, picture.width, max(12, font_size(*picture.size)))
    result = Image.new("RGB", (max(picture.width, strip.width), picture.height + strip.height), PAPER)
    result.paste(picture, (0, 0))
    result.paste(strip, (0, picture.height))
    return result


def draw_legend(entries: Sequence[LegendEntry], width: int, size: int) -> Image.Image:
    """Draw a legend in as many lines as it needs.

    Args:
        entries: the entries, in their order.
        width: pixels of the strip; a name that is longer makes it wider.
        size: pixels of the font.
    """
    font, names = readable([entry.name for entry in entries], size)
    gap = size // 2
    line_height = size + gap + 2
    places = []
    needed = 0
    x, y = gap, gap
    for name in names:
        entry_width = size + gap + round(font.getlength(name)) + 2 * gap
        if x > gap and x + entry_width - 2 * gap > width:
            x, y = gap, y + line_height
        places.append((x, y))
        x += entry_width
        needed = max(needed, x - gap)
    strip = Image.new("RGB", (max(width, needed), y + line_height if entries else 0), PAPER)
    pen = ImageDraw.Draw(strip)
    for entry, name, (x, y) in zip(entries, names, places, strict=True):
        swatch = Image.new("RGB", (size, size), entry.color)
        if entry.stripe is not None:
            for offset in range(-size, 2 * size, max(4, size // 3)):
                ImageDraw.Draw(swatch).line(
                    (offset, 0, offset - size, size), fill=entry.stripe, width=max(1, size // 10)
                )
        strip.paste(swatch, (x, y))
        pen.text((x + size + gap, y + size / 2), name, fill=INK, font=font, anchor="lm")
    return strip
