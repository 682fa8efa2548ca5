"""Large images: the network sees tiles, segments are found in the whole, memory stays as it is."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from axial_deeplab.grouping.nearest_center import CenterGrid
from axial_deeplab.prediction.batch import memory_of
from axial_deeplab.prediction.labels import SegmentTable
from axial_deeplab.prediction.large.large_image import LargeImage
from axial_deeplab.prediction.large.maps import NUM_BESIDE_CLASSES, SeenTile, TileMaps, see_tile
from axial_deeplab.prediction.large.results import (
    TIFF_SUFFIXES,
    ZARR_SUFFIX,
    LabelBlocks,
    LargePrediction,
    class_of_labels,
    write_tiff,
    write_zarr,
)
from axial_deeplab.prediction.large.segments import (
    Centers,
    Pieces,
    block_centers,
    block_codes,
    block_labels,
    choose_segments,
    in_raster_order,
    together,
)
from axial_deeplab.prediction.large.sources import open_image
from axial_deeplab.prediction.large.tiling import Tiling, Window
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import temporary_directory
from axial_deeplab.util.freed_memory import return_freed_memory
from axial_deeplab.util.in_order import in_order
from axial_deeplab.util.text import format_bytes

if TYPE_CHECKING:
    from axial_deeplab.prediction.cluster import Cluster

TILE, OVERLAP = 513, 32
# Tiles of the default side may be up to an eighth smaller or larger, where fewer pixels then cover the image.
_LEAST_OF_DEFAULT, _MOST_OF_DEFAULT = 449, 577
# Tiles or blocks after which freed memory goes back: to take it again costs time, too.
_KEEPING = 8
# Bytes that a pixel takes: in the network and for each channel of res2, for each class at full size, and in
# the post-processing. From measured peaks of axial_deeplab_nano, S and L.
_OF_NETWORK, _OF_CHANNEL, _OF_CLASS, _OF_POST_PROCESSING = 60, 1.5, 5, 60
_RES2_CHANNELS = 256  # of networks that do not tell
_PREFIX = ".axial-deeplab-large-"
# Sides of the blocks in which segments are found, and the most channels of the maps for which each is used.
_BLOCKS = ((16, 1024), (64, 512))
_SMALLEST_BLOCK = 256


def fits_into_memory(predictor: Predictor, size: tuple[int, int]) -> bool:
    """Estimate whether half of the memory is enough to segment an image of (height, width) as a whole."""
    view = predictor.view
    if view.long_side is not None or view.max_size is not None:  # it is reduced for the network
        return True
    memory = memory_of(predictor.device)
    if memory is None:
        return True
    channels = getattr(getattr(predictor.model, "backbone", None), "feature_channels", {})
    of_view = _OF_NETWORK + _OF_CHANNEL * channels.get("res2", _RES2_CHANNELS)
    of_maps = _OF_CLASS * (len(predictor.categories) + NUM_BESIDE_CLASSES)
    of_pixel = _OF_POST_PROCESSING + max(of_view * max(view.scales) ** 2, of_maps)
    return size[0] * size[1] * of_pixel < memory / 2


def predict_large(
    predictor: Predictor,
    source: Any,
    output: str | os.PathLike[str],
    *,
    tile: int | None = None,
    overlap: int | None = None,
    progress: bool = False,
    cluster: "Cluster | None" = None,
) -> LargePrediction:
    """Segment an image of any size; see `Predictor.predict_large`.

    With a cluster its workers see the tiles, which are read here, as their maps are written.
    """
    unit = getattr(predictor.model, "output_stride", 16)
    side, overlap = check_tiles(predictor, tile, overlap)
    output = Path(output)
    if output.suffix.lower() not in (*TIFF_SUFFIXES, ZARR_SUFFIX):
        raise ValueError(f"output must be a .tif file or a .zarr folder, got {output}; give such a path")
    if output.is_dir() and output.suffix != ZARR_SUFFIX:
        raise IsADirectoryError(f"output must be a file, got the folder {output}; give another path")
    with _scratch(output) as folder:
        image = open_image(source, folder, **predictor.view.reading)
        try:
            tiling = Tiling(image.size, side, overlap, unit)
            if tile is None:
                tiling = _cheapest(tiling, predictor.view.max_size)
            return _predicted(predictor, image, tiling, output, folder, cluster, progress=progress)
        finally:
            image.close()


def check_tiles(predictor: Predictor, tile: int | None, overlap: int | None) -> tuple[int, int]:
    """Return tile and overlap, by default those of this package.

    Raises:
        ValueError: one of them is out of its range, or the predictor needs the whole image at once.
    """
    tile = TILE if tile is None else tile
    overlap = min(OVERLAP, tile // 4) if overlap is None else overlap
    Tiling((1, 1), tile, overlap, getattr(predictor.model, "output_stride", 16))
    view, knobs = predictor.view, predictor.post_processing
    if view.long_side is not None:
        raise ValueError(
            f"long_side must be 0 with tiles, which are seen at the size of the image, got {view.long_side}; "
            "give --long-side 0, or an image of the size that the weights are for"
        )
    if view.max_size is not None and tile > view.max_size:
        raise ValueError(f"tile must be at most max_size, {view.max_size} pixels, got {tile}; lower --tile")
    if knobs.fill_void:
        raise ValueError("fill_void must be False with tiles, got True; leave it out")
    if knobs.nms_kernel > tile:
        raise ValueError(
            f"nms_kernel must be at most a tile of {tile} pixels, got {knobs.nms_kernel}; lower it"
        )
    return tile, overlap


def _cheapest(tiling: Tiling, max_size: int | None = None) -> Tiling:
    """Return tiles that cover the same image with the fewest pixels, the largest ones of equals."""
    most = _MOST_OF_DEFAULT if max_size is None else min(max_size, _MOST_OF_DEFAULT)
    sides = {tiling.side, *range(_LEAST_OF_DEFAULT, most + 1, tiling.unit)}
    tilings = (replace(tiling, tile=side) for side in sorted(sides, reverse=True))
    return min(tilings, key=lambda each: sum(math.prod(window.shape) for window in each.windows))


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the output; of a failure not even new parents of it stay."""
    parent = output.parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_directory(parent, _PREFIX) as folder:
            yield folder
    finally:
        for folder in made:
            with suppress(OSError):  # which is not empty
                folder.rmdir()


