"""Downloads: whole, resumed, refused."""

import hashlib
import socket

import pytest

from axial_deeplab.zoo.download import download
from file_server import running_server

CONTENT = bytes(range(256)) * 500
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with running_server() as running:
        running.files["/a.bin"] = CONTENT
        yield running


def test_whole_file(server, tmp_path, capsys):
    path = tmp_path / "folder" / "a.bin"
    found = download(f"{server.address}/a.bin", path, size=len(CONTENT), sha256=SHA256, progress=True)
    assert found == SHA256
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]
    assert "a.bin: 100%" in capsys.readouterr().err


def test_resumes(server, tmp_path):
    path = tmp_path / "a.bin"
    server.cut_after = 50_000
    message = rf"download must be complete, got 50000 of {len(CONTENT)} bytes .*; repeat the command"
    with pytest.raises(OSError, match=message):
        download(f"{server.address}/a.bin", path)
    assert not path.exists()
    server.cut_after = 30_000
    with pytest.raises(OSError, match="got 80000 of"):
        download(f"{server.address}/a.bin", path)
    assert download(f"{server.address}/a.bin", path) == SHA256
    assert server.requests == [None, "bytes=50000-", "bytes=80000-"]


def test_starts_again_where_ranges_are_not_known(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256


def test_part_that_is_complete(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256
    assert server.requests == [f"bytes={len(CONTENT)}-"]


def test_part_of_another_file(server, tmp_path):
    part = tmp_path / "a.bin.part"
    part.write_bytes(CONTENT + b"x")
    with pytest.raises(OSError, match="address must give a file, got 416"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert not part.exists()
    part.write_bytes(b"x" * 10)
    with pytest.raises(ValueError, match=f"must have the sha256 {SHA256}, got .*; it was not kept"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_refuses_other_files(server, tmp_path):
    with pytest.raises(ValueError, match="must have the size 7, got 128000; it was not kept"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", size=7)
    with pytest.raises(ValueError, match="must have the sha256 00, got"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", sha256="00")
    with pytest.raises(OSError, match=r"address must give a file, got 404 Not Found from http.*/b.bin; see"):
        download(f"{server.address}/b.bin", tmp_path / "b.bin")
    with pytest.raises(
        ValueError, match="address must begin with http:// or https://, got file:///etc/passwd"
    ):
        download("file:///etc/passwd", tmp_path / "b.bin")
    assert list(tmp_path.iterdir()) == []


def test_offline(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin"
        with pytest.raises(OSError, match=r"network must reach http.*Connection refused; connect and repeat"):
            download(address, tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []
