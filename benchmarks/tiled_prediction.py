"""PQ, processor time and memory of tiled prediction on mosaics of nuclei, against their pieces one by one.

The pieces are 256 x 256 pixels of the held-out images of the recipe nuclei/axial_deeplab_nano; a mosaic that
is larger than all of them shows them again, mirrored. Nuclei that the side of a piece cuts do not count. Each
row runs in a process of its own. `--tile 0` is the whole mosaic at once, `--tile -1` each piece alone.

    python benchmarks/tiled_prediction.py --data shared/data --side 2048 --tile -1 0 512:128 1024:256
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.images import read_image
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path

SETS = ("dsb2018_nuclei", "dsb2018_nuclei_large")
PIECE = 256
DARK = 30  # median of the pixels of fluorescence images, whose seams do not show


def held_out(data: Path, dark: bool) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return pieces of the held-out images: RGB, and of each pixel the number of its nucleus, 0 for none.

    Nuclei that the side of a piece cuts are -1: a mosaic joins them to those of its neighbor.
    """
    pieces = []
    for folder in (data / name for name in SETS):
        for path in sorted((folder / "images").glob("*.png")):
            if int(hashlib.sha256(path.stem.encode()).hexdigest(), 16) % 5:
                continue
            image = read_image(path)
            if dark and np.median(image) >= DARK:
                continue
            nuclei = np.asarray(Image.open(folder / "instances" / path.name)).astype(np.int32)
            height, width = nuclei.shape
            for top in range(0, height - PIECE + 1, PIECE):
                for left in range(0, width - PIECE + 1, PIECE):
                    part = slice(top, top + PIECE), slice(left, left + PIECE)
                    pieces.append((image[part], _without_cut_ones(nuclei[part])))
    return pieces


def _without_cut_ones(nuclei: NDArray[Any]) -> NDArray[Any]:
    sides = (nuclei[0], nuclei[-1], nuclei[:, 0], nuclei[:, -1])
    cut = np.setdiff1d(np.concatenate(sides), [0])
    return np.where(np.isin(nuclei, cut), -1, nuclei)


def mosaic(data: Path, side: int, dark: bool) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any]]]:
    """Yield row, column, picture and nuclei of each piece of a mosaic."""
    pieces = held_out(data, dark)
    places = [(top, left) for top in range(0, side, PIECE) for left in range(0, side, PIECE)]
    order = np.random.default_rng(0).permutation(-(-len(places) // len(pieces)) * len(pieces))
    for (top, left), number in zip(places, order.tolist(), strict=False):
        turn, which = divmod(number, len(pieces))
        flips = (slice(None, None, -1 if turn & 1 else 1), slice(None, None, -1 if turn & 2 else 1))
        image, nuclei = pieces[which]
        yield top, left, image[flips], nuclei[flips]


def panoptic(nuclei: NDArray[Any], categories: Categories) -> Panoptic:
    """Return nuclei as a panoptic map, the rest as background, and those that do not count as void."""
    background, nucleus = categories.train_id(1), categories.train_id(2)
    segments = [Segment(id=1, train_id=background, area=0)]
    numbers = np.unique(nuclei[nuclei > 0]).tolist()
    segments += [Segment(id=number + 2, train_id=nucleus, area=0) for number in numbers]
    return Panoptic(np.where(nuclei > 0, nuclei + 2, nuclei + 1).astype(np.int32), segments).measured()


def run(
    data: Path, side: int, dark: bool, tile: int, overlap: int, scales: list[float] | None, folder: Path
) -> dict[str, Any]:
    """Return PQ of the nuclei, processor seconds, and the peak of the memory."""
    predictor = Predictor("axial_deeplab_nano_nuclei", "cpu", scales=scales, top_k=None)
    predictor.warm_up()
    quality = PanopticQuality(predictor.categories)
    image_path, truth_path = folder / f"{side}.tif", folder / f"{side}_truth.npy"
    start = time.process_time()
    if tile < 0:
        for _, _, image, nuclei in mosaic(data, side, dark):
            quality.update(
                panoptic(nuclei, predictor.categories), predictor(np.ascontiguousarray(image)).result
            )
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    elif tile == 0:
        result = predictor(image_path).result
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        quality.update(panoptic(np.load(truth_path), predictor.categories), result)
    else:
        large = predictor.predict_large(image_path, folder / "labels.tif", tile=tile, overlap=overlap)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        quality.update(panoptic(np.load(truth_path), predictor.categories), large.panoptic())
    return {"pq": quality.compute().things.pq, "processor_seconds": seconds, "peak_gb": peak / 1e6}


def write_mosaic(data: Path, side: int, dark: bool, folder: Path) -> None:
    """Write a mosaic as a tiled TIFF, and its nuclei."""
    image, truth = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.int32)
    highest = 0
    for top, left, piece, nuclei in mosaic(data, side, dark):
        part = slice(top, top + PIECE), slice(left, left + PIECE)
        height, width = truth[part].shape
        image[part] = piece[:height, :width]
        truth[part] = np.where(nuclei > 0, nuclei + highest, nuclei)[:height, :width]
        highest += int(nuclei.max())
    tifffile.imwrite(folder / f"{side}.tif", image, tile=(256, 256), compression="zlib", photometric="rgb")
    np.save(folder / f"{side}_truth.npy", truth)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description="Measure tiled prediction on mosaics of nuclei.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the two sets of nuclei")
    parser.add_argument("--side", type=int, default=2048, help="side of the mosaic in pixels")
    parser.add_argument("--tile", nargs="+", default=["-1", "0", "1024:256"], help="TILE:OVERLAP, 0 or -1")
    parser.add_argument("--dark", action="store_true", help="pieces of fluorescence images alone")
    parser.add_argument("--scales", nargs="+", type=float, help="of the network; default: as stored")
    parser.add_argument("--json", type=Path, help="write the rows")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_mosaic(options.data, options.side, options.dark, Path(folder))
        for words in options.tile:
            tile, overlap = (int(word) for word in f"{words}:0".split(":")[:2])
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                what = options.data, options.side, options.dark
                row = pool.apply(run, (*what, tile, overlap, options.scales, Path(folder)))
            rows.append({"side": options.side, "tile": tile, "overlap": overlap, **row})
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
