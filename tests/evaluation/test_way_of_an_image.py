"""The files that an image passes on its way to its PQ are those that docs/architecture.md lists."""

import re
import sys
from pathlib import Path
from types import FrameType

import numpy as np
from torch import Tensor

import axial_deeplab
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.panoptic_dataset import Sample
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.prediction.predictor import Predictor

PACKAGE = Path(axial_deeplab.__file__).parent
ARCHITECTURE = PACKAGE.parent.parent / "docs" / "architecture.md"
MOST_FILES = 10


def listed_files() -> list[str]:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    section = text.split("## The way of an image to its PQ")[1].split("\n## ")[0]
    return re.findall(r"^\| \d+ \| `(.+?)`", section, re.MULTILINE)


def holds_pixels(value: object, num_pixels: int) -> bool:
    """Say whether a value has something for each pixel of an image."""
    if isinstance(value, Panoptic | Sample):
        return True
    if isinstance(value, dict | tuple | list):
        parts = value.values() if isinstance(value, dict) else value
        return any(holds_pixels(each, num_pixels) for each in parts)
    if isinstance(value, Tensor):
        return value.numel() >= num_pixels
    return isinstance(value, np.ndarray) and value.size >= num_pixels


def test_an_image_passes_the_listed_files(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    write_scenes(folder, 1, seed=2)
    dataset = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
    predictor = Predictor("axial_deeplab_nano_scenes", "cpu")
    evaluator = PanopticEvaluator(dataset.categories, predictor.post_processing, predictor.view)
    height, width = dataset[0].size
    passed: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        # What a function has when it returns: what it was given, read or made.
        if event == "return" and file.is_relative_to(PACKAGE):
            values = [argument, *frame.f_locals.values()]
            if any(holds_pixels(value, height * width) for value in values):
                passed.add(file.relative_to(PACKAGE).as_posix())

    sys.setprofile(note)
    try:
        evaluator.update(predictor.model, dataset[0])
    finally:
        sys.setprofile(None)

    parts_of_the_network = {file for file in passed if file.startswith(("models/", "ops/"))}
    way = passed - parts_of_the_network | {"cli/main.py", "models/panoptic.py"}
    assert "models/panoptic.py" in parts_of_the_network
    assert sorted(way - {"evaluation/semantic_iou.py"}) == sorted(listed_files())  # mIoU is no part of PQ
    assert len(listed_files()) <= MOST_FILES
