"""The COCO panoptic JSON: reading it, and refusing what would go wrong later."""

import json
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.util.text import shortened

# An id is a color: three channels of 8 bits.
MAX_ID = 256**3 - 1

ImageId = int | str


class ImageEntry(NamedTuple):
    """An entry of `images`: size is (height, width) in pixels, None where the file does not say."""

    id: ImageId
    file_name: str
    size: tuple[int, int] | None


class SegmentEntry(NamedTuple):
    """An entry of `segments_info`; area is what the file claims, None where it does not say."""

    id: int
    category_id: int
    is_crowd: bool
    area: int | None


class AnnotationEntry(NamedTuple):
    """An entry of `annotations`: the PNG of one image and its segments."""

    image_id: ImageId
    file_name: str
    segments: tuple[SegmentEntry, ...]


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

        Raises:
            ValueError: the content is not a valid panoptic document; the message names file and entry.
            OSError: the file cannot be opened.
        """
        path = Path(path)
        document = load_json(path)
        if categories is None:
            categories = Categories.from_json(document.get("categories"), source=f"{path}: categories")
        images: dict[ImageId, ImageEntry] = {}
        for index, entry in enumerate(list_of(document, "images", path)):
            with refusing(problems):
                image = image_entry(entry, f"{path}: images[{index}]")
                if image.id in images:
                    raise ValueError(
                        f"{path}: image ids must be unique, got {image.id!r} twice; correct the file"
                    )
                images[image.id] = image
        annotations: dict[ImageId, AnnotationEntry] = {}
        for index, entry in enumerate(list_of(document, "annotations", path)):
            with refusing(problems):
                where = f"{path}: annotations[{index}]"
                annotation = _annotation_entry(entry, categories, where)
                if annotation.image_id in annotations:
                    raise ValueError(
                        f"{path}: an image must have one annotation, got two for image "
                        f"{annotation.image_id!r}; remove one"
                    )
                if images and annotation.image_id not in images:
                    raise ValueError(
                        f"{where} image_id must be in images, got {annotation.image_id!r}; add the image"
                    )
                annotations[annotation.image_id] = annotation
        return cls(path, images, annotations, categories)

    def annotated_images(
        self, *, problems: list[str] | None = None
    ) -> Iterator[tuple[ImageEntry, AnnotationEntry]]:
        """Yield every image with its annotation.

        Args:
            problems: gets the images without annotation, which are then left out; None refuses them.

        Raises:
            ValueError: the file lists no images, or one has no annotation.
        """
        if not self.images:
            raise ValueError(f"{self.path}: images must list at least one image, got none; add them")
        for image in self.images.values():
            with refusing(problems):
                if image.id not in self.annotations:
                    raise ValueError(
                        f"{self.path}: every image must have an annotation, got none for image "
                        f"{image.id!r} ({image.file_name}); add it or remove the image"
                    )
            if image.id in self.annotations:
                yield image, self.annotations[image.id]

    def image_size(self, image_id: ImageId) -> tuple[int, int] | None:
        """Return (height, width) in pixels as the file gives it, None where it does not."""
        image = self.images.get(image_id)
        return None if image is None else image.size


@contextmanager
def refusing(problems: list[str] | None) -> Iterator[None]:
    """Collect the message of a ValueError or OSError instead of raising it, if there is a list to collect in.

    Args:
        problems: list that gets the messages; None lets the errors pass.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if problems is None:
            raise
        problems.append(str(error))


def path_in_folder(folder: str | os.PathLike[str], file_name: str) -> Path:
    """Return the path of a file that a JSON names, inside `folder`.

    Raises:
        ValueError: the name leaves the folder.
    """
    windows = PureWindowsPath(file_name)
    for flavor in (PurePosixPath(file_name), windows):
        # C:a.png names a drive on Windows alone; elsewhere it is a file like others.
        has_drive = bool(windows.drive) and (os.name == "nt" or windows.drive.startswith("\\"))
        if has_drive or flavor.root or ".." in flavor.parts or not flavor.parts:
            raise ValueError(
                f"file_name must stay inside {folder}, got {file_name!r}; use a relative path without '..'"
            )
    return Path(folder) / file_name


