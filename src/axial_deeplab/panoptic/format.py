"""Panoptic segmentations in memory and on disk: ids, void, colors, PNG and the COCO panoptic JSON.

In memory a segmentation is an int32 map (H, W) with the values `(train_id + 1) * label_divisor + instance_id`
and 0 for void, together with one `Segment` for each value. On disk it is the COCO panoptic format: a PNG
whose color is the segment's id, `id = red + 256 * green + 65536 * blue`, and a JSON that tells the category
of each id.
"""

import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Color
from axial_deeplab.panoptic.coco_json import (
    MAX_ID,
    AnnotationEntry,
    ImageEntry,
    ImageId,
    PanopticJson,
    SegmentEntry,
    check_size,
    entries_with_pixels,
    path_in_folder,
)
from axial_deeplab.panoptic.png_ids import decode_ids
from axial_deeplab.util.files import atomic_path

__all__ = [
    "LABEL_DIVISOR",
    "MAX_ID",
    "VOID",
    "AnnotationEntry",
    "ImageEntry",
    "ImageId",
    "PanopticJson",
    "PanopticMap",
    "PanopticWriter",
    "Runs",
    "Segment",
    "SegmentEntry",
    "check_size",
    "entries_with_pixels",
    "find_runs",
    "from_coco_annotation",
    "id2rgb",
    "measure_segments",
    "panoptic_id",
    "path_in_folder",
    "read_panoptic_png",
    "relabel",
    "rgb2id",
    "semantic_map",
    "to_coco_annotation",
    "write_panoptic_png",
]

VOID = 0
LABEL_DIVISOR = 10_000

IntArray = NDArray[np.integer[Any]]
PanopticMap = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a panoptic map.

    Args:
        id: its value in the map, never 0.
        train_id: its category, an index into `Categories`.
        area: pixels.
        is_crowd: a region of several instances that are not told apart.
        score: confidence 0..1 of a prediction.
        bbox: left, top, width, height in pixels.
    """

    id: int
    train_id: int
    area: int
    is_crowd: bool = False
    score: float | None = None
    bbox: tuple[int, int, int, int] | None = None


def panoptic_id(train_id: int, instance_id: int = 0, label_divisor: int = LABEL_DIVISOR) -> int:
    """Return the value of a segment in a panoptic map.

    Raises:
        ValueError: the instance does not fit under the divisor, or the value does not fit into int32.
    """
    if not 0 <= instance_id < label_divisor:
        raise ValueError(
            f"instance_id must be from 0 to label_divisor - 1 = {label_divisor - 1}, got {instance_id}; "
            "choose a larger label_divisor"
        )
    value = (train_id + 1) * label_divisor + instance_id
    if value > np.iinfo(np.int32).max:
        raise ValueError(
            f"label_divisor must keep (train_id + 1) * label_divisor within int32, got {label_divisor} "
            f"for train_id {train_id}; choose a smaller one"
        )
    return value


def semantic_map(
    panoptic: IntArray, *, label_divisor: int = LABEL_DIVISOR, ignore_label: int = 255
) -> PanopticMap:
    """Return the train id of every pixel of a panoptic map, `ignore_label` where it is void."""
    train_ids = np.asarray(panoptic, dtype=np.int32) // label_divisor - 1
    train_ids[train_ids < 0] = ignore_label
    return train_ids


def measure_segments(panoptic: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Count the pixels of every value of a map and find its bounding box.

    *Shapes*: H, W the map, S the number of different values, void included.

    Args:
        panoptic: any integer map (H, W), a panoptic map or the ids of a PNG.

    Returns:
        values (S,) in ascending order, areas (S,) in pixels, boxes (S, 4) as left, top, width, height.
    """
    runs = find_runs(panoptic)
    values, segment_of_run = np.unique(runs.values, return_inverse=True)
    width = panoptic.shape[1]
    rows, lefts = runs.starts // width, runs.starts % width
    areas = np.zeros(len(values), dtype=np.int64)
    np.add.at(areas, segment_of_run, runs.lengths)
    low = np.full((len(values), 2), np.iinfo(np.int64).max)
    high = np.full((len(values), 2), -1)
    np.minimum.at(low[:, 0], segment_of_run, lefts)
    np.minimum.at(low[:, 1], segment_of_run, rows)
    np.maximum.at(high[:, 0], segment_of_run, lefts + runs.lengths)
    np.maximum.at(high[:, 1], segment_of_run, rows + 1)
    return values, areas, np.concatenate((low, high - low), axis=1)


