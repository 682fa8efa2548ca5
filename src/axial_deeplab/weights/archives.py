"""Unpacking archives of others: files stay inside the folder, and nothing is written if one would not."""

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from axial_deeplab.util.file_names import path_in_folder

# Weights hardly compress: an archive that grows more than this was made to fill a disk.
MOST_EXPANSION = 20
_ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")


class _Member(NamedTuple):
    name: str
    size: int
    is_folder: bool
    is_file: bool


def is_archive(path: Path) -> bool:
    """Return whether the name of a file is that of an archive."""
    return path.name.endswith(_ENDINGS) and path.is_file()


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a folder with the content of an archive, for a while.

    Args:
        path: `*.tar`, `*.tar.gz`, `*.tgz` or `*.zip`.

    Raises:
        ValueError: the archive is damaged, or holds links, paths out of the folder, or far more than
            its size.
        OSError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="axial-deeplab-") as folder:
        try:
            if path.name.endswith(".zip"):
                _unpack_zip(path, Path(folder))
            else:
                _unpack_tar(path, Path(folder))
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            NotImplementedError,
        ) as error:
            raise ValueError(f"{path} must be a complete archive, got: {error}; download it again") from None
        yield Path(folder)


def _unpack_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        members = [_Member(entry.name, entry.size, entry.isdir(), entry.isreg()) for entry in entries]
        _check(path, members)
        for member, entry in zip(members, entries, strict=True):
            source = archive.extractfile(entry) if member.is_file else None
            _write(path, member, source, folder)


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # The upper half of the attributes is the mode of Unix; a link has the type 0o12.
        members = [
            _Member(entry.filename, entry.file_size, entry.is_dir(), entry.external_attr >> 28 != 0o12)
            for entry in entries
        ]
        _check(path, members)
        for member, entry in zip(members, entries, strict=True):
            _write(path, member, None if member.is_folder else archive.open(entry), folder)


def _check(path: Path, members: list[_Member]) -> None:
    for member in members:
        if not (member.is_folder or member.is_file):
            raise ValueError(
                f"{path} must hold files and folders, got the link or device {member.name}; do not use it"
            )
        if Path(member.name) != Path("."):
            try:
                path_in_folder(path, member.name)
            except ValueError:
                raise ValueError(
                    f"{path} must hold paths inside its folder, got {member.name}; do not use it"
                ) from None
    total, limit = sum(member.size for member in members), MOST_EXPANSION * path.stat().st_size + 2**20
    if total > limit:
        raise ValueError(f"{path} must unpack to at most {limit} bytes, got {total}; do not use it")


def _write(path: Path, member: _Member, source: IO[bytes] | None, folder: Path) -> None:
    target = folder / member.name
    if source is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file)
