"""COCO panoptic data sets: read as they are on disk, refused with the name of the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.png import write_panoptic_png

SharedData = Callable[[str], Path]

# Ids with gaps, not in order: sky 0, car 1, dog 2 are the train ids.
CATEGORIES = [
    {"id": 40, "name": "dog", "isthing": 1, "color": [0, 200, 0]},
    {"id": 3, "name": "sky", "isthing": 0, "color": [0, 0, 200]},
    {"id": 7, "name": "car", "isthing": 1, "color": [200, 0, 0]},
]
IDS = np.array(
    [
        [0, 0, 5, 5, 5],
        [9, 9, 5, 70_000, 70_000],
        [9, 9, 5, 70_000, 70_000],
    ],
    np.int32,
)
SEGMENTS = [
    {"id": 5, "category_id": 3, "iscrowd": 0, "area": 5, "bbox": [2, 0, 3, 3]},
    {"id": 9, "category_id": 7, "iscrowd": 0, "area": 4, "bbox": [0, 1, 2, 2]},
    {"id": 70_000, "category_id": 7, "iscrowd": 1, "area": 4, "bbox": [3, 1, 2, 2]},
]


def photo(height: int = 3, width: int = 5) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def write(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda document: None) -> dict[str, Path]:
    """Write a data set of the images 11 and "b", both as above, and return the arguments of the data set."""
    document: dict[str, Any] = {
        "images": [
            {"id": 11, "file_name": "first.png", "height": 3, "width": 5},
            {"id": "b", "file_name": "day/second.png", "height": 3, "width": 5},
        ],
        "annotations": [
            {"image_id": "b", "file_name": "day/second.png", "segments_info": SEGMENTS},
            {"image_id": 11, "file_name": "first.png", "segments_info": SEGMENTS},
        ],
        "categories": CATEGORIES,
    }
    document = json.loads(json.dumps(document))
    change(document)
    paths = {"images": folder / "images", "panoptic": folder / "panoptic", "json": folder / "panoptic.json"}
    for name in ("first.png", "day/second.png"):
        (paths["images"] / name).parent.mkdir(parents=True)
        (paths["panoptic"] / name).parent.mkdir(parents=True)
        Image.fromarray(photo()).save(paths["images"] / name)
        write_panoptic_png(paths["panoptic"] / name, IDS)
    paths["json"].write_text(json.dumps(document))
    return paths


def test_samples_come_in_the_order_of_images(tmp_path: Path) -> None:
    dataset = CocoPanopticDataset(**write(tmp_path))
    assert len(dataset) == 2
    assert dataset.categories.names == ("sky", "car", "dog")
    assert [dataset[index].image_id for index in (0, 1, -1)] == [11, "b", "b"]
    assert [sample.file_name for sample in dataset] == ["first.png", "day/second.png"]


def test_a_sample_by_hand(tmp_path: Path) -> None:
    sample = CocoPanopticDataset(**write(tmp_path))[0]
    np.testing.assert_array_equal(sample.image, photo())
    assert sample.size == (3, 5)
    assert sample.panoptic is not None
    assert sample.panoptic.dtype == np.int32
    assert sample.panoptic.tolist() == [
        [0, 0, 10_000, 10_000, 10_000],
        [20_001, 20_001, 10_000, 20_002, 20_002],
        [20_001, 20_001, 10_000, 20_002, 20_002],
    ]
    assert [(s.id, s.train_id, s.is_crowd, s.area) for s in sample.segments] == [
        (10_000, 0, False, 5),
        (20_001, 1, False, 4),
        (20_002, 1, True, 4),
    ]


def test_areas_are_counted_not_believed(tmp_path: Path) -> None:
    def lie(document: dict[str, Any]) -> None:
        document["annotations"][1]["segments_info"][0]["area"] = 999

    assert CocoPanopticDataset(**write(tmp_path, lie))[0].segments[0].area == 5


def test_images_alone_need_no_annotations(tmp_path: Path) -> None:
    paths = write(tmp_path, lambda document: document.pop("annotations"))
    dataset = CocoPanopticDataset(paths["images"], None, paths["json"])
    sample = dataset[1]
    assert (sample.image_id, sample.panoptic, sample.segments, sample.size) == ("b", None, (), (3, 5))


def test_images_alone_need_no_categories_if_they_are_given(tmp_path: Path) -> None:
    paths = write(tmp_path, lambda document: [document.pop("annotations"), document.pop("categories")])
    categories = Categories([Category(1, "nucleus", True)])
    assert (
        CocoPanopticDataset(paths["images"], None, paths["json"], categories=categories).categories
        == categories
    )


def test_sizes_may_be_left_out_of_the_json(tmp_path: Path) -> None:
    def without_size(document: dict[str, Any]) -> None:
        for image in document["images"]:
            del image["height"], image["width"]

    assert CocoPanopticDataset(**write(tmp_path, without_size))[0].size == (3, 5)


def test_limit_takes_the_first_images(tmp_path: Path) -> None:
    paths = write(tmp_path)
    assert [sample.image_id for sample in CocoPanopticDataset(**paths, limit=1)] == [11]
    assert CocoPanopticDataset(**paths, limit=1)[-1].image_id == 11
    assert len(CocoPanopticDataset(**paths, limit=5)) == 2
    with pytest.raises(ValueError, match="limit must be at least 1 image, got 0"):
        CocoPanopticDataset(**paths, limit=0)


@pytest.mark.parametrize("annotated_upright", [True, False])
def test_exif_rotation_follows_the_annotation(tmp_path: Path, annotated_upright: bool) -> None:
    paths = write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    upright = photo()
    stored = np.ascontiguousarray(np.rot90(upright)) if annotated_upright else upright
    Image.fromarray(stored).save(paths["images"] / "first.png", exif=exif)
    sample = CocoPanopticDataset(**paths)[0]
    np.testing.assert_array_equal(sample.image, upright)
    assert sample.panoptic is not None
    assert sample.panoptic.shape == (3, 5)


def test_missing_files_are_found_at_once(tmp_path: Path) -> None:
    paths = write(tmp_path)
    (paths["images"] / "day" / "second.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"images must be a folder .* got none at .*second\.png; add"):
        CocoPanopticDataset(**paths)
    assert len(CocoPanopticDataset(**paths, limit=1)) == 1
    with pytest.raises(FileNotFoundError, match=r"second\.png"):
        CocoPanopticDataset(**paths, problems=[])[1]
    paths = write(tmp_path / "other")
    paths["panoptic"] = tmp_path / "nowhere"
    with pytest.raises(
        FileNotFoundError, match=r"panoptic must be a folder .*none at .*first\.png and 1 more"
    ):
        CocoPanopticDataset(**paths)
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        CocoPanopticDataset(paths["images"], paths["panoptic"], tmp_path / "nothing.json")


def test_truncated_image_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    path = paths["images"] / "first.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"first\.png must be a complete image"):
        CocoPanopticDataset(**paths)[0]


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    Image.fromarray(photo(4, 5)).save(paths["images"] / "first.png")
    with pytest.raises(ValueError, match=r"images.first\.png must be 3 x 5 pixels .* got 4 x 5"):
        CocoPanopticDataset(**paths)[0]


def test_png_of_another_size_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    write_panoptic_png(paths["panoptic"] / "first.png", IDS[:2])
    with pytest.raises(ValueError, match=r"panoptic.first\.png .*must be 3 x 5 pixels .* got 2 x 5"):
        CocoPanopticDataset(**paths)[0]


def test_png_id_without_segment_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    write_panoptic_png(paths["panoptic"] / "first.png", IDS + 1)
    with pytest.raises(ValueError, match=r"first\.png .*must have only ids that segments_info lists"):
        CocoPanopticDataset(**paths)[0]


def test_image_without_annotation_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path, lambda document: document["annotations"].pop())
    with pytest.raises(ValueError, match=r"every image must have an annotation, got none for image 11"):
        CocoPanopticDataset(**paths)


def test_json_without_images_is_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, lambda document: document.update(images=[]))
    with pytest.raises(ValueError, match="images must list at least one image, got none"):
        CocoPanopticDataset(**paths)
    with pytest.raises(ValueError, match="images must list at least one image, got none"):
        CocoPanopticDataset(paths["images"], None, paths["json"])


def test_file_name_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, lambda document: document["images"][0].update(file_name="../secret.png"))
    with pytest.raises(ValueError, match=r"file_name must stay inside .* got '\.\./secret\.png'"):
        CocoPanopticDataset(**paths)


@pytest.mark.parametrize(("split", "number"), [("train", 100), ("val", 60)])
def test_real_coco(shared_data: SharedData, split: str, number: int) -> None:
    root = shared_data("coco_panoptic_mini")
    annotations = root / "annotations" / f"panoptic_{split}2017"
    dataset = CocoPanopticDataset(root / f"{split}2017", annotations, annotations.with_suffix(".json"))
    assert len(dataset) == number
    assert len(dataset.categories) == 133
    assert len(dataset.categories.thing_ids) == 80
    document = json.loads(annotations.with_suffix(".json").read_text())
    entries = {entry["image_id"]: entry["segments_info"] for entry in document["annotations"]}
    for index in range(0, number, 6):
        sample = dataset[index]
        assert sample.panoptic is not None
        assert sample.image.shape == (*sample.panoptic.shape, 3)
        expected = [
            (dataset.categories.train_id(entry["category_id"]), entry["area"], bool(entry["iscrowd"]))
            for entry in entries[sample.image_id]
        ]
        assert [(s.train_id, s.area, s.is_crowd) for s in sample.segments] == expected
        values, areas = np.unique(sample.panoptic, return_counts=True)
        counted = dict(zip(values.tolist(), areas.tolist(), strict=True))
        void = counted.pop(0, 0)
        assert counted == {s.id: s.area for s in sample.segments}
        assert void + sum(counted.values()) == sample.size[0] * sample.size[1]


def test_real_street_scene_with_a_crowd(shared_data: SharedData, tmp_path: Path) -> None:
    root = shared_data("cityscapes_format_deeplab2")
    panoptic = root / "gtFine" / "cityscapes_panoptic_dummy_trainId"
    document = json.loads(panoptic.with_suffix(".json").read_text())  # lists neither images nor categories
    (annotation,) = document["annotations"]
    document["images"] = [{"id": annotation["image_id"], "file_name": "dummy_000000_000000_leftImg8bit.png"}]
    document["categories"] = [{"id": i, "name": f"class {i}", "isthing": int(i >= 11)} for i in range(19)]
    path = tmp_path / "panoptic.json"
    path.write_text(json.dumps(document))
    (sample,) = CocoPanopticDataset(root / "leftImg8bit", panoptic, path)
    assert sample.size == (800, 800)
    assert [s.area for s in sample.segments] == [entry["area"] for entry in annotation["segments_info"]]
    assert [s.area for s in sample.segments if s.is_crowd] == [6178]
    assert sum(s.train_id == 13 and not s.is_crowd for s in sample.segments) == 5


def test_maps_that_are_called_as_another_image_are_told(tmp_path: Path) -> None:
    def cross(document: dict[str, Any]) -> None:
        first, second = document["annotations"]
        first["file_name"], second["file_name"] = second["file_name"], "day\\Second.png"

    paths = write(tmp_path, cross)
    with pytest.warns(
        UserWarning, match=r"2 annotations have the PNG that is called as another .*first.png for day"
    ):
        CocoPanopticDataset(**paths)


@pytest.mark.filterwarnings("error")
def test_maps_that_are_called_as_no_image_are_usual(tmp_path: Path) -> None:
    def rename(document: dict[str, Any]) -> None:
        for image in document["images"]:
            image["file_name"] = image["file_name"].replace(".png", ".jpg")

    paths = write(tmp_path, rename)
    for name in ("first", "day/second"):
        (paths["images"] / f"{name}.png").rename(paths["images"] / f"{name}.jpg")
    assert len(CocoPanopticDataset(**paths)) == 2
