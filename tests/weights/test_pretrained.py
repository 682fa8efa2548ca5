"""The weights that ship: they load, they are small, and they know the scenes."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.experiments.demo import HELD_OUT_SEED, SHIPPED_WEIGHTS
from axial_deeplab.prediction.doubts import doubt_of_scores
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import load_weights
from axial_deeplab.weights.names import PRETRAINED_FOLDER, pretrained_names


@pytest.mark.parametrize("name", pretrained_names())
def test_shipped_weights_are_small(name: str) -> None:
    assert (PRETRAINED_FOLDER / f"{name}.safetensors").stat().st_size < 8e6


SAMPLES = Path(__file__).parents[2] / "samples"


def doubt(weights: str, *pictures: Path, **options: int) -> str:
    predictor = Predictor(weights, "cpu", **options)
    return doubt_of_scores([predictor(path).certainty for path in pictures], predictor.low_scores)


@pytest.mark.parametrize("name", pretrained_names())
def test_shipped_weights_know_which_scores_are_low(name: str) -> None:
    predictor = Predictor(name, "cpu")
    assert 0 < predictor.low_scores.things < predictor.low_scores.pixels < 1
    own, other = ("scene.jpg", "nuclei.png") if name == SHIPPED_WEIGHTS else ("nuclei.png", "scene.jpg")
    assert doubt(name, SAMPLES / own) == ""
    found = predictor(SAMPLES / other)
    # No nucleus is found in a scene, which the run tells.
    assert math.isnan(found.mean_scores[1]) or "scores are low" in doubt(name, SAMPLES / other)


def test_photos_of_grains_are_not_doubted_and_a_street_is(shared_data: Callable[[str], Path]) -> None:
    objects, held_out = "axial_deeplab_nano_objects", ("1_2.jpg", "2_1.jpg")
    folder = shared_data("segmenteverygrain_grains") / "images"
    assert doubt(objects, *(folder / name for name in held_out), long_side=700) == ""
    (street,) = shared_data("cityscapes_format_deeplab2").rglob("*leftImg8bit.png")
    for weights in pretrained_names():
        assert "scores are low" in doubt(weights, street)


def test_the_scenes_are_known(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 12, HELD_OUT_SEED, progress_bar=False)
    folder = tmp_path / "scenes"
    dataset = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
    predictor = Predictor(SHIPPED_WEIGHTS, "cpu")
    evaluator = PanopticEvaluator(dataset.categories, predictor.post_processing)
    for index in range(len(dataset)):
        evaluator.update(predictor.model, dataset[index])
    # 50 scenes give more than 60; 12 of them scatter more.
    assert evaluator.compute().panoptic.all.pq > 55


def test_an_empty_word_is_no_folder() -> None:
    with pytest.raises(ValueError, match=r"file or a name of `axial-deeplab weights list`, got ''"):
        load_weights("")
