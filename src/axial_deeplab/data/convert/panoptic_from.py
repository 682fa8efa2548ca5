"""Panoptic maps made of other annotations: maps of categories and instances, and masks that overlap."""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import check_size
from axial_deeplab.panoptic.map import (
    VOID,
    IntArray,
    Panoptic,
    PanopticMap,
    Segment,
    measure_segments,
    panoptic_id,
    relabel,
    semantic_map,
)

Source = str | os.PathLike[str]
# The number of no instance, where a map has nothing to say; and the id of no category, which is void.
OUTSIDE = NO_CATEGORY = -1


class Mask(NamedTuple):
    """A segment, or a part of one, as a mask of its own; masks of an image may overlap.

    Args:
        pixels: the mask (h, w), of the image or of a window in it.
        train_id: its class; None makes its pixels void.
        is_crowd: whether it is many things that nobody told apart.
        corner: (top, left) of the window in the image.
        part_of: what masks of one class and one segment share; None for a segment of its own.
    """

    pixels: NDArray[np.bool_]
    train_id: int | None
    is_crowd: bool = False
    corner: tuple[int, int] | None = None
    part_of: Hashable = None


def panoptic_from_maps(
    semantic: IntArray | None,
    instances: IntArray | None,
    categories: Categories,
    *,
    void_label: int | None = 255,
    source: Source = "image",
) -> Panoptic:
    """Join a map of categories and a map of instances.

    A segment of a thing is where both maps are constant: numbers may repeat from class to class. Stuff has
    one segment for each category, whatever its numbers. A thing without number (0) is a crowd.

    Args:
        semantic: category ids (H, W); None takes the only thing of `categories` where there is an instance,
            and elsewhere its only stuff, or void if it has none.
        instances: numbers of instances (H, W), 0 for none and -1 for void; None if no category is a thing.
        categories: the label space.
        void_label: id in `semantic` that means void unless it is that of a category; None for no such id.
        source: what error messages call the image.

    Returns:
        The panoptic map (H, W) and its segments.

    Raises:
        ValueError: the maps differ in size, an id is in no category, there are too many instances of a class,
            or a map is needed that is not given.
    """
    if semantic is None:
        semantic, void_label = _semantic_of(instances, categories)
    if instances is None:
        if categories.thing_ids:
            name = categories.names[categories.thing_ids[0]]
            raise ValueError(f"instances must be given since {name} is a thing, got None; give their folder")
        instances = np.zeros_like(semantic)
    check_size(instances.shape, semantic.shape, f"{source} (instances)")
    ids = np.array(categories.ids, np.int64)
    train_ids = np.searchsorted(ids, semantic).clip(max=len(ids) - 1)
    is_known = ids[train_ids] == semantic
    odd = semantic[~is_known & (semantic != void_label) & (instances != OUTSIDE)]
    if odd.size:
        raise ValueError(
            f"{source} must have only ids of the categories, got {odd.min()}; "
            f"add the category, or give the id as void label (--void-label {odd.min()})"
        )
    # Both maps in one: the numbers of instances have 32 bits, ids of categories up to 63.
    joined = train_ids.astype(np.int64) << 32 | instances.astype(np.int64)
    joined[~is_known | (instances == OUTSIDE)] = OUTSIDE
    mapping: dict[int, int] = {}
    crowds: set[int] = set()
    next_instance = [1] * len(categories)
    for value in measure_segments(joined)[0].tolist():
        if value == OUTSIDE:
            continue
        train_id, number = value >> 32, value & 0xFFFFFFFF
        if not categories[train_id].is_thing:
            mapping[value] = panoptic_id(train_id)
            continue
        mapping[value] = _numbered(train_id, next_instance, source)
        if not number:
            crowds.add(mapping[value])
    panoptic = relabel(joined, mapping)
    return Panoptic(panoptic, _segments(panoptic, crowds))


