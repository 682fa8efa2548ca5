"""COCO instances JSON (polygons and run lengths) as images to convert."""

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.convert import UnwrittenImage
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_masks
from axial_deeplab.data.image_files import find_images
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.coco_json import field, image_entry, list_of, load_json, path_in_folder
from axial_deeplab.panoptic.map import Panoptic

# Pixels from the image, more than any polygon can mean.
FARTHEST = 1e5


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

    def annotate(image_id: int | str) -> Panoptic:
        size = entries[image_id].size
        assert size is not None
        read_image(photos[image_id], size=size)  # Refuses other sizes.
        masks = [_mask(entry, size, categories, where) for where, entry in annotations[image_id]]
        return panoptic_from_masks(
            masks, size, background=background_id, source=f"{path} (image {image_id!r})"
        )

    photos = {image_id: path_in_folder(images, image.file_name) for image_id, image in entries.items()}
    for photo in photos.values():
        if not photo.is_file():
            raise FileNotFoundError(f"images must have all files of the JSON, got no {photo}; add it")
    _warn_of_unlisted(Path(images), set(photos.values()), path)
    unwritten = [
        UnwrittenImage(photos[image_id], image.file_name, partial(annotate, image_id), image_id)
        for image_id, image in entries.items()
    ]
    return unwritten, categories


def _warn_of_unlisted(folder: Path, listed: set[Path], json: Path) -> None:
    others = [path for path in find_images([folder]).values() if path not in listed]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        warnings.warn(f"{others[0]}{more}: not listed in {json}; left out", stacklevel=3)


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
        lengths = _unpacked(counts) if isinstance(counts, str) else counts
        # pycocotools believes them, and writes where it must not.
        if not _are_lengths(lengths) or sum(lengths) != height * width:
            raise ValueError(
                f"{where} counts must be the lengths of runs over {height} x {width} pixels, as a list or "
                f"packed as a text, got {_short(counts)}; correct the file"
            )
        runs = coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
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
        and all(isinstance(number, int | float) and abs(number) < FARTHEST for number in polygon)
    )


def _are_lengths(lengths: object) -> TypeGuard[list[int]]:
    return isinstance(lengths, list) and all(isinstance(number, int) and number >= 0 for number in lengths)


def _unpacked(text: str) -> list[int] | None:
    """Return the lengths of runs that COCO packs as a text, None if it is none.

    A character holds five bits and whether more follow, the lowest first; from the fourth run on, the length
    is the difference to the one before the last.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    return None if shift else lengths


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
