"""Archives as tools export them, unpacked for the time of a conversion."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

# What an archive may unpack to: so many bytes in any case, or so many times its own size. JSON and XML shrink
# to a twentieth, pictures hardly.
_SURE_BYTES, _MOST_TIMES = 2**30, 100


def is_archive(source: Path) -> bool:
    """Tell whether a source is a ZIP file by its name."""
    return source.suffix.lower() == ".zip" and source.is_file()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a ZIP file into a folder of its name; nothing is written outside of that.

    Args:
        archive: the file.
        folder: where the new folder is made.

    Returns:
        The new folder.

    Raises:
        ValueError: the archive is damaged or locked, its files do not fit, or a name leads out of it.
        OSError: a file cannot be read or written.
    """
    target = folder / archive.name
    try:
        with zipfile.ZipFile(archive) as file:
            entries = [entry for entry in file.infolist() if not entry.is_dir()]
            for entry in entries:
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                    raise ValueError(
                        f"{archive} must have names of files inside of it, got {entry.filename!r}; "
                        "export it again"
                    )
            size = sum(entry.file_size for entry in entries)
            most = min(
                shutil.disk_usage(folder).free,
                max(_SURE_BYTES, _MOST_TIMES * archive.stat().st_size),
            )
            if size > most:
                raise ValueError(
                    f"{archive} must unpack to at most {most / 1e9:,.1f} GB here, got {size / 1e9:,.1f} GB; "
                    "unpack it, and give its folder"
                )
            file.extractall(target, entries)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # A RuntimeError asks for a password.
        raise ValueError(
            f"{archive} must be a complete ZIP archive without password, got: {error}; export it again"
        ) from None
    return target
