"""Entries of the JSON files of COCO and its kin: checked one by one, each error names file and entry."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from axial_deeplab.panoptic.categories import Categories, whole_number
from axial_deeplab.util.files import bytes_of
from axial_deeplab.util.text import clipped

# Ids of images are kept in 64 bits with a sign.
MAX_IMAGE_ID = 2**63 - 1

ImageId = int | str


class ImageEntry(NamedTuple):
    """An entry of `images`: size is (height, width) in pixels, None where the file does not say."""

    id: ImageId
    file_name: str
    size: tuple[int, int] | None


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


def load_json(
    path: Path,
    *,
    types: tuple[type, ...] = (dict,),
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Read a JSON file, with a byte order mark or without.

    Args:
        path: JSON file.
        types: what it may have; by default an object.
        object_hook: see `json.loads`.

    Raises:
        ValueError: it is no JSON, or has something else.
        OSError: it cannot be opened.
    """
    content = bytes_of(path)
    try:
        # Of bytes: windows programs write a byte order mark, or 16 bits a character.
        document = json.loads(content, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file, got {error}; write it again") from None
    if not isinstance(document, types):
        raise ValueError(
            f"{path} must be a COCO panoptic document (an object with images, annotations, categories), "
            f"got {type(document).__name__}; see the COCO format"
        )
    return document


def list_of(document: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """Return a list of a document, empty if it is absent; of an object, as LIVECell has them, its values.

    Raises:
        ValueError: it is no list.
    """
    entries = document.get(key, [])
    if isinstance(entries, dict) and entries and all(isinstance(entry, dict) for entry in entries.values()):
        return list(entries.values())
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
        raise ValueError(f"{where} must be an object, got {clipped(entry)}; correct the file")
    value = entry.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 27.0, as pandas and MATLAB write 27
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise ValueError(f"{where} {key} must be of type {names}, got {clipped(value)}; correct the file")
    return value


def image_entries(
    document: Mapping[str, Any], path: Path, *, problems: list[str] | None = None
) -> dict[ImageId, ImageEntry]:
    """Return the entries of `images` of a document by their ids, in its order.

    Args:
        document: the JSON, with panoptic annotations or others.
        path: file that messages name.
        problems: see `PanopticJson.read`.

    Raises:
        ValueError: an entry is not valid, or an id occurs twice.
    """
    images: dict[ImageId, ImageEntry] = {}
    for index, entry in enumerate(list_of(document, "images", path)):
        with refusing(problems):
            image = _image_entry(entry, f"{path}: images[{index}]")
            if image.id in images:
                raise ValueError(
                    f"{path}: image ids must be unique, got {image.id!r} twice; correct the file"
                )
            images[image.id] = image
    return images


def _image_entry(entry: Any, where: str) -> ImageEntry:
    image_id = field(entry, "id", (int, str), where)
    if isinstance(image_id, int) and not -MAX_IMAGE_ID <= image_id <= MAX_IMAGE_ID:
        raise ValueError(f"{where} id must be an integer of 64 bits, got {image_id}; number the images again")
    where = f"{where} (id {image_id!r})"
    file_name = field(entry, "file_name", str, where)
    size = None
    if entry.get("height") is not None or entry.get("width") is not None:
        size = (field(entry, "height", int, where), field(entry, "width", int, where))
        if min(size) < 1:
            raise ValueError(f"{where} height and width must be at least 1, got {size}; correct the file")
    return ImageEntry(image_id, file_name, size)


def id_among(image_id: ImageId, known: Collection[ImageId]) -> ImageId | None:
    """Return an id as another list writes it: 7 where that has 7 and this "7"; None if it has neither."""
    other = str(image_id) if isinstance(image_id, int) else whole_number(image_id)
    return image_id if image_id in known else other if other in known else None


def image_id_of(entry: Any, images: Collection[ImageId], where: str) -> ImageId:
    """Return the image of an annotation, by the id that `images` has; see `id_among`.

    Raises:
        ValueError: the annotation has no id, or that of no image, unless there are no images at all.
    """
    image_id: ImageId = field(entry, "image_id", (int, str), where)
    known = id_among(image_id, images) if images else image_id
    if known is None:
        raise ValueError(f"{where} image_id must be in images, got {image_id!r}; add the image")
    return known


def category_id_of(entry: Any, categories: Categories, where: str) -> int:
    """Return the category of an annotation or of a segment.

    Raises:
        ValueError: it has none, or one that is not in the list.
    """
    category_id = id_field(entry, "category_id", where)
    if not categories.has_id(category_id):
        raise ValueError(f"{where} category_id must be in categories, got {category_id}; add the category")
    return category_id


def is_crowd(entry: Mapping[str, Any], where: str) -> bool:
    """Return whether an annotation or a segment says that it is a crowd; null says nothing.

    Raises:
        ValueError: its iscrowd is neither 0 nor 1.
    """
    value = entry.get("iscrowd") or 0
    if value not in (0, 1, "0", "1"):
        raise ValueError(f"{where} iscrowd must be 0 or 1, got {value!r}; correct the file")
    return bool(int(value))


def id_field(entry: Any, key: str, where: str) -> int:
    number = whole_number(entry.get(key)) if isinstance(entry, dict) else None
    result: int = field(entry, key, int, where) if number is None else number
    return result
