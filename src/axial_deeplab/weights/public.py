"""Public weights: downloaded, checked and converted at their first use."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pooch
from filelock import FileLock

from axial_deeplab.util.files import write_text
from axial_deeplab.weights.convert.convert import convert
from axial_deeplab.weights.names import PublicWeights, cached_path, find_weights

TIMEOUT_S = 30
# The largest public weights have 0.6 billion parameters, 2.3 GB.
MOST_BYTES = 16 << 30
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def local_weights(name: str, *, file: str | os.PathLike[str] | None = None, progress: bool = False) -> Path:
    """Return the file of public weights in our format; download and convert them unless they are there.

    Args:
        name: name in the table of public weights.
        file: file that was downloaded from their address elsewhere; None downloads it.
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
        if path.is_file():
            return path
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{name}.") as folder:
            source = file or download(weights.address, folder, size=weights.size, progress=progress)
            _convert(weights, Path(source), path, progress)
    return path


def download(
    address: str, folder: str | os.PathLike[str], *, size: int | None = None, progress: bool = False
) -> Path:
    """Download a file.

    Args:
        address: https://; http:// only for servers on this machine.
        folder: where to put it.
        size: bytes that it must have; None accepts any up to `MOST_BYTES`.
        progress: show a progress bar.

    Returns:
        The complete file; whether it is the right one is checked later, as with files from elsewhere.

    Raises:
        ValueError: the address is not safe, or the file has another size.
        OSError: the address does not exist or cannot be reached, the connection was cut, or the disk is full.
    """

    def check(response: Any, **_: Any) -> None:
        if response.is_redirect:
            _require_safe(urljoin(response.url, response.headers["Location"]))
        elif response.ok:
            # Without its length, nobody can tell whether a file is complete.
            length = int(response.headers.get("Content-Length", 0))
            if not 0 < length <= MOST_BYTES or size not in (None, length):
                raise ValueError(
                    f"{address} must have {size or f'1 to {MOST_BYTES}'} bytes, got {length}; "
                    "ask who published it whether it changed"
                )

    _require_safe(address)
    pooch.get_logger().setLevel("WARNING")
    fetch = pooch.HTTPDownloader(
        progressbar=progress,
        timeout=TIMEOUT_S,
        hooks={"response": check},
        headers={"User-Agent": "axial-deeplab", "Accept-Encoding": "identity"},
    )
    try:
        return Path(pooch.retrieve(address, None, address.rsplit("/", 1)[-1], folder, downloader=fetch))
    except OSError as error:
        raise OSError(
            f"file must arrive from {address}, got: {error}; repeat the command, or download the file "
            "elsewhere and call `axial-deeplab weights download NAME --from FILE`"
        ) from None


def _require_safe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"address must begin with https://, got {address}; correct it")


def _convert(weights: PublicWeights, file: Path, path: Path, progress: bool) -> None:
    sha256 = pooch.file_hash(str(file), alg="sha256")
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
    write_text(_record_path(cached_path(weights.name)), json.dumps(record, indent=1) + "\n")


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
