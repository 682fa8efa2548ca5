"""Downloading a file: resumed where it was interrupted, checked, and never seen half."""

import hashlib
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

BLOCK = 1 << 20
TIMEOUT_S = 30
# The largest public weights have 0.6 billion parameters, 2.3 GB.
MOST_BYTES = 16 << 30
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(
    address: str,
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: bool = False,
) -> str:
    """Download a file.

    What arrived of an interrupted download stays in `PATH.part`, where the next call goes on if the server
    says that the file is still the same one.

    Args:
        address: https://; http:// only for servers on this machine.
        path: the file to write; it appears when it is complete and its checksum is right.
        size: bytes that it must have; None accepts any up to `MOST_BYTES`.
        sha256: checksum that it must have, hexadecimal; None accepts any.
        progress: show a progress bar.

    Returns:
        The sha256 of the file.

    Raises:
        ValueError: the address is not safe, or the file is another one than expected.
        OSError: the address does not exist or cannot be reached, the connection was cut, or the disk is full.
    """
    _require_safe(address)
    part = _Part(Path(path))
    part.path.parent.mkdir(parents=True, exist_ok=True)
    _fetch(address, part, size, progress)
    found_size, found_sha256 = part.path.stat().st_size, file_sha256(part.path)
    for what, expected, found in (("size", size, found_size), ("sha256", sha256, found_sha256)):
        if expected is not None and found != expected:
            part.remove()
            raise ValueError(
                f"{address} must have the {what} {expected}, got {found}; it was not kept: "
                "download it again, or ask who published it whether it changed"
            )
    part.path.replace(path)
    part.remove()
    return found_sha256


def file_sha256(path: Path) -> str:
    """Return the checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Part:
    """What arrived of a file, and how the server called the version that it is of.

    Args:
        final: the path of the whole file.
    """

    def __init__(self, final: Path) -> None:
        self.path = final.with_name(f"{final.name}.part")
        self.version_path = final.with_name(f"{final.name}.part.version")
        self.name = final.name

    @property
    def size(self) -> int:
        """Bytes that arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str | None:
        """How the server called what it sent; None if it did not, or if nothing arrived."""
        return self.version_path.read_text("utf-8") if self.version_path.exists() else None

    def open(self, version: str | None, *, go_on: bool) -> IO[bytes]:
        """Open the part for what arrives of a version."""
        if not go_on:
            self.remove()
            if version is not None:
                self.version_path.write_text(version, "utf-8")
        return self.path.open("ab" if go_on else "wb")

    def remove(self) -> None:
        """Forget all."""
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to where the connection could be read or changed."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows."""
        _require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(address: str) -> None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"address must begin with https://, got {address}; correct it")


def _fetch(address: str, part: _Part, size: int | None, progress: bool) -> None:
    """Append to a part what it lacks of an address, or begin again if it is of another version."""
    version = part.version
    # Without the name of its version, nothing tells whether a part belongs to what the address has now.
    start = part.size if version else 0
    headers = {"User-Agent": "axial-deeplab"}
    if start and version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}
    try:
        response = _open(address, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return  # all is here
            part.remove()  # more is here than there: of another file
        raise OSError(
            f"address must give a file, got {error.code} {error.reason} from {address}; "
            "see axial-deeplab weights list for where it is described"
        ) from None
    with response:
        if start and response.status != 206:
            start = 0  # the server sends everything again
        if start and not _continues(response, start, version):
            part.remove()
            _fetch(address, part, size, progress)
            return
        total = _total(response, start)
        _refuse_too_much(address, part, size, start, total)
        with part.open(_version(response), go_on=start > 0) as file:
            for block in _blocks(address, response, start, total, part.name if progress else None):
                _write(file, block, part)
                if file.tell() > (size or MOST_BYTES):
                    part.remove()
                    raise ValueError(f"{address} must have at most {size or MOST_BYTES} bytes, got more")
    if total is not None and part.size < total:
        raise OSError(
            f"download must be complete, got {part.size} of {total} bytes of {address}; "
            "repeat the command, it goes on from there"
        )


def _open(address: str, headers: dict[str, str]) -> HTTPResponse:
    request = urllib.request.Request(address, headers=headers)
    try:
        return urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise _unreachable(address, error) from None


def _blocks(
    address: str, response: HTTPResponse, start: int, total: int | None, name: str | None
) -> Iterator[bytes]:
    """Yield what arrives, with a progress bar of this name."""
    bar: Any = tqdm(
        desc=name,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=name is None,
    )
    with bar:
        while block := _read(address, response):
            bar.update(len(block))
            yield block


def _read(address: str, response: HTTPResponse) -> bytes:
    try:
        return response.read1(BLOCK)
    except (OSError, HTTPException) as error:
        raise _unreachable(address, error) from None


def _write(file: IO[bytes], block: bytes, part: _Part) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise OSError(
            f"disk must have room for {part.path}, got: {error.strerror}; "
            "free some and repeat the command, it goes on from there"
        ) from None


def _unreachable(address: str, error: Exception) -> OSError:
    reason = getattr(error, "reason", None) or error
    return OSError(
        f"network must reach {address}, got: {str(reason) or type(error).__name__}; connect and repeat the "
        "command, or download the file elsewhere and call `axial-deeplab weights download NAME --from FILE`"
    )


def _refuse_too_much(address: str, part: _Part, size: int | None, start: int, total: int | None) -> None:
    """Refuse, before anything is written, what is not the file or does not fit onto the disk."""
    if total is None:
        return
    if total > MOST_BYTES or size not in (None, total):
        part.remove()
        expected = f"at most {MOST_BYTES}" if size is None else str(size)
        raise ValueError(
            f"{address} must have {expected} bytes, got {total}; ask who published it whether it changed"
        )
    free = shutil.disk_usage(part.path.parent).free
    if total - start > free:
        raise OSError(
            f"disk must have {total - start} free bytes for {part.path}, got {free}; free some, or choose "
            "another folder with AXIAL_DEEPLAB_CACHE"
        )


def _version(response: HTTPResponse) -> str | None:
    """Return how the server calls this version of the file: the same name, the same bytes."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _continues(response: HTTPResponse, start: int, version: str | None) -> bool:
    """Return whether the answer begins at the byte that was asked for, in the same version."""
    span = response.headers.get("Content-Range") or ""
    return span.startswith(f"bytes {start}-") and _version(response) in (None, version)


def _total(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None and length.isdecimal() else None