class Runs(NamedTuple):
    """Stretches of one value along the rows: start in pixels from the first of the map, length in pixels."""

    values: IntArray
    starts: IntArray
    lengths: IntArray


def find_runs(panoptic: IntArray) -> Runs:
    """Cut a map into horizontal runs of one value: about a hundred times fewer than pixels."""
    flat = np.ascontiguousarray(panoptic).ravel()
    is_start = np.empty(flat.size, dtype=bool)
    is_start[1:] = flat[1:] != flat[:-1]
    is_start[:: panoptic.shape[1] or 1] = True
    starts = np.flatnonzero(is_start)
    return Runs(flat[starts], starts, np.diff(starts, append=flat.size))


def relabel(panoptic: IntArray, mapping: Mapping[int, int]) -> PanopticMap:
    """Replace every value of a map; values that `mapping` lacks become 0."""
    runs = find_runs(panoptic)
    values, segment_of_run = np.unique(runs.values, return_inverse=True)
    replacements = np.array([mapping.get(value, 0) for value in values.tolist()], dtype=np.int32)
    return np.repeat(replacements[segment_of_run], runs.lengths).reshape(panoptic.shape)


def rgb2id(colors: NDArray[Any]) -> PanopticMap:
    """Return the ids `red + 256 * green + 65536 * blue` of colors (..., 3) as int32 (...)."""
    colors = np.asarray(colors)
    # In place and in int32 from the start: three times faster, and 8-bit colors cannot overflow.
    ids = np.array(colors[..., 2], dtype=np.int32)
    ids <<= 8
    ids |= colors[..., 1]
    ids <<= 8
    ids |= colors[..., 0]
    return ids


def id2rgb(ids: IntArray) -> NDArray[np.uint8]:
    """Return the colors (..., 3) of ids (...).

    Raises:
        ValueError: an id does not fit into a color.
    """
    ids = np.asarray(ids)
    _check_id_range(ids)
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)


def _check_id_range(ids: IntArray) -> None:
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        worst = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(
            f"ids must be from 0 to {MAX_ID} to fit a color, got {worst}; number the segments again"
        )


