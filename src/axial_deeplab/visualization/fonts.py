"""A font that has the letters of the names that are drawn."""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Looked for among the fonts of the system where Pillow's own lacks a letter: Linux, Windows, macOS.
_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf"),
    *("arial.ttf", "msyh.ttc", "Arial Unicode.ttf"),
)
# No font has a letter for it: what is drawn is the box in place of any that is missing.
_NO_LETTER = "\U0010ffff"


def readable(texts: Sequence[str], size: int) -> tuple[Font, list[str]]:
    """Return a font, and texts that it can draw.

    It is Pillow's own if that has all letters, else the one that has most of them: Matplotlib's (extra
    `plot`) or one of the system. Letters that it lacks become question marks, which a warning tells.

    Args:
        texts: names to draw.
        size: pixels of the font.
    """
    # Composed letters: macOS takes names of files apart, and fonts have no accents to put on others.
    composed = [unicodedata.normalize("NFC", text) for text in texts]
    font, missing = _font_with("".join(sorted(set().union(*composed))), size)
    return font, [text.translate(dict.fromkeys(map(ord, missing), "?")) for text in composed]


@lru_cache(maxsize=64)
def _font_with(letters: str, size: int) -> tuple[Font, str]:
    """Return the font that has most of the letters, and those that it lacks."""
    best: tuple[Font, str] | None = None
    for font in _fonts(size):
        missing = _missing(font, letters)
        if best is None or len(missing) < len(best[1]):
            best = font, missing
        if not missing:
            break
    assert best is not None
    if best[1]:
        warnings.warn(
            f"letters {best[1]} are drawn as question marks, for no font here has them; "
            "install one, such as Noto Sans CJK",
            stacklevel=4,
        )
    return best


def _fonts(size: int) -> Iterator[Font]:
    yield ImageFont.load_default(size)
    places = list(_SYSTEM_FONTS)
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        places.insert(0, str(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"))
    for place in places:
        try:
            yield ImageFont.truetype(place, size)
        except OSError:  # not installed
            continue


def _missing(font: Font, letters: str) -> str:
    box = font.getmask(_NO_LETTER)
    box_pixels = box.size, bytes(box)
    masks = {letter: font.getmask(letter) for letter in letters if not letter.isspace()}
    return "".join(letter for letter, mask in masks.items() if (mask.size, bytes(mask)) == box_pixels)
