"""COCO instances JSON (polygons and run lengths) as images to convert."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.categories import Categories, Category
from axial_deeplab.data.convert import UnwrittenImage
from axial_deeplab.data.panoptic_from import Annotated, Mask, panoptic_from_masks
from axial_deeplab.panoptic_json import field, image_entry, list_of, load_json, path_in_folder


def coco_instances_to_convert(
    json: str | os.PathLike[str], images: str | os.PathLike[str], *, background: str | None = None
) -> tuple[list[UnwrittenImage], Categories]:
    """Read a COCO instances JSON.

    Instances may overlap: the smaller lies on top of the larger, crowds below all.

    Args:
        json: the file, with polygons, run lengths or compressed run lengths.
        images: folder of the images.
        background: name of a stuff category for the pixels without instance; None makes them void.

    Returns:
        The images in the order of the file, and the categories, all of them things but the background.

    Raises:
        ValueError: pycocotools is missing, the JSON is not valid, or an annotation has no image or category.
        OSError: the JSON cannot be opened, or an image is missing.
    """
    _require_pycocotools()
    path = Path(json)
    document = load_json(path)
    categories = _categories(document, path, background)
    entries = {}
    for place, entry in enumerate(list_of(document, "images", path)):
        image = image_entry(entry, f"{path}: images[{place}]")
        if image.size is None:
            raise ValueError(f"{path}: images[{place}] must have height and width, got none; add them")
        if image.id in entries:
            raise ValueError(f"{path}: image ids must be unique, got {image.id!r} twice; correct the file")
        entries[image.id] = image
    if not entries:
        raise ValueError(f"{path}: images must list at least one image, got none; add them")
    annotations: dict[Any, list[tuple[str, dict[str, Any]]]] = {image_id: [] for image_id in entries}
    for place, entry in enumerate(list_of(document, "annotations", path)):
        where = f"{path}: annotations[{place}]"
        image_id = field(entry, "image_id", (int, str), where)
        if image_id not in annotations:
            raise ValueError(f"{where} image_id must be in images, got {image_id!r}; add the image")
        annotations[image_id].append((where, entry))
    background_id = categories.stuff_ids[0] if background is not None else None

    def annotate(image_id: int | str) -> Annotated:
        size = entries[image_id].size
        assert size is not None
        masks = [_mask(entry, size, categories, where) for where, entry in annotations[image_id]]
        return panoptic_from_masks(
            masks, size, background=background_id, source=f"{path} (image {image_id!r})"
        )

    unwritten = []
    for image_id, image in entries.items():
        photo = path_in_folder(images, image.file_name)
        if not photo.is_file():
            raise FileNotFoundError(f"images must have all files of the JSON, got no {photo}; add it")
        unwritten.append(UnwrittenImage(photo, image.file_name, partial(annotate, image_id), image_id))
    return unwritten, categories


def _categories(document: dict[str, Any], path: Path, background: str | None) -> Categories:
    entries = list_of(document, "categories", path)
    things = [
        Category(
            field(e, "id", int, f"{path}: categories[{i}]"),
            field(e, "name", str, f"{path}: categories[{i}]"),
            True,
        )
        for i, e in enumerate(entries)
    ]
    stuff = []
    if background is not None:
        stuff = [Category(max((c.id for c in things), default=0) + 1, background, False)]
    try:
        return Categories([*things, *stuff])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _mask(entry: dict[str, Any], size: tuple[int, int], categories: Categories, where: str) -> Mask:
    category_id = field(entry, "category_id", int, where)
    if not categories.has_id(category_id):
        raise ValueError(f"{where} category_id must be in categories, got {category_id}; add the category")
    pixels = _pixels(entry.get("segmentation"), size, where)
    return Mask(pixels, categories.train_id(category_id), bool(entry.get("iscrowd", 0)))


def _pixels(segmentation: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Draw polygons or run lengths as pycocotools does."""
    from pycocotools import mask as coco_mask

    height, width = size
    if isinstance(segmentation, list) and segmentation and all(map(_is_polygon, segmentation)):
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        counts = segmentation.get("counts")
        if (
            isinstance(counts, list)
            and all(isinstance(n, int) for n in counts)
            and sum(counts) == height * width
        ):
            runs = coco_mask.frPyObjects(segmentation, height, width)
        elif isinstance(counts, str):
            runs = segmentation
        else:
            raise ValueError(
                f"{where} counts must be a text or the lengths of runs over {height} x {width} pixels, "
                f"got {_short(counts)}; correct the file"
            )
    else:
        raise ValueError(
            f"{where} segmentation must be polygons of three or more points, or run lengths of size "
            f"{[height, width]}, got {_short(segmentation)}; correct the file"
        )
    return coco_mask.decode(runs).astype(bool)


def _is_polygon(polygon: Any) -> bool:
    return (
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(isinstance(number, int | float) for number in polygon)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_pycocotools() -> None:
    try:
        import pycocotools  # noqa: F401
    except ImportError:
        raise ValueError(
            "coco-instances needs the package pycocotools, which is missing; "
            'pip install "axial-deeplab[coco]"'
        ) from None
