"""Data sets in COCO panoptic format: a folder of images, a folder of panoptic PNG files and a JSON."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from axial_deeplab.data.panoptic_dataset import ImageRecord, PanopticDataset, Sample, check_limit
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import AnnotationEntry, PanopticJson
from axial_deeplab.panoptic.json_entries import ImageEntry, refusing
from axial_deeplab.panoptic.map import LABEL_DIVISOR
from axial_deeplab.util.file_names import NamedFiles
from axial_deeplab.util.text import shortened, spelled_alike

__all__ = ["ADE20K_PARTS", "CocoPanopticDataset", "Sample"]

# The 150 classes of ADE20K as Mask2Former prepares them: `ade20k_panoptic_train.json`, and the photographs.
ADE20K_PARTS = {"train": "training", "val": "validation"}


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
        files = NamedFiles(images)
        pngs = None if panoptic is None else NamedFiles(panoptic)
        records: list[ImageRecord] = []
        annotations: list[AnnotationEntry] = []
        pairs: Iterable[tuple[ImageEntry, AnnotationEntry | None]]
        document.require_images()
        if pngs is None:
            pairs = ((image, None) for image in document.images.values())
        else:
            pairs = document.annotated_images(problems=problems)
        for image, annotation in pairs:
            with refusing(problems):
                path, png = files.path(image.file_name), None
                if pngs is not None and annotation is not None:
                    png = pngs.path(annotation.file_name)
                    annotations.append(annotation)
                records.append(ImageRecord(image.id, image.file_name, path, png, image.size))
        _warn_of_crossed(document)
        self.annotations = annotations[:limit]
        super().__init__(
            records, document.categories, label_divisor=label_divisor, limit=limit, problems=problems
        )


def _warn_of_crossed(document: PanopticJson) -> None:
    """Warn of images whose PNG has the name of another image, as where two lists were joined out of order."""
    own = {image_id: _stem(image.file_name) for image_id, image in document.images.items()}
    stems = set(own.values())
    crossed = [
        f"{entry.file_name} for {document.images[image_id].file_name}"
        for image_id, entry in document.annotations.items()
        if own.get(image_id, "") != (stem := _stem(entry.file_name)) and stem in stems
    ]
    if crossed:
        warnings.warn(
            f"{document.path}: {len(crossed)} annotations have the PNG that is called as another image "
            f"({shortened(crossed, 2)}); if they are mixed up, correct their file_name",
            stacklevel=3,
        )


def _stem(file_name: str) -> str:
    return spelled_alike(PurePosixPath(file_name.replace("\\", "/")).with_suffix("").as_posix())
