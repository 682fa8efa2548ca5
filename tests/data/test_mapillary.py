"""Mapillary Vistas in its folders of both versions, and refused with the name of the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.mapillary import MapillaryDataset
from axial_deeplab.panoptic.png import write_panoptic_png

LABELS = [
    {"name": "animal--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [165, 42, 42]},
    {"name": "flat--road", "readable": "Road", "instances": False, "evaluate": True, "color": [128, 64, 128]},
    {"name": "void", "readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
]  # fmt: skip
IDS = np.array([[7, 7, 9, 9], [8, 8, 5, 5], [8, 8, 0, 5]], np.int32)
SEGMENTS = [
    {"id": 5, "category_id": 3, "iscrowd": 0, "area": 3},
    {"id": 7, "category_id": 2, "iscrowd": 0, "area": 2},
    {"id": 8, "category_id": 1, "iscrowd": 0, "area": 4},
    {"id": 9, "category_id": 1, "iscrowd": 1, "area": 2},
]
CATEGORIES = [
    {"id": place + 1, "name": label["readable"], "supercategory": label["name"],
     "isthing": int(label["instances"]), "color": label["color"]}
    for place, label in enumerate(LABELS)
]  # fmt: skip


def write(
    root: Path, *, version: str = "v1.2", folder: str = "v1.2/panoptic", config: str = "config_v1.2.json"
) -> Path:
    """Write two images of the split training."""
    name = {"v1.2": "panoptic_2018.json", "v2.0": "panoptic_2020.json"}[version]
    panoptic = root / "training" / folder
    panoptic.mkdir(parents=True)
    (root / "training" / "images").mkdir()
    for stem in ("b", "a"):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(root / "training" / "images" / f"{stem}.jpg")
        write_panoptic_png(panoptic / f"{stem}.png", IDS)
    document = {
        "images": [{"id": stem, "file_name": f"{stem}.jpg", "height": 3, "width": 4} for stem in "ba"],
        "annotations": [{"image_id": s, "file_name": f"{s}.png", "segments_info": SEGMENTS} for s in "ba"],
        "categories": CATEGORIES,
    }
    (panoptic / name).write_text(json.dumps(document))
    (root / config).write_text(json.dumps({"labels": LABELS}))
    return root


@pytest.mark.parametrize(
    ("version", "folder", "config"),
    [
        ("v1.2", "v1.2/panoptic", "config_v1.2.json"),
        ("v1.2", "panoptic", "config.json"),
        ("v2.0", "v2.0/panoptic", "config_v2.0.json"),
    ],
)
def test_a_sample_by_hand(tmp_path: Path, version: str, folder: str, config: str) -> None:
    root = write(tmp_path, version=version, folder=folder, config=config)
    dataset = MapillaryDataset(root, "training", annotations=version)
    assert dataset.categories.names == ("Bird", "Road")
    assert [r.image_id for r in dataset.records] == ["b", "a"]
    sample = dataset[1]
    assert (sample.image_id, sample.file_name, sample.size) == ("a", "a.jpg", (3, 4))
    assert sample.panoptic is not None
    assert sample.panoptic.tolist() == [
        [20_000, 20_000, 10_002, 10_002],
        [10_001, 10_001, 0, 0],
        [10_001, 10_001, 0, 0],
    ]
    assert [(s.id, s.is_crowd, s.area) for s in sample.segments] == [
        (20_000, False, 2), (10_001, False, 4), (10_002, True, 2),
    ]  # fmt: skip


def test_images_alone(tmp_path: Path) -> None:
    root = write(tmp_path)
    dataset = MapillaryDataset(root, "training", images_only=True, limit=1)
    assert [(s.image_id, s.panoptic) for s in dataset] == [("a", None)]
    annotated = MapillaryDataset(root, "training").categories
    assert dataset.categories == annotated
    (root / "training").rename(root / "testing")
    assert not MapillaryDataset(root, "testing").has_ground_truth


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"annotations must be v1\.2 or v2\.0, got v3"):
        MapillaryDataset(tmp_path, "training", annotations="v3")
    with pytest.raises(
        FileNotFoundError, match=r"root must have config_v2\.0\.json of Mapillary Vistas, got none"
    ):
        MapillaryDataset(tmp_path, "training", annotations="v2.0")
    root = write(tmp_path)
    with pytest.raises(FileNotFoundError, match="root must have images in validation/images, got none"):
        MapillaryDataset(root, "validation")
    (root / "training" / "images" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"images must be .* got none at .*a\.jpg; add"):
        MapillaryDataset(root, "training")
    (root / "training" / "v1.2" / "panoptic" / "b.png").unlink()
    (root / "training" / "images" / "a.jpg").symlink_to(root / "training" / "images" / "b.jpg")
    with pytest.raises(FileNotFoundError, match=r"panoptic must be .* got none at .*b\.png; add"):
        MapillaryDataset(root, "training")
    (root / "training" / "v1.2" / "panoptic" / "panoptic_2018.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"annotations of v1\.2, got no .*panoptic_2018\.json; unpack"
    ):
        MapillaryDataset(root, "training")


def test_image_without_annotation_is_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(root / "training" / "images" / "c.jpg")
    with pytest.raises(
        FileNotFoundError, match=r"an annotation of every image, got none of .*c\.jpg; remove"
    ):
        MapillaryDataset(root, "training")
    problems: list[str] = []
    assert len(MapillaryDataset(root, "training", problems=problems)) == 2
    assert len(problems) == 1


def no_annotations(document: dict[str, Any]) -> None:
    document.update(images=[], annotations=[])


def unknown_category(document: dict[str, Any]) -> None:
    document["annotations"][0]["segments_info"][0]["category_id"] = 66


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_annotations, r"panoptic_2018\.json must have annotations, got none; unpack"),
        (
            unknown_category,
            r"annotations\[0\] \(image 'b'\) segment 5 category_id must be in categories, got 66",
        ),
    ],
)
def test_wrong_annotations_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = write(tmp_path) / "training" / "v1.2" / "panoptic" / "panoptic_2018.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        MapillaryDataset(tmp_path, "training")


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": [{"readable": "Bird"}]}', '{"labels": 3}'])
def test_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (write(tmp_path) / "config_v1.2.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"config_v1\.2\.json must be the config of Mapillary Vistas .* unpack"
    ):
        MapillaryDataset(tmp_path, "training")


def test_broken_files_are_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    panoptic = root / "training" / "v1.2" / "panoptic"
    write_panoptic_png(panoptic / "b.png", IDS[:2])
    write_panoptic_png(panoptic / "a.png", IDS + 1)
    dataset = MapillaryDataset(root, "training")
    with pytest.raises(ValueError, match=r"b\.png .*must be 3 x 4 pixels .* got 2 x 4"):
        dataset[0]
    with pytest.raises(
        ValueError, match=r"a\.png .*must have only ids that segments_info lists, got 1, 6, 10"
    ):
        dataset[1]
    (panoptic / "a.png").write_bytes((panoptic / "a.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a\.png must be a complete PNG"):
        dataset[1]
    (panoptic / "panoptic_2018.json").write_text("{")
    with pytest.raises(ValueError, match=r"panoptic_2018\.json must be a JSON file"):
        MapillaryDataset(root, "training")
