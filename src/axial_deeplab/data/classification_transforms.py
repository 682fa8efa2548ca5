"""Images for classification networks: random crops to learn from, the central crop to be judged by."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.transforms import jitter_colors


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of an image, resized, half of the time mirrored.

    Args:
        crop_size: (height, width) of the result in pixels.
        area_range: limits of the part's area, relative to the image.
        aspect_range: limits of the part's width over its height, drawn uniformly on a logarithmic scale.
        flip: mirror half of the images.
        color_jitter: brightness, contrast and saturation are each multiplied by a factor from
            1 - color_jitter to 1 + color_jitter; 0 keeps the colors.

    Raises:
        ValueError: an argument is out of range.

    Source: "Inception" preprocessing (Szegedy et al. 2015), which SASA's protocol uses. A part that does not
    fit into the image is cut to it, where other implementations draw again.
    """

    crop_size: tuple[int, int]
    area_range: tuple[float, float] = (0.08, 1.0)
    aspect_range: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.area_range
        if not 0 < low <= high <= 1:
            raise ValueError(
                f"area_range must be two numbers in (0, 1] in rising order, got {self.area_range}; "
                "0.08, 1 is usual"
            )
        low, high = self.aspect_range
        if not 0 < low <= high:
            raise ValueError(
                f"aspect_range must be two positive numbers in rising order, got {self.aspect_range}; "
                "3/4, 4/3 is usual"
            )

    def __call__(self, image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        """Return the crop of an image (H, W, 3)."""
        # Always the same draws in the same order: what one setting draws never depends on another.
        area, aspect, y, x, mirror = generator.random(5)
        factors = 1 + self.color_jitter * generator.uniform(-1, 1, size=3)
        height, width = image.shape[:2]
        pixels = height * width * _between(self.area_range, area)
        logarithms = (math.log(self.aspect_range[0]), math.log(self.aspect_range[1]))
        ratio = math.exp(_between(logarithms, aspect))
        part_width, part_height = (
            min(width, math.sqrt(pixels * ratio)),
            min(height, math.sqrt(pixels / ratio)),
        )
        left, top = (width - part_width) * x, (height - part_height) * y
        crop = Image.fromarray(image).resize(
            self.crop_size[::-1],
            Image.Resampling.BICUBIC,
            box=(left, top, left + part_width, top + part_height),
        )
        if self.color_jitter:
            crop = jitter_colors(crop, *factors.tolist())
        if self.flip and mirror < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(crop)


@dataclass(frozen=True)
class CentralCrop:
    """The center of an image whose shorter side was brought to a size.

    Args:
        crop_size: (height, width) of the result in pixels.
        shorter_side: shorter side of the whole image, in pixels of the result.

    Raises:
        ValueError: the crop is larger than the image would be.
    """

    crop_size: tuple[int, int]
    shorter_side: int

    def __post_init__(self) -> None:
        if self.shorter_side < max(self.crop_size):
            raise ValueError(
                f"shorter_side must be at least the crop {self.crop_size}, got {self.shorter_side} pixels; "
                "256 is usual for crops of 224"
            )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crop of an image (H, W, 3)."""
        height, width = image.shape[:2]
        scale = min(height, width) / self.shorter_side  # pixels of the image in a pixel of the result
        part_height, part_width = (scale * length for length in self.crop_size)
        left, top = (width - part_width) / 2, (height - part_height) / 2
        box = (left, top, left + part_width, top + part_height)
        crop = Image.fromarray(image).resize(self.crop_size[::-1], Image.Resampling.BICUBIC, box=box)
        return np.asarray(crop)


class ClassificationTrainingSet(Dataset[dict[str, Any]]):
    """Random crops with their classes, ready to be stacked to a batch; the key is (epoch, index).

    Args:
        dataset: images and classes.
        crop: draws the crops.
        seed: what an item holds depends on the seed, the epoch and the index alone; at least 0.
    """

    def __init__(self, dataset: ImageFolder, crop: RandomResizedCrop, *, seed: int = 0) -> None:
        self.dataset = dataset
        self.crop = crop
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """Return image uint8 (3, H, W) and label; H x W is the crop size."""
        epoch, index = key
        sample = self.dataset[index]
        crop = self.crop(sample.image, np.random.default_rng((self.seed, epoch, index)))
        return {"image": _to_tensor(crop), "label": sample.class_index}


class ClassificationValidationSet(Dataset[tuple[Tensor, int]]):
    """Central crops, uint8 (3, H, W), with their classes.

    Args:
        dataset: images and classes.
        crop: cuts them.
    """

    def __init__(self, dataset: ImageFolder, crop: CentralCrop) -> None:
        self.dataset = dataset
        self.crop = crop

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and label."""
        sample = self.dataset[index]
        return _to_tensor(self.crop(sample.image)), sample.class_index


def _between(limits: tuple[float, float], part: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * part


def _to_tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
