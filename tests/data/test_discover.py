"""Data sets are found by the usual names of their files."""

from pathlib import Path

import pytest

from axial_deeplab.data.discover import find_datasets


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(folder: Path) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (d.data.format, Path(str(d.data.val.root)).name, d.data.val.split, d.data.val.annotations)
        for d in find_datasets(folder)
    ]


def test_cityscapes(tmp_path: Path) -> None:
    root = touch(tmp_path / "cs", *(f"leftImg8bit/{s}/bonn/a" for s in ("train", "test", "val", "demo")))
    touch(root, "gtFine/train/bonn/a", "gtCoarse/train/bonn/a", "gtFine/val/bonn/a", "gtFine/test/bonn/a")
    assert found(root) == [
        ("cityscapes", "cs", "demo", None),
        ("cityscapes", "cs", "test", None),
        ("cityscapes", "cs", "train", "gtFine"),
        ("cityscapes", "cs", "train", "gtCoarse"),
        ("cityscapes", "cs", "val", "gtFine"),
    ]


def test_mapillary(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "mv", "config_v2.0.json", "training/images/a.jpg", "testing/images/a.jpg", "demo.py"
    )
    touch(root, "training/v1.2/panoptic/a.png", "training/v2.0/panoptic/a.png")
    assert found(root) == [
        ("mapillary", "mv", "testing", None),
        ("mapillary", "mv", "training", "v1.2"),
        ("mapillary", "mv", "training", "v2.0"),
    ]


def test_coco_and_folders_of_data_sets(tmp_path: Path) -> None:
    root = touch(tmp_path / "coco", "annotations/panoptic_val2017.json", "annotations/instances_val2017.json")
    assert found(root) == [("coco", "coco", "val2017", None)]
    root = touch(
        tmp_path / "ade", "ade20k_panoptic_val.json", "ade20k_instance_val.json", "images/training/a.jpg"
    )
    assert found(root) == [("coco", "ade", "val", None)]
    root = touch(tmp_path / "scenes", "train/panoptic.json", "val/panoptic.json")
    assert found(root) == [("coco", "train", None, None), ("coco", "val", None, None)]
    assert find_datasets(root)[0].name == str(root / "train")


def test_annotations_without_their_json_are_no_class_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "mine", "images/a.png", "panoptic/a.png")
    assert found(root) == [("coco", "mine", None, None)]
    root = touch(tmp_path / "coco", "val2017/a.jpg", "annotations/panoptic_val2017/a.png")
    touch(root, "annotations/panoptic_train2017.json", "annotations/panoptic_val2017.zip")
    assert [split for *_, split, _ in found(root)] == ["train2017", "val2017"]
    root = touch(tmp_path / "mv", "validation/images/a.jpg", "validation/v2.0/panoptic/a.png")
    assert found(root) == [("mapillary", "mv", "validation", "v2.0")]


def test_class_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "imagenet", "train/n01/a.JPEG", "val/n01/a.JPEG")
    assert found(root) == [("image_folder", "train", None, None), ("image_folder", "val", None, None)]
    assert found(root / "train") == [("image_folder", "train", None, None)]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nowhere must be a folder with a data set, got none; correct"
    ):
        find_datasets(tmp_path / "nowhere")
    with pytest.raises(
        ValueError, match=r"must have leftImg8bit \(Cityscapes\), .* got none of these; give --images"
    ):
        find_datasets(tmp_path)
