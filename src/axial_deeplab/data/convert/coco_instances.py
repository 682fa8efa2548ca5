"""COCO instances JSON (polygons and run lengths) as images to convert."""

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.odd_outlines import is_outside, require_pixels, warn_of_boxes, warn_of_outside
from axial_deeplab.data.convert.outlines import FARTHEST, Ring
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_masks
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.image_files import find_images
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.images import picture_size
from axial_deeplab.panoptic.categories import Categories, Category, warn_of_names, whole_number
from axial_deeplab.panoptic.json_entries import (
    ImageEntry,
    ImageId,
    category_id_of,
    image_entries,
    image_id_of,
    is_crowd,
    list_of,
    load_json,
    refusing,
)
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.util.file_names import NamedFiles
from axial_deeplab.util.packages import require_package
from axial_deeplab.util.text import clipped, shortened


def coco_instances_to_convert(
    json: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    options: ReadOptions | None = None,
    find: Callable[[str], Path] | None = None,
) -> tuple[list[UnwrittenImage], Categories]:
    """Read a COCO instances JSON.

    Instances may overlap: the smaller lies on top of the larger, crowds below all. Annotations without an
    outline are left out, with a warning. Sizes that the JSON lacks are those of the images.

    Args:
        json: the file, with polygons, run lengths or compressed run lengths.
        images: folder of the images.
        options: background, stuff or things, and whether crowds are objects; None makes all classes things.
        find: gives the path of an image in that folder by its name; None takes the names as they are.

    Returns:
        The images in the order of the file, and the categories.

    Raises:
        ValueError: pycocotools is missing, the JSON is not valid, a picture has two ids, an annotation has no
            image or category, or none has an outline.
        OSError: the JSON cannot be opened, or an image is missing.
    """
    require_package("pycocotools", "coco", "coco-instances needs")
    options = options or ReadOptions()
    background, page, path = options.background, options.reading.page, Path(json)
    document = load_json(path)
    entries = image_entries(document, path)
    if not entries:
        raise ValueError(f"{path}: images must list at least one image, got none; add them")
    outlines = list_of(document, "annotations", path)
    categories = _categories(document, outlines, path, options)
    find_photo = find or partial(_by_name_or_end, NamedFiles(images), Photos(Path(images)), path)
    photos = {image_id: find_photo(image.file_name) for image_id, image in entries.items()}
    for photo in photos.values():
        if not photo.is_file():
            raise FileNotFoundError(f"images must have all files of the JSON, got no {photo}; add it")
    _refuse_repeated(photos, path)
    annotations = _annotations_of_images(outlines, entries, categories, path)
    background_id = categories.names.index(background) if background is not None else None

    def annotate(image_id: ImageId) -> Panoptic:
        size = picture_size(photos[image_id], size=entries[image_id].size, page=page)  # Refuses other sizes.
        found = [_drawn(each.outline, size, each.where) for each in annotations[image_id]]
        if options.inner_outlines_are_holes:
            drawn = [each.with_holes for each in found]
        else:
            drawn = [each.pixels for each in found]
            _warn_of_inner_outlines(annotations[image_id], found, photos[image_id])
        _warn_of_areas(annotations[image_id], drawn, photos[image_id])
        outside = [
            each.where for each in annotations[image_id] if each.rings and is_outside(each.rings, size)
        ]
        warn_of_outside(outside, size, photos[image_id])
        masks = [
            Mask(pixels, each.train_id, each.is_crowd and not options.crowds_are_objects)
            for each, pixels in zip(annotations[image_id], drawn, strict=True)
        ]
        return panoptic_from_masks(
            masks,
            size,
            background=background_id,
            stuff=categories.stuff_ids,
            source=f"{path} (image {image_id!r})",
        )

    if find is None:
        _warn_of_unlisted(Path(images), set(photos.values()), path)
    unwritten = [
        UnwrittenImage(
            photo, photo.relative_to(images).as_posix(), partial(annotate, image_id), image_id, page
        )
        for image_id, photo in photos.items()
    ]
    return unwritten, categories


def _by_name_or_end(files: NamedFiles, photos: Photos, json: Path, name: str) -> Path:
    """Return the picture of a name, or the one whose path ends as the name of another folder does.

    Raises:
        ValueError: the name leaves the folder, and no picture ends so.
        FileNotFoundError: several are as likely.
    """
    is_known = photos.knows(name)
    try:
        path = files.path(name)
    except ValueError:
        if not is_known:
            raise
    else:
        if path.is_file() or not is_known:
            return path
    return photos.find(name, str(json))


