"""YAML files of settings, which may be built on others: `base: ../shared.yaml`, or a list of such files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

BASE = "base"


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of settings together with the files that it is based on.

    Paths after `base` are relative to the file. What stands in the file counts more than its bases, a later
    base more than an earlier one; sections are merged key by key.

    Args:
        path: the file.

    Returns:
        The settings as nested dictionaries, without `base`.

    Raises:
        ValueError: a file is no YAML file of settings, or is based on itself.
        OSError: a file cannot be read.
    """
    return _read(Path(path), ())


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
        with path.open(encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = " ".join(str(error).split())
        raise ValueError(
            f"{path} must be a YAML file of settings, got: {message}; see the examples in configs/"
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
