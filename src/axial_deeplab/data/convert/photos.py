"""The pictures that files of annotations name, found in a folder."""

import itertools
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.util.text import shortened, spelled_alike

# Suffixes of what lies beside pictures under their names.
_OF_ANNOTATIONS = (".json", ".geojson", ".txt", ".zip", ".roi", ".xml", ".csv", ".npy", ".xcf")
# What Label Studio writes in front of the names of uploads.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-", re.IGNORECASE)


class Photos:
    """The pictures in a folder, found by what files of annotations call them.

    Those files name paths of the machine that wrote them. Only pictures that are listed in the folder are
    found, so that no name leads out of it: the one whose path ends with the same folders and file as the
    name.

    Args:
        folder: folder of the pictures and of subfolders with pictures.
        exclude: subfolders that have none, such as those of masks.
        endings: what names of files end with that are none, without their suffix.
    """

    def __init__(self, folder: Path, *, exclude: Collection[str] = (), endings: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._used: set[Path] = set()
        self._whole: set[str] = set()
        self._by_name: dict[str, list[Path]] = {}
        for path in list_files(folder, SUFFIXES, recursive=True):
            inside = path.relative_to(folder).parts[:-1]
            if not set(exclude) & set(inside) and not path.stem.endswith(endings):
                for name in (path.name, path.stem + "/"):  # "/" is in no name of a file
                    self._by_name.setdefault(spelled_alike(name), []).append(path)

    def find(self, name: str, where: str) -> Path:
        """Return the picture of a name.

        Raises:
            FileNotFoundError: there is none, or several are as likely.
        """
        return self._found(name, where, lambda path: path.name)

    def expect(self, names: Iterable[str]) -> None:
        """Say all names that will be asked for: the picture of one with its suffix is not that of its stem.

        Of a.png and a.tif, `predict --save` calls the files of the second a.tif.zip and so on.

        Args:
            names: paths of annotations below their folder, without the suffix of these.
        """
        parts = [_parts(spelled_alike(name)) for name in names]
        self._whole = {"/".join(each[place:]) for each in parts for place in range(len(each))}

    def find_stem(self, name: str, where: str) -> Path:
        """Return the picture of a name without its suffix, or with it, where two have one stem.

        Raises:
            FileNotFoundError: there is none, or several are as likely.
        """
        if self.knows(name):
            return self.find(name, where)
        return self._found(name, where, lambda path: path.stem, "/")

    def file_name(self, path: Path) -> str:
        """Return the name of a picture in the data set that is written: its path below the folder."""
        return path.relative_to(self.folder).as_posix()

    def knows(self, name: str) -> bool:
        """Return whether a picture of this name, without its folders, is there."""
        last = spelled_alike(_parts(name)[-1])
        return last in self._by_name or _UPLOADED.sub("", last) in self._by_name

    def knows_stem(self, name: str) -> bool:
        """Return whether a picture of this name without its suffix is there."""
        return spelled_alike(_parts(name)[-1]) + "/" in self._by_name

    def only(self) -> Path:
        """Return the only picture.

        Raises:
            FileNotFoundError: there are others, or none.
        """
        paths = {path for paths in self._by_name.values() for path in paths}
        if len(paths) != 1:
            raise FileNotFoundError(
                f"{self.folder} must have the one picture of the file, got {len(paths)}; name the file as it"
            )
        self._used |= paths
        return paths.pop()

    def warn_of_others(self, source: Path) -> None:
        """Warn of pictures in the folder that no annotation names."""
        others = sorted({path for paths in self._by_name.values() for path in paths} - self._used)
        if others:
            warnings.warn(
                f"{source}: {len(others)} pictures have no annotation ({shortened(others, 1)}); left out",
                stacklevel=3,
            )

    def _found(self, name: str, where: str, kind: Callable[[Path], str], ending: str = "") -> Path:
        wanted = _parts(name)
        if spelled_alike(wanted[-1]) + ending not in self._by_name:
            wanted = (*wanted[:-1], _UPLOADED.sub("", wanted[-1]))
        last = spelled_alike(wanted[-1])

        def alike(path: Path, spelled: Callable[[str], str] = spelled_alike) -> int:
            """Return with how many folders and file a path ends as the name does."""
            own = (*path.relative_to(self.folder).parts[:-1], kind(path))
            pairs = zip(map(spelled, reversed(own)), map(spelled, reversed(wanted)), strict=False)
            return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

        candidates = self._by_name.get(last + ending, [])
        most = max(map(alike, candidates), default=0)
        best = [path for path in candidates if alike(path) == most]
        if len(best) > 1:  # "a.png" rather than "A.png"
            exact = max(alike(path, str) for path in best)
            best = [path for path in best if alike(path, str) == exact]
        if len(best) > 1:
            best = [path for path in best if spelled_alike(self.file_name(path)) not in self._whole] or best
        if len(best) > 1:  # "a.png" itself rather than "more/a.png"
            best = [path for path in best if len(path.relative_to(self.folder).parts) == most] or best
        if len(best) != 1:
            got = f"{shortened(best, 2)} as likely" if best else self._others_alike(last) or "none"
            raise FileNotFoundError(
                f"{where}: its picture {name!r} must be in {self.folder}, got {got}; add it, or give "
                "--images DIR"
            )
        self._used.add(best[0])
        return best[0]

    def _others_alike(self, name: str) -> str:
        """Tell of a picture that has the stem of a name, or of a file of a kind that is not read."""
        for path in self._by_name.get(PurePosixPath(name).stem + "/", []):
            return f"{path} (rename it, or correct the name)"
        names = {name, PurePosixPath(name).stem}
        for path in list_files(self.folder, recursive=True):
            is_other = path.suffix.lower() not in (*SUFFIXES, *_OF_ANNOTATIONS)
            if is_other and names & {spelled_alike(path.name), spelled_alike(path.stem)}:
                return f"{path}, of a kind that is not read (save it as PNG or TIFF)"
        return ""


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)
