"""Finding the image files that a user names, and names for what is made of them."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2")


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    exclude: str | os.PathLike[str] | None = None,
    suffixes: Sequence[str] = SUFFIXES,
) -> dict[str, Path]:
    """Return the image files among files and folders, each once, by names that are unique.

    Args:
        inputs: files, taken whatever their suffix, and folders, searched with their subfolders.
        exclude: a folder inside one of them that is left out, such as the one that is written to.
        suffixes: suffixes of the files in folders that are taken, in lower case.

    Returns:
        Path by name; the name is that of the file, or its path below the folder. If two are equal, the later
        one gets the name of the folder in front, and a number if need be.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: there is no image.
    """
    excluded = None if exclude is None else Path(exclude).resolve()
    found: dict[str, Path] = {}
    seen: set[Path] = set()
    for each in inputs:
        start = Path(each)
        if not start.exists():
            raise FileNotFoundError(
                f"inputs must be files or folders that exist, got {start}; correct the path"
            )
        inside = _files_below(start, excluded, suffixes) if start.is_dir() else [start]
        if not inside:
            raise ValueError(
                f"inputs must have images, got the folder {start} without any ({', '.join(suffixes)})"
            )
        for path in inside:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            name = path.relative_to(start).as_posix() if start.is_dir() else path.name
            found[_unused_name(name, path, start, found)] = path
    if not found:
        raise ValueError("inputs must be at least one image or folder of images, got none; name some")
    return found


def _files_below(folder: Path, excluded: Path | None, suffixes: Sequence[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (excluded is not None and path.resolve().is_relative_to(excluded))
    )


def _unused_name(name: str, path: Path, start: Path, used: Mapping[str, Path]) -> str:
    if name not in used:
        return name
    folder = start.resolve() if start.is_dir() else path.resolve().parent
    name = f"{folder.name}/{name}" if folder.name else name
    stem, suffix = os.path.splitext(name)
    numbered = (f"{stem}_{number}{suffix}" for number in itertools.count(2))
    return name if name not in used else next(other for other in numbered if other not in used)


def numbers_of_names(names: Iterable[str]) -> list[int | None]:
    """Return the numbers that the names are, or None for each if they are not different numbers."""
    stems = [PurePosixPath(name).stem for name in names]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    if len(set(numbers)) < len(stems):
        return [None] * len(stems)
    return list(numbers)
