"""Contact sheets: many small pictures with their names on one page."""

from collections.abc import Iterable, Iterator, Sequence

from PIL import Image, ImageDraw

from axial_deeplab.visualization.fonts import readable
from axial_deeplab.visualization.legend import INK, PAPER

COLUMNS, ROWS = 8, 12


def contact_sheets(pictures: Iterable[tuple[str, Image.Image]], *, side: int = 220) -> Iterator[Image.Image]:
    """Yield pages of 8 x 12 small pictures; a page is no larger than it needs to be.

    Args:
        pictures: names and pictures, in their order; one of full size is held at a time.
        side: longer side of the small pictures, pixels.
    """
    page: list[tuple[str, Image.Image]] = []
    for name, picture in pictures:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        page.append((name, small))
        if len(page) == COLUMNS * ROWS:
            yield _page(page, side)
            page = []
    if page:
        yield _page(page, side)


def _page(pictures: Sequence[tuple[str, Image.Image]], side: int) -> Image.Image:
    size = max(10, side // 16)
    font, names = readable([name for name, _ in pictures], size)
    width, height = side + size, side + 3 * size
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * width + size, rows * height + size), PAPER)
    pen = ImageDraw.Draw(page)
    for place, (name, (_, picture)) in enumerate(zip(names, pictures, strict=True)):
        row, column = divmod(place, columns)
        left, top = size + column * width, size + row * height
        page.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
        text = name
        while len(text) > 1 and font.getlength(text) > side:  # the end of a path tells most
            text = f"\u2026{text[2:]}"
        pen.text((left + side / 2, top + side + size), text, fill=INK, font=font, anchor="mm")
    return page
