"""Data sets in COCO panoptic format: a folder of images, a folder of panoptic PNG files and a JSON."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from axial_deeplab.data.categories import Categories
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic_format import (
    LABEL_DIVISOR,
    PanopticMap,
    Segment,
    from_coco_annotation,
    read_panoptic_png,
)
from axial_deeplab.panoptic_json import AnnotationEntry, ImageEntry, ImageId, PanopticJson, path_in_folder


@dataclass(frozen=True, slots=True)
class Sample:
    """An image on its way from the file to its score.

    Args:
        image: RGB, uint8 (H, W, 3).
        panoptic: the ground truth (H, W), None where there is none (test sets).
        segments: one for each value of the map but void.
        image_id: as the data set numbers it.
        file_name: of the image, relative to its folder.
        size: (height, width) in pixels.
    """

    image: NDArray[np.uint8]
    panoptic: PanopticMap | None
    segments: tuple[Segment, ...]
    image_id: ImageId
    file_name: str
    size: tuple[int, int]


class CocoPanopticDataset(Dataset[Sample]):
    """The images of a COCO panoptic JSON in its order, with their panoptic maps.

    Args:
        images: folder of the images.
        panoptic: folder of the panoptic PNG files; None reads the images alone, without annotations.
        json: the panoptic JSON.
        categories: the label space; None takes the JSON's.
        limit: only the first so many images; None takes all.
        label_divisor: see `axial_deeplab.panoptic_format.panoptic_id`.

    Raises:
        ValueError: the JSON is not valid, has no images, or an image has no annotation.
        OSError: a folder or a file is missing; all are looked for at once, not after hours of training.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        panoptic: str | os.PathLike[str] | None,
        json: str | os.PathLike[str],
        *,
        categories: Categories | None = None,
        limit: int | None = None,
        label_divisor: int = LABEL_DIVISOR,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1 image, got {limit}; None takes all")
        document = PanopticJson.read(json, categories=categories)
        self.categories = document.categories
        self.label_divisor = label_divisor
        self.images_folder = Path(images)
        self.panoptic_folder = None if panoptic is None else Path(panoptic)
        self._entries: list[tuple[ImageEntry, AnnotationEntry | None]]
        if panoptic is None:
            if not document.images:
                raise ValueError(f"{json}: images must list at least one image, got none; add them")
            self._entries = [(image, None) for image in document.images.values()]
        else:
            self._entries = list(document.annotated_images())
        self._entries = self._entries[:limit]
        _refuse_missing("images", [self._image_path(image) for image, _ in self._entries])
        _refuse_missing(
            "panoptic", [self._png_path(annotation) for _, annotation in self._entries if annotation]
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """Read one image.

        Raises:
            ValueError: a file is damaged, or image, PNG and JSON disagree; the message names the file.
            OSError: a file cannot be opened.
        """
        image, annotation = self._entries[index]
        size = image.size
        panoptic: PanopticMap | None = None
        segments: tuple[Segment, ...] = ()
        if annotation is not None:
            path = self._png_path(annotation)
            panoptic, segments = from_coco_annotation(
                read_panoptic_png(path),
                annotation,
                self.categories,
                size=image.size,
                label_divisor=self.label_divisor,
                source=path,
            )
            size = (panoptic.shape[0], panoptic.shape[1])
        pixels = read_image(self._image_path(image), size=size)
        return Sample(
            pixels, panoptic, segments, image.id, image.file_name, (pixels.shape[0], pixels.shape[1])
        )

    def _image_path(self, image: ImageEntry) -> Path:
        return path_in_folder(self.images_folder, image.file_name)

    def _png_path(self, annotation: AnnotationEntry) -> Path:
        assert self.panoptic_folder is not None
        return path_in_folder(self.panoptic_folder, annotation.file_name)


def _refuse_missing(name: str, paths: Iterable[Path]) -> None:
    """Look for files by listing their folders: as fast for 100,000 files as for one."""
    present: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in present:
            present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing.append(path)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"{name} must be a folder with all files of the JSON, got none at {missing[0]}{more}; "
            "add them or correct the path"
        )
