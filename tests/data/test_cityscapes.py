"""Cityscapes read from its folders: equal to createPanopticImgs, and refused with the name of the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.cityscapes import CityscapesDataset, cityscapes_annotation
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.labels.cityscapes import CATEGORIES
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.weights.file import save_weights

Find = Callable[[str], Path]

# void 4, road 7, a group of cars, two cars whose numbers have a hole, a caravan (never evaluated).
IDS = np.array([[4, 4, 7, 7, 7], [26, 26, 7, 26_000, 26_000], [26, 26, 29_000, 26_004, 26_004]], np.uint16)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write(root: Path, *, split: str = "train", annotations: str = "gtFine", ids: np.ndarray = IDS) -> Path:
    """Write two images of two cities."""
    for city in ("bonn", "aachen"):
        name = f"{city}_000001_000019"
        photo = np.zeros((*ids.shape, 3), np.uint8)
        save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", photo)
        save(root / annotations / split / city / f"{name}_{annotations}_instanceIds.png", ids)
    return root


def truth_of(root: Path, city: str = "aachen") -> Path:
    return root / "gtFine" / "train" / city / f"{city}_000001_000019_gtFine_instanceIds.png"


def photo_of(root: Path, city: str = "aachen") -> Path:
    return root / "leftImg8bit" / "train" / city / f"{city}_000001_000019_leftImg8bit.png"


def with_images(folder: Path, truth: Path, split: str) -> Path:
    """Copy annotations and draw black images for them."""
    for path in sorted(truth.glob("*/*_instanceIds.png")):
        target = folder / "gtFine" / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        name = path.name.replace("_gtFine_instanceIds.png", "_leftImg8bit.png")
        size = read_id_map(path).shape
        save(folder / "leftImg8bit" / split / path.parent.name / name, np.zeros((*size, 3), np.uint8))
    return folder


def test_a_sample_by_hand(tmp_path: Path) -> None:
    dataset = CityscapesDataset(write(tmp_path), "train")
    assert [sample.image_id for sample in dataset] == ["aachen_000001_000019", "bonn_000001_000019"]
    sample = dataset[0]
    assert sample.file_name == "aachen/aachen_000001_000019_leftImg8bit.png"
    assert sample.size == (3, 5)
    assert sample.panoptic is not None
    assert sample.panoptic.tolist() == [
        [0, 0, 10_000, 10_000, 10_000],
        [140_001, 140_001, 10_000, 140_002, 140_002],
        [140_001, 140_001, 0, 140_003, 140_003],
    ]
    assert [(s.id, s.train_id, s.is_crowd, s.area) for s in sample.segments] == [
        (10_000, 0, False, 4),
        (140_001, 13, True, 4),
        (140_002, 13, False, 2),
        (140_003, 13, False, 2),
    ]


def test_train_ids_are_those_of_cityscapes() -> None:
    names = "road sidewalk building wall fence pole light sign vegetation terrain sky person rider car truck"
    assert [name.split()[-1] for name in CATEGORIES.names] == [
        *names.split(), "bus", "train", "motorcycle", "bicycle",
    ]  # fmt: skip
    assert CATEGORIES.thing_ids == tuple(range(11, 19))


def test_equal_to_create_panoptic_images(golden: Find, tmp_path: Path) -> None:
    folder = golden("cityscapes_mini_a") / "gtFine"
    expected = CocoPanopticDataset(
        folder,
        folder / "cityscapes_panoptic_val",
        folder / "cityscapes_panoptic_val.json",
        problems=[],
    )
    dataset = CityscapesDataset(with_images(tmp_path, folder / "val", "val"), "val")
    assert dataset.categories == expected.categories
    assert [r.image_id for r in dataset.records] == [r.image_id for r in expected.records]
    for index in range(4):
        panoptic, segments = dataset.read_ground_truth(index)
        wanted, wanted_segments = expected.read_ground_truth(index)
        np.testing.assert_array_equal(panoptic, wanted)
        assert segments == wanted_segments
        assert dataset[index].segments == segments


def test_annotations_and_ids_equal_create_panoptic_images(golden: Find) -> None:
    folder = golden("cityscapes_mini_a") / "gtFine"
    document = json.loads((folder / "cityscapes_panoptic_val.json").read_text())
    for entry in document["annotations"]:
        path = folder / "val" / "golden" / entry["file_name"].replace("panoptic", "instanceIds")
        ids, annotation = cityscapes_annotation(
            read_id_map(path), image_id=entry["image_id"], file_name=entry["file_name"], source=path
        )
        np.testing.assert_array_equal(
            ids, read_panoptic_png(folder / "cityscapes_panoptic_val" / entry["file_name"])
        )
        found = [(s.id, s.category_id, s.area, int(s.is_crowd)) for s in annotation.segments]
        keys = ("id", "category_id", "area", "iscrowd")
        assert found == [tuple(segment[key] for key in keys) for segment in entry["segments_info"]]


def test_equal_to_a_street_scene_in_train_ids(shared_data: Find, tmp_path: Path) -> None:
    root = shared_data("cityscapes_format_deeplab2")
    folder = root / "gtFine" / "cityscapes_panoptic_dummy_trainId"
    (annotation,) = json.loads(folder.with_suffix(".json").read_text())["annotations"]
    ids = read_panoptic_png(folder / annotation["file_name"]).astype(np.uint16)  # their ids are instanceIds
    save(tmp_path / "gtFine" / "val" / "dummy" / "dummy_000000_000000_gtFine_instanceIds.png", ids)
    image = tmp_path / "leftImg8bit" / "val" / "dummy" / "dummy_000000_000000_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    shutil.copy(next(root.glob("leftImg8bit/**/*.png")), image)
    (sample,) = CityscapesDataset(tmp_path, "val")
    assert sample.size == (800, 800)
    expected = {(s["category_id"], s["area"], bool(s["iscrowd"])) for s in annotation["segments_info"]}
    assert {(s.train_id, s.area, s.is_crowd) for s in sample.segments} == expected


@pytest.mark.parametrize(("split", "given"), [("train_extra", None), ("train", "gtCoarse")])
def test_coarse_annotations(tmp_path: Path, split: str, given: str | None) -> None:
    dataset = CityscapesDataset(
        write(tmp_path, split=split, annotations="gtCoarse"), split, annotations=given
    )
    assert len(dataset[0].segments) == 4
    with pytest.raises(ValueError, match="annotations must be gtFine or gtCoarse, got gtRough"):
        CityscapesDataset(tmp_path, split, annotations="gtRough")


def test_the_test_split_has_images_alone(tmp_path: Path) -> None:
    dataset = CityscapesDataset(write(tmp_path, split="test"), "test", limit=1)
    assert not dataset.has_ground_truth
    assert [(sample.panoptic, sample.segments) for sample in dataset] == [(None, ())]


def test_evaluation_of_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, split="val", ids=np.repeat(np.repeat(IDS, 8, axis=0), 8, axis=1))
    write(tmp_path, split="test")
    torch.manual_seed(0)
    small = {"width_multiplier": 0.0625, "depths": (1, 1, 1, 1), "num_heads": 2}
    model = create_model("axial_deeplab_nano", num_classes=19, **small)
    weights = tmp_path / "tiny.safetensors"
    save_weights(weights, model, CATEGORIES, extra={"post_processing": {"stuff_area": 0}})
    words = [
        "evaluate",
        "--weights",
        weights,
        "--format",
        "cityscapes",
        "--root",
        tmp_path,
        "--device",
        "cpu",
    ]
    assert main([str(word) for word in [*words, "--split", "val", "--json-out", tmp_path / "n.json"]]) == 0
    assert json.loads((tmp_path / "n.json").read_text())["num_images"] == 2
    capsys.readouterr()
    assert main([str(word) for word in [*words, "--split", "test"]]) == 2
    assert (
        "data.val.split must have ground truth to train and evaluate on, got test" in capsys.readouterr().err
    )


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root must have images like .* got none in .*train; unpack"):
        CityscapesDataset(tmp_path, "train")
    photo_of(write(tmp_path)).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"image of every annotation, got none for .*aachen_000001.*add"
    ):
        CityscapesDataset(tmp_path, "train")


def test_missing_annotation_is_named(tmp_path: Path) -> None:
    truth_of(write(tmp_path), "bonn").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"got none at .*bonn_000001_000019_gtFine_instanceIds\.png; add"
    ):
        CityscapesDataset(tmp_path, "train")
    assert len(CityscapesDataset(tmp_path, "train", limit=1)) == 1


def test_unknown_id_is_named(tmp_path: Path) -> None:
    for wrong in (34, 34_001, 255):
        ids = IDS.copy()
        ids[0, 0] = wrong
        save(truth_of(write(tmp_path)), ids)
        with pytest.raises(
            ValueError,
            match=rf"aachen.*instanceIds\.png must have only ids of Cityscapes .* got {wrong}; give",
        ):
            CityscapesDataset(tmp_path, "train")[0]


def test_annotation_of_another_size_is_named(tmp_path: Path) -> None:
    save(truth_of(write(tmp_path)), IDS[:2])
    with pytest.raises(ValueError, match=r"aachen.*leftImg8bit\.png must be 2 x 5 pixels .* got 3 x 5; give"):
        CityscapesDataset(tmp_path, "train")[0]


def test_colors_instead_of_ids_are_named(tmp_path: Path) -> None:
    save(truth_of(write(tmp_path)), np.zeros((3, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"instanceIds\.png must have one channel .* got mode RGB; save"):
        CityscapesDataset(tmp_path, "train")[0]


@pytest.mark.parametrize("part", [truth_of, photo_of])
def test_truncated_files_are_named(tmp_path: Path, part: Callable[[Path], Path]) -> None:
    path = part(write(tmp_path))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{path.name} must be a complete (image|PNG)"):
        CityscapesDataset(tmp_path, "train")[0]
