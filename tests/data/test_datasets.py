"""From the settings to a data set, for every format."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.data.cityscapes import CityscapesDataset
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.datasets import open_dataset, open_image_folder
from axial_deeplab.data.mapillary import MapillaryDataset
from axial_deeplab.data.scenes import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "scenes"
    write_scenes(folder, 2, seed=3, height=32, width=48, progress_bar=False)
    return folder


def test_coco_by_its_paths(scenes: Path) -> None:
    paths = {
        "images": f"{scenes}/images",
        "panoptic": f"{scenes}/panoptic",
        "json": f"{scenes}/panoptic.json",
    }
    data = DataConfig(val=SplitConfig(**paths), val_limit=1)
    assert len(open_dataset(data, "val")) == 1
    assert len(open_dataset(data, "val", limit=2)) == 2
    with pytest.raises(ValueError, match=r"data\.train\.images must be a path, got null; set it in the YAML"):
        open_dataset(data, "train")
    without = SplitConfig(**{**paths, "panoptic": None})
    with pytest.raises(ValueError, match=r"data\.val\.panoptic must be a path, got null"):
        open_dataset(DataConfig(val=without), "val")
    assert not open_dataset(DataConfig(val=without), "val", images_only=True).has_ground_truth


def test_coco_by_its_root(scenes: Path, tmp_path: Path) -> None:
    dataset = open_dataset(DataConfig(val=SplitConfig(root=str(scenes))), "val")
    assert isinstance(dataset, CocoPanopticDataset)
    assert dataset[0].panoptic is not None
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").symlink_to(scenes / "images")
    (tmp_path / "annotations" / "panoptic_val2017").symlink_to(scenes / "panoptic")
    (tmp_path / "annotations" / "panoptic_val2017.json").symlink_to(scenes / "panoptic.json")
    data = DataConfig(train=SplitConfig(root=str(tmp_path), split="val2017"))
    assert len(open_dataset(data, "train")) == 2


def test_pages_and_channels_of_the_settings(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for path in (scenes / "images").iterdir():
        with Image.open(path) as image:
            pages = np.stack([np.asarray(image), np.asarray(image)[::-1]])
        tifffile.imwrite(tmp_path / "images" / path.with_suffix(".tif").name, pages, photometric="rgb")
    document = (scenes / "panoptic.json").read_text()
    (tmp_path / "panoptic.json").write_text(document.replace('.jpg"', '.tif"'))
    val = SplitConfig(
        images=str(tmp_path / "images"), panoptic=f"{scenes}/panoptic", json=str(tmp_path / "panoptic.json")
    )
    second = open_dataset(DataConfig(val=val, page=2), "val")[0].image
    with pytest.warns(UserWarning, match="has 2 pages, of which only the first is read"):
        first = open_dataset(DataConfig(val=val), "val")[0].image
    np.testing.assert_array_equal(second, first[::-1])
    channels = open_dataset(DataConfig(val=val, page=2, channels=(3, 1)), "val")[0].image
    np.testing.assert_array_equal(channels, second[..., [2, 0]])
    (tmp_path / "classes/a").mkdir(parents=True)
    folder = SplitConfig(root=str(tmp_path / "classes"))
    with pytest.raises(ValueError, match=r"data\.channels must be null for classification, got \[1, 2\]"):
        open_image_folder(DataConfig(format="image_folder", val=folder, channels=(1, 2)), "val")


@pytest.mark.parametrize(
    ("settings", "unused"),
    [
        (
            {"split": "val"},
            r"data\.val\.split has no effect beside images, panoptic and json, got val;",
        ),
        ({"root": "other"}, r"data\.val\.root has no effect beside images, panoptic and json, got other"),
        ({"annotations": "gtFine"}, r"data\.val\.annotations has no effect beside .*, got gtFine"),
    ],
)
def test_settings_without_effect_are_told(scenes: Path, settings: dict[str, str], unused: str) -> None:
    paths = {
        "images": f"{scenes}/images",
        "panoptic": f"{scenes}/panoptic",
        "json": f"{scenes}/panoptic.json",
    }
    with pytest.warns(UserWarning, match=unused):
        open_dataset(DataConfig(val=SplitConfig(**paths, **settings)), "val")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_dataset(DataConfig(val=SplitConfig(**paths)), "val")
        open_dataset(DataConfig(val=SplitConfig(root=str(scenes), images=paths["images"])), "val")


def test_class_folders_have_no_panoptic_files(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "1.png")
    split = SplitConfig(root=str(tmp_path), json="panoptic.json")
    with pytest.warns(
        UserWarning, match=r"data\.val\.json has no effect for classification, got panoptic.json"
    ):
        open_image_folder(DataConfig(format="image_folder", val=split), "val")


@pytest.mark.parametrize("name", ["cityscapes", "mapillary"])
def test_formats_of_their_own_need_root_and_split(name: str, tmp_path: Path) -> None:
    def open_with(**settings: str) -> object:
        return open_dataset(DataConfig(format=name, train=SplitConfig(**settings)), "train")  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"data\.train\.root must be a path, got null"):
        open_with(split="train")
    with pytest.raises(
        ValueError,
        match=r"data\.train\.split must be a name, got null; .* --data\.train\.split to train, --split to",
    ):
        open_with(root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="root must have"):
        open_with(root=str(tmp_path), split="train")


def test_each_format_has_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reader, name in ((CityscapesDataset, "cityscapes"), (MapillaryDataset, "mapillary")):
        seen: dict[str, object] = {}

        def remember(self: object, *place: object, seen: dict[str, object] = seen, **options: object) -> None:
            seen.update(options, place=place)

        monkeypatch.setattr(reader, "__init__", remember)
        monkeypatch.setattr(reader, "has_ground_truth", True)
        split = SplitConfig(root="r", split="s", annotations="a")
        data = DataConfig(format=name, train=split, train_limit=3)  # type: ignore[arg-type]
        assert isinstance(open_dataset(data, "train"), reader)
        assert seen == {
            "place": ("r", "s"),
            "annotations": "a",
            "images_only": False,
            "limit": 3,
            "problems": None,
        }


def test_class_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "train" / name / "1.png")
    data = DataConfig(
        format="image_folder", train=SplitConfig(root=str(tmp_path), split="train"), train_limit=1
    )
    assert len(open_image_folder(data, "train")) == 1
    direct = DataConfig(format="image_folder", val=SplitConfig(root=str(tmp_path / "train")))
    assert open_image_folder(direct, "val", classes=("dog", "cat"))[0].class_index == 0
    with pytest.raises(ValueError, match=r"data\.format must be coco, .* got image_folder; choose"):
        open_dataset(data, "train")
    with pytest.raises(ValueError, match=r"data\.format must be image_folder for classification, got coco"):
        open_image_folder(DataConfig(), "train")


def test_one_root_of_both_parts(tmp_path: Path) -> None:
    def parts(**settings: Any) -> list[tuple[str | None, str | None]]:
        data = DataConfig(root=str(tmp_path), **settings)
        assert data.root is None
        return [(split.root, split.split) for split in (data.train, data.val)]

    root = str(tmp_path)
    assert parts() == [(root, None), (None, None)]  # as `dataset convert` writes it without hold-out
    assert parts(format="cityscapes") == [(root, "train"), (root, "val")]
    assert parts(format="mapillary") == [(root, "training"), (root, "validation")]
    own = SplitConfig(root="data/coco", split="train2017")
    assert parts(train=own) == [(root, "train2017"), (None, None)]
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    both = [(str(tmp_path / "train"), None), (str(tmp_path / "val"), None)]
    assert parts() == parts(format="image_folder") == both
    # A recipe's own paths give way, but photographs that were not copied may be named.
    recipe = SplitConfig(images="a/images", panoptic="a/panoptic", json="a/panoptic.json")
    data = DataConfig(root=root, train=recipe, val=SplitConfig(images="photos"))
    assert data.train == SplitConfig(root=str(tmp_path / "train"))
    assert data.val == SplitConfig(root=str(tmp_path / "val"), images="photos")
