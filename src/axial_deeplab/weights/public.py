"""Public weights: downloaded, checked and converted at their first use."""

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from axial_deeplab.util.files import atomic_path
from axial_deeplab.weights.convert.convert import convert
from axial_deeplab.weights.download import download, file_sha256
from axial_deeplab.weights.names import PublicWeights, cached_path, find_weights


def local_weights(name: str, *, file: str | os.PathLike[str] | None = None, progress: bool = False) -> Path:
    """Return the file of public weights in our format; download and convert them unless they are there.

    Args:
        name: of the table.
        file: the file of the table's address, for machines that cannot reach it.
        progress: show progress bars.

    Raises:
        ValueError: the file is not the one that it was, or cannot be converted.
        OSError: the address cannot be reached, or the cache cannot be written.
    """
    weights = find_weights(name)
    path = cached_path(name)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of several processes that start at the same time, one downloads.
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            if file is None:
                downloaded = _download(weights, path, progress)
                try:
                    _convert(weights, downloaded, path, progress)
                finally:
                    downloaded.unlink()
            else:
                _convert(weights, Path(file), path, progress)
    return path


def _download(weights: PublicWeights, path: Path, progress: bool) -> Path:
    file = path.parent / "downloads" / weights.address.rsplit("/", 1)[-1]
    sha256 = weights.sha256 or recorded(weights.name).get("sha256")
    download(weights.address, file, size=weights.size, sha256=sha256, progress=progress)
    return file


def _convert(weights: PublicWeights, file: Path, path: Path, progress: bool) -> None:
    sha256 = file_sha256(file)
    expected = weights.sha256 or recorded(weights.name).get("sha256")
    if expected not in (None, sha256):
        raise ValueError(
            f"{file} must have the sha256 {expected}, got {sha256}; download it again, or remove "
            f"{_record_path(path)} if it was published anew"
        )
    model = dict(weights.model or {})
    convert(
        file,
        path,
        model=model.pop("name", None),
        overrides=model,
        data_set=weights.data_set,
        extra={
            "source": {"address": weights.address, "sha256": sha256, "page": weights.source},
            "training_data": weights.training_data,
            "license": weights.license,
            "published": dict(weights.published),
        },
        progress=progress,
    )
    # Not before: what a captive portal sent in the place of the file is not what shall be expected.
    _record(weights, file, sha256)


def _record(weights: PublicWeights, file: Path, sha256: str) -> None:
    record = {"address": weights.address, "size": file.stat().st_size, "sha256": sha256}
    with atomic_path(_record_path(cached_path(weights.name))) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.download.json")


def recorded(name: str) -> dict[str, Any]:
    """Return size and sha256 of the file of public weights as it was at its first use, if it was used."""
    try:
        record = json.loads(_record_path(cached_path(name)).read_text(encoding="utf-8"))
        is_same = record["address"] == find_weights(name).address
        return {key: record[key] for key in ("size", "sha256")} if is_same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
