"""Words of the command line and lists in messages."""

import unicodedata
from collections.abc import Iterable, Sequence

LONGEST_SIDE = 2**15


def parse_size(text: str, name: str = "input") -> tuple[int, int]:
    """Return the height and width in pixels of, say, `1025x2049`; a single number is a square.

    Args:
        text: size as the command line takes it.
        name: option that the error names.

    Raises:
        ValueError: the text is no such size.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= LONGEST_SIDE for part in parts):
        raise ValueError(
            f"{name} must be HEIGHTxWIDTH in pixels, got {text}; write it as 1025x2049 or 224, "
            f"no side above {LONGEST_SIDE}"
        )
    return int(parts[0]), int(parts[-1])


def format_size(size: tuple[int, int]) -> str:
    """Return a height and width as `parse_size` reads them."""
    return f"{size[0]}x{size[1]}"


def format_bytes(num: int) -> str:
    """Return a number of bytes in KB, MB or GB (powers of 1000), the largest of which it has one at least."""
    size, unit = next(((size, unit) for size, unit in ((1e9, "GB"), (1e6, "MB")) if num >= size), (1e3, "KB"))
    return f"{num / size:,.1f} {unit}"


def shortened(values: Sequence[object], limit: int = 5) -> str:
    """Return the first `limit` values, and how many more there are."""
    shown = ", ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def clipped(value: object, limit: int = 60) -> str:
    """Return a value as Python writes it, of a long one the first characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def one_line(error: Exception | str) -> str:
    """Return what an error says without breaks of lines, its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a table as Markdown.

    Args:
        header: titles of the columns.
        rows: cells of each row.
        texts: how many columns, from the first, stand on the left; numbers stand on the right.
    """
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def spelled_alike(name: str) -> str:
    """Return what names share that differ in capitals, or in how accents are composed, alone."""
    return unicodedata.normalize("NFC", name).casefold()
