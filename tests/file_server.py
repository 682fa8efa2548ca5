"""A server on the loopback interface whose failures tests choose."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Files by their paths, and how they are sent.

    Attributes:
        files: content by path, such as "/a.bin".
        redirects: by path, where the file is said to be.
        address: of the server.
        ranges: whether parts of a file can be asked for.
        versions: the header that names the version of a file, or None.
        heeds_versions: whether the rest of another version than the one that was begun is not sent.
        lengths: whether the length of a file is said beforehand.
        cut_after: bytes after which a connection is cut, for one request.
        requests: the ranges that were asked for, None for whole files.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    address: str = ""
    ranges: bool = True
    versions: str | None = "ETag"
    heeds_versions: bool = True
    lengths: bool = True
    cut_after: int | None = None
    requests: list[str | None] = field(default_factory=list)


@contextmanager
def running_server() -> Iterator[FileServer]:
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in server.redirects:
                self.answer(302, Location=server.redirects[self.path])
                return
            asked = self.headers.get("Range")
            server.requests.append(asked)
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            version = hashlib.md5(content).hexdigest()
            version = f'"{version}"' if server.versions == "ETag" else version
            begun = self.headers.get("If-Range")
            is_same = not server.heeds_versions or begun in (None, version)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges and is_same else 0
            if start >= len(content) > 0:
                self.answer(416, Content_Range=f"bytes */{len(content)}", Content_Length="0")
                return
            headers = {} if server.versions is None else {server.versions: version}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if server.lengths:
                headers["Content-Length"] = str(len(content) - start)
            self.answer(206 if start else 200, **headers)
            end = len(content) if server.cut_after is None else start + server.cut_after
            server.cut_after = None
            self.wfile.write(content[start:end])
            self.close_connection = True

        def answer(self, code: int, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        http.shutdown()
        thread.join()