def read_panoptic_png(path: str | os.PathLike[str]) -> PanopticMap:
    """Read the ids (H, W) of a panoptic PNG: 8 bits a channel, RGB, or RGBA without transparency.

    Raises:
        ValueError: the file is broken or of another kind.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        content = file.read()
    _check_png_header(path, content[:26])
    ids = decode_ids(content)
    if ids is not None:
        return ids
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a complete PNG, got {error}; write the file again") from None
    if pixels.shape[2] == 4 and (pixels[..., 3] != 255).any():
        raise ValueError(f"{path} must be an opaque RGB PNG, got transparent pixels; save it without alpha")
    return rgb2id(pixels)


def _check_png_header(path: str | os.PathLike[str], header: bytes) -> None:
    """Refuse what Pillow would convert silently: 16 bits become 8, palettes become grey levels."""
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise ValueError(f"{path} must be a PNG, got another kind of file; convert it to RGB PNG of 8 bits")
    depth, color_type = header[24], header[25]
    if depth != 8 or color_type not in (2, 6):
        kinds = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGBA"}
        raise ValueError(
            f"{path} must be an RGB PNG of 8 bits, got {kinds.get(color_type, 'unknown')} of {depth} bits; "
            "a panoptic PNG holds id = red + 256 * green + 65536 * blue"
        )


def write_panoptic_png(path: str | os.PathLike[str], ids: IntArray) -> None:
    """Write ids (H, W) as a panoptic PNG.

    Raises:
        ValueError: an id does not fit into a color.
        OSError: the file cannot be written.
    """
    ids = np.asarray(ids)
    _check_id_range(ids)
    size = (ids.shape[1], ids.shape[0])
    image = Image.frombytes("RGB", size, np.ascontiguousarray(ids, dtype="<u4").tobytes(), "raw", "RGBX")
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def from_coco_annotation(
    ids: IntArray,
    annotation: AnnotationEntry,
    categories: Categories,
    *,
    size: tuple[int, int] | None = None,
    label_divisor: int = LABEL_DIVISOR,
    allow_empty: bool = True,
    source: str | os.PathLike[str] | None = None,
) -> tuple[PanopticMap, tuple[Segment, ...]]:
    """Turn the ids of a PNG and its annotation into our map and segments, in the order of the annotation.

    The first stuff segment of a category has instance 0, things have 1, 2, ... A second stuff segment of the
    same category (rare, but the format allows it) keeps a value of its own, because the metric counts it.

    Args:
        ids: (H, W), from `read_panoptic_png`.
        annotation: the entry of the JSON.
        categories: the label space.
        size: what (height, width) must be, None does not check.
        label_divisor: see `panoptic_id`.
        allow_empty: leave out segments without a single pixel, with a warning, instead of refusing them.
        source: what error messages call the image, usually the PNG.

    Returns:
        The panoptic map (H, W) and its segments. Areas and boxes are counted in the map.

    Raises:
        ValueError: the size differs, the PNG has an id without segment, or a segment has no pixels.
    """
    where = f"{source if source is not None else annotation.file_name} (image {annotation.image_id!r})"
    check_size(ids.shape, size, where)
    values, areas, boxes = measure_segments(ids)
    measured = dict(zip(values.tolist(), zip(areas.tolist(), boxes.tolist(), strict=True), strict=True))
    entries = entries_with_pixels(annotation, measured.keys() - {VOID}, allow_empty=allow_empty, where=where)
    segments: list[Segment] = []
    mapping: dict[int, int] = {}
    next_instance = [int(category.is_thing) for category in categories]
    for entry in entries:
        train_id = categories.train_id(entry.category_id)
        try:
            mapping[entry.id] = panoptic_id(train_id, next_instance[train_id], label_divisor)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        next_instance[train_id] += 1
        area, box = measured[entry.id]
        segments.append(
            Segment(
                id=mapping[entry.id], train_id=train_id, area=area, is_crowd=entry.is_crowd, bbox=tuple(box)
            )
        )
    return relabel(ids, mapping), tuple(segments)


def to_coco_annotation(
    panoptic: IntArray,
    segments: Iterable[Segment],
    categories: Categories,
    image_id: ImageId,
    file_name: str,
) -> tuple[dict[str, Any], PanopticMap]:
    """Turn our map and segments into a COCO panoptic annotation and the ids of its PNG.

    The ids are unique, never 0, and look like the color of the category. Areas and boxes are counted in the
    map; segments without any pixel are left out.

    Args:
        panoptic: our map (H, W).
        segments: one for each value of the map.
        categories: the label space.
        image_id: number or name of the image in its data set.
        file_name: name of the PNG.

    Returns:
        The annotation (plain Python numbers, ready for `json`) and the ids (H, W) for `write_panoptic_png`.

    Raises:
        ValueError: the map has a value without segment.
    """
    values, areas, boxes = measure_segments(panoptic)
    by_value = {segment.id: segment for segment in segments}
    new_id = _IdGenerator(categories.colors)
    segments_info, mapping = [], {}
    for value, area, box in zip(values.tolist(), areas.tolist(), boxes.tolist(), strict=True):
        if value == VOID:
            continue
        if value not in by_value:
            raise ValueError(
                f"segments must have one entry for each value of the map, got none for {value} "
                f"in image {image_id!r}; add it"
            )
        segment = by_value[value]
        mapping[value] = new_id(segment.train_id)
        entry = {
            "id": mapping[value],
            "category_id": categories[segment.train_id].id,
            "iscrowd": int(segment.is_crowd),
            "area": area,
            "bbox": box,
        }
        if segment.score is not None:
            entry["score"] = round(float(segment.score), 6)
        segments_info.append(entry)
    plain_id = image_id if isinstance(image_id, str) else int(image_id)
    annotation = {"image_id": plain_id, "file_name": file_name, "segments_info": segments_info}
    return annotation, relabel(panoptic, mapping)


class _IdGenerator:
    """Unique ids whose color looks like the category's, so that a panoptic PNG can be viewed as it is."""

    def __init__(self, colors: Sequence[Color]) -> None:
        # The category colors belong to the first segment of each category; 0 is void.
        self._taken = {VOID} | {_color_id(color) for color in colors}
        self._ids_by_class = [self._ids_near(color) for color in colors]

    def __call__(self, train_id: int) -> int:
        return next(self._ids_by_class[train_id])

    def _ids_near(self, color: Color) -> Iterator[int]:
        yield _color_id(color)
        for candidate in chain(_nearby_ids(color), range(1, MAX_ID + 1)):
            if candidate not in self._taken:
                self._taken.add(candidate)
                yield candidate


