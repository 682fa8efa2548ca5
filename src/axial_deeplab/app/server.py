"""Serving the page: one process, one address, and temporary files that go with it."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from axial_deeplab.util.files import temporary_directory

if TYPE_CHECKING:
    from fastapi import FastAPI

    from axial_deeplab.app.limits import Limits
    from axial_deeplab.app.networks import Networks

# Bytes of a file that is sent: more than the largest picture that is allowed by default, uncompressed.
MAX_UPLOAD = 64 * 2**20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    weights: Sequence[str],
    *,
    device: str = "auto",
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: "Limits",
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the page until the process is interrupted or terminated; nothing of it stays behind.

    Args:
        weights: files or names to offer beside the shipped and public ones; the first one is chosen.
        device: as for `Predictor`.
        host: address to listen at.
        port: 0 takes a free one.
        limits: limits of a picture.
        announce: function that is told the address as soon as it listens.

    Raises:
        ValueError: the address cannot be had, or the first weights are broken.
        OSError: there are no such weights.
    """
    with _listening(host, port) as listener, private_folder():
        import uvicorn

        from axial_deeplab.app.networks import Networks

        networks = Networks(weights, device=device)
        networks.warm_up()
        app = build_app(networks, limits, host=host)
        address = f"[{host}]" if ":" in host else host
        announce(f"http://{address}:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        server.run(sockets=[listener])


def build_app(networks: "Networks", limits: "Limits", *, host: str) -> "FastAPI":
    """Return the application: Gradio's page behind a gate, and the downloads.

    Args:
        networks: networks that people choose from.
        limits: limits of a picture.
        host: address that it will listen at; at this machine's own, other names of it are refused, for a page
            of somebody else could have them point here.
    """
    import gradio as gr
    from fastapi import FastAPI, Response
    from gradio.utils import get_upload_folder
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from axial_deeplab.app.gate import Gate
    from axial_deeplab.app.page import STYLES, THEME, Page
    from axial_deeplab.app.results import Results

    app = FastAPI(openapi_url=None)
    results = Results()
    page = Page(networks, results, limits)

    @app.get("/files/{key}/{kind}")
    def download(key: str, kind: str) -> Response:
        file = results.download(key, kind)
        if file is None:
            return Response("This picture is not kept any more; drop it again.", 404, media_type="text/plain")
        disposition = {"content-disposition": f'attachment; filename="{file.name}"'}
        return Response(file.content, media_type=file.media_type, headers=disposition)

    gr.mount_gradio_app(
        app,
        page.build(),
        path="",
        theme=THEME,
        css=STYLES,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
    )
    app.add_middleware(Gate, uploads=get_upload_folder(), check_event=page.check_event)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK if host in LOOPBACK else ["*"])
    return app


@contextmanager
def private_folder() -> Iterator[str]:
    """Let all temporary files go into a folder that is removed at the end, and switch off what calls home.

    What apps that were killed have left is removed first.
    """
    variables = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    before = tempfile.tempdir
    with temporary_directory(Path(tempfile.gettempdir()), "axial-deeplab-app-") as path:
        folder = variables["GRADIO_TEMP_DIR"] = str(path)
        stored = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        tempfile.tempdir = folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            for name, value in stored.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the address before anything else: whoever mistyped it need not wait for the network."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        wrong = "--host" if isinstance(error, socket.gaierror) else "--port"
        raise ValueError(
            f"host and port must be a free address of this machine, got {host}:{port}: {error}; "
            f"choose another {wrong}"
        ) from None
    with listener:
        yield listener