def _refuse_repeated(photos: Mapping[ImageId, Path], path: Path) -> None:
    """Refuse a picture under two ids: it has one map, in which the objects of one of them would be lost."""
    ids: dict[Path, ImageId] = {}
    for image_id, photo in photos.items():
        other = ids.setdefault(photo, image_id)
        if other != image_id:
            raise ValueError(
                f"{path}: images must list each picture once, got {photo} under the ids {other!r} and "
                f"{image_id!r}; remove one, and give its annotations the image_id of the other"
            )


class _Annotation(NamedTuple):
    """An instance: its outline and area as the JSON has them, its class, and what messages call it."""

    outline: Any
    train_id: int
    is_crowd: bool
    where: str
    area: Any

    @property
    def rings(self) -> list[Ring]:
        """Its polygons as lines; none of run lengths, or where they are told as damaged."""
        outline = (
            self.outline if isinstance(self.outline, list) and all(map(_is_polygon, self.outline)) else []
        )
        return [np.array(polygon, np.float64).reshape(-1, 2) for polygon in outline]


def _annotations_of_images(
    entries: list[Any], images: Mapping[ImageId, ImageEntry], categories: Categories, path: Path
) -> dict[ImageId, list[_Annotation]]:
    """Return the annotations of each image; those without an outline are counted and left out.

    Raises:
        ValueError: annotations have no image or category, or none has an outline.
    """
    annotations: dict[ImageId, list[_Annotation]] = {image_id: [] for image_id in images}
    # Roboflow declares the areas of the boxes, those of all annotations: they say nothing of the outlines.
    are_of_outlines = not all(map(_has_area_of_box, entries))
    problems: list[str] = []
    without: list[str] = []
    images_without: dict[ImageId, None] = {}
    for place, entry in enumerate(entries):
        name = f"annotations[{place}]"
        where = f"{path}: {name}"
        with refusing(problems):
            image_id = image_id_of(entry, images, where)
            train_id = categories.train_id(category_id_of(entry, categories, where))
            segmentation = _as_polygons(entry.get("segmentation"))
            outline = _without_stray_points(segmentation)
            if outline:
                area = entry.get("area") if are_of_outlines else None
                annotations[image_id].append(
                    _Annotation(outline, train_id, is_crowd(entry, where), where, area)
                )
            if outline in (None, [], "", {}) or outline != segmentation:
                without.append(name)
                images_without.setdefault(image_id)
    if problems:
        more = f"; and {len(problems) - 5} more problems" if len(problems) > 5 else ""
        if _counts_on_by_one(entries, categories):
            more += (
                "; categories count from 0 and annotations from 1, as label-convert writes them: subtract 1 "
                "from each category_id"
            )
        raise ValueError("; ".join(problems[:5]) + more)
    if without and not any(annotations.values()):
        raise ValueError(
            f"{path}: segmentation must be the outline of an instance, got none of three or more points in "
            f"{len(entries)} annotations; boxes alone say nothing of pixels, export the outlines"
        )
    if without:
        emptied = [images[image_id].file_name for image_id in images_without if not annotations[image_id]]
        more = (
            f"; nothing else is drawn on {len(emptied)} images ({shortened(emptied, 1)}), which --skip-empty "
            "leaves out"
        )
        warnings.warn(
            f"{path}: {len(without)} of {len(entries)} annotations have an outline that is empty or of fewer "
            f"than three points ({shortened(without)}); such outlines are left out{more if emptied else ''}",
            stacklevel=3,
        )
    _warn_of_repeated_ids(entries, path)
    require_pixels((each.rings for found in annotations.values() for each in found), path)
    warn_of_boxes((each.rings for found in annotations.values() for each in found), path)
    return annotations


def _counts_on_by_one(entries: list[Any], categories: Categories) -> bool:
    """Tell whether categories count from 0, and no annotation has 0, but one the number past the last."""
    used = {whole_number(entry.get("category_id")) for entry in entries if isinstance(entry, dict)}
    count = len(categories.ids)
    return sorted(categories.ids) == list(range(count)) and 0 not in used and count in used


