"""The COCO panoptic JSON: reading it, and refusing what would go wrong later."""

import os
import warnings
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from axial_deeplab.panoptic.categories import Categories, warn_of_names, whole_number
from axial_deeplab.panoptic.json_entries import (
    ImageEntry,
    ImageId,
    category_id_of,
    field,
    id_field,
    image_entries,
    image_id_of,
    is_crowd,
    list_of,
    load_json,
    refusing,
)
from axial_deeplab.util.text import shortened

# An id is a color: three channels of 8 bits.
MAX_ID = 256**3 - 1
_NO_AREA = -(2**63)


class SegmentEntry(NamedTuple):
    """An entry of `segments_info`; area is what the file claims, None where it does not say."""

    id: int
    category_id: int
    is_crowd: bool
    area: int | None


class PackedSegments(Sequence[SegmentEntry]):
    """The segments of an annotation in 32 bytes each: a large data set has more than a million.

    Args:
        columns: ids, categories, crowds (0, 1) and areas, `_NO_AREA` for None; n numbers of 64 bits each.
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: "array[int]") -> None:
        self._columns = columns

    @property
    def category_ids(self) -> "array[int]":
        """The category of each segment."""
        return self._columns[len(self) : 2 * len(self)]

    def __len__(self) -> int:
        return len(self._columns) // 4

    def __iter__(self) -> Iterator[SegmentEntry]:
        count = len(self)
        columns = (self._columns[first : first + count] for first in range(0, 4 * count, count or 1))
        for segment_id, category_id, crowd, area in zip(*columns, strict=True):
            yield SegmentEntry(segment_id, category_id, bool(crowd), None if area == _NO_AREA else area)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


class AnnotationEntry(NamedTuple):
    """An entry of `annotations`: the PNG of one image and its segments."""

    image_id: ImageId
    file_name: str
    segments: Sequence[SegmentEntry]


@dataclass(frozen=True, slots=True)
class PanopticJson:
    """A COCO panoptic JSON, checked.

    Args:
        path: the file.
        images: entries by image id, in the order of the file; none where it lists none (predictions).
        annotations: entries by image id, in the order of the file; none where it lists none (a test set).
        categories: categories of the file, or those that the reader asked for.
    """

    path: Path
    images: dict[ImageId, ImageEntry]
    annotations: dict[ImageId, AnnotationEntry]
    categories: Categories

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        categories: Categories | None = None,
        problems: list[str] | None = None,
    ) -> "PanopticJson":
        """Read and check a file.

        Args:
            path: the JSON file.
            categories: the label space to check the segments against; None takes the file's own.
            problems: gets what is wrong with single entries, which are then left out; None refuses the file.
                It gets them even if the file is refused for its categories.

        Raises:
            ValueError: the content is not a valid panoptic document; the message names file and entry.
            OSError: the file cannot be opened.
        """
        path = Path(path)
        document = load_json(path, object_hook=_pack_plain_segments)
        if categories is None:
            entries = document.get("categories")
            if isinstance(entries, dict):
                entries = list_of(document, "categories", path)
            try:
                categories = Categories.from_json(entries, source=f"{path}: categories", problems=problems)
            except ValueError:
                if problems is not None:
                    image_entries(document, path, problems=problems)
                raise
            warn_of_names(categories.names, path)
        else:
            _compare_classes(document, categories, path)
        images = image_entries(document, path, problems=problems)
        annotations: dict[ImageId, AnnotationEntry] = {}
        pieces: list[str] = []
        for index, entry in enumerate(list_of(document, "annotations", path)):
            with refusing(problems):
                where = f"{path}: annotations[{index}]"
                annotation = _annotation_entry(entry, images, categories, where, pieces)
                if annotation.image_id in annotations:
                    raise ValueError(
                        f"{path}: an image must have one annotation, got two for image "
                        f"{annotation.image_id!r}; remove one"
                    )
                annotations[annotation.image_id] = annotation
        if pieces:
            warnings.warn(
                f"{pieces[0]} is listed again, with the same class (such entries: {len(pieces)}), as "
                "Segments.ai lists the pieces of stuff; they are one segment, as in the PNG",
                stacklevel=2,
            )
        return cls(path, images, annotations, categories)

    def require_images(self) -> None:
        """Refuse a file that lists no images.

        Raises:
            ValueError: it lists none.
        """
        if not self.images:
            raise ValueError(f"{self.path}: images must list at least one image, got none; add them")

    def annotated_images(
        self, *, problems: list[str] | None = None
    ) -> Iterator[tuple[ImageEntry, AnnotationEntry]]:
        """Yield every image with its annotation.

        Args:
            problems: gets the images without annotation, which are then left out; None refuses them.

        Raises:
            ValueError: the file lists no images, or one has no annotation.
        """
        self.require_images()
        for image in self.images.values():
            if image.id in self.annotations:
                yield image, self.annotations[image.id]
                continue
            with refusing(problems):
                raise ValueError(
                    f"{self.path}: every image must have an annotation, got none for image "
                    f"{image.id!r} ({image.file_name}); add it or remove the image"
                )

    def image_size(self, image_id: ImageId) -> tuple[int, int] | None:
        """Return (height, width) in pixels as the file gives it, None where it does not."""
        image = self.images.get(image_id)
        return None if image is None else image.size


def _compare_classes(document: Mapping[str, Any], categories: Categories, path: Path) -> None:
    """Refuse annotations whose file has a class under another id, and warn if an id has another name.

    Raises:
        ValueError: a class has another id.
    """
    if not document.get("annotations"):
        return
    names = {category.id: category.name for category in categories}
    ids = {name: number for number, name in names.items()}
    others: list[str] = []
    for entry in list_of(document, "categories", path):
        name, number = (
            (entry.get("name"), whole_number(entry.get("id"))) if isinstance(entry, dict) else ("", 0)
        )
        if isinstance(name, str) and ids.get(name, number) != number:
            raise ValueError(
                f"{path}: categories must have the ids of those they are compared with, got {number} for "
                f"{name!r}, which is {ids[name]} there; number them alike"
            )
        if number in names and names[number] != name:
            others.append(f"{number} is {name!r} for {names[number]!r}")
    if others:
        warnings.warn(
            f"{path}: {len(others)} categories have other names than those that they are compared with "
            f"({shortened(others, 2)}); they are taken for the same",
            stacklevel=3,
        )


def check_size(shape: tuple[int, ...], size: tuple[int, ...] | None, where: str) -> None:
    """Refuse a PNG whose shape is not the (height, width) that it must have; None allows any.

    Raises:
        ValueError: the sizes differ.
    """
    if size is not None and tuple(shape) != tuple(size):
        raise ValueError(
            f"{where} must be {size[0]} x {size[1]} pixels (height x width), got {shape[0]} x {shape[1]}; "
            "write it at the size of the image"
        )


def entries_with_pixels(
    annotation: AnnotationEntry, ids: Collection[int], *, allow_empty: bool, where: str
) -> list[SegmentEntry]:
    """Check an annotation against the ids of its PNG, and return the segments that the PNG has.

    Args:
        annotation: the entry of the JSON.
        ids: all that occur in the PNG, without void.
        allow_empty: leave out segments without a single pixel, with a warning, instead of refusing them.
        where: what messages call the image.

    Raises:
        ValueError: the PNG has an id without segment, or a segment has no pixels.
    """
    listed = {segment.id for segment in annotation.segments}
    unknown = sorted(set(ids) - listed)
    if unknown:
        raise ValueError(
            f"{where} must have only ids that segments_info lists, got {shortened(unknown)}; "
            "add the segments to the JSON"
        )
    empty = sorted(listed - set(ids))
    if empty and not allow_empty:
        raise ValueError(
            f"{where} must have pixels of every segment of the JSON, got none of {shortened(empty)}; "
            "remove the segments from the JSON"
        )
    if empty:
        text = f"{where}: segments {shortened(empty)} of the JSON have no pixel in the PNG; left out"
        warnings.warn(text, stacklevel=3)
    return [segment for segment in annotation.segments if segment.id in ids]


def _annotation_entry(
    entry: Any, images: Collection[ImageId], categories: Categories, where: str, pieces: list[str]
) -> AnnotationEntry:
    """Read an annotation; `pieces` gets the segments of stuff that are listed again, and are joined."""
    image_id = image_id_of(entry, images, where)
    where = f"{where} (image {image_id!r})"
    file_name = field(entry, "file_name", str, where)
    packed = entry.get("segments_info")
    if isinstance(packed, PackedSegments):
        if not all(map(categories.has_id, set(packed.category_ids))):
            for segment in packed:
                category_id_of(segment._asdict(), categories, f"{where} segment {segment.id}")
        return AnnotationEntry(image_id, file_name, packed)
    segments: dict[int, SegmentEntry] = {}
    for item in field(entry, "segments_info", list, where):
        segment = _segment_entry(item, categories, where)
        first = segments.get(segment.id)
        if first is not None:
            is_thing = categories[categories.train_id(segment.category_id)].is_thing
            if is_thing or segment != first._replace(area=segment.area):
                raise ValueError(
                    f"{where} segment ids must be unique, got {segment.id} twice; number the segments again"
                )
            pieces.append(f"{where} segment {segment.id}")
            area = None if first.area is None or segment.area is None else first.area + segment.area
            segment = segment._replace(area=area)
        segments[segment.id] = segment
    return AnnotationEntry(image_id, file_name, tuple(segments.values()))


def _pack_plain_segments(entry: dict[str, Any]) -> dict[str, Any]:
    """Pack the segments of an annotation as soon as it is read, if nothing about them needs a second look."""
    items = entry.get("segments_info")
    if not isinstance(items, list):
        return entry
    try:
        ids = [item["id"] for item in items]
        category_ids = [item["category_id"] for item in items]
        crowds = [item.get("iscrowd") or 0 for item in items]
        areas = [item.get("area") for item in items]
        areas = [area if isinstance(area, int) else _NO_AREA for area in areas]
        columns = array("q", [*ids, *category_ids, *crowds, *areas])
        # What Python takes for 1, such as true, is not plain.
        is_plain = set(map(type, ids + category_ids + crowds)) <= {int} and set(crowds) <= {0, 1}
    except (KeyError, TypeError, AttributeError, OverflowError):
        return entry
    if is_plain and len(set(ids)) == len(ids) and 0 < min(ids, default=1) <= max(ids, default=1) <= MAX_ID:
        entry["segments_info"] = PackedSegments(columns)
    return entry


def _segment_entry(entry: Any, categories: Categories, where: str) -> SegmentEntry:
    segment_id = id_field(entry, "id", f"{where} segment")
    if not 0 < segment_id <= MAX_ID:
        raise ValueError(
            f"{where} segment id must be from 1 to {MAX_ID}, got {segment_id}; "
            "0 is void, number the segments from 1"
        )
    where = f"{where} segment {segment_id}"
    category_id = category_id_of(entry, categories, where)
    area = entry.get("area")
    return SegmentEntry(
        segment_id, category_id, is_crowd(entry, where), area if isinstance(area, int) else None
    )
