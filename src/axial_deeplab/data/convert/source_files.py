"""The files of a source, which is a file or a folder, and what is in them."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from axial_deeplab.data.image_files import list_files
from axial_deeplab.util.files import bytes_of

# Folders of parts that are to stay apart, and what those are called in what is written.
PARTS = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("val", "valid", "validation"), "val")
PARTS |= {"test": "test"}
# Files of a folder that tell its kind.
_LOOKED_AT = 8


def text_of(path: Path) -> str:
    """Return the text of a file, in UTF-8 with a byte order mark or without.

    Raises:
        ValueError: it is no text.
        OSError: it cannot be opened.
    """
    try:
        return bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text in UTF-8, got other bytes; export it again") from None


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """Return the files of some suffixes, in lower case: the source itself, or those in it."""
    if source.is_file():
        return [source] if source.suffix.lower() in suffixes else []
    return list_files(source, suffixes, recursive=True)


def part_of(file: PurePath) -> str:
    """Return the part that the folders of a path name, such as train; nothing if they name none."""
    return next((PARTS[name.lower()] for name in file.parts[:-1] if name.lower() in PARTS), "")


def folder_of(source: Path) -> Path:
    """Return a source that is a folder, or the folder of a file."""
    return source if source.is_dir() else source.parent


def any_json(source: Path, is_kind: Callable[[Any], bool]) -> bool:
    """Tell whether one of the JSON files of a source is of a kind; of many, the smallest are looked at."""
    files = sorted(files_of(source, ".json"), key=lambda path: path.stat().st_size)
    return any(is_kind(_json_or_none(path, path.stat().st_mtime_ns)) for path in files[:_LOOKED_AT])


@lru_cache(maxsize=_LOOKED_AT)
def _json_or_none(path: Path, changed: int) -> Any:
    """Return what a JSON file has, None if it is none: each kind looks at it."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
