"""PQ, processor time and memory of tiled prediction on mosaics of nuclei, against their pieces one by one.

The pieces are 256 x 256 pixels of the held-out images of the recipe nuclei/axial_deeplab_nano_joint; a mosaic
that is larger than all of them shows them again, mirrored, and each view of a piece is predicted once for the
row of the pieces. Nuclei that the side of a piece cuts do not count. Each row runs in a process of its own.
`--tile 0` is the whole mosaic at once, `--tile -1` each piece alone, `--tile default` those by default.

    python benchmarks/tiled_prediction.py --data shared/data --side 2048 --kind dark --tile -1 0 default
"""

import argparse
import hashlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.images import read_image
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Overlaps, Panoptic, Segment, count_overlaps
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.freed_memory import give_large_maps_back

SETS = ("dsb2018_nuclei", "dsb2018_nuclei_large")
PIECE = 256
VOID, BACKGROUND = 0, 1  # of the true maps; nuclei are 2, 3, ...
STRIP = 2048  # rows that are compared at a time
# Fluorescence, dyed tissue, bright field: told by the median of the pixels and the mean range of colors.
Kind = Literal["all", "dark", "stained", "bright"]
DARK, COLORFUL = 30, 15


class Piece(NamedTuple):
    """A piece of a mosaic: its place, RGB, its true map, and what it is the same as: piece and mirroring."""

    top: int
    left: int
    image: NDArray[np.uint8]
    truth: NDArray[np.int32]
    view: tuple[int, int]


def kind_of(image: NDArray[np.uint8]) -> Kind:
    """Tell what kind of picture an image is."""
    if np.median(image) < DARK:
        return "dark"
    return "stained" if np.ptp(image.astype(np.int16), axis=2).mean() > COLORFUL else "bright"


