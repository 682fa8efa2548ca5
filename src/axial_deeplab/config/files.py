"""YAML files of settings, which may be built on others: `base: ../shared.yaml`, or a list of such files.

Those in `recipes/` are part of the package and found by their names.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from axial_deeplab.util.files import atomic_directory, opened
from axial_deeplab.util.text import one_line

BASE = "base"
SHIPPED_FOLDER = Path(__file__).parent / "recipes"


def shipped_settings() -> list[str]:
    """Return the names of the settings in the package, such as `cityscapes/axial_deeplab_l`.

    Raises:
        FileNotFoundError: the package has none, which a broken installation brings about.
    """
    names = [path.relative_to(SHIPPED_FOLDER).with_suffix("") for path in SHIPPED_FOLDER.glob("*/*.yaml")]
    if not names:
        raise FileNotFoundError(
            f"settings of the package must be in {SHIPPED_FOLDER}, got none; install axial-deeplab again"
        )
    return sorted(name.as_posix() for name in names if not name.name.startswith(BASE))


def copy_shipped_settings(output: str | os.PathLike[str]) -> None:
    """Copy the settings in the package, to change them.

    Raises:
        ValueError: the output is not empty.
        OSError: it cannot be written.
    """
    shipped_settings()  # refuses a package without any
    with atomic_directory(output) as folder:
        for path in SHIPPED_FOLDER.rglob("*.yaml"):
            target = folder / path.relative_to(SHIPPED_FOLDER)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of settings together with the files that it is based on.

    Paths after `base` are relative to the file. What stands in the file counts more than its bases, a later
    base more than an earlier one; sections are merged key by key.

    Args:
        path: the file; or, where there is none, one of `shipped_settings()`, with `configs/` in front and
            `.yaml` behind if you like.

    Returns:
        The settings as nested dictionaries, without `base`.

    Raises:
        ValueError: a file is no YAML file of settings, or is based on itself.
        OSError: a file cannot be read.
    """
    found = _shipped(Path(path)) or Path(path)
    if not found.exists():
        raise FileNotFoundError(
            f"config must be a YAML file or a name of `axial-deeplab configs`, got {path}; correct the path"
        )
    return _read(found, ())


def _shipped(path: Path) -> Path | None:
    """Return the file in the package that a path means which leads nowhere."""
    if path.exists():
        return None
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    known = name in shipped_settings() or Path(name).name.startswith(BASE)
    shipped = SHIPPED_FOLDER / f"{name}.yaml"
    return shipped if known and shipped.is_file() else None


def _read(path: Path, readers: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in readers:
        raise ValueError(f"{BASE} must be files that are not based on each other, got {path} again; leave it")
    content = _load(path)
    bases = content.pop(BASE, None) or []
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{path}: {BASE} must be a path or a list of paths, got {bases!r}; correct it")
    settings: dict[str, Any] = {}
    for base in bases:
        settings = _merged(settings, _read(path.parent / base, (*readers, path.resolve())))
    return _merged(settings, content)


def _load(path: Path) -> dict[str, Any]:
    try:
        # From the open file, so that the message names it.
        with opened(path) as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a YAML file of settings, got: {one_line(error)}; "
            "see the examples of `axial-deeplab configs --output DIR`"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must be a YAML file of settings, got {type(content).__name__}; "
            "write lines like `optim: {lr: 0.01}`"
        )
    return content


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merged(below, value)
        result[key] = value
    return result
