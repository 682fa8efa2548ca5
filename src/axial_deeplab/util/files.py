"""Writing files so that a reader never sees half of one, and a killed process leaves nothing for long."""

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# What the system says where there is no room: on the disk, for this user, in a file.
NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
# Short, whatever the name of the file, which may be as long as the file system allows.
_PREFIX = ".axial-deeplab-"
# First bytes, in lower case, of what programs leave in the place of a file -> what it is, what to do.
_PAGE = ("a web page", "download the file again, by its address for raw files")
_IN_ITS_PLACE = {
    b"version https://git-lfs.github.com/spec/": ("a pointer of Git LFS", "run git lfs pull in its folder"),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
}
_cleared: set[tuple[Path, str]] = set()


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes.

    Raises:
        OSError: it cannot be opened, or is a pipe or a device, which may never begin or end, or is what came
            in the place of the file.
    """
    file = open(path, "rb", opener=_open_file)  # noqa: SIM115  # which is the caller's to close
    head = file.peek(64)[:64].lstrip().lower()
    for beginning, (found, remedy) in _IN_ITS_PLACE.items():
        if head.startswith(beginning):
            file.close()
            raise OSError(f"{path} must be the file itself, got {found} in its place; {remedy}")
    return file


def bytes_of(path: str | os.PathLike[str]) -> bytes:
    """Read a file that `opened` opens."""
    with opened(path) as file:
        return file.read()


def _open_file(path: str, flags: int) -> int:
    # Without waiting for a program that may write into a pipe.
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _refuse_special(path, os.fstat(handle).st_mode)
    except OSError:
        os.close(handle)
        raise
    return handle


def refuse_special_file(path: Path) -> None:
    """Refuse to write to what is there and no file.

    Raises:
        OSError: the path is that of a pipe or a device.
    """
    if path.exists():
        _refuse_special(path, path.stat().st_mode)


def _refuse_special(path: str | os.PathLike[str], mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, the system itself tells what it is
        raise OSError(f"{path} must be a file, got a pipe or a device; give the path of a file")


@contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file or folder that is written where it has no room: errors may name nothing, or hide why.

    Raises:
        OSError: there is no room.
    """
    try:
        yield
    except Exception as error:
        full = _full_disk(error)
        name = None if full is None else full.filename2 or full.filename
        if full is None or (name is not None and _PREFIX not in str(name)):
            raise
        raise OSError(full.errno, full.strerror, str(path)) from None


def _full_disk(error: BaseException | None) -> OSError | None:
    """Return the error of the system that there is no room, which may be behind that of a library."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return error
        # That of safetensors, and of NumPy, which tells how many bytes.
        if re.search(rf"{os.strerror(errno.ENOSPC)}|\d requested and \d+ written", str(error)):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        error = error.__context__
    return None


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The first call for a folder removes there what killed processes left.

    Args:
        path: the final file; its folder is made if it is missing.

    Raises:
        OSError: the folder cannot be made or written.
    """
    final = Path(path)
    refuse_special_file(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent)
    handle, temporary = _locked(
        lambda: tempfile.mkstemp(dir=final.parent, prefix=_PREFIX, suffix=final.suffix)
    )
    try:
        with naming_full_disk(final):
            yield temporary
        # mkstemp makes files private; a result should have the permissions that the user's umask gives.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
        _release(handle)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, in UTF-8, by `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` on success, remove it on failure.

    The first call beside a folder removes there what killed processes left.

    Args:
        path: the final folder; it must not exist yet, or be empty.

    Raises:
        ValueError: the folder exists and is not empty.
        OSError: the parent cannot be made or written.
    """
    final = Path(path)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise ValueError(f"output must be a new or empty folder, got {final}; choose another or remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    with temporary_directory(final.parent, _PREFIX) as temporary:
        with naming_full_disk(final):
            yield temporary
        temporary.chmod(0o777 & ~_umask())
        if final.exists():
            final.rmdir()
        temporary.rename(final)


@contextmanager
def temporary_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder and remove it at the end, before that those of killed processes.

    Raises:
        OSError: the parent cannot be written.
    """
    remove_leftovers(parent, prefix)
    handle, temporary = _locked(lambda: _opened(tempfile.mkdtemp(prefix=prefix, dir=parent)))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _release(handle)


def remove_leftovers(folder: Path, prefix: str = _PREFIX) -> None:
    """Remove temporary files and folders of processes that are gone, once in the life of this process.

    A process holds a lock on what it writes, which the system releases when it dies. Where there are no such
    locks, as on Windows, nothing is removed.
    """
    folder = folder.resolve()
    if fcntl is None or (folder, prefix) in _cleared:
        return
    _cleared.add((folder, prefix))
    for path in folder.glob(f"{prefix}*"):
        _remove_unless_locked(path)


def remove_leftovers_below(folder: Path) -> None:
    """Remove temporary files in a folder and all below it, as of workers that were lost while this runs on.

    See `remove_leftovers`.
    """
    if fcntl is not None:
        for path in list(folder.rglob(f"{_PREFIX}*")):
            _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(handle)


def open_alone(path: Path) -> IO[bytes]:
    """Open what one run at a time may append to and read; it is locked until it is closed.

    Args:
        path: file; made if it is missing, with its folder.

    Raises:
        BlockingIOError: another process has it open.
        OSError: it cannot be written, or is no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_special_file(path)
    file = path.open("a+b")
    if not lock_file(file):
        file.close()
        raise BlockingIOError(
            f"output must be written by one run at a time, got {path} in use; wait for the other run or "
            "give another folder"
        )
    return file


def lock_file(file: IO[bytes]) -> bool:
    """Lock an open file for this process until it is closed; say whether nobody else holds it.

    Where there are no such locks, as on Windows, the answer is always yes.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some file systems have no locks
        return True
    return os.fstat(file.fileno()).st_nlink > 0


def _locked(make: Callable[[], tuple[int | None, str]]) -> tuple[int | None, Path]:
    """Make a temporary file or folder and lock it: the open handle that holds the lock, and the path."""
    while True:
        handle, name = make()
        if handle is None or fcntl is None:
            _release(handle)
            return None, Path(name)
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process took it for a leftover just before


def _opened(folder: str) -> tuple[int | None, str]:
    return (None if fcntl is None else os.open(folder, os.O_RDONLY)), folder


def _release(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
