"""What the server sends and refuses, and what stays when it stops."""

import os
import re
import socket
import tempfile
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app_files import noise, write_tiny_weights
from axial_deeplab.app import server
from axial_deeplab.app.limits import Limits
from axial_deeplab.app.networks import Networks
from axial_deeplab.cli.main import main


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    weights = write_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    with server.private_folder():
        app = server.build_app(Networks([weights], device="cpu"), Limits(), host="127.0.0.1")
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            yield client


def test_the_page_loads_nothing_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; script-src 'self'")
    assert answer.headers["cache-control"] == "no-store"
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', answer.text)
    assert loaded
    assert not [address for address in loaded if "//" in address]
    theme = client.get("/theme.css").text
    assert "system-ui" in theme
    assert not re.findall(r"""url\(["']?(?:https?:)?//""", theme)
    assert client.get("/config").json()["analytics_enabled"] is False


def test_names_of_other_machines_are_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:7860"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["file=http://127.0.0.1:1/a", "file=https://a.example/b", "proxy=https://a.example/b", "file=/etc/hosts"],
)
def test_other_files_and_addresses_are_refused(client, path):
    assert client.get(f"/gradio_api/{path}").status_code == 403


def test_an_upload_that_is_too_large_is_refused(client, monkeypatch):
    files = {"files": ("a.png", b"0" * (server.MAX_UPLOAD + 1), "image/png")}
    assert client.post("/gradio_api/upload", files=files).status_code == 413


def test_unknown_downloads(client):
    answer = client.get("/files/guess/json")
    assert answer.status_code == 404
    assert "not kept any more" in answer.text


def test_uploads_go_while_the_app_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("axial_deeplab.app.page.CLEANING", (1, 1))
    networks = Networks([write_tiny_weights(tmp_path / "tiny.safetensors")], device="cpu")
    with server.private_folder():
        app = server.build_app(networks, Limits(), host="127.0.0.1")
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            (path,) = client.post("/gradio_api/upload", files={"files": ("a.png", b"0", "image/png")}).json()
            assert Path(path).is_file()
            end = time.monotonic() + 60
            while Path(path).exists():
                assert time.monotonic() < end
                time.sleep(0.1)


def test_temporary_files_go(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    before = tempfile.gettempdir()
    with server.private_folder() as folder:
        Path(tempfile.mkdtemp(), "upload.png").write_bytes(noise().tobytes())
        assert os.environ["GRADIO_TEMP_DIR"] == tempfile.gettempdir() == folder
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert os.listdir(folder)
    assert not Path(folder).exists()
    assert tempfile.gettempdir() == before
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    assert "HF_HUB_DISABLE_TELEMETRY" not in os.environ


def test_an_address_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"host and port must be a free address of this machine, got 127.0.0.1:{port}" in error
    assert main(["app", "--port", "70000"]) == 2
    assert main(["app", "--host", "no.such.host.invalid"]) == 2


def test_bad_words(tmp_path, capsys, monkeypatch):
    assert main(["app", "--max-side", "1"]) == 2
    assert main(["app", "--port", "0", "--weights", str(tmp_path / "missing.safetensors")]) == 2
    assert "weights must be a file or a name of" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert 'pip install "axial-deeplab[app]"' in capsys.readouterr().err
