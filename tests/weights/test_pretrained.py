"""The weights that ship: they load, they are small, and they know the scenes."""

from pathlib import Path

import pytest

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.experiments.demo import HELD_OUT_SEED, SHIPPED_WEIGHTS
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.names import PRETRAINED_FOLDER, pretrained_names


@pytest.mark.parametrize("name", pretrained_names())
def test_shipped_weights_are_small(name: str) -> None:
    assert (PRETRAINED_FOLDER / f"{name}.safetensors").stat().st_size < 8e6


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
