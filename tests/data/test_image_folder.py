"""Class folders: numbered by name, nothing left out silently."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.image_folder import ImageFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, number in (("n02", 2), ("n01", 1)):
        (tmp_path / name).mkdir()
        for image in range(number):
            pixels = np.full((4, 6, 3), 10 * image, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{name}_{image}.JPEG", format="JPEG")
    return tmp_path


def test_classes_are_numbered_by_name(root: Path) -> None:
    folder = ImageFolder(root)
    assert folder.classes == ("n01", "n02")
    assert [(s.file_name, s.class_index, s.image.shape) for s in folder] == [
        ("n01/n01_0.JPEG", 0, (4, 6, 3)),
        ("n02/n02_0.JPEG", 1, (4, 6, 3)),
        ("n02/n02_1.JPEG", 1, (4, 6, 3)),
    ]
    assert [(c.id, c.name) for c in folder.categories] == [(0, "n01"), (1, "n02")]
    assert len(ImageFolder(root, limit=2)) == 2
    with pytest.raises(ValueError, match="limit must be at least 1 image, got 0"):
        ImageFolder(root, limit=0)


def test_classes_of_the_weights_number_other_images(root: Path) -> None:
    assert [s.class_index for s in ImageFolder(root, classes=("n02", "absent", "n01"))] == [0, 0, 2]
    with pytest.raises(
        ValueError, match=r"n02 must be the folder of a class, got a name .* of the 1 classes"
    ):
        ImageFolder(root, classes=("n01",))


def test_files_that_are_no_images_are_told(root: Path) -> None:
    (root / "n01" / "readme.txt").write_text("hello")
    (root / "n01" / ".hidden").write_text("hello")
    with pytest.warns(UserWarning, match=r"n01.readme\.txt: no image by the suffix; left out"):
        assert len(ImageFolder(root)) == 3


def loose_image(root: Path) -> None:
    (root / "n01" / "n01_0.JPEG").rename(root / "loose.JPEG")


def empty_class(root: Path) -> None:
    (root / "n03").mkdir()


def folder_in_class(root: Path) -> None:
    (root / "n01" / "more").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            loose_image,
            r"must have images inside of class folders, got 1 beside them, such as loose\.JPEG; sort",
        ),
        (empty_class, r"n03 must have images .* got none; add them or remove"),
        (folder_in_class, r"n01 must have only images, got the folder more; give"),
    ],
)
def test_folders_of_another_kind_are_named(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root)
    with pytest.raises(ValueError, match=message):
        ImageFolder(root)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root must be a folder of class folders, got .*nowhere"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must have a folder of images for each class, got none"):
        ImageFolder(tmp_path)


def test_truncated_image_is_named(root: Path) -> None:
    path = root / "n01" / "n01_0.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"n01_0\.JPEG must be a complete image"):
        ImageFolder(root)[0]


def test_real_photographs(shared_data: Callable[[str], Path]) -> None:
    train, val = (ImageFolder(shared_data("caltech101_20") / split) for split in ("train", "val"))
    assert train.classes == val.classes
    assert (len(train.classes), len(train), len(val)) == (20, 900, 300)
    assert train[0].image.ndim == 3
