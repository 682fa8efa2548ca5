"""Reading files that are none, writing where there is no room."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors

from axial_deeplab.util.files import atomic_directory, atomic_path, bytes_of, opened, remove_leftovers_below

FULL = os.strerror(errno.ENOSPC)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes in folders")
@pytest.mark.timeout(20)
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    """Who opens a pipe waits for a writer, who reads /dev/zero never comes to the end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path(os.devnull)):
        with pytest.raises(OSError, match=f"{path} must be a file, got a pipe or a device; give the path"):
            opened(path)
    with pytest.raises(OSError, match="pipe must be a file"), atomic_path(tmp_path / "pipe"):
        pytest.fail("it would be replaced")
    assert (tmp_path / "pipe").is_fifo()


def test_other_files_are_opened_as_ever(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert bytes_of(tmp_path / "link") == b"abc"
    with pytest.raises(FileNotFoundError) as missing:
        opened(tmp_path / "b")
    assert missing.value.filename == str(tmp_path / "b")
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)


def of_the_system() -> None:
    raise OSError(errno.ENOSPC, FULL)


def of_a_copy() -> None:
    raise OSError(errno.EFBIG, "File too large", "photo.jpg", None, ".axial-deeplab-x/photo.jpg")


def of_an_archive() -> None:
    """As `torch.save` ends."""
    try:
        of_the_system()
    finally:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")


def of_safetensors() -> None:
    raise safetensors.SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)")


def of_numpy() -> None:
    raise OSError("90000 requested and 5086 written")


@pytest.mark.parametrize("fail", [of_the_system, of_a_copy, of_an_archive, of_safetensors, of_numpy])
def test_a_full_disk_is_named_after_the_file(fail: Callable[[], None], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"{FULL}|too large") as outer, atomic_directory(tmp_path / "out"):
        fail()
    with pytest.raises(OSError, match=f"{FULL}|too large") as inner:  # noqa: SIM117
        with atomic_directory(tmp_path / "out"), atomic_path(tmp_path / "file"):
            fail()
    assert outer.value.filename == str(tmp_path / "out")
    assert inner.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("a"), OSError(errno.EIO, "b"), OSError(errno.ENOSPC, FULL, "other/file")):
        with pytest.raises(type(error)) as found, atomic_path(tmp_path / "file"):
            raise error
        assert found.value is error


@pytest.mark.skipif(os.name == "nt", reason="has no such locks")
def test_what_lost_workers_left_is_removed_and_what_others_write_stays(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    left = tmp_path / "labels" / ".axial-deeplab-left.tif"
    left.write_bytes(b"II")
    with atomic_path(tmp_path / "labels" / "a.tif") as own:
        left.write_bytes(b"II")  # the first call for a folder has removed it
        own.write_bytes(b"II*")
        remove_leftovers_below(tmp_path)
        assert own.is_file()
        assert not left.exists()
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a.tif"]
