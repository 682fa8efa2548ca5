"""Predictions of test sets: images alone, ids of the JSON, the zip file of the COCO server."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.labels.coco import CATEGORIES
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.coco_json import PanopticJson
from axial_deeplab.weights.file import save_weights


def write_weights(path: Path, categories: Categories) -> Path:
    torch.manual_seed(0)
    small = {"width_multiplier": 0.0625, "depths": (1, 1, 1, 1), "num_heads": 2}
    model = create_model("axial_deeplab_nano", num_classes=len(categories), **small)
    save_weights(path, model, categories, extra={"post_processing": {"stuff_area": 0}})
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write two images and a JSON as that of test-dev, whose categories do not say what is a thing."""
    (tmp_path / "images").mkdir()
    names = {139: "000000000139.jpg", 7: "000000000007.jpg"}
    for name in names.values():
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(tmp_path / "images" / name)
    document = {
        "images": [{"id": i, "file_name": name, "height": 24, "width": 32} for i, name in names.items()],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    (tmp_path / "image_info_test-dev2017.json").write_text(json.dumps(document))
    return tmp_path


def predict(root: Path, weights: Path, *words: str) -> int:
    where = ["--json", str(root / "image_info_test-dev2017.json"), "--output", str(root / "out")]
    return main(
        ["predict", str(root / "images"), "--weights", str(weights), "--device", "cpu", *where, *words]
    )


def test_the_zip_file_of_the_server(root: Path) -> None:
    weights = write_weights(root / "coco.safetensors", CATEGORIES)
    assert predict(root, weights, "--submission", "axial-l") == 0
    name = "panoptic_test-dev2017_axial-l_results"
    with zipfile.ZipFile(root / "out" / f"{name}.zip") as archive:
        assert archive.namelist() == [
            f"{name}.json", f"{name}/000000000139.png", f"{name}/000000000007.png",
        ]  # fmt: skip
        archive.extractall(root / "unpacked")
    document = PanopticJson.read(root / "unpacked" / f"{name}.json")
    assert list(document.annotations) == [139, 7]
    assert Image.open(root / "unpacked" / name / "000000000139.png").size == (32, 24)


def test_images_listed_without_submission(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = write_weights(root / "other.safetensors", Categories([Category(4, "cell", True)]))
    assert predict(root, weights) == 0
    assert PanopticJson.read(root / "out" / "panoptic.json").images[7].file_name == "000000000007.jpg"
    assert not list((root / "out").glob("*.zip"))
    assert predict(root, weights, "--submission", "x") == 2
    assert "weights must have the categories of COCO, got 1 for 133" in capsys.readouterr().err


def test_refusals(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = write_weights(root / "coco.safetensors", CATEGORIES)
    assert predict(root, weights, "--submission", "a b") == 2
    assert "submission must be one word, got 'a b'" in capsys.readouterr().err
    assert main(["predict", "x", "--weights", "y", "--output", "z", "--submission", "a"]) == 2
    assert "--submission must come with --json and one folder of images" in capsys.readouterr().err
    (root / "images" / "000000000007.jpg").unlink()
    assert predict(root, weights) == 2
    assert "000000000007.jpg" in capsys.readouterr().err
