"""Downloads: whole, resumed, refused."""

import errno
import hashlib
import io
import shutil
import socket

import pytest

from axial_deeplab.weights import download as module
from axial_deeplab.weights.download import download
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


def interrupt(server, path, length=50_000):
    """Leave the first bytes of the file beside its path."""
    server.cut_after = length
    with pytest.raises(OSError, match=f"got {length} of"):
        download(f"{server.address}/a.bin", path)


@pytest.mark.parametrize("versions", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("heeds_versions", [True, False])
def test_another_version_is_not_appended(server, tmp_path, versions, heeds_versions):
    server.versions, server.heeds_versions = versions, heeds_versions
    interrupt(server, tmp_path / "a.bin")
    server.files["/a.bin"] = CONTENT[::-1]
    download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    assert server.requests[1] == "bytes=50000-"


def test_starts_again_where_versions_have_no_names(server, tmp_path):
    server.versions = None
    interrupt(server, tmp_path / "a.bin")
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256
    assert server.requests == [None, None]


def test_starts_again_where_ranges_are_not_known(server, tmp_path):
    server.ranges = False
    interrupt(server, tmp_path / "a.bin")
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256
    assert server.requests == [None, "bytes=50000-"]


def test_part_that_is_complete(server, tmp_path):
    interrupt(server, tmp_path / "a.bin")
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256
    assert server.requests[1:] == [f"bytes={len(CONTENT)}-"]


def test_part_of_another_file(server, tmp_path):
    interrupt(server, tmp_path / "a.bin")
    part = tmp_path / "a.bin.part"
    part.write_bytes(CONTENT + b"x")
    with pytest.raises(OSError, match="address must give a file, got 416"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []
    interrupt(server, tmp_path / "a.bin")
    part.write_bytes(b"x" * 10)
    with pytest.raises(ValueError, match=f"must have the sha256 {SHA256}, got .*; it was not kept"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_refuses_other_files(server, tmp_path):
    with pytest.raises(ValueError, match=r"must have 7 bytes, got 128000; ask who published it"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", size=7)
    with pytest.raises(ValueError, match="must have the sha256 00, got"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", sha256="00")
    with pytest.raises(OSError, match=r"address must give a file, got 404 Not Found from http.*/b.bin; see"):
        download(f"{server.address}/b.bin", tmp_path / "b.bin")
    assert list(tmp_path.iterdir()) == []


def test_refuses_too_much(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    with pytest.raises(ValueError, match="must have at most 100000 bytes, got 128000"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin")
    server.lengths = False  # nobody knows where it ends
    with pytest.raises(ValueError, match="must have at most 100000 bytes, got more"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin")
    with pytest.raises(ValueError, match="must have at most 50 bytes, got more"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", size=50)
    server.files["/a.bin"] = CONTENT[:64_000]
    with pytest.raises(ValueError, match="must have the size 99000, got 64000; it was not kept"):
        download(f"{server.address}/a.bin", tmp_path / "a.bin", size=99_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://example.org/a.bin", "ftp://127.0.0.1/a", "a.bin"]
)
def test_refuses_unsafe_addresses(server, tmp_path, address):
    with pytest.raises(ValueError, match=f"address must begin with https://, got {address}; correct it"):
        download(address, tmp_path / "a.bin")
    if address.startswith(("http", "ftp")):  # others are refused by urllib itself
        server.redirects["/moved"] = address
        with pytest.raises(ValueError, match=f"address must begin with https://, got {address}"):
            download(f"{server.address}/moved", tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_follows_redirections(server, tmp_path):
    server.redirects["/moved"] = f"{server.address}/a.bin"
    assert download(f"{server.address}/moved", tmp_path / "a.bin") == SHA256


def test_disk_without_room(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)
        )
        with pytest.raises(OSError, match=r"disk must have 128000 free bytes for .*, got 1000; free some"):
            download(f"{server.address}/a.bin", tmp_path / "a.bin")
        assert list(tmp_path.iterdir()) == []

    class FullFile(io.FileIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Part, "open", lambda part, version, go_on: FullFile(part.path, "wb"))
        with pytest.raises(
            OSError, match=r"disk must have room for .*a.bin.part, got: No space left on device;"
        ):
            download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert download(f"{server.address}/a.bin", tmp_path / "a.bin") == SHA256


def test_offline(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin"
        with pytest.raises(OSError, match=r"network must reach http.*Connection refused; connect and repeat"):
            download(address, tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []
