"""What stands before Gradio: requests that the page does not make are refused before anything acts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

API = "/gradio_api"
UPLOAD, EVENT = f"{API}/upload", f"{API}/queue/join"
# What the page posts; Gradio answers more, such as calls of functions that pass its queue by.
POSTS = {UPLOAD, EVENT, f"{API}/cancel", f"{API}/reset"}
DESCRIPTIONS = {"/openapi.json", "/docs", "/redoc", f"{API}/openapi.json", f"{API}/info"}
# Bytes of the description of an event, of all uploads that are kept at a time.
MAX_EVENT = 2**20
MAX_UPLOADS = 2**30
# The browser refuses whatever the page would load from elsewhere. Gradio's own scripts stand in its page, and
# compile templates.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class RefusedError(Exception):
    """A request that is not passed on: the status of the answer, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gate:
    """An ASGI application around Gradio's.

    A request is passed on if it is one that the page makes, from the page itself. Every path in an event lies
    in the folder of uploads, whatever the event and its input, and no address is ever fetched.

    Args:
        app: the application behind the gate.
        uploads: folder of the files that were sent to this app.
        check_event: raises ValueError for the number of a function, its inputs and what the event tells, if
            they are not what the page sends.
    """

    def __init__(self, app: Any, uploads: str, check_event: Callable[[Any, Any, Any], None]) -> None:
        self.app = app
        self.uploads = Path(uploads).resolve()
        self.check_event = check_event
        self._arriving = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.decode() not in HEADERS]
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*kept, *added]}
            await send(message)

        size = 0
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_origin(headers)
            path = self._check_path(scope)
            if path == EVENT:
                body = self._checked_event(await _body(receive, MAX_EVENT))
                length = str(len(body)).encode()
                kept = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
                scope = {**scope, "headers": [*kept, (b"content-length", length)]}
                receive = _once(body, receive)
            elif path == UPLOAD:
                size = self._size_of_upload(headers)
        except RefusedError as refusal:
            text = str(refusal).encode()
            start = {"type": "http.response.start", "status": refusal.status}
            await send_with_headers({**start, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": text})
            return
        self._arriving += size
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            self._arriving -= size

    @staticmethod
    def _check_origin(headers: dict[str, str]) -> None:
        """Refuse what a page of somebody else lets a browser send."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise RefusedError(403, "requests must come from this page")

    @staticmethod
    def _check_path(scope: Any) -> str:
        path = str(scope["path"]).rstrip("/")
        if any(word in path for word in ("/proxy=", "/file=http:", "/file=https:")):
            raise RefusedError(403, "addresses are not fetched")
        if path in DESCRIPTIONS:
            raise RefusedError(404, "not found")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and path not in POSTS:
            raise RefusedError(404, "not found")
        return path

    def _size_of_upload(self, headers: dict[str, str]) -> int:
        """Return how many bytes are about to arrive, if there is room for them."""
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise RefusedError(411, "uploads must tell their length")
        kept = sum(file.stat().st_size for file in self.uploads.rglob("*") if file.is_file())
        if kept + self._arriving + int(length) > MAX_UPLOADS:
            raise RefusedError(
                413, f"uploads must be at most {MAX_UPLOADS / 2**20:.0f} MiB in all, wait a few minutes"
            )
        return int(length)

    def _checked_event(self, body: bytes) -> bytes:
        """Return the event as Gradio may read it: what was checked, and nothing beside it."""
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(422, "an event must be JSON") from None
        if not isinstance(event, dict):
            raise RefusedError(422, f"an event must be an object of JSON, got {type(event).__name__}")
        try:
            self._check_paths(event)
        except RecursionError:
            raise RefusedError(422, "an event must not be nested so deeply") from None
        if not isinstance(event.get("session_hash"), str):
            raise RefusedError(422, "session_hash must be a text")
        try:
            self.check_event(event.get("fn_index"), event.get("data"), event.get("event_data"))
        except ValueError as error:
            raise RefusedError(422, str(error)) from None
        return json.dumps(event).encode()

    def _check_paths(self, part: Any) -> None:
        """Refuse every path but those of files that were sent; drop addresses, which Gradio would fetch."""
        if isinstance(part, dict):
            part.pop("url", None)
            if "path" in part and not self._was_sent(part["path"]):
                raise RefusedError(403, "a path must be that of a file that was sent to this page")
        children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        for child in children:
            self._check_paths(child)

    def _was_sent(self, path: Any) -> bool:
        try:
            real = Path(os.path.realpath(path, strict=True))
        except (OSError, ValueError, TypeError):
            return False
        return real.is_relative_to(self.uploads) and real.is_file()


async def _body(receive: Any, limit: int) -> bytes:
    """Return the body of a request, refused as soon as it is larger than the limit in bytes."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "the request ended too early")
        body += message.get("body", b"")
        if len(body) > limit:
            raise RefusedError(413, f"an event must be at most {limit} bytes")
        if not message.get("more_body"):
            return body


def _once(body: bytes, receive: Any) -> Any:
    """Return a `receive` that gives this body first."""
    given = False

    async def receive_body() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def is_number(value: Any) -> bool:
    """Return whether a value of JSON is a finite number that fits into 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**63  # neither infinity nor NaN is
