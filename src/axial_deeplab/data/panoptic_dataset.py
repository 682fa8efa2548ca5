"""What every data set is to the rest: images in a fixed order, with panoptic maps or without."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import read_image
from axial_deeplab.data.value_range import FULL
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import AnnotationEntry
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, PanopticMap, Segment
from axial_deeplab.panoptic.png import from_coco_annotation, read_panoptic_png
from axial_deeplab.util.text import shortened


@dataclass(frozen=True, slots=True)
class Sample:
    """An image on its way from the file to its score.

    Args:
        image: RGB, uint8 (H, W, 3), or the channels that were chosen (H, W, C).
        truth: panoptic map (H, W) and its segments, None where there is no ground truth (test sets).
        image_id: as the data set numbers it.
        file_name: path of the image, relative to its folder.
        size: (height, width) in pixels.
    """

    image: NDArray[np.uint8]
    truth: Panoptic | None
    image_id: ImageId
    file_name: str
    size: tuple[int, int]

    @property
    def panoptic(self) -> PanopticMap | None:
        """The true map (H, W), None where there is none."""
        return None if self.truth is None else self.truth.map

    @property
    def segments(self) -> Sequence[Segment]:
        """The true segments, none where there is no ground truth."""
        return () if self.truth is None else self.truth.segments


class ImageRecord(NamedTuple):
    """One image of a data set, not yet read.

    Args:
        image_id: as the data set numbers it.
        file_name: path of the image, relative to its folder.
        image: its path.
        ground_truth: path of its PNG, None where there is none (test sets).
        size: (height, width) in pixels if the data set tells it.
    """

    image_id: ImageId
    file_name: str
    image: Path
    ground_truth: Path | None
    size: tuple[int, int] | None = None


class PanopticDataset(Dataset[Sample]):
    """Images in a fixed order, with panoptic maps or without. The base class of all readers.

    Args:
        records: the images.
        categories: the label space.
        label_divisor: see `axial_deeplab.panoptic.map.panoptic_id`.
        limit: only the first so many images; None takes all.
        problems: gets what is wrong with single images, which are then left out; missing files are found when
            they are read. None refuses the data set at once, not after hours of training.

    Raises:
        ValueError: `limit` is not positive.
        FileNotFoundError: a file is missing.
    """

    # What files say of the segments of each image, in COCO panoptic format alone.
    annotations: Sequence[AnnotationEntry] = ()
    # Which values are black and white in images of more than 8 bits.
    value_range = FULL
    # Which page of image files that have several; None takes the first.
    page: int | None = None
    # Which channels of image files; None takes RGB, as viewers show them.
    channels: Channels | None = None

    def __init__(
        self,
        records: Iterable[ImageRecord],
        categories: Categories,
        *,
        label_divisor: int = LABEL_DIVISOR,
        limit: int | None = None,
        problems: list[str] | None = None,
    ) -> None:
        check_limit(limit)
        self.records = tuple(records)[:limit]
        self.categories = categories
        self.label_divisor = label_divisor
        if problems is None:
            _refuse_missing("images", [record.image for record in self.records])
            _refuse_missing("panoptic", [record.ground_truth for record in self.records])

    @property
    def has_ground_truth(self) -> bool:
        """Whether the images have panoptic maps."""
        return all(record.ground_truth is not None for record in self.records)

    @property
    def image_files(self) -> list[Path]:
        """The files of the images."""
        return [record.image for record in self.records]

    @property
    def reading(self) -> dict[str, Any]:
        """How images are read: arguments of `read_image`."""
        return {"value_range": self.value_range, "page": self.page, "channels": self.channels}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Read one image.

        Raises:
            ValueError: a file is damaged, or image and annotation disagree; the message names the file.
            OSError: a file cannot be opened.
        """
        record = self.records[index]
        truth = None if record.ground_truth is None else self.read_ground_truth(index)
        image = read_image(record.image, size=record.size if truth is None else truth.size, **self.reading)
        size = (image.shape[0], image.shape[1])
        return Sample(image, truth, record.image_id, record.file_name, size)

    def read_ground_truth(self, index: int) -> Panoptic:
        """Read the panoptic PNG of an image that has one, and its segments; other formats read their own.

        Raises:
            ValueError: the file is damaged, or PNG and annotation disagree; the message names the file.
            OSError: a file cannot be opened.
        """
        record = self.records[index]
        assert record.ground_truth is not None
        return from_coco_annotation(
            read_panoptic_png(record.ground_truth),
            self.annotations[index],
            self.categories,
            size=record.size,
            label_divisor=self.label_divisor,
            source=record.ground_truth,
        )


def check_limit(limit: int | None) -> None:
    """Refuse a number of images that is not positive.

    Raises:
        ValueError: it is not.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 image, got {limit}; None takes all")


def _refuse_missing(name: str, paths: Sequence[Path | None]) -> None:
    """Look for files by listing their folders: as fast for 100,000 files as for one."""
    present: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path is None:
            continue
        if path.parent not in present:
            present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing.append(path)
    if missing:
        raise FileNotFoundError(
            f"{name} must be a folder with all files of the data set, got none at {shortened(missing, 1)}; "
            "add them or correct the path"
        )
