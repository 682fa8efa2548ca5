"""Panoptic PNG files: their colors are ids, which become our map together with an annotation of the JSON.

The color of a segment is `id = red + 256 * green + 65536 * blue`; the annotation tells the category of an id.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Color
from axial_deeplab.panoptic.coco_json import MAX_ID, AnnotationEntry, check_size, entries_with_pixels
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import (
    LABEL_DIVISOR,
    VOID,
    IntArray,
    Panoptic,
    PanopticMap,
    Segment,
    measure_segments,
    panoptic_id,
    relabel,
)
from axial_deeplab.util.files import atomic_path, opened

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6
# Of a row, what differs from the row above: nearly nothing.
_UP = 2
# Rows that are packed at a time.
_ROWS = 256


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


def open_map(path: str | os.PathLike[str]) -> BinaryIO:
    """Open the file of a label map, of any format, to read its bytes; a PNG must be as it was written.

    Raises:
        ValueError: it is a damaged PNG.
        OSError: see `opened`.
    """
    file = opened(path)
    try:
        if file.read(len(_SIGNATURE)) == _SIGNATURE:
            check_checksums(_SIGNATURE + file.read())
        file.seek(0)
    except (ValueError, OSError) as error:
        file.close()
        if isinstance(error, OSError):
            raise
        raise ValueError(f"{path} must be a complete PNG, got {error}; copy it again") from None
    return file


def check_checksums(content: bytes) -> None:
    """Refuse a PNG whose bytes have changed: Pillow reads pixels without a look at their checksums.

    Other formats pass.

    Raises:
        ValueError: a chunk has another checksum, or the file ends before its last chunk does.

    Source:
        PNG specification, third edition, section 5.
    """
    if not content.startswith(_SIGNATURE):
        return
    view = memoryview(content)
    start, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        kind = bytes(view[start + 4 : start + 8])
        end = start + 8 + int.from_bytes(view[start : start + 4], "big")
        if end + 4 > len(view):
            raise ValueError("a damaged file, which ends within a chunk")
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"a damaged file, with a wrong checksum in {kind.decode('latin-1')!r}")
        start = end + 4


def read_panoptic_png(path: str | os.PathLike[str]) -> PanopticMap:
    """Read the ids (H, W) of a panoptic PNG: 8 bits a channel, RGB, or RGBA without transparency.

    Raises:
        ValueError: the file is broken or of another kind.
        OSError: the file cannot be opened.
    """
    with open_map(path) as file:
        content = file.read()
    _check_png_header(path, content[:26])
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            # Four bytes a pixel, as Pillow keeps them: several times faster than an array of colors.
            layout = "RGBA" if image.mode == "RGBA" else "RGBX"
            pixels = np.frombuffer(image.tobytes("raw", layout), "<u4").reshape(image.height, image.width)
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels to be read, the limit of "
            "Pillow (twice PIL.Image.MAX_IMAGE_PIXELS), got more; cut the image into smaller ones"
        ) from None
    except (OSError, SyntaxError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} must be a complete PNG, got {error}; write the file again") from None
    if layout == "RGBA" and (pixels >> 24 != 255).any():
        raise ValueError(f"{path} must be an opaque RGB PNG, got transparent pixels; save it without alpha")
    return (pixels & MAX_ID).astype(np.int32)


def _check_png_header(path: str | os.PathLike[str], header: bytes) -> None:
    """Refuse what Pillow would convert silently: 16 bits become 8, palettes become grey levels."""
    if len(header) < 26 or header[:8] != _SIGNATURE or header[12:16] != b"IHDR":
        raise ValueError(f"{path} must be a PNG, got another kind of file; convert it to RGB PNG of 8 bits")
    depth, color_type = header[24], header[25]
    if depth != 8 or color_type not in (_RGB, _RGBA):
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
    bands = (ids[top : top + _ROWS] for top in range(0, ids.shape[0], _ROWS))
    write_panoptic_rows(path, (ids.shape[0], ids.shape[1]), bands)


def write_panoptic_rows(
    path: str | os.PathLike[str], size: tuple[int, int], bands: Iterable[IntArray]
) -> None:
    """Write ids as a panoptic PNG, of which only some rows need to be in memory.

    Args:
        path: the file.
        size: (height, width) in pixels.
        bands: its rows from top to bottom, any number (h, W) at a time.

    Raises:
        ValueError: an id does not fit into a color.
        OSError: the file cannot be written.

    Source:
        PNG specification, third edition, sections 5 (chunks), 9 (filters) and 10 (compression).
    """
    height, width = size
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)))
        packer = zlib.compressobj()
        above = np.zeros((1, 3 * width), np.uint8)
        for ids in bands:
            _check_id_range(ids)
            # The lower three bytes of an id are its red, green and blue.
            pixels = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(len(ids), width, 4)
            colors = pixels[..., :3].reshape(len(ids), 3 * width)
            rows = np.full((len(ids), 1 + 3 * width), _UP, np.uint8)
            rows[:, 1:] = colors
            rows[:1, 1:] -= above
            rows[1:, 1:] -= colors[:-1]
            above = colors[-1:]
            file.write(_chunk(b"IDAT", packer.compress(rows.data)))
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def from_coco_annotation(
    ids: IntArray,
    annotation: AnnotationEntry,
    categories: Categories,
    *,
    size: tuple[int, int] | None = None,
    label_divisor: int = LABEL_DIVISOR,
    allow_empty: bool = True,
    source: str | os.PathLike[str] | None = None,
) -> Panoptic:
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
        The map (H, W) and its segments. Areas and boxes are counted in the map.

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
    return Panoptic(relabel(ids, mapping), tuple(segments))


def to_coco_annotation(
    panoptic: Panoptic, categories: Categories, image_id: ImageId, file_name: str
) -> tuple[dict[str, Any], PanopticMap]:
    """Turn our map and segments into a COCO panoptic annotation and the ids of its PNG.

    The ids are unique, never 0, and look like the color of the category. Areas and boxes are counted in the
    map; segments without any pixel are left out.

    Args:
        panoptic: our map (H, W) and its segments.
        categories: the label space.
        image_id: number or name of the image in its data set.
        file_name: name of the PNG.

    Returns:
        The annotation (plain Python numbers, ready for `json`) and the ids (H, W) for `write_panoptic_png`.

    Raises:
        ValueError: the map has a value without segment.
    """
    values, areas, boxes = measure_segments(panoptic.map)
    by_value = {segment.id: segment for segment in panoptic.segments}
    shown = []
    for value, area, box in zip(values.tolist(), areas.tolist(), boxes.tolist(), strict=True):
        if value == VOID:
            continue
        if value not in by_value:
            raise ValueError(
                f"segments must have one entry for each value of the map, got none for {value} "
                f"in image {image_id!r}; add it"
            )
        shown.append(replace(by_value[value], area=area, bbox=tuple(box)))
    # The order of the labels of `predict`.
    shown.sort(key=lambda segment: (segment.train_id, segment.id))
    segments_info = list(coco_segments(shown, categories))
    ids = (entry["id"] for entry in segments_info)
    mapping = dict(zip((segment.id for segment in shown), ids, strict=True))
    plain_id = image_id if isinstance(image_id, str) else int(image_id)
    annotation = {"image_id": plain_id, "file_name": file_name, "segments_info": segments_info}
    return annotation, relabel(panoptic.map, mapping)


def coco_segments(segments: Iterable[Segment], categories: Categories) -> Iterator[dict[str, Any]]:
    """Yield entries of `segments_info`, whose ids are unique, never 0, and look like the category's color.

    Args:
        segments: with their areas and boxes.
        categories: the label space.

    Raises:
        ValueError: there are more segments than ids.
    """
    new_id = _IdGenerator(categories.colors)
    for segment in segments:
        assert segment.bbox is not None
        entry = {
            "id": new_id(segment.train_id),
            "category_id": categories[segment.train_id].id,
            "iscrowd": int(segment.is_crowd),
            "area": segment.area,
            "bbox": list(segment.bbox),
        }
        yield entry if segment.score is None else entry | {"score": round(float(segment.score), 6)}


class _IdGenerator:
    """Unique ids whose color looks like the category's, so that a panoptic PNG can be viewed as it is."""

    def __init__(self, colors: Sequence[Color]) -> None:
        # The category colors belong to the first segment of each category; 0 is void.
        self._taken = {VOID} | {_color_id(color) for color in colors}
        self._ids_by_class = [self._ids_near(color) for color in colors]

    def __call__(self, train_id: int) -> int:
        new_id = next(self._ids_by_class[train_id], None)
        if new_id is None:
            raise ValueError(
                f"segments must be fewer than {MAX_ID:,} to fit the colors of a panoptic PNG, got more; "
                "cut the image into smaller ones"
            )
        return new_id

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
