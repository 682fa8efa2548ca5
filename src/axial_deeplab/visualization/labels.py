"""Names written into segments where there is room for them, none over another."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from axial_deeplab.panoptic.categories import Color
from axial_deeplab.visualization.fonts import Font, readable

Box = tuple[int, int, int, int]

SMALLEST_FONT, LARGEST_FONT = 10, 64
# Places are looked for in a map of at most so many pixels a side: far finer than a letter.
_SEARCH_SIDE = 320
# A name may be larger than its segment, but not dwarf it, nor hide a small picture.
_LEAST_AREA = 0.3
_LARGEST_PART = 0.12
# Part of a name that must lie on its own segment: things may be smaller than their names, stuff has room.
_LEAST_COVER = {True: 0.6, False: 0.2}
# A name that would hide more of a thing than this stands beside it, if there is room.
_LARGEST_PART_OF_THING = 0.4
# Names together hide at most this part of the picture: of many things, the largest are named.
_MOST_HIDDEN_BY_THINGS, _MOST_HIDDEN = 0.12, 0.25
_PLACES_TRIED = 40


class Label(NamedTuple):
    """A name that has found its place: left, top, right, bottom in pixels of the picture."""

    text: str
    color: Color
    box: Box


def font_size(width: int, height: int) -> int:
    """Return a font size that can be read in a picture of this size when it is looked at as a whole."""
    return int(min(LARGEST_FONT, max(SMALLEST_FONT, round(0.024 * (width * height) ** 0.5))))


def draw_labels(
    picture: Image.Image,
    index: NDArray[np.int32],
    texts: Sequence[str],
    colors: Sequence[Color],
    is_stuff: Sequence[bool],
) -> list[Label]:
    """Write a text into each segment that has room, beside a thing that it would hide.

    Things come first, for stuff has more places to choose from; larger segments come before smaller ones.

    Args:
        picture: picture that is drawn on.
        index: 1 + position of the segment in the sequences (H, W), 0 for none.
        texts: what to write.
        colors: colors of the segments; the text is white on a darker shade.
        is_stuff: whether the segment is stuff.

    Returns:
        What was written, and where.
    """
    size = font_size(*picture.size)
    font, texts = readable(texts, size)
    padding = max(1, size // 5)
    step = max(1, -(-max(index.shape) // _SEARCH_SIDE))
    small = index[step // 2 :: step, step // 2 :: step]
    areas = np.bincount(small.ravel(), minlength=len(texts) + 1)[1:]
    is_thing_here = np.array([False, *(not stuff for stuff in is_stuff)])[small]
    labels: list[Label] = []
    for segment in sorted(range(len(texts)), key=lambda s: (is_stuff[s], -areas[s])):
        left, top, right, bottom = font.getbbox(texts[segment])
        width, height = round(right - left) + 2 * padding, round(bottom - top) + 2 * padding
        room = areas[segment] * step**2
        hidden = width * height + sum(_area(label.box) for label in labels)
        if hidden > (_MOST_HIDDEN if is_stuff[segment] else _MOST_HIDDEN_BY_THINGS) * index.size:
            continue
        too_wide = width > picture.width or height > picture.height
        too_large = width * height > min(room / _LEAST_AREA, _LARGEST_PART * index.size)
        if too_wide or too_large:
            continue
        mask = small == segment + 1
        boxes = _boxes_inside(mask, step, (width, height), picture.size, _LEAST_COVER[is_stuff[segment]])
        if not is_stuff[segment] and width * height > _LARGEST_PART_OF_THING * room:
            beside = _boxes_beside(mask, is_thing_here, step, (width, height), picture.size, padding)
            boxes = itertools.chain(beside, boxes)
        for box in boxes:
            if not any(_overlap(box, label.box) for label in labels):
                label = Label(texts[segment], colors[segment], box)
                labels.append(label)
                _write(picture, label, font, (padding - left, padding - top))
                break
    return labels


def _boxes_inside(
    mask: NDArray[np.bool_], step: int, size: tuple[int, int], picture: tuple[int, int], least_cover: float
) -> Iterator[Box]:
    """Yield boxes that lie on the segment by at least `least_cover` of their area, the best first."""
    for y, x in _best_places(mask, size[1] / step, size[0] / step):
        box = _box_inside((x * step + step // 2, y * step + step // 2), size, picture)
        if _part_of(box, mask, step) >= least_cover:
            yield box


def _boxes_beside(
    mask: NDArray[np.bool_],
    is_thing_here: NDArray[np.bool_],
    step: int,
    size: tuple[int, int],
    picture: tuple[int, int],
    gap: int,
) -> Iterator[Box]:
    """Yield boxes above, below, right and left of a thing that hide no other thing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)) * step, np.flatnonzero(mask.any(axis=0)) * step
    top, bottom, left, right = rows[0], rows[-1] + step, columns[0], columns[-1] + step
    width, height = size
    middle_x, middle_y = int(left + right) // 2, int(top + bottom) // 2
    for x, y in (
        (middle_x, int(top) - gap - (height + 1) // 2),
        (middle_x, int(bottom) + gap + height // 2),
        (int(right) + gap + width // 2, middle_y),
        (int(left) - gap - (width + 1) // 2, middle_y),
    ):
        box = _box_inside((x, y), size, picture)
        if not _part_of(box, is_thing_here, step):
            yield box


def _part_of(box: Box, mask: NDArray[np.bool_], step: int) -> float:
    """Return how much of a box lies on a mask that has every `step`-th pixel."""
    x0, y0, x1, y1 = (edge // step for edge in box)
    return float(mask[y0 : y1 + 1, x0 : x1 + 1].mean())


def _best_places(mask: NDArray[np.bool_], height: float, width: float) -> Iterator[tuple[int, int]]:
    """Yield places (y, x) in a mask, first where a label of this size has most room around it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    room = np.minimum(_clearance(mask) / width, _clearance(mask.T).T / height)
    # Of places with equal room, the one nearest to the middle: the line in a road, not its edge.
    y, x = np.nonzero(mask)
    off_center = np.hypot((y - y.mean()) / height, (x - x.mean()) / width)
    best = np.argsort(0.02 * off_center - np.minimum(room[y, x], 1.5), kind="stable")
    spread = best[:: max(1, len(best) // (4 * _PLACES_TRIED))]
    for place in [*best[:1], *spread[: 4 * _PLACES_TRIED]]:
        yield top + int(y[place]), left + int(x[place])


def _clearance(mask: NDArray[np.bool_]) -> NDArray[np.signedinteger]:
    """Return how far each pixel is from the nearer end of its run in its row, pixels."""
    position = np.arange(mask.shape[1], dtype=np.int16)  # of _SEARCH_SIDE at most
    last_outside = np.maximum.accumulate(np.where(mask, np.int16(-1), position), axis=1)
    reversed_outside = np.where(mask[:, ::-1], np.int16(-1), position)
    next_outside = mask.shape[1] - 1 - np.maximum.accumulate(reversed_outside, axis=1)[:, ::-1]
    return np.minimum(position - last_outside, next_outside - position)


def _box_inside(center: tuple[int, int], size: tuple[int, int], picture: tuple[int, int]) -> Box:
    """Return the box of this size around a center, moved into the picture."""
    left, top = (
        min(max(0, middle - length // 2), whole - length)
        for middle, length, whole in zip(center, size, picture, strict=True)
    )
    return left, top, left + size[0], top + size[1]


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _write(picture: Image.Image, label: Label, font: Font, shift: tuple[float, float]) -> None:
    left, top, right, bottom = label.box
    tile = picture.crop(label.box)
    dark = Image.new("RGB", tile.size, tuple(channel * 2 // 5 for channel in label.color))
    shape = Image.new("L", tile.size, 0)
    radius = (bottom - top) // 4
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, right - left - 1, bottom - top - 1), radius, fill=215)
    tile.paste(dark, mask=shape)
    ImageDraw.Draw(tile).text(shift, label.text, fill=(255, 255, 255), font=font)
    picture.paste(tile, (left, top))