def require_text(file_name: str) -> None:
    """Refuse a name whose bytes are no UTF-8: a JSON that has it is none to other readers.

    Raises:
        ValueError: the name is no text.
    """
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"file_name must be a text in UTF-8, got {file_name!a}; rename the file") from None


def check_size(shape: tuple[int, ...], size: tuple[int, ...] | None, where: str) -> None:
    """Refuse a PNG whose shape is not the (height, width) that it must have; None allows any.

    Raises:
        ValueError: the sizes differ.
    """
    if size is not None and tuple(shape) != tuple(size):
        raise ValueError(
            f"{where} must be {size[0]} x {size[1]} pixels (height x width), got {shape[0]} x {shape[1]}; "
            "write the PNG at the size of the image"
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


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that has an object.

    Raises:
        ValueError: it is no JSON, or no object.
        OSError: it cannot be opened.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file, got {error}; write it again") from None
    if not isinstance(document, dict):
        raise ValueError(
            f"{path} must be a COCO panoptic document (an object with images, annotations, categories), "
            f"got {type(document).__name__}; see the COCO format"
        )
    return document


def list_of(document: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """Return a list of a document, empty if it is absent.

    Raises:
        ValueError: it is no list.
    """
    entries = document.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{path}: {key} must be a list, got {type(entries).__name__}; correct the file")
    return entries


def field(entry: Any, key: str, kinds: type | tuple[type, ...], where: str) -> Any:
    """Return a value of an entry.

    Args:
        entry: an object of the JSON.
        key: key of the value.
        kinds: the types that it may have.
        where: what the message calls the entry.

    Raises:
        ValueError: the entry is no object, the value is absent or of another type.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object, got {entry!r}; correct the file")
    value = entry.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise ValueError(f"{where} {key} must be of type {names}, got {value!r}; correct the file")
    return value


def image_entry(entry: Any, where: str) -> ImageEntry:
    """Return an entry of `images`.

    Raises:
        ValueError: it is not valid.
    """
    image_id = field(entry, "id", (int, str), where)
    where = f"{where} (id {image_id!r})"
    file_name = field(entry, "file_name", str, where)
    size = None
    if "height" in entry or "width" in entry:
        size = (field(entry, "height", int, where), field(entry, "width", int, where))
        if min(size) < 1:
            raise ValueError(f"{where} height and width must be at least 1, got {size}; correct the file")
    return ImageEntry(image_id, file_name, size)


def _annotation_entry(entry: Any, categories: Categories, where: str) -> AnnotationEntry:
    image_id = field(entry, "image_id", (int, str), where)
    where = f"{where} (image {image_id!r})"
    file_name = field(entry, "file_name", str, where)
    segments: dict[int, SegmentEntry] = {}
    for item in field(entry, "segments_info", list, where):
        segment = _segment_entry(item, categories, where)
        if segment.id in segments:
            raise ValueError(
                f"{where} segment ids must be unique, got {segment.id} twice; number the segments again"
            )
        segments[segment.id] = segment
    return AnnotationEntry(image_id, file_name, tuple(segments.values()))


def _segment_entry(entry: Any, categories: Categories, where: str) -> SegmentEntry:
    segment_id = field(entry, "id", int, f"{where} segment")
    if not 0 < segment_id <= MAX_ID:
        raise ValueError(
            f"{where} segment id must be from 1 to {MAX_ID}, got {segment_id}; "
            "0 is void, number the segments from 1"
        )
    where = f"{where} segment {segment_id}"
    category_id = field(entry, "category_id", int, where)
    if not categories.has_id(category_id):
        raise ValueError(f"{where} category_id must be in categories, got {category_id}; add the category")
    is_crowd = entry.get("iscrowd", 0)
    if is_crowd not in (0, 1):
        raise ValueError(f"{where} iscrowd must be 0 or 1, got {is_crowd!r}; correct the file")
    area = entry.get("area")
    return SegmentEntry(segment_id, category_id, bool(is_crowd), area if isinstance(area, int) else None)