def _predicted(
    predictor: Predictor,
    image: LargeImage,
    tiling: Tiling,
    output: Path,
    folder: Path,
    cluster: "Cluster | None",
    *,
    progress: bool,
) -> LargePrediction:
    start = time.perf_counter()
    maps = _seen(predictor, image, tiling, folder, cluster, progress=progress)
    seen = time.perf_counter()
    knobs, num_classes = predictor.post_processing, maps.num_classes
    labels = LabelBlocks(folder / "labels", image.size, _block_side(maps))
    blocks = labels.windows
    found = [
        block_centers(maps, knobs, block)
        for _, block in _each(blocks, "find centers", "block", progress=progress)
    ]
    centers = in_raster_order(found)
    if not len(centers.places) and knobs.without_centers == "one_instance":
        centers = Centers(np.zeros((1, 2), np.int64), np.ones(1))
    grid = CenterGrid(centers.places.astype(np.float64)) if len(centers.places) else None
    pieces: list[Pieces] = []
    for index, block in _each(blocks, "group", "block", progress=progress):
        codes, of_block = block_codes(maps, knobs, centers, grid, block, image.without_data(block))
        labels.write(index, codes)
        pieces.append(of_block)
        if len(pieces) > 64:  # so that the list does not grow with the image
            pieces = [together(pieces)]
    chosen = choose_segments(together(pieces), centers, knobs, num_classes)
    sums = np.zeros(len(chosen.areas))
    for index, block in _each(blocks, "label", "block", progress=progress):
        of_block_labels, present, of_present = block_labels(maps, chosen, labels.read(index), block)
        labels.write(index, of_block_labels)
        sums[present - 1] += of_present
    scores = np.minimum(sums / chosen.areas, 1) * chosen.confidences
    table = SegmentTable(chosen.train_ids, chosen.areas, chosen.boxes, scores)
    write = write_zarr if output.suffix == ZARR_SUFFIX else write_tiff
    write(output, labels, class_of_labels(table, num_classes), predictor.categories, image.placed)
    return LargePrediction(
        path=output,
        size=image.size,
        table=table,
        categories=predictor.categories,
        num_tiles=len(tiling.windows),
        network_ms=1e3 * (seen - start),
        post_processing_ms=1e3 * (time.perf_counter() - seen),
    )


def _each(
    windows: Sequence[Window], doing: str, unit: str, *, progress: bool
) -> Iterator[tuple[int, Window]]:
    """Yield windows with their numbers, and give back what they have freed, lest gaps in the heap add up."""
    for number, window in enumerate(tqdm(windows, desc=doing, unit=unit, disable=not progress)):
        yield number, window
        if number % _KEEPING == _KEEPING - 1:
            return_freed_memory()
    return_freed_memory()


def _seen(
    predictor: Predictor,
    image: LargeImage,
    tiling: Tiling,
    folder: Path,
    cluster: "Cluster | None",
    *,
    progress: bool,
) -> TileMaps:
    """Show all tiles to the network."""

    def submit(tile: tuple[int, Window]) -> Callable[[], SeenTile]:
        pixels = image.read(tile[1])
        return cluster.see(pixels) if cluster else partial(see_tile, predictor.model, pixels, predictor.view)

    maps: TileMaps | None = None
    tiles = _each(tiling.windows, "see", "tile", progress=progress)
    for (index, _), pending in in_order(submit, tiles, cluster.ahead if cluster else 1):
        seen = pending()
        if maps is None:
            maps = _with_room(folder, tiling, seen)
        maps.write(index, seen)
    assert maps is not None
    return maps


def _with_room(folder: Path, tiling: Tiling, seen: SeenTile) -> TileMaps:
    maps = TileMaps(folder, tiling, seen)
    height, width = tiling.size
    needed = maps.blocks.num * maps.blocks.nbytes + 8 * height * width  # labels, and the same in the output
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"output must have {format_bytes(needed)} of free disk beside it for maps of {height} x {width} "
            f"pixels, got {format_bytes(free)}; make room, give another --output, or --scales 1"
        )
    return maps


def _block_side(maps: TileMaps) -> int:
    """Return the side of the blocks: all maps of one fit into some 100 MB."""
    channels = maps.blocks.shape[0]
    return next((side for most, side in _BLOCKS if channels <= most), _SMALLEST_BLOCK)
