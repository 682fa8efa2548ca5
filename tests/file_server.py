"""A server on the loopback interface whose failures tests choose."""

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
        lengths: whether the length of a file is said beforehand.
        cut_after: bytes after which a connection is cut, for one request.
        requests: the paths that were asked for.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    address: str = ""
    lengths: bool = True
    cut_after: int | None = None
    requests: list[str] = field(default_factory=list)


@contextmanager
def running_server() -> Iterator[FileServer]:
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in server.redirects:
                self.answer(302, Location=server.redirects[self.path])
                return
            server.requests.append(self.path)
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.answer(200, **({"Content-Length": str(len(content))} if server.lengths else {}))
            end, server.cut_after = server.cut_after, None
            self.wfile.write(content[:end])
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