def _nearby_ids(color: Color, side: int = 41) -> Iterator[int]:
    """Yield the cells of a cube around a color in an order that jumps: neighbors can be told apart."""
    for index in range(side**3):
        cell = index * 9_973 % side**3  # visits each cell once: 9973 and 41 are primes
        steps = (cell % side, cell // side % side, cell // side**2)
        near = [
            min(255, max(0, channel + step - side // 2)) for channel, step in zip(color, steps, strict=True)
        ]
        yield _color_id(near)


def _color_id(color: Sequence[int]) -> int:
    return color[0] + 256 * color[1] + 65536 * color[2]


class PanopticWriter:
    """Write panoptic segmentations one by one as COCO panoptic data: PNG files at once, the JSON at the end.

    The JSON has `images`, `annotations` and `categories`, the document that panopticapi and the COCO server
    accept. It is written when the `with` block ends without an error.

    Args:
        folder: for the PNG files; made if it is missing.
        json_path: the JSON file.
        categories: the label space.

    Raises:
        OSError: the folder or a file cannot be written.
    """

    def __init__(
        self, folder: str | os.PathLike[str], json_path: str | os.PathLike[str], categories: Categories
    ) -> None:
        self.folder = Path(folder)
        self.json_path = Path(json_path)
        self.categories = categories
        self.images: dict[ImageId, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self._png_names: set[str] = set()

    def __enter__(self) -> Self:
        # The folders appear with their first file: a failure before leaves nothing.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(
        self,
        panoptic: IntArray,
        segments: Iterable[Segment],
        *,
        image_file_name: str,
        image_id: ImageId | None = None,
    ) -> dict[str, Any]:
        """Write the PNG of one image and remember its annotation.

        Args:
            panoptic: our map (H, W).
            segments: one for each value of the map.
            image_file_name: path of the photo, relative to its folder; the PNG takes its name.
            image_id: None numbers the images 1, 2, ...

        Returns:
            The annotation as it will stand in the JSON.

        Raises:
            ValueError: an image id occurs twice, or the map has a value without segment.
            OSError: the PNG cannot be written.
        """
        if image_id is None:
            image_id = len(self.images) + 1
        if image_id in self.images:
            raise ValueError(f"image_id must be unique, got {image_id!r} twice; give every image its own")
        png_name = self._png_name(image_file_name)
        annotation, ids = to_coco_annotation(panoptic, segments, self.categories, image_id, png_name)
        write_panoptic_png(path_in_folder(self.folder, png_name), ids)
        height, width = (int(length) for length in panoptic.shape)
        self.images[image_id] = {
            "id": annotation["image_id"],
            "file_name": image_file_name,
            "height": height,
            "width": width,
        }
        self.annotations.append(annotation)
        return annotation

    def close(self) -> None:
        """Write the JSON."""
        document = {
            "images": list(self.images.values()),
            "annotations": self.annotations,
            "categories": self.categories.to_json(),
        }
        with atomic_path(self.json_path) as temporary:
            temporary.write_text(json.dumps(document), encoding="utf-8")

    def _png_name(self, image_file_name: str) -> str:
        # a.jpg and a.png are two images: the second keeps its whole name.
        name = PurePosixPath(image_file_name).with_suffix(".png").as_posix()
        if name in self._png_names:
            name = f"{image_file_name}.png"
        self._png_names.add(name)
        return name
