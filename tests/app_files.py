"""Small weights and pictures for the tests of the app."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from axial_deeplab.app.networks import Network, Networks
from axial_deeplab.models.registry import create_model
from axial_deeplab.weights.file import save_weights
from bad_input_cases import CATEGORIES, SMALL


def write_tiny_weights(path: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("axial_deeplab_nano", num_classes=3, span=9, **SMALL)
    save_weights(path, model, CATEGORIES, extra={"post_processing": {"stuff_area": 1, "nms_kernel": 9}})
    return path


def tiny_network(folder: Path) -> Network:
    path = write_tiny_weights(folder / "tiny.safetensors")
    return Networks([path], device="cpu")[str(path)]


def noise(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_noise(path: Path, height: int = 40, width: int = 56) -> Path:
    Image.fromarray(noise(height, width)).save(path)
    return path
