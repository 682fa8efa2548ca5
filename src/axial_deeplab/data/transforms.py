"""Random scale, flip and crop of an image and its panoptic map, repeatable by (seed, epoch, index)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, default_collate

from axial_deeplab.data.augmentation import Intensity, Warp
from axial_deeplab.data.images import check_working_size, working_scale
from axial_deeplab.data.panoptic_dataset import PanopticDataset, Sample
from axial_deeplab.data.targets import number_segments
from axial_deeplab.panoptic.map import Panoptic

NO_CHANGE = Intensity()


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, horizontal flip, crop and color change of a sample.

    Args:
        crop_size: (height, width) of the result in pixels. The crop lies anywhere in the scaled image; a
            smaller image lies anywhere in the crop, so that the network does not learn where padding is.
        scale_range: limits of the magnification, which is drawn uniformly. (1, 1) keeps the size.
        flip: mirror half of the samples.
        color_jitter: brightness, contrast and saturation are each multiplied by a factor from
            1 - color_jitter to 1 + color_jitter; 0 keeps the colors.
        long_side: pixels that the longer side of each image gets before the random scale; None keeps it.
        max_size: shrink images whose longer side has more pixels before the random scale; None does not.
        pad_color: value of each channel around images that are smaller than the crop, where the map is void.
            The default is ImageNet's mean of RGB, which the models' normalization takes to zero.
        scale_distribution: "uniform", or "log_uniform": as many samples are magnified two times as halved.
        right_angles: turn by 0, 90, 180 or 270 degrees; needs a square crop.
        rotation, elastic, elastic_spacing: see `Warp`.
        intensity: changes of the values.

    Raises:
        ValueError: an argument is out of range.

    Source:
        Panoptic-DeepLab (Cheng et al. 2020), section 4; docs/deviations.md, "Augmentation".
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    color_jitter: float = 0.0
    long_side: int | None = None
    max_size: int | None = None
    pad_color: tuple[int, ...] = (124, 116, 104)
    scale_distribution: Literal["uniform", "log_uniform"] = "uniform"
    right_angles: bool = False
    rotation: float = 0.0
    elastic: float = 0.0
    elastic_spacing: int = 48
    intensity: Intensity = NO_CHANGE

    def __post_init__(self) -> None:
        if len(self.crop_size) != 2 or min(self.crop_size) < 1:
            raise ValueError(
                f"crop_size must be a height and a width of at least 1 pixel, got {self.crop_size}; "
                "the paper's is 1025, 1025"
            )
        if len(self.scale_range) != 2 or not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(
                f"scale_range must be two positive numbers in rising order, got {self.scale_range}; "
                "0.5, 2 is usual"
            )
        if not 0 <= self.color_jitter <= 1:
            raise ValueError(f"color_jitter must be from 0 to 1, got {self.color_jitter}; 0 keeps the colors")
        check_working_size(long_side=self.long_side, max_size=self.max_size)
        if self.scale_distribution not in ("uniform", "log_uniform"):
            raise ValueError(
                f"scale_distribution must be uniform or log_uniform, got {self.scale_distribution!r}; "
                "choose one"
            )
        if self.right_angles and self.crop_size[0] != self.crop_size[1]:
            raise ValueError(f"crop_size must be square for right_angles, got {self.crop_size}; turn one off")
        object.__setattr__(self, "_warp", Warp(self.rotation, self.elastic, self.elastic_spacing))

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Return the transformed sample; segments out of sight are gone, areas and boxes are new.

        Raises:
            ValueError: the sample has no panoptic map.
        """
        image, truth = self.crop(sample, generator)
        return replace(sample, image=image, truth=truth.measured(), size=self.crop_size)

    def crop(self, sample: Sample, generator: np.random.Generator) -> tuple[NDArray[np.uint8], Panoptic]:
        """Return image (H, W, C) and map of the transformed sample, with all segments as they were.

        Raises:
            ValueError: the sample has no panoptic map.
        """
        if sample.truth is None:
            raise ValueError(
                f"panoptic must be the ground truth, got None for {sample.file_name}; give its folder"
            )
        # Always the same draws in the same order: what one setting draws never depends on another.
        scale, mirror, y, x = generator.random(4)
        factors = 1 + self.color_jitter * generator.uniform(-1, 1, size=3)
        low, high = self.scale_range
        if self.scale_distribution == "uniform":
            magnification = low + (high - low) * scale
        else:
            magnification = low * (high / low) ** scale
        magnification *= working_scale(sample.size, long_side=self.long_side, max_size=self.max_size)
        # What follows is drawn after all that older recipes draw, and only if it is on.
        warp: Warp = self._warp  # type: ignore[attr-defined]
        angle = warp.draw_angle(generator) if warp.is_on else 0.0
        size = warp.source_size(self.crop_size, angle) if warp.is_on else self.crop_size
        rows = _Span.draw(sample.size[0], magnification, size[0], y)
        columns = _Span.draw(sample.size[1], magnification, size[1], x)
        image = _resized(sample.image, rows, columns)
        if self.color_jitter:
            image = np.asarray(jitter_colors(Image.fromarray(image), *factors.tolist()))
        if self.intensity.is_on:  # before any padding, which keeps its color
            image = self.intensity(image, generator)

        # Columns first: then whole rows are copied.
        visible = np.take(np.take(sample.truth.map, columns.nearest(), axis=1), rows.nearest(), axis=0)
        mirrored = self.flip and mirror < 0.5
        if mirrored:
            image = image[:, ::-1]
            visible = visible[:, ::-1]
            columns = columns._replace(offset=size[1] - columns.offset - columns.length)

        crop = np.empty((*size, image.shape[2]), np.uint8)
        crop[:] = np.tile(np.array(self.pad_color, np.uint8), (size[1], 1))
        visible_crop = crop[rows.target, columns.target]
        # Of mirrored pixels whole channels are copied faster than pixels of few bytes.
        for channels in range(image.shape[2]) if mirrored else (slice(None),):
            visible_crop[..., channels] = image[..., channels]
        panoptic = np.zeros(size, np.int32)  # void
        panoptic[rows.target, columns.target] = visible
        if warp.is_on:
            crop, panoptic = warp(crop, panoptic, self.crop_size, angle, generator)
        if self.right_angles:
            turns = int(generator.integers(4))
            crop = np.ascontiguousarray(np.rot90(crop, turns))
            panoptic = np.ascontiguousarray(np.rot90(panoptic, turns))
        return crop, Panoptic(panoptic, sample.truth.segments)


