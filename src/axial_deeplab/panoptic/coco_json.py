"""The COCO panoptic JSON: reading it, and refusing what would go wrong later."""

import json
import os
import re
import unicodedata
import warnings
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from axial_deeplab.panoptic.categories import Categories, whole_number
from axial_deeplab.util.files import bytes_of
from axial_deeplab.util.text import clipped, shortened

# An id is a color: three channels of 8 bits.
MAX_ID = 256**3 - 1
# Ids of images are kept in 64 bits with a sign.
MAX_IMAGE_ID = 2**63 - 1
_NO_AREA = -(2**63)
# Parts between slashes that begin with a letter, digit or dash: the path stays inside its folder everywhere.
_PLAIN_PATH = re.compile(r"(?:[\w-][\w .-]*/)*[\w-][\w .-]*")

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
    _refuse_outside(folder, file_name)
    return Path(folder) / file_name


def _refuse_outside(folder: str | os.PathLike[str], file_name: str) -> None:
    if _PLAIN_PATH.fullmatch(file_name):
        return
    windows = PureWindowsPath(file_name)
    for flavor in (PurePosixPath(file_name), windows):
        # C:a.png names a drive on Windows alone; elsewhere it is a file like others.
        has_drive = bool(windows.drive) and (os.name == "nt" or windows.drive.startswith("\\"))
        if has_drive or flavor.root or ".." in flavor.parts or not flavor.parts:
            raise ValueError(
                f"file_name must stay inside {folder}, got {file_name!r}; use a relative path without '..'"
            )


def require_text(file_name: str) -> None:
    """Refuse a name whose bytes are no UTF-8: a JSON that has it is none to other readers.

    Raises:
        ValueError: the name is no text.
    """
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"file_name must be a text in UTF-8, got {file_name!a}; rename the file") from None


class NamedFiles:
    """The files that a JSON names in a folder, however the program that wrote it spells their names.

    A backslash separates folders where no file has that name (Windows). Accents as one code point or two
    (macOS) and capitals are the same where they leave no choice.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._names: dict[Path, tuple[frozenset[str], dict[str, list[str]]]] = {}

    def path(self, file_name: str) -> Path:
        """Return the path of a file; as the JSON has it if there is none.

        Raises:
            ValueError: the name leaves the folder.
        """
        _refuse_outside(self.folder, file_name)
        found = self._found(file_name)
        if found is None and "\\" in file_name:
            found = self._found(file_name.replace("\\", "/"))
        return self.folder / file_name if found is None else found

    def _found(self, file_name: str) -> Path | None:
        found = self.folder
        for part in PurePath(file_name).parts if "/" in file_name else (file_name,):
            if found not in self._names:
                names = os.listdir(found) if found.is_dir() else ()
                alike: dict[str, list[str]] = {}
                for name in names:
                    alike.setdefault(spelled_alike(name), []).append(name)
                self._names[found] = frozenset(names), alike
            exact, alike = self._names[found]
            if part not in exact:
                candidates = alike.get(spelled_alike(part), [])
                if len(candidates) != 1:
                    return None
                part = candidates[0]
            found = found / part
        return found


def spelled_alike(name: str) -> str:
    """Return what names share that differ in capitals, or in how accents are composed, alone."""
    return unicodedata.normalize("NFC", name).casefold()


def warn_of_names(names: Iterable[str], source: object) -> None:
    """Warn of classes that differ in capitals, spaces or underscores alone.

    Args:
        names: classes, each once.
        source: what messages call the file.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(spelled_alike(name).replace("_", " ").split()), []).append(name)
    for group in groups.values():
        if len(group) > 1:
            alike = ", ".join(map(repr, group))
            warnings.warn(
                f"{source}: the classes {alike} differ in capitals, spaces or underscores alone; if they are "
                "one, name them alike",
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
    category_id = _id_field(entry, "category_id", where)
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


def _id_field(entry: Any, key: str, where: str) -> int:
    number = whole_number(entry.get(key)) if isinstance(entry, dict) else None
    result: int = field(entry, key, int, where) if number is None else number
    return result


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
    segment_id = _id_field(entry, "id", f"{where} segment")
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
