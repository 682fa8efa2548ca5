"""Names of files that other files give: inside their folder, and however a program spells them."""

import os
import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from axial_deeplab.util.text import spelled_alike

# Parts between slashes that begin with a letter, digit or dash: the path stays inside its folder everywhere.
_PLAIN_PATH = re.compile(r"(?:[\w-][\w .-]*/)*[\w-][\w .-]*")


def path_in_folder(folder: str | os.PathLike[str], file_name: str) -> Path:
    """Return the path of a file that a JSON names, inside `folder`.

    Raises:
        ValueError: the name leaves the folder.
    """
    _refuse_outside(folder, file_name)
    return Path(folder) / file_name


def _refuse_outside(folder: str | os.PathLike[str], file_name: str) -> None:
    if _PLAIN_PATH.fullmatch(file_name):
        return
    windows = PureWindowsPath(file_name)
    for flavor in (PurePosixPath(file_name), windows):
        # C:a.png names a drive on Windows alone; elsewhere it is a file like others.
        has_drive = bool(windows.drive) and (os.name == "nt" or windows.drive.startswith("\\"))
        if has_drive or flavor.root or ".." in flavor.parts or not flavor.parts:
            raise ValueError(
                f"file_name must stay inside {folder}, got {file_name!r}; use a relative path without '..'"
            )


def require_text(file_name: str) -> None:
    """Refuse a name whose bytes are no UTF-8: a JSON that has it is none to other readers.

    Raises:
        ValueError: the name is no text.
    """
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"file_name must be a text in UTF-8, got {file_name!a}; rename the file") from None


class NamedFiles:
    """The files that a JSON names in a folder, however the program that wrote it spells their names.

    A backslash separates folders where no file has that name (Windows). Accents as one code point or two
    (macOS) and capitals are the same where they leave no choice.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._names: dict[Path, tuple[frozenset[str], dict[str, list[str]]]] = {}

    def path(self, file_name: str) -> Path:
        """Return the path of a file; as the JSON has it if there is none.

        Raises:
            ValueError: the name leaves the folder.
        """
        _refuse_outside(self.folder, file_name)
        found = self._found(file_name)
        if found is None and "\\" in file_name:
            found = self._found(file_name.replace("\\", "/"))
        return self.folder / file_name if found is None else found

    def _found(self, file_name: str) -> Path | None:
        found = self.folder
        for part in PurePath(file_name).parts if "/" in file_name else (file_name,):
            if found not in self._names:
                names = os.listdir(found) if found.is_dir() else ()
                alike: dict[str, list[str]] = {}
                for name in names:
                    alike.setdefault(spelled_alike(name), []).append(name)
                self._names[found] = frozenset(names), alike
            exact, alike = self._names[found]
            if part not in exact:
                candidates = alike.get(spelled_alike(part), [])
                if len(candidates) != 1:
                    return None
                part = candidates[0]
            found = found / part
        return found