def _has_area_of_box(entry: Any) -> bool:
    box = entry.get("bbox") if isinstance(entry, dict) else None
    if not isinstance(box, list) or len(box) != 4:
        return False
    area = entry.get("area")
    if not all(isinstance(value, int | float) and abs(value) < FARTHEST**2 for value in (area, *box)):
        return False
    return math.isclose(area, box[2] * box[3], rel_tol=1e-3, abs_tol=0.01)  # rounded to three digits


def _warn_of_repeated_ids(entries: list[Any], path: Path) -> None:
    times = Counter(whole_number(entry.get("id")) for entry in entries)
    repeated = [number for number, count in times.items() if number is not None and count > 1]
    if repeated:
        warnings.warn(
            f"{path}: {len(repeated)} annotation ids occur more than once ({shortened(repeated)}), as where "
            "exports were joined, or pylabel wrote pictures without objects; each annotation is drawn, but "
            "other programs keep one of them: number them anew for those",
            stacklevel=4,
        )


def _warn_of_areas(annotations: list[_Annotation], drawn: list[NDArray[np.bool_]], photo: Path) -> None:
    """Warn of areas that differ from what is drawn by more than its border, for which tools have rules."""
    wrong = []
    for each, pixels in zip(annotations, drawn, strict=True):
        area = int(pixels.sum())
        declared = each.area if isinstance(each.area, int | float) else area
        # No border is shorter than that of a disc.
        if abs(declared - area) > 2 * area**0.5 and abs(declared - area) > area - _inside(pixels):
            wrong.append(f"{clipped(declared)} for the {area} pixels of {each.where}")
    if wrong:
        text = (
            f"has {len(wrong)} annotations whose area is not what is drawn, such as {wrong[0]}, as where "
            "pictures were resized, or holes and parts were lost in an export; ours are counted, other "
            "programs may believe them"
        )
        warnings.warn(ImageWarning(photo, text, "areas"), stacklevel=3)


def _warn_of_inner_outlines(annotations: list[_Annotation], drawn: list["_Drawn"], photo: Path) -> None:
    """Warn of outlines within another of the same object, which are drawn as if they were not there."""
    inner = [
        each.where
        for each, found in zip(annotations, drawn, strict=True)
        if found.with_holes is not found.pixels
    ]
    if inner:
        text = (
            f"has {len(inner)} annotations with an outline within another of theirs, such as {inner[0]}, "
            "which COCO's rule fills; if these are holes, as Kili, imantics and OpenCV's contours give them, "
            "add --inner-outlines-are-holes"
        )
        warnings.warn(ImageWarning(photo, text, "inner outlines"), stacklevel=3)


def _inside(pixels: NDArray[np.bool_]) -> int:
    """Return how many pixels of a mask have all four neighbors."""
    rows = pixels[1:-1] & pixels[:-2] & pixels[2:]
    return int((rows[:, 1:-1] & pixels[1:-1, :-2] & pixels[1:-1, 2:]).sum())


def _as_polygons(outline: Any) -> Any:
    """Return polygons as lists of x, y, x, y, ..., whatever lists a program made of them.

    supervision 0.12 wrote a polygon that is not in a list; arrays of points become lists of pairs.
    """
    if not isinstance(outline, list):
        return outline
    if len(outline) > 2 and all(map(_is_pair, outline)):
        outline = [outline]
    if _is_polygon(outline):
        return [outline]
    return [
        [number for pair in part for number in pair]
        if isinstance(part, list) and part and all(map(_is_pair, part))
        else part
        for part in outline
    ]


