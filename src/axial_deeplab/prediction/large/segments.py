"""From blended maps to segments, block by block: centers, pixels to centers, votes over the whole, scores.

Each function of a block depends on the maps and on what was found in the whole before, not on other blocks;
their results are put together in the order of the blocks. Codes of pixels are 0 for void, 1 + train id for
stuff, and 1 + C + index of the center for things, of C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.grouping.nearest_center import CenterGrid
from axial_deeplab.grouping.watershed import group_by_watershed
from axial_deeplab.panoptic.map import find_runs
from axial_deeplab.post_processing import PostProcessing, classify_pixels, find_centers
from axial_deeplab.prediction.large.maps import HEATMAP, LOGITS, OFFSETS, TileMaps
from axial_deeplab.prediction.large.tiling import Window

# Pixels beside a block that its watershed sees: further than most objects reach that need one.
_FLOODED = 128


class Centers(NamedTuple):
    """Centers of objects: places (K, 2) as (y, x) in pixels of the image, and confidences (K,)."""

    places: NDArray[np.int64]
    confidences: NDArray[np.float64]


class Pieces(NamedTuple):
    """What each code and class share of an image or of a block: a row each, all int64.

    Args:
        codes: code of the pixels.
        classes: train id of the pixels before any merging.
        areas: pixels.
        firsts: place of the first pixel, row * width of the image + column.
        low: (S, 2), first row and column.
        high: (S, 2), the ones after the last.
    """

    codes: NDArray[np.int64]
    classes: NDArray[np.int64]
    areas: NDArray[np.int64]
    firsts: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]


class ChosenSegments(NamedTuple):
    """The segments of an image in the order of their labels 1, 2, ...: by class, then by first pixel.

    Args:
        labels_of_codes: label of each code, 0 for void.
        train_ids: class of each segment (S,).
        areas: pixels (S,).
        boxes: (S, 4) as left, top, width, height in pixels.
        confidences: values of the heatmap at the centers, at most 1; 1 for stuff (S,).
    """

    labels_of_codes: NDArray[np.uint32]
    train_ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]
    confidences: NDArray[np.float64]


def block_centers(maps: TileMaps, post_processing: PostProcessing, block: Window) -> Centers:
    """Return the centers in a block; what is near decides across its border as inside it."""
    seen = block.grown(post_processing.nms_kernel // 2 + 1, maps.tiling.size)
    places, confidences = find_centers(
        maps.blended(seen, HEATMAP)[0],
        threshold=post_processing.center_threshold,
        nms_kernel=post_processing.nms_kernel,
        top_k=None,
    )
    places += torch.tensor([seen.top, seen.left])
    y, x = places.unbind(1)
    inside = (y >= block.top) & (y < block.bottom) & (x >= block.left) & (x < block.right)
    return Centers(places[inside].numpy(), confidences[inside].double().numpy())


def in_raster_order(found: Sequence[Centers]) -> Centers:
    """Return the centers of all blocks as those of one image: top to bottom, left to right."""
    places = np.concatenate([each.places for each in found])
    order = np.lexsort((places[:, 1], places[:, 0]))
    return Centers(places[order], np.concatenate([each.confidences for each in found])[order])


def block_codes(
    maps: TileMaps,
    post_processing: PostProcessing,
    centers: Centers,
    grid: CenterGrid | None,
    block: Window,
    without_data: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.uint32], Pieces]:
    """Return the code of each pixel of a block, and what it shows of each code.

    Args:
        centers: all centers of the image.
        grid: the same, to search; None without any.
        without_data: where the block (h, w) is void, whatever the network sees.
    """
    is_flooded = post_processing.grouping == "watershed" and grid is not None
    seen = block.grown(max(_FLOODED, maps.tiling.shared), maps.tiling.size) if is_flooded else block
    semantic, _ = post_processing.classify(maps.blended(seen, LOGITS))
    num_classes = maps.num_classes
    kinds = torch.zeros(num_classes, dtype=torch.int64)
    kinds[list(post_processing.thing_ids)], kinds[list(post_processing.void_ids)] = 1, 2
    kind = kinds[semantic]
    things = kind == 1
    codes = torch.where(kind == 0, semantic + 1, 0).numpy()
    if grid is not None:
        of_thing = _flooded(maps, centers, seen, things) if is_flooded else None
        left = things.numpy() if of_thing is None else of_thing < 0
        instances = np.zeros(seen.shape, np.int64) if of_thing is None else np.maximum(of_thing, 0)
        instances[left] = 1 + _pointed_at(maps, grid, seen, left)
        codes = np.where(instances > 0, num_classes + instances, codes)
    part = block.within(seen)
    codes, semantic = codes[part], semantic[part]
    if without_data is not None:
        codes = np.where(without_data, 0, codes)
    return codes.astype(np.uint32), _measured(
        codes, semantic.numpy(), block, num_classes, maps.tiling.size[1]
    )


def _pointed_at(
    maps: TileMaps, grid: CenterGrid, window: Window, mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the index of the center that each pixel of a mask points at, anywhere in the image."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return rows
    offset_y, offset_x = maps.blended(window, OFFSETS).numpy()
    y = offset_y[rows, columns] + (rows + window.top).astype(np.float64)
    x = offset_x[rows, columns] + (columns + window.left).astype(np.float64)
    return grid.nearest(y, x)


def _flooded(maps: TileMaps, centers: Centers, window: Window, things: Tensor) -> NDArray[np.int64]:
    """Return 1 + index of the center whose water reaches each pixel within a window.

    0 is without any; -1 is what lies in a region that goes on outside the window, where its center may be.
    """
    places = centers.places
    near = (places >= window[:2]).all(axis=1) & (places < window[2:]).all(axis=1)
    numbers = np.concatenate(([0], 1 + np.flatnonzero(near)))
    heatmap = maps.blended(window, HEATMAP)[0]
    local = torch.from_numpy(places[near] - window[:2])
    instances = numbers[group_by_watershed(local, heatmap, things).numpy()]
    without = things.numpy() & (instances == 0)
    # Water from the sides that are not those of the image, into what is still dry.
    height, width = maps.tiling.size
    border = np.zeros_like(without)
    border[0], border[-1] = window.top > 0, window.bottom < height
    border[:, 0] |= window.left > 0
    border[:, -1] |= window.right < width
    from_outside = torch.from_numpy(np.argwhere(border & without))
    if len(from_outside):
        instances[group_by_watershed(from_outside, heatmap, torch.from_numpy(without)).numpy() > 0] = -1
    return instances


def _measured(
    codes: NDArray[np.int64], semantic: NDArray[np.int64], block: Window, num_classes: int, width: int
) -> Pieces:
    runs = find_runs(codes * num_classes + semantic)
    rows, lefts = np.divmod(runs.starts, codes.shape[1])
    rows, lefts = rows + block.top, lefts + block.left
    run_codes, classes = np.divmod(runs.values, num_classes)
    ends = np.stack([rows + 1, lefts + runs.lengths], axis=1)
    starts = np.stack([rows, lefts], axis=1)
    lengths = runs.lengths.astype(np.int64)
    return together([Pieces(run_codes, classes, lengths, rows * width + lefts, starts, ends)])


def together(pieces: Sequence[Pieces]) -> Pieces:
    """Return one row for each code and class, of all that several blocks show of it."""
    columns: list[NDArray[np.int64]] = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    codes, classes, areas, firsts, low, high = columns
    num_classes = 1 + int(classes.max(initial=0))
    keys, row = np.unique(codes * num_classes + classes, return_inverse=True)
    most = np.iinfo(np.int64).max
    result = Pieces(
        keys // num_classes,
        keys % num_classes,
        np.zeros(len(keys), np.int64),
        np.full(len(keys), most, dtype=np.int64),
        np.full((len(keys), 2), most, dtype=np.int64),
        np.zeros((len(keys), 2), np.int64),
    )
    np.add.at(result.areas, row, areas)
    np.minimum.at(result.firsts, row, firsts)
    np.minimum.at(result.low, row, low)
    np.maximum.at(result.high, row, high)
    return result


def choose_segments(
    pieces: Pieces, centers: Centers, post_processing: PostProcessing, num_classes: int
) -> ChosenSegments:
    """Give each object the class that most of its pixels have in the whole image, and number the segments."""
    # Of each code the class of most pixels, the smallest of equally frequent ones, comes first.
    order = np.lexsort((pieces.classes, -pieces.areas, pieces.codes))
    codes, starts = np.unique(pieces.codes[order], return_index=True)
    classes = pieces.classes[order][starts]
    whole = together([pieces._replace(classes=np.zeros_like(pieces.classes))])  # in the order of `codes`
    is_thing = codes > num_classes
    smallest = np.where(is_thing, post_processing.thing_area, post_processing.stuff_area)
    kept = np.flatnonzero((codes > 0) & (whole.areas >= smallest))
    kept = kept[np.lexsort((whole.firsts[kept], classes[kept]))]
    labels = np.zeros(1 + num_classes + len(centers.places), np.uint32)
    labels[codes[kept]] = np.arange(1, len(kept) + 1)
    confidences = np.ones(len(kept))
    of_things = is_thing[kept]
    confidences[of_things] = centers.confidences[codes[kept][of_things] - num_classes - 1]
    low, size = whole.low[kept], whole.high[kept] - whole.low[kept]
    boxes = np.concatenate([low[:, ::-1], size[:, ::-1]], axis=1)
    return ChosenSegments(labels, classes[kept], whole.areas[kept], boxes, np.minimum(confidences, 1))


def block_labels(
    maps: TileMaps, chosen: ChosenSegments, codes: NDArray[np.uint32], block: Window
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]:
    """Return the label of each pixel of a block, and the sum of its class's probability for each label.

    Shapes:
        codes (h, w).

    Returns:
        labels (h, w); the labels that occur, without void; their sums.
    """
    labels: NDArray[np.uint32] = chosen.labels_of_codes[codes]
    logits = maps.blended(block, LOGITS)
    _, log_partition = classify_pixels(logits)
    classes = np.concatenate(([0], chosen.train_ids))[labels]
    of_class = logits.gather(0, torch.from_numpy(classes)[None])[0]
    probability = (of_class - log_partition).double().exp_().numpy()
    runs = find_runs(labels)
    present, index = np.unique(runs.values, return_inverse=True)
    sums = np.zeros(len(present))
    np.add.at(sums, index, np.add.reduceat(probability.ravel(), runs.starts))
    is_segment = present > 0
    return labels, present[is_segment].astype(np.int64), sums[is_segment]
