"""Runs over folders of photos with a network that looks at brightness alone, also in other processes."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.predicted_files import PredictedFiles
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights

# An image of this grey ends the process.
FATAL = 13


class Brightness(torch.nn.Module):
    """A slow network: pixels brighter than a level are of one class, darker ones of another."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.semantic_head = None
        self.level = torch.nn.Parameter(torch.tensor(level), requires_grad=False)
        self.num_images = 0

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        if (images == FATAL).all():
            os._exit(9)
        self.num_images += len(images)
        time.sleep(0.03)
        bright = images.float().mean(1) - self.level
        logits = torch.stack((bright, -bright), 1) / 8
        return {"semantic_logits": logits, "center_heatmap": logits[:, :1] * 0, "offsets": logits * 0}


def predict(
    folder: Path, output: Path, level: float = 128, save: Sequence[str] = ("coco",), **options: Any
) -> tuple[PredictedFiles, int]:
    """Return the report, and how many images the network has seen."""
    categories = Categories([Category(1, "bright", False), Category(2, "dark", True)])
    metadata = {"model": {"name": "brightness"}, "post_processing": {"stuff_area": 0}}
    predictor = Predictor(LoadedWeights(Brightness(level), categories, metadata), "cpu")
    report = predict_files(predictor, [folder], output, save=save, **options)
    return report, predictor.model.num_images - 1  # one to warm up


def start(code: str) -> subprocess.Popen[bytes]:
    """Run code in another process, which may call `predict`."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    code = f"from folder_runs import *\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths})


def start_predicting(photos: Path, out: Path, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    return start(f"predict(Path({str(photos)!r}), Path({str(out)!r}), *{arguments}, **{options})")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def draw_photos(folder: Path, number: int) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for place in range(number):
        pixels = np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((5, 5, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"p{place}.png")
