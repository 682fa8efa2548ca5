"""Large images: the same segments as of the whole image, wherever the tiles lie."""

import numpy as np
import pytest
import torch

from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights

CATEGORIES = Categories([Category(0, "ground", False), Category(7, "disc", True), Category(9, "box", True)])
KNOBS = {"stuff_area": 0, "center_threshold": 0.0, "nms_kernel": 5, "top_k": None}


def predictor(**knobs):
    """Return a convolutional network of random weights that sees 80 pixels far."""
    torch.manual_seed(0)
    model = create_model(
        "panoptic_deeplab_resnet50",
        num_classes=3,
        width_multiplier=0.0625,
        depths=[1, 1, 1, 1],
        aspp=False,
        semantic_channels=8,
        instance_channels=8,
        instance_head_channels=8,
        semantic_low_level_channels=[4, 4],
        instance_low_level_channels=[4, 4],
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1)
    for head in (model.offset_head, model.semantic_head, model.center_head):
        last = [each for each in head.modules() if isinstance(each, torch.nn.Conv2d)][-1]
        last.weight.data *= 20
    metadata = {"model": {"name": "tiny"}, "post_processing": KNOBS}
    return Predictor(LoadedWeights(model.eval(), CATEGORIES, metadata), "cpu", **knobs)


def noise(height, width):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def same_segments(prediction, large):
    """Compare a prediction of the whole with one in tiles, up to what rounding may change."""
    values = np.array([0, *(segment.id for segment in prediction.segments)])
    expected = np.searchsorted(values, prediction.panoptic)
    found = large.panoptic()
    assert len(found.segments) == len(prediction.segments) > 4
    assert (found.map != expected).mean() < 1e-4
    for whole, tiled, info in zip(prediction.segments, found.segments, large.segments_info, strict=True):
        assert whole.train_id == tiled.train_id
        assert abs(whole.area - tiled.area) <= 0.01 * whole.area + 5
        assert whole.score == pytest.approx(tiled.score, abs=5e-3)
        assert np.abs(np.subtract(whole.bbox, info["bbox"])).max() <= 5


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"thing_threshold": 0.5, "thing_area": 30},
        {"stuff_area": 10**6},
        {"scales": (1.0, 2.0), "flip": True},
    ],
    ids=["plain", "thresholds", "no stuff", "views"],
)
def test_tiles_give_the_segments_of_the_whole_image(knobs, tmp_path):
    """The outer quarters of an overlap, which see a border, do not count."""
    predict = predictor(**knobs)
    # A mirrored network begins at the other end: its grid is the same where sides are k * 16 + 1 pixels.
    image = noise(865, 961) if "flip" in knobs else noise(850, 970)
    large = predict.predict_large(image, tmp_path / "a.tif", tile=705, overlap=320)
    assert large.num_tiles == 4
    same_segments(predict(image), large)
