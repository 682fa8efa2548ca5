"""Downloading a file: resumed where it was interrupted, checked, and never seen half."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from tqdm import tqdm

BLOCK = 1 << 20
TIMEOUT_S = 30


def download(
    address: str,
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: bool = False,
) -> str:
    """Download a file.

    What arrived of an interrupted download stays in `PATH.part`, where the next call goes on.

    Args:
        address: http:// or https://.
        path: the file to write; it appears when it is complete and its checksum is right.
        size: bytes that it must have; None accepts any.
        sha256: checksum that it must have, hexadecimal; None accepts any.
        progress: show a progress bar.

    Returns:
        The sha256 of the file.

    Raises:
        ValueError: the file is another one than expected.
        OSError: the address does not exist or cannot be reached, or the connection was cut.
    """
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"address must begin with http:// or https://, got {address}; correct it")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    _fetch(address, part, progress)
    found_size, found_sha256 = part.stat().st_size, file_sha256(part)
    for what, expected, found in (("size", size, found_size), ("sha256", sha256, found_sha256)):
        if expected is not None and found != expected:
            part.unlink()
            raise ValueError(
                f"{address} must have the {what} {expected}, got {found}; it was not kept: "
                "download it again, or ask who published it whether it changed"
            )
    part.replace(path)
    return found_sha256


def file_sha256(path: Path) -> str:
    """Return the checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(address: str, part: Path, progress: bool) -> None:
    """Append to a file what it lacks of an address."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "axial-deeplab"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, headers=headers), timeout=TIMEOUT_S
        ) as response:
            if start and not _continues(response, start):
                start = 0  # the server sends everything again
            total = _total(response, start)
            with part.open("ab" if start else "wb") as file:
                for block in _blocks(response, start, total, progress, part.name.removesuffix(".part")):
                    file.write(block)
    except urllib.error.HTTPError as error:
        if error.code == 416 and _is_whole(error, start):
            return
        if error.code == 416:  # more is here than there: of another file
            part.unlink()
        raise OSError(
            f"address must give a file, got {error.code} {error.reason} from {address}; "
            "see axial-deeplab weights list for where it is described"
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise OSError(
            f"network must reach {address}, got: {reason or type(error).__name__}; connect and repeat the "
            "command, or download the file elsewhere and give it as --from FILE"
        ) from None
    arrived = part.stat().st_size
    if total is not None and arrived < total:
        raise OSError(
            f"download must be complete, got {arrived} of {total} bytes of {address}; "
            "repeat the command, it goes on from there"
        )


def _blocks(
    response: HTTPResponse, start: int, total: int | None, progress: bool, name: str
) -> Iterator[bytes]:
    bar: Any = tqdm(
        desc=name,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=not progress,
    )
    with bar:
        while block := response.read1(BLOCK):
            bar.update(len(block))
            yield block


def _continues(response: HTTPResponse, start: int) -> bool:
    """Return whether the answer begins at the byte that was asked for."""
    return response.status == 206 and (response.headers.get("Content-Range") or "").startswith(
        f"bytes {start}-"
    )


def _is_whole(error: urllib.error.HTTPError, start: int) -> bool:
    """Return whether a server has nothing more to send since all is here."""
    return error.headers.get("Content-Range") == f"bytes */{start}"


def _total(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None and length.isdecimal() else None