class TrainingDataset(Dataset[dict[str, Any]]):
    """Augmented images with all that their targets are made from, in few bytes; `stacked` makes a batch.

    What an item holds depends on the seed, the epoch and the index of the image alone: not on workers,
    processes or the items before. The key is (epoch, index), or an index of epoch 0.

    Args:
        dataset: images with panoptic maps.
        seed: seed of the augmentation, at least 0.
        augmentation: arguments of `TrainTransform`.

    Raises:
        ValueError: a seed below 0, an augmentation out of range, or a data set without panoptic maps.
    """

    def __init__(self, dataset: PanopticDataset, *, seed: int = 0, **augmentation: Any) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}; choose another")
        if not dataset.has_ground_truth:
            raise ValueError(
                "dataset must have panoptic maps to train on, got images alone; give the panoptic folder"
            )
        self.dataset = dataset
        self.transform = TrainTransform(**augmentation)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return one item.

        Returns:
            image uint8 (C, H, W), image_id, and rows and segments of `number_segments`; H x W is the crop
            size.

        Raises:
            ValueError, OSError: see `PanopticDataset`.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = self.dataset[index]
        crop, truth = self.transform.crop(sample, np.random.default_rng((self.seed, epoch, index)))
        rows, segments = map(torch.from_numpy, number_segments(truth))
        image = torch.from_numpy(crop).permute(2, 0, 1)
        return {"image": image, "image_id": sample.image_id, "rows": rows, "segments": segments}


def stacked(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch of items of `TrainingDataset`: the `collate_fn` of a `DataLoader`.

    Returns:
        image uint8 (B, C, H, W), image_id, and rows and segments for `PanopticTargets.of_batch`. The image
        lies in memory as in its file, channels last: turning it costs a worker as much as all else here.
    """
    # Where numbers of rows take 16 bits in one item and 32 in another, they take 32.
    kind = max((item["rows"] for item in items), key=Tensor.element_size).dtype
    alike = [
        {**item, "image": item["image"].permute(1, 2, 0), "rows": item["rows"].to(kind), "segments": 0}
        for item in items
    ]
    batch: dict[str, Any] = default_collate(alike)
    segments: Tensor = pad_sequence([item["segments"] for item in items], batch_first=True)
    return {**batch, "image": batch["image"].permute(0, 3, 1, 2), "segments": segments}


class _Span(NamedTuple):
    """One axis of a crop of a scaled image, in pixels."""

    size: int  # of the image
    scaled: int  # of the scaled image
    start: int  # first visible pixel of the scaled image
    length: int  # visible pixels
    offset: int  # of the first visible pixel in the crop

    @classmethod
    def draw(cls, size: int, scale: float, crop: int, position: float) -> "_Span":
        """Place the crop in the scaled image, or the scaled image in the crop; position is in [0, 1)."""
        scaled = max(1, round(size * scale))
        place = int(position * (abs(scaled - crop) + 1))
        if scaled >= crop:
            return cls(size, scaled, start=place, length=crop, offset=0)
        return cls(size, scaled, start=0, length=scaled, offset=place)

    @property
    def source(self) -> tuple[float, float]:
        """The visible part of the image, from edge to edge."""
        return self.start * self.size / self.scaled, (self.start + self.length) * self.size / self.scaled

    @property
    def target(self) -> slice:
        """Where the visible part lies in the crop."""
        return slice(self.offset, self.offset + self.length)

    def nearest(self) -> NDArray[np.intp]:
        """The pixel of the image under the middle of each visible pixel."""
        positions = np.arange(self.start, self.start + self.length)
        # (p + 1/2) size / scaled, rounded down, in whole numbers.
        return (2 * positions + 1) * self.size // (2 * self.scaled)


def _resized(pixels: NDArray[np.uint8], rows: _Span, columns: _Span) -> NDArray[np.uint8]:
    """Resize the visible part (H, W, C) alone: the same as to resize all and crop, for less work."""
    if pixels.shape[2] != 3:  # which Pillow takes plane by plane
        planes = np.moveaxis(pixels, 2, 0)
        return np.stack([np.asarray(_resized_plane(plane, rows, columns)) for plane in planes], axis=2)
    return np.asarray(_resized_plane(pixels, rows, columns))


def _resized_plane(pixels: NDArray[np.uint8], rows: _Span, columns: _Span) -> Image.Image:
    image = Image.fromarray(pixels)
    if (rows.size, columns.size) == (rows.scaled, columns.scaled):
        return image.crop(
            (columns.start, rows.start, columns.start + columns.length, rows.start + rows.length)
        )
    (top, bottom), (left, right) = rows.source, columns.source
    # Bilinear in Pillow averages over the area of a pixel when it shrinks.
    return image.resize(
        (columns.length, rows.length), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )


def jitter_colors(image: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Multiply brightness, contrast and saturation of an image by factors, in this order."""
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = ImageEnhance.Contrast(image).enhance(contrast)
    return ImageEnhance.Color(image).enhance(saturation)