def held_out(data: Path, kind: Kind) -> list[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """Return pieces of the held-out images: RGB, and the true map.

    Nuclei that the side of a piece cuts are void: a mosaic joins them to those of its neighbor.
    """
    pieces = []
    for folder in (data / name for name in SETS):
        for path in sorted((folder / "images").glob("*.png")):
            if int(hashlib.sha256(path.stem.encode()).hexdigest(), 16) % 5:
                continue
            image = read_image(path)
            if kind not in ("all", kind_of(image)):
                continue
            nuclei = np.asarray(Image.open(folder / "instances" / path.name)).astype(np.int32)
            height, width = nuclei.shape
            for top in range(0, height - PIECE + 1, PIECE):
                for left in range(0, width - PIECE + 1, PIECE):
                    part = slice(top, top + PIECE), slice(left, left + PIECE)
                    pieces.append((image[part], _without_cut_ones(nuclei[part])))
    return pieces


def _without_cut_ones(nuclei: NDArray[np.int32]) -> NDArray[np.int32]:
    sides = (nuclei[0], nuclei[-1], nuclei[:, 0], nuclei[:, -1])
    cut = np.setdiff1d(np.concatenate(sides), [0])
    return np.where(np.isin(nuclei, cut), VOID, nuclei + BACKGROUND).astype(np.int32)


def mosaic(data: Path, side: int, kind: Kind) -> Iterator[Piece]:
    """Yield the pieces of a mosaic, row by row."""
    pieces = held_out(data, kind)
    places = [(top, left) for top in range(0, side, PIECE) for left in range(0, side, PIECE)]
    order = np.random.default_rng(0).permutation(-(-len(places) // len(pieces)) * len(pieces))
    for (top, left), number in zip(places, order.tolist(), strict=False):
        turn, which = divmod(number, len(pieces))
        flips = (slice(None, None, -1 if turn & 1 else 1), slice(None, None, -1 if turn & 2 else 1))
        image, truth = pieces[which]
        yield Piece(top, left, image[flips], truth[flips], (which, turn & 3))


def write_mosaic(data: Path, side: int, kind: Kind, folder: Path) -> None:
    """Write a mosaic as a tiled TIFF, piece by piece, and its true map."""
    truth = np.lib.format.open_memmap(folder / "truth.npy", "w+", np.int32, (side, side))
    highest = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal highest
        for piece in mosaic(data, side, kind):
            numbers = np.where(piece.truth > BACKGROUND, piece.truth + highest, piece.truth)
            truth[piece.top : piece.top + PIECE, piece.left : piece.left + PIECE] = numbers
            highest += int(piece.truth.max())
            yield np.ascontiguousarray(piece.image)

    tifffile.imwrite(
        folder / "mosaic.tif",
        images(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(PIECE, PIECE),
        compression="zlib",
        photometric="rgb",
    )
    truth.flush()


def count(
    quality: PanopticQuality, truth: NDArray[np.int32], prediction: Panoptic, categories: Categories
) -> NDArray[np.int64]:
    """Return what `PanopticQuality.count` does, of maps that are compared strip by strip."""
    strips = [
        count_overlaps(truth[top : top + STRIP], prediction.map[top : top + STRIP])
        for top in range(0, len(truth), STRIP)
    ]
    true_ids, found_ids, areas = (np.concatenate(column) for column in zip(*strips, strict=True))
    pairs, row = np.unique(np.stack((true_ids, found_ids)), axis=1, return_inverse=True)
    overlaps = Overlaps(pairs[0], pairs[1], np.bincount(row.ravel(), areas))
    background, nucleus = categories.train_id(1), categories.train_id(2)
    segments = [
        Segment(id=number, train_id=background if number == BACKGROUND else nucleus, area=0)
        for number in np.unique(pairs[0]).tolist()
        if number != VOID
    ]
    return quality.count(overlaps, segments, prediction.segments)


def peak_gb() -> float:
    """Return the peak of the resident memory in GB, without that of the parent, which getrusage hands on."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def run(options: argparse.Namespace, tile: int | None, overlap: int | None, folder: Path) -> dict[str, Any]:
    """Return PQ of the nuclei, processor seconds, and the peak of the memory."""
    give_large_maps_back(of_one_size=True)  # as the command does
    predictor = Predictor("axial_deeplab_nano_nuclei", "cpu", scales=options.scales, top_k=None)
    predictor.warm_up()
    categories, quality = predictor.categories, PanopticQuality(predictor.categories)
    image_path, truth = folder / "mosaic.tif", np.load(folder / "truth.npy", mmap_mode="r")
    megapixels = options.side**2 / 1e6
    start = time.process_time()
    if tile == -1:
        seconds, states = 0.0, dict[tuple[int, int], NDArray[np.int64]]()
        for piece in mosaic(options.data, options.side, options.kind):
            if piece.view not in states:
                start = time.process_time()
                found = predictor(np.ascontiguousarray(piece.image)).result
                seconds += time.process_time() - start
                states[piece.view] = count(quality, piece.truth, found, categories)
            quality.state += states[piece.view]
        seconds *= megapixels / (len(states) * PIECE**2 / 1e6)
        peak = peak_gb()
    else:
        if tile == 0:
            result = predictor(image_path).result
        else:
            large = predictor.predict_large(image_path, folder / "labels.tif", tile=tile, overlap=overlap)
        seconds, peak = time.process_time() - start, peak_gb()
        quality.state += count(quality, truth, result if tile == 0 else large.panoptic(), categories)
    return {
        "pq": round(quality.compute().things.pq, 2),
        "processor_seconds": round(seconds, 1),
        "seconds_a_megapixel": round(seconds / megapixels, 3),
        "peak_gb": round(peak, 3),
    }


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description="Measure tiled prediction on mosaics of nuclei.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the two sets of nuclei")
    parser.add_argument("--side", type=int, default=2048, help=f"side of the mosaic, k x {PIECE} pixels")
    parser.add_argument(
        "--tile", nargs="+", default=["-1", "0", "default"], help="TILE:OVERLAP, default, 0, -1"
    )
    parser.add_argument("--kind", choices=get_args(Kind), default="all", help="which pictures are shown")
    parser.add_argument("--scales", nargs="+", type=float, help="scales of the network; default: as stored")
    parser.add_argument("--folder", type=Path, help="place of the temporary files")
    parser.add_argument("--json", type=Path, help="write the rows")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_mosaic(options.data, options.side, options.kind, Path(folder))
        for words in options.tile:
            tile, overlap = None, None
            if words != "default":
                tile, overlap = (int(word) for word in f"{words}:0".split(":")[:2])
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(run, (options, tile, overlap, Path(folder)))
            rows.append({"kind": options.kind, "side": options.side, "tile": tile, "overlap": overlap, **row})
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
