"""The files of the Cityscapes server, read as cityscapesScripts reads them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.labels.cityscapes import CATEGORIES
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights

ROAD, CAR = CATEGORIES.train_id(7), CATEGORIES.train_id(26)
NAME = "berlin/berlin_000000_000019_leftImg8bit"


class Cars(torch.nn.Module):
    """A network that sees road, and a car with a center in its middle wherever pixels are red."""

    def __init__(self) -> None:
        super().__init__()
        self.semantic_head = torch.nn.Linear(1, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        red, green = images[:, 0].float() > 128, images[:, 1:2].float() > 128
        logits = torch.full((len(images), len(CATEGORIES), *images.shape[2:]), -8.0)
        logits[:, ROAD], logits[:, CAR] = 8 - 16 * red, 16.0 * red - 8
        return {
            "semantic_logits": logits,
            "center_heatmap": 0.5 * green,
            "offsets": torch.zeros(len(images), 2, *images.shape[2:]),
        }


def predictor(categories: Categories) -> Predictor:
    metadata = {"model": {"name": "cars"}, "post_processing": {"stuff_area": 0}}
    return Predictor(LoadedWeights(Cars(), categories, metadata), "cpu")


def test_pixels_and_instances(tmp_path: Path) -> None:
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[4:12, 4:14] = pixels[4:20, 24:36] = (255, 0, 0)
    pixels[8, 9] = pixels[12, 30] = (255, 255, 0)
    (tmp_path / "test" / "berlin").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "test" / f"{NAME}.png")
    predict_files(predictor(CATEGORIES), [tmp_path / "test"], tmp_path / "out", cityscapes=True)
    folder = tmp_path / "out" / "cityscapes"

    # "pixels encode the class IDs ...; the regular ID is used, not the train ID"
    with Image.open(folder / "pixels" / f"{NAME}.png") as labels:
        assert labels.mode == "L"
        expected = np.where(pixels[..., 0] > 0, 26, 7)
        np.testing.assert_array_equal(np.asarray(labels), expected)

    # A line for each instance: relative path of the mask, label id, confidence; the mask is what is not zero.
    list_path = folder / "instances" / f"{NAME}.txt"
    found = []
    for line in list_path.read_text().splitlines():
        mask, label, score = line.split(" ")
        assert (folder / "instances") in (list_path.parent / mask).parents
        with Image.open(list_path.parent / mask) as image:
            found.append(np.asarray(image.convert("L")) != 0)
        assert int(label) == 26
        assert 0.49 < float(score) <= 0.5
    left, right = sorted(found, key=lambda mask: mask.nonzero()[1].min())
    np.testing.assert_array_equal(left, (expected == 26) & (np.arange(40) < 20))
    np.testing.assert_array_equal(right, (expected == 26) & (np.arange(40) >= 20))
    assert len(list((folder / "instances").rglob("*.png"))) == 2


def test_an_image_without_instances_has_an_empty_list(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    predict_files(predictor(CATEGORIES), [tmp_path / "a.png"], tmp_path / "out", cityscapes=True)
    assert (tmp_path / "out" / "cityscapes" / "instances" / "a.txt").read_text() == ""


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a b.png")
    other = predictor(Categories([Category(1, "cell", True)]))
    with pytest.raises(ValueError, match="weights must have the categories of Cityscapes, got 1 for 19"):
        predict_files(other, [tmp_path], tmp_path / "out", cityscapes=True)
    with pytest.raises(
        ValueError, match=r"got none: .*: image names must have no spaces for Cityscapes, got 'a b\.png'"
    ):
        predict_files(predictor(CATEGORIES), [tmp_path], tmp_path / "out", cityscapes=True)
    assert not (tmp_path / "out").exists()
    assert main(["predict", str(tmp_path), "--weights", "x", "--json", "y", "--cityscapes"]) == 2
    assert "--cityscapes must come without --json, got both" in capsys.readouterr().err