def panoptic_from_masks(
    masks: Sequence[Mask],
    size: tuple[int, int],
    *,
    background: int | None = None,
    stuff: Collection[int] = (),
    in_order: bool = False,
    source: Source = "image",
) -> Panoptic:
    """Lay masks over each other: the smaller on top of the larger, crowds below all.

    Args:
        masks: the segments, each of the size of the image or with its corner.
        size: (height, width) of the image in pixels.
        background: train id of the stuff that no mask covers; None makes it void.
        stuff: train ids of stuff, all masks of which are one segment.
        in_order: lay the later on top of the earlier instead, whatever their sizes.
        source: what messages call the image.

    Returns:
        The panoptic map (H, W) and its segments. A mask that others hide whole is left out, with a warning.

    Raises:
        ValueError: a mask has another size, or a class has too many.
    """
    panoptic = np.full(size, VOID if background is None else panoptic_id(background), np.int32)
    next_instance: dict[int, int] = {}
    ids: list[int] = []
    id_of_parts: dict[tuple[int, Hashable], int] = {}
    areas: Counter[int] = Counter()
    for place, mask in enumerate(masks):
        if mask.corner is None:
            check_size(mask.pixels.shape, size, f"{source} (mask {place + 1})")
        value = VOID
        if mask.train_id in stuff and mask.train_id is not None:
            value = panoptic_id(mask.train_id)
        elif mask.train_id is not None:
            key = (mask.train_id, place if mask.part_of is None else (mask.part_of,))
            next_instance.setdefault(mask.train_id, 1)
            value = id_of_parts.get(key) or _numbered(mask.train_id, next_instance, source)
            id_of_parts[key] = value
        ids.append(value)
        areas[value] += int(mask.pixels.sum())
    order = range(len(masks))
    for place in (
        order if in_order else sorted(order, key=lambda i: (not masks[i].is_crowd, -areas[ids[i]], i))
    ):
        top, left = masks[place].corner or (0, 0)
        height, width = masks[place].pixels.shape
        panoptic[top : top + height, left : left + width][masks[place].pixels] = ids[place]
    segments = _segments(panoptic, {ids[place] for place, mask in enumerate(masks) if mask.is_crowd})
    hidden = len(set(ids) - {VOID} - {segment.id for segment in segments})
    if hidden:
        on_top = "later" if in_order else "smaller"
        text = f"has {hidden} masks that are empty or hidden by {on_top} ones; left out"
        warnings.warn(ImageWarning(source, text, "hidden masks"), stacklevel=2)
    return Panoptic(panoptic, segments)


def _semantic_of(instances: IntArray | None, categories: Categories) -> tuple[IntArray, int]:
    """Return category ids of a map of instances of one class, and the id that means void."""
    if instances is None or len(categories.thing_ids) != 1 or len(categories.stuff_ids) > 1:
        raise ValueError(
            "semantic must be given unless instances are, of one thing on at most one stuff, "
            f"got None with {categories}; give the folder of the maps of categories"
        )
    background = categories[categories.stuff_ids[0]].id if categories.stuff_ids else NO_CATEGORY
    thing = categories[categories.thing_ids[0]].id
    return np.where(np.asarray(instances) > 0, np.int64(thing), np.int64(background)), NO_CATEGORY


def _numbered(train_id: int, next_instance: dict[int, int] | list[int], source: Source) -> int:
    try:
        value = panoptic_id(train_id, next_instance[train_id])
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    next_instance[train_id] += 1
    return value


def _segments(panoptic: PanopticMap, crowds: Collection[int]) -> tuple[Segment, ...]:
    values, areas, boxes = measure_segments(panoptic)
    columns = (column.tolist() for column in (values, semantic_map(values), areas, boxes))
    return tuple(
        Segment(id=value, train_id=train_id, area=area, is_crowd=value in crowds, bbox=tuple(box))
        for value, train_id, area, box in zip(*columns, strict=True)
        if value != VOID
    )
