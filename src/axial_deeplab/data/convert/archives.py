"""Archives as tools export them, unpacked for the time of a conversion."""

import lzma
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from axial_deeplab.util.text import format_bytes

# What an archive may unpack to: so many bytes in any case, or so many times its own size. JSON and XML shrink
# to a twentieth, pictures hardly.
_SURE_BYTES, _MOST_TIMES = 2**30, 100
_IS_UTF_8 = 0x800  # of the flags of an entry
# What its reader raises of damage; a RuntimeError asks for a password.
_DAMAGED = (OSError, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError)


def is_archive(source: Path) -> bool:
    """Tell whether a source is a ZIP file by its name."""
    return source.suffix.lower() == ".zip" and source.is_file()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a ZIP file into a new folder of its name; nothing is written outside of that.

    Args:
        archive: the file.
        folder: where that is made.

    Returns:
        The new folder.

    Raises:
        ValueError: the archive is damaged or locked, its files do not fit, or a name leads out of it.
        OSError: a file cannot be read or written.
    """
    target = Path(tempfile.mkdtemp(dir=folder)) / archive.name  # of which there may be several
    try:
        with zipfile.ZipFile(archive) as file:
            entries = [entry for entry in file.infolist() if not entry.filename.endswith(("/", "\\"))]
            for entry in entries:
                name = PurePosixPath(_name_of(entry).replace("\\", "/"))
                parts = name.parts
                if not parts or name.is_absolute() or ".." in parts or ":" in parts[0]:
                    raise ValueError(
                        f"{archive} must have names of files inside of it, got {entry.filename!r}; "
                        "export it again"
                    )
                entry.filename = str(name)  # where it is extracted to
            size = sum(entry.file_size for entry in entries)
            most = min(shutil.disk_usage(folder).free, max(_SURE_BYTES, _MOST_TIMES * archive.stat().st_size))
            if size > most:
                raise ValueError(
                    f"{archive} must unpack to at most {format_bytes(most)} here, got {format_bytes(size)}; "
                    "unpack it, and give its folder"
                )
            file.extractall(target, entries)
    except (zipfile.BadZipFile, *_DAMAGED) as error:
        if isinstance(error, OSError) and error.filename is not None:  # of the disk, not of the archive
            raise
        raise ValueError(
            f"{archive} must be a complete ZIP archive without password, got: {error}; export it again"
        ) from None
    return target


def _name_of(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry; macOS writes UTF-8 without saying so, which is read as letters of DOS."""
    if entry.flag_bits & _IS_UTF_8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename
