"""The table of public weights, and where they are once downloaded and converted."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from axial_deeplab.util.files import atomic_path
from axial_deeplab.weights.convert.deeplab2_data_sets import find_data_set
from axial_deeplab.weights.download import download, file_sha256

TABLE = Path(__file__).parent / "public_weights.json"
CACHE_VARIABLE = "AXIAL_DEEPLAB_CACHE"


@dataclass(frozen=True)
class PublicWeights:
    """Weights that others published; `public_weights.json` has a list of them.

    Args:
        name: ours, for `load_weights` and `create_model`.
        address: address of the file.
        size: bytes of the file, None where unknown; they are then recorded at the first download.
        sha256: hash of the file, None where unknown; it is then recorded at the first download.
        source: the page that describes them.
        model: arguments of `create_model`; None infers them from the tensors.
        data_set: data set of deeplab2, with its settings; None numbers the classes.
        training_data: what they were trained on.
        license: what is known of their terms.
        published: the published scores in percent, and the data that they are of; empty if there are none.
    """

    name: str
    address: str
    size: int | None
    sha256: str | None
    source: str
    model: Mapping[str, Any] | None
    data_set: str | None
    training_data: str
    license: str
    published: Mapping[str, Any]

    @property
    def network(self) -> str:
        """The name of the network."""
        return self.model["name"] if self.model else self.name.rsplit("_", 1)[0]

    @property
    def post_processing(self) -> Mapping[str, Any] | None:
        """The settings of the published evaluation; None for classifiers and backbones."""
        return find_data_set(self.data_set).post_processing if self.data_set else None


@cache
def public_weights() -> dict[str, PublicWeights]:
    """Return the table by name."""
    return {row["name"]: PublicWeights(**row) for row in json.loads(TABLE.read_text(encoding="utf-8"))}


def find_weights(name: str) -> PublicWeights:
    """Return the row of the table with a name.

    Raises:
        ValueError: there is none.
    """
    if name not in public_weights():
        raise ValueError(f"name must be one of {', '.join(public_weights())}, got {name}; correct it")
    return public_weights()[name]


def cache_folder() -> Path:
    """Return where downloaded weights are kept: $AXIAL_DEEPLAB_CACHE, or below the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "axial-deeplab"


def cached_path(name: str) -> Path:
    """Return where the converted weights are, or will be."""
    return cache_folder() / f"{name}.safetensors"


def local_weights(name: str, *, file: str | os.PathLike[str] | None = None, progress: bool = False) -> Path:
    """Return the file of public weights in our format; download and convert them unless they are there.

    Args:
        name: name in the table.
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
    # Not at the top: converting needs the networks, which need weights, which need this module.
    from axial_deeplab.weights.convert.convert import convert

    sha256 = file_sha256(file)
    expected = weights.sha256 or recorded(weights.name).get("sha256")
    if expected not in (None, sha256):
        raise ValueError(
            f"{file} must have the sha256 {expected}, got {sha256}; download it again, or remove "
            f"{_record_path(path)} if it was published again"
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
