"""Which files of a folder are images, and what is told of the others."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.data.discover import find_datasets
from axial_deeplab.data.image_files import find_images, list_files, numbers_of_names
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter

KINDS = {
    "a.JPG": "JPEG",
    "b.jfif": "JPEG",
    "c.jpe": "JPEG",
    "d.ppm": "PPM",
    "e.j2k": "JPEG2000",
    "f.PNG": "PNG",
}


@pytest.mark.filterwarnings("error")
def test_pictures_are_found_by_every_suffix_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        Image.new("RGB", (6, 4)).save(tmp_path / name, kind)
        (tmp_path / f"._{name}").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "g.jpg").touch()
    files = find_images([tmp_path])
    assert list(files) == sorted(KINDS)
    assert [read_image(path).shape for path in files.values()] == [(4, 6, 3)] * len(KINDS)
    assert [path.name for path in list_files(tmp_path, [".png"])] == ["f.PNG"]
    assert list_files(tmp_path / "absent") == []


def test_zarr_in_a_folder_is_told(tmp_path: Path) -> None:
    for name in (
        "a.zarr/.zgroup",
        "a.zarr/0/.zarray",
        "a.zarr/0/0.0",
        "b.zarr/zarr.json",
        "b.zarr/c/0/0",
        "b.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.warns(
        UserWarning, match=r"left out 2 Zarr \(a.zarr\), such as a.zarr; .* name Zarr and linked"
    ) as told:
        assert list(find_images([tmp_path])) == ["b.png"]
    assert len(told) == 1
    (tmp_path / "b.png").unlink()
    with pytest.raises(ValueError, match=r"got .*a.zarr in .*; name it itself"):
        find_images([tmp_path])


@pytest.mark.filterwarnings("error")
def test_slides_and_large_tiffs_are_found_by_their_suffixes(tmp_path: Path) -> None:
    names = ("a.svs", "b.SCN", "c.lsm", "d.btf", "e.qptiff")
    for name in names:
        tifffile.imwrite(tmp_path / name, np.full((4, 6), 9, np.uint8))
    files = find_images([tmp_path])
    assert list(files) == list(names)
    assert {read_image(path).max() for path in files.values()} == {9}


def test_what_macos_leaves_in_archives_is_no_class_and_no_data_set(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png", "__MACOSX/a/._0.png", "__MACOSX/._a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(tmp_path / name, "PNG")
    assert list(find_images([tmp_path])) == ["a/0.png", "b/0.png"]
    assert ImageFolder(tmp_path).classes == ("a", "b")
    assert [each.name for each in find_datasets(tmp_path)] == [str(tmp_path)]


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    for name in ("folder/a.jpg", "folder/g.heic", "folder/more/h.HEIC", "elsewhere/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink("../elsewhere", tmp_path / "folder" / "linked")
    with pytest.warns(
        UserWarning, match=r"folder: left out 2 \.heic, 1 link to a folder \(linked\), such as g\.heic"
    ):
        assert list(find_images([tmp_path / "folder"])) == ["a.jpg"]


def test_links_that_lead_nowhere_are_files_that_cannot_be_read(tmp_path: Path) -> None:
    """As git-annex and DVC leave them: without them the folder would seem complete."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to("elsewhere/b.png")
    (tmp_path / "c.png").symlink_to("c.png")
    assert list(find_images([tmp_path], exclude=tmp_path / "out")) == ["a.png", "b.png", "c.png"]
    for name in ("b.png", "c.png"):
        with pytest.raises(OSError, match=name):
            read_image(tmp_path / name)


def test_names_are_numbers_of_63_bits_or_none_is() -> None:
    assert numbers_of_names(["007.jpg", "a/8.jpg"]) == [7, 8]
    assert numbers_of_names([f"{2**63 - 1}.jpg"]) == [2**63 - 1]
    for names in (["1.jpg", "1.png"], ["1.jpg", "b.jpg"], ["1.jpg", f"{2**63}.jpg"]):
        assert numbers_of_names(names) == [None, None]


def test_names_of_many_bytes_and_of_none_that_is_a_text(tmp_path: Path) -> None:
    writer = PanopticWriter(
        tmp_path / "panoptic", tmp_path / "panoptic.json", Categories([Category(1, "sky", False)])
    )
    sky = Panoptic(np.full((2, 3), 10_000, np.int32), [Segment(id=10_000, train_id=0, area=6)])
    name = "b" + "\u6f22" * 83 + ".jpg"  # 254 bytes: the temporary file must not be longer
    assert writer.add(sky, image_file_name=name)["file_name"] == name.replace(".jpg", ".png")
    with pytest.raises(ValueError, match=r"file_name must be a text in UTF-8, got 'a\\udcff\.jpg'; rename"):
        writer.add(sky, image_file_name="a\udcff.jpg")
