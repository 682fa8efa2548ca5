"""Finding the image files that a user names, and names for what is made of them."""

import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from axial_deeplab.util.text import shortened

# What Pillow reads, under every name that a program saves it by: Windows calls a JPEG .jfif.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    # TIFF of microscopes and scanners, and large ones.
    *(".lsm", ".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".btf", ".tf2", ".tf8"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# What a folder has that is a group or an array of Zarr.
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray")
# Image ids beyond this do not fit into the 64 bits with a sign that other readers keep them in.
MAX_IMAGE_ID = 2**63 - 1


def is_hidden(name: str) -> bool:
    """Tell whether programs hide a file or folder: by a point, or as macOS does in ZIP files."""
    return (name.startswith(".") and name != "..") or name == "__MACOSX"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a group or an array of Zarr."""
    return any((path / name).is_file() for name in _OF_ZARR)


def list_files(folder: Path, suffixes: Sequence[str] | None = None, *, recursive: bool = False) -> list[Path]:
    """Return the files in a folder, sorted, without those that programs hide.

    macOS leaves `._a.png` beside `a.png` on drives of others, and `__MACOSX/._a.png` in archives: no images.
    A link that leads nowhere is a file, so that who reads it names it: tools that keep large files elsewhere
    leave such links for what was not fetched.

    Args:
        folder: folder to list; none of the files is in one that does not exist.
        suffixes: suffixes of the files that are wanted, in lower case; None wants all.
        recursive: list subfolders, too, but not those that are hidden.
    """
    return sorted(
        path
        for path in folder.glob("**/*" if recursive else "*")
        if (suffixes is None or path.suffix.lower() in suffixes)
        and not any(map(is_hidden, path.relative_to(folder).parts))
        and (path.is_file() or (path.is_symlink() and not path.exists()))
    )


def list_subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones; none are in one that does not exist."""
    return sorted(path for path in folder.glob("*") if path.is_dir() and not is_hidden(path.name))


def linked_folders(folder: Path) -> list[Path]:
    """Return the links to folders in a folder, which `list_files` does not follow, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_symlink() and path.is_dir() and not any(map(is_hidden, path.relative_to(folder).parts))
    )


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
        suffixes: suffixes of the files in folders that are taken, in lower case. A warning counts the others.

    Returns:
        Path by name; the name is that of the file, or its path below the folder. If two are equal, the later
        one gets the name of the folder in front, and a number if need be.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: there is no image.
    """
    excluded = None if exclude is None else Path(exclude).resolve()
    found: dict[str, Path] = {}
    seen: set[str] = set()
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
            target = os.path.realpath(path)  # unlike `resolve`, also of links in a circle
            if target in seen:
                continue
            seen.add(target)
            name = path.relative_to(start).as_posix() if start.is_dir() else path.name
            found[_unused_name(name, path, start, found)] = path
    if not found:
        raise ValueError("inputs must be at least one image or folder of images, got none; name some")
    return found


def _files_below(folder: Path, excluded: Path | None, suffixes: Sequence[str]) -> list[Path]:
    files = [
        path
        for path in list_files(folder, recursive=True)
        if excluded is None or not Path(os.path.realpath(path)).is_relative_to(excluded)
    ]
    wanted = [path for path in files if path.suffix.lower() in suffixes]
    others = [path for path in files if path.suffix.lower() not in suffixes]
    zarrs: list[Path] = []
    if others:  # as the parts of an array are
        within = {path.parent for path in folder.rglob("*") if path.name in _OF_ZARR} - {folder}
        zarrs = sorted(path for path in within if within.isdisjoint(path.parents))
        others = [path for path in others if within.isdisjoint(path.parents)]
    if wanted:
        _warn_of_others(folder, others, zarrs, excluded)
    elif zarrs:
        raise ValueError(
            f"inputs must be images and folders of them, got {zarrs[0]} in {folder}; name it itself"
        )
    return wanted


def _warn_of_others(
    folder: Path, others: Sequence[Path], zarrs: Sequence[Path], excluded: Path | None
) -> None:
    """Tell what a folder has that is passed over: who does not count would believe that all was done."""
    kinds = Counter(path.suffix.lower() or "without suffix" for path in others)
    told = [f"{number} {kind}" for kind, number in kinds.most_common()]
    links = [path for path in linked_folders(folder) if path.resolve() != excluded]
    if zarrs:
        told.append(f"{len(zarrs)} Zarr ({zarrs[0].name})")
    if links:
        told.append(f"{len(links)} link{'s' * (len(links) > 1)} to a folder ({links[0].name})")
    if told:
        first = (*others, *zarrs, *links)[0].relative_to(folder)
        warnings.warn(
            f"{folder}: left out {shortened(told)}, such as {first}; save pictures as one of "
            f"{', '.join(SUFFIXES[:5])} ..., and name Zarr and linked folders themselves",
            stacklevel=4,
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
    """Return the numbers that the names are, or None for each if not different numbers of 63 bits."""
    stems = [PurePosixPath(name).stem for name in names]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    if len(set(numbers)) < len(stems) or max(numbers, default=0) > MAX_IMAGE_ID:
        return [None] * len(stems)
    return list(numbers)
