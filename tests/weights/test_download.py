"""Downloads: whole, or refused and nothing left."""

import errno
import re
import socket

import pytest

from axial_deeplab.weights import public as module
from axial_deeplab.weights.public import download
from file_server import running_server

CONTENT = bytes(range(256)) * 500


@pytest.fixture
def server():
    with running_server() as running:
        running.files["/a.bin"] = CONTENT
        yield running


def test_whole_file(server, tmp_path, capfd):
    path = download(f"{server.address}/a.bin", tmp_path, size=len(CONTENT), progress=True)
    assert path == tmp_path / "a.bin"
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert "100%" in capfd.readouterr().err


def test_quiet_without_progress(server, tmp_path, capfd):
    download(f"{server.address}/a.bin", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_nothing_half_is_taken(server, tmp_path):
    server.cut_after = 50_000
    with pytest.raises(OSError, match=r"file must arrive from http.*, got: .*; repeat the command"):
        download(f"{server.address}/a.bin", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert download(f"{server.address}/a.bin", tmp_path).read_bytes() == CONTENT


def test_refuses_other_files(server, tmp_path, monkeypatch):
    address = f"{server.address}/a.bin"
    with pytest.raises(ValueError, match=r"must have 7 bytes, got 128000; ask who published it"):
        download(address, tmp_path, size=7)
    with pytest.raises(OSError, match=r"file must arrive from http.*/b.bin, got: 404 .*; repeat"):
        download(f"{server.address}/b.bin", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST_BYTES", 100_000)
        with pytest.raises(ValueError, match="must have 1 to 100000 bytes, got 128000"):
            download(address, tmp_path)
    server.lengths = False  # nobody knows where it ends
    with pytest.raises(ValueError, match=r"must have 1 to .* bytes, got 0"):
        download(address, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://example.org/a.bin", "ftp://127.0.0.1/a", "a.bin"]
)
def test_refuses_unsafe_addresses(server, tmp_path, address):
    message = f"address must begin with https://, got {re.escape(address)}; correct it"
    with pytest.raises(ValueError, match=message):
        download(address, tmp_path)
    if "://" in address:  # others stay on the server
        server.redirects["/moved"] = address
        with pytest.raises(ValueError, match=message):
            download(f"{server.address}/moved", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_follows_redirections(server, tmp_path):
    server.redirects["/moved"] = f"{server.address}/a.bin"
    assert download(f"{server.address}/moved", tmp_path).read_bytes() == CONTENT


def test_disk_without_room(server, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.move", full)
    with pytest.raises(OSError, match=r"file must arrive from .*, got: .*No space left on device;"):
        download(f"{server.address}/a.bin", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin"
        with pytest.raises(OSError, match=r"file must arrive from http.*Connection refused.*; repeat"):
            download(address, tmp_path)
    assert list(tmp_path.iterdir()) == []