def _is_pair(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and not any(isinstance(each, list) for each in point)


def _without_stray_points(outline: Any) -> Any:
    """Return polygons without those of one or two points, which labeling tools leave behind."""
    if isinstance(outline, list) and all(isinstance(polygon, list) for polygon in outline):
        return [polygon for polygon in outline if len(polygon) >= 6]
    return outline


def _warn_of_unlisted(folder: Path, listed: set[Path], json: Path) -> None:
    others = [path for path in find_images([folder]).values() if path not in listed]
    if others:
        warnings.warn(f"{shortened(others, 1)}: not listed in {json}; left out", stacklevel=3)


def _categories(
    document: dict[str, Any], outlines: list[Any], path: Path, options: ReadOptions
) -> Categories:
    """Return the categories, all of them things but the stuff and the background.

    Left out, with a warning, is what exporters put in front and no annotation has: the name of the project
    as a root that all others name as supercategory, or a name that occurs again.
    """
    entries = list_of(document, "categories", path)
    used = {whole_number(each.get("category_id")) for each in outlines if isinstance(each, dict)}
    kept = [entry for entry in entries if not _is_root(entry, entries, used)]
    if len(kept) < len(entries):
        names = [repr(entry["name"]) for entry in entries if entry not in kept]
        warnings.warn(
            f"{path}: category {shortened(names)} has no annotation and is the root of the others; left out",
            stacklevel=3,
        )
    things = [{**entry, "isthing": 1} if isinstance(entry, dict) else entry for entry in kept]
    named = Categories.from_json(things, source=f"{path}: categories")
    background = options.background
    warn_of_names(dict.fromkeys([*named.names, *filter(None, [background])]), path)
    stuff = {*options.stuff_among(named.names, path), background}
    categories = [replace(each, is_thing=each.name not in stuff) for each in named]
    if background is None or background in named.names:
        return Categories(categories)
    try:
        return Categories([*categories, Category(max(named.ids) + 1, background, False)])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _is_root(entry: Any, entries: list[Any], used: Collection[int | None]) -> bool:
    others = [other for other in entries if other is not entry and isinstance(other, dict)]
    if not others or not isinstance(entry, dict) or whole_number(entry.get("id")) in used:
        return False
    name = entry.get("name")
    if not isinstance(name, str):
        return False
    alike = [each for each in (entry, *others) if each.get("name") == name]
    if len({whole_number(each.get("id")) for each in alike}) > 1:
        # Of a part of the data without this class, no annotation tells which of them it is: the first is not.
        first = next(each for each in entries if each in alike)
        return first is entry or any(whole_number(each.get("id")) in used for each in alike)
    return all(other.get("supercategory") == name for other in others)


class _Drawn(NamedTuple):
    """A mask (H, W) by COCO's rule, and the same array or one without what outlines within others enclose."""

    pixels: NDArray[np.bool_]
    with_holes: NDArray[np.bool_]


def _drawn(segmentation: Any, size: tuple[int, int], where: str) -> _Drawn:
    """Draw polygons or run lengths as pycocotools does."""
    from pycocotools import mask as coco_mask

    height, width = size
    if isinstance(segmentation, list) and segmentation and all(map(_is_polygon, segmentation)):
        rings = coco_mask.frPyObjects(segmentation, height, width)
        runs = coco_mask.merge(rings)
        if len(rings) > 1:
            pixels = coco_mask.decode(runs).astype(bool)
            return _Drawn(pixels, _without_inner(rings, pixels))
    elif isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        counts = segmentation.get("counts")
        lengths = _unpacked(counts) if isinstance(counts, str) else counts
        # pycocotools believes them, and writes where it must not.
        if not _are_lengths(lengths) or sum(lengths) != height * width:
            raise ValueError(
                f"{where} counts must be the lengths of runs over {height} x {width} pixels, as a list or "
                f"packed as a text, got {clipped(counts)}; correct the file"
            )
        runs = coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    else:
        raise ValueError(
            f"{where} segmentation must be polygons of three or more points, or run lengths of size "
            f"{[height, width]}, got {clipped(segmentation)}; correct the file"
        )
    pixels = coco_mask.decode(runs).astype(bool)
    return _Drawn(pixels, pixels)


def _without_inner(rings: list[Any], pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what rings enclose, one within another being a hole; `pixels` itself if there is none."""
    from pycocotools import mask as coco_mask

    whole, *others = sorted(rings, key=coco_mask.area, reverse=True)
    filled = pixels
    for ring in others:
        joined = coco_mask.merge([whole, ring])
        if coco_mask.area(ring) and coco_mask.area(joined) == coco_mask.area(whole):
            filled = coco_mask.decode(whole).astype(bool) & ~coco_mask.decode(ring).astype(bool)
            joined = coco_mask.encode(np.asfortranarray(filled.astype(np.uint8)))
        whole = joined
    return pixels if filled is pixels else coco_mask.decode(whole).astype(bool)


def _is_polygon(polygon: Any) -> bool:
    return (
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(type(number) in (int, float) and abs(number) < FARTHEST for number in polygon)
    )


def _are_lengths(lengths: object) -> TypeGuard[list[int]]:
    return isinstance(lengths, list) and all(type(number) is int and number >= 0 for number in lengths)


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
