"""A tiny data set and the settings of a training of seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.config.schema import Config, config_from_dict
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter

CATEGORIES = Categories([Category(3, "ground", False), Category(7, "box", True), Category(8, "disc", True)])


def draw(rng: np.random.Generator, size: tuple[int, int] = (40, 52)) -> tuple[Any, Any, list[Segment]]:
    """Draw two boxes of different colors on a ground."""
    image = np.full((*size, 3), 90, np.uint8)
    panoptic = np.full(size, 10_000, np.int32)
    ids = [10_000]
    for train_id in (1, 2):
        y, x = rng.integers(0, 20, 2)
        image[y : y + 15, x : x + 15] = (200, 60 * train_id, 20)
        panoptic[y : y + 15, x : x + 15] = (train_id + 1) * 10_000 + 1
        ids.append((train_id + 1) * 10_000 + 1)
    image += rng.integers(0, 20, image.shape, dtype=np.uint8)
    present = [value for value in ids if (panoptic == value).any()]
    return (
        image,
        panoptic,
        [Segment(id=v, train_id=v // 10_000 - 1, area=int((panoptic == v).sum())) for v in present],
    )


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write 7 images in COCO panoptic format."""
    folder = tmp_path_factory.mktemp("tiny_data")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    with PanopticWriter(folder / "panoptic", folder / "panoptic.json", CATEGORIES) as writer:
        for number in range(7):
            image, panoptic, segments = draw(rng)
            Image.fromarray(image).save(folder / "images" / f"{number}.png")
            writer.add(Panoptic(panoptic, segments), image_file_name=f"{number}.png")
    return {
        "images": str(folder / "images"),
        "panoptic": str(folder / "panoptic"),
        "json": str(folder / "panoptic.json"),
    }


TINY_MODEL = {
    "name": "axial_deeplab_nano",
    "overrides": {
        "width_multiplier": 0.0625,
        "depths": [1, 1, 1, 1],
        "num_heads": 2,
        "max_span": 9,
        "semantic_channels": 8,
        "instance_channels": 8,
        "instance_head_channels": 8,
        "semantic_low_level_channels": [4, 4],
        "instance_low_level_channels": [4, 4],
    },
}


@pytest.fixture
def tiny_config(tiny_data: dict[str, str], tmp_path: Path) -> Callable[..., Config]:
    """Return a function that makes settings; arguments replace keys of a section."""

    def make(**sections: dict[str, Any]) -> Config:
        settings: dict[str, dict[str, Any]] = {
            "model": dict(TINY_MODEL),
            "data": {"train": tiny_data, "val": tiny_data, "val_limit": 2},
            "augmentation": {"crop_size": [33, 33], "color_jitter": 0.2},
            "optim": {"lr": 0.01, "max_steps": 10, "warmup_steps": 3},
            "trainer": {
                "batch_size": 4,
                "accelerator": "cpu",
                "num_workers": 0,
                "val_interval": 5,
                "checkpoint_interval": 5,
                "log_interval": 1,
                "output": str(tmp_path / "run"),
                "progress_bar": False,
            },
        }
        for section, values in sections.items():
            settings[section] = settings.get(section, {}) | values
        return config_from_dict(settings)

    return make
