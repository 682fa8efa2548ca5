"""Archives: what would leave the folder is refused, and then nothing is written at all."""

import io
import tarfile
import zipfile

import pytest

from axial_deeplab.weights.archives import is_archive, unpacked


def write_tar(path, *members):
    """Write a tar of (name, content) or of members."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


def link(kind, target):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, target
    return info


WRITERS = [("a.tar.gz", write_tar), ("a.zip", write_zip)]


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_unpacks(tmp_path, name, write):
    write(tmp_path / name, ("model/ckpt.index", b"index"), ("model/ckpt.data", b""))
    assert is_archive(tmp_path / name)
    with unpacked(tmp_path / name) as folder:
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        assert files == {"model/ckpt.index": b"index", "model/ckpt.data": b""}
    assert not folder.exists()
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "absent.zip")


def test_folders(tmp_path):
    folder = tarfile.TarInfo("./model")
    folder.type = tarfile.DIRTYPE
    root = tarfile.TarInfo(".")
    root.type = tarfile.DIRTYPE
    write_tar(tmp_path / "a.tgz", root, folder, ("./model/x", b"1"))
    with unpacked(tmp_path / "a.tgz") as content:
        assert (content / "model" / "x").read_bytes() == b"1"


@pytest.mark.parametrize(("name", "write"), WRITERS)
@pytest.mark.parametrize("evil", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_refuses_paths_out_of_the_folder(tmp_path, monkeypatch, name, write, evil):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write(tmp_path / name, ("good", b"1"), (evil, b"2"))
    with (
        pytest.raises(ValueError, match=r"must hold paths inside its folder, got .*evil; do not use it"),
        unpacked(tmp_path / name),
    ):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == [name, "temporary"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_refuses_links_and_devices(tmp_path, kind):
    write_tar(tmp_path / "a.tar.gz", link(kind, "/etc/passwd"))
    with (
        pytest.raises(ValueError, match="got the link or device link; do not"),
        unpacked(tmp_path / "a.tar.gz"),
    ):
        pass


def test_refuses_links_in_zips(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    write_zip(tmp_path / "a.zip", (info, "/etc/passwd"))
    with pytest.raises(ValueError, match="got the link or device link; do not"), unpacked(tmp_path / "a.zip"):
        pass


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_refuses_bombs(tmp_path, name, write):
    write(tmp_path / name, ("zeros", bytes(4 * 2**20)))
    with (
        pytest.raises(ValueError, match=r"must unpack to at most \d+ bytes, got 4194304"),
        unpacked(tmp_path / name),
    ):
        pass


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_refuses_damaged_archives(tmp_path, name, write):
    path = tmp_path / name
    write(path, ("a", bytes(range(256)) * 40))
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="must be a complete archive, got"), unpacked(path):
            pass
