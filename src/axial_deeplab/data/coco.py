"""Data sets in COCO panoptic format: a folder of images, a folder of panoptic PNG files and a JSON."""

import os
from pathlib import Path

from axial_deeplab.data.panoptic_dataset import (
    ImageRecord,
    PanopticDataset,
    Sample,
    check_limit,
)
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import AnnotationEntry, PanopticJson, path_in_folder, refusing
from axial_deeplab.panoptic.map import LABEL_DIVISOR

__all__ = ["CocoPanopticDataset", "Sample"]


class CocoPanopticDataset(PanopticDataset):
    """The images of a COCO panoptic JSON in its order, with their panoptic maps.

    Args:
        images: folder of the images.
        panoptic: folder of the panoptic PNG files; None reads the images alone, without annotations.
        json: the panoptic JSON.
        categories: the label space; None takes the JSON's.
        limit: only the first so many images; None takes all.
        label_divisor: see `axial_deeplab.panoptic.map.panoptic_id`.
        problems: see `PanopticDataset`.

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
        problems: list[str] | None = None,
    ) -> None:
        check_limit(limit)
        document = PanopticJson.read(json, categories=categories, problems=problems)
        self.images_folder = Path(images)
        self.panoptic_folder = None if panoptic is None else Path(panoptic)
        records: list[ImageRecord] = []
        annotations: list[AnnotationEntry] = []
        if self.panoptic_folder is None:
            if not document.images:
                raise ValueError(f"{json}: images must list at least one image, got none; add them")
            for image in document.images.values():
                with refusing(problems):
                    path = path_in_folder(self.images_folder, image.file_name)
                    records.append(ImageRecord(image.id, image.file_name, path, None, image.size))
        else:
            for image, annotation in document.annotated_images(problems=problems):
                with refusing(problems):
                    path = path_in_folder(self.images_folder, image.file_name)
                    png = path_in_folder(self.panoptic_folder, annotation.file_name)
                    records.append(ImageRecord(image.id, image.file_name, path, png, image.size))
                    annotations.append(annotation)
        self.annotations = annotations[:limit]
        super().__init__(
            records,
            document.categories,
            label_divisor=label_divisor,
            limit=limit,
            problems=problems,
        )
