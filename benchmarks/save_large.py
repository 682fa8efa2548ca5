"""Seconds, memory and bytes of the files of `predict --save` of a large image, against its prediction.

The image is a mosaic of nuclei as in tiled_prediction.py, or with `--drawn` repeated noise with a drawn map
of discs, without any network. Each row is a run of `predict_files` in a process of its own, which finds the
labels of the prediction, as a run does that goes on. All rows write the panoptic PNG and read the labels, as
`coco` does; `all` writes all kinds at once, whose things are cut out once.

    python benchmarks/save_large.py --data shared/data --side 10240
    python benchmarks/save_large.py --drawn --side 20224 --save coco all
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.image_job import mark_of_file
from axial_deeplab.prediction.labels import SegmentTable
from axial_deeplab.prediction.large.files import LargeFiles
from axial_deeplab.prediction.large.results import (
    FILE_TILE,
    LabelBlocks,
    LargePrediction,
    class_of_labels,
    write_tiff,
)
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.save.kinds import KINDS
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.freed_memory import give_large_maps_back
from tiled_prediction import peak_gb, write_mosaic

NAME, TILE = "mosaic.tif", 513
CELL, RADIUS = 64, 12  # of the drawn discs, pixels


def measured(start: float, files: Sequence[Path]) -> dict[str, Any]:
    """Return the seconds since a start, the peak of the memory, and the bytes of files."""
    return {
        "processor_seconds": round(time.process_time() - start, 1),
        "peak_gb": round(peak_gb(), 3),
        "mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
    }


def predict(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Predict the image, or draw what would be found."""
    give_large_maps_back(of_one_size=True)  # as the command does
    predictor = Predictor("axial_deeplab_nano_nuclei", "cpu", scales=options.scales, top_k=None)
    predictor.warm_up()
    start = time.process_time()
    if options.drawn:
        large = draw(predictor, folder, options.side)
    else:
        large = predictor.predict_large(folder / NAME, folder / "large" / NAME, tile=TILE)
    large.write_json(LargeFiles(predictor, folder, TILE).description(NAME, mark_of_file(folder / NAME)))
    row = measured(start, [large.path, large.json_path])
    return {"things": int(np.isin(large.table.train_ids, large.categories.thing_ids).sum()), **row}


def draw(predictor: Predictor, folder: Path, side: int) -> LargePrediction:
    """Write a map with a disc in each cell, void between them."""
    rows, columns = np.mgrid[:CELL, :CELL] - CELL // 2
    disc = rows**2 + columns**2 <= RADIUS**2
    across = side // CELL
    labels = LabelBlocks(folder / "blocks", (side, side), FILE_TILE)
    for index, window in enumerate(labels.windows):
        y, x = np.arange(window.top, window.bottom), np.arange(window.left, window.right)
        cells = y[:, None] // CELL * across + x // CELL + 1
        labels.write(index, np.where(disc[np.ix_(y % CELL, x % CELL)], cells, 0).astype(np.uint32))
    corners = np.stack(np.divmod(np.arange(across**2), across)[::-1], axis=1) * CELL + CELL // 2 - RADIUS
    boxes = np.concatenate([corners, np.full_like(corners, 2 * RADIUS + 1)], axis=1)
    thing = predictor.categories.thing_ids[0]
    table = SegmentTable(
        np.full(len(boxes), thing), np.full(len(boxes), disc.sum()), boxes, np.linspace(0, 1, len(boxes))
    )
    path = folder / "large" / NAME
    classes = class_of_labels(table, len(predictor.categories))
    write_tiff(path, labels, classes, predictor.categories, {})
    (folder / "blocks").unlink()
    return LargePrediction(path, (side, side), table, predictor.categories)


def write_noise(folder: Path, side: int) -> None:
    """Write a picture of repeated noise as a tiled TIFF."""
    noise = np.tile(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8), (16, 16, 1))
    tifffile.imwrite(
        folder / NAME,
        (noise for _ in range((side // FILE_TILE) ** 2)),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(FILE_TILE, FILE_TILE),
        compression="zlib",
        photometric="rgb",
    )


def save(options: argparse.Namespace, folder: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Write the files of some kinds of an image whose labels are there."""
    give_large_maps_back(of_one_size=True)
    predictor = Predictor("axial_deeplab_nano_nuclei", "cpu", scales=options.scales, top_k=None)
    output = folder / "_".join(kinds)
    output.mkdir()
    (output / "large").symlink_to(folder / "large")
    predictor.warm_up()
    start = time.process_time()
    predict_files(predictor, [folder / NAME], output, save=kinds, tile=TILE, overlay=False)
    return measured(start, [path for path in output.rglob("*") if path.is_file()])


def main() -> None:
    """Print a row for each kind."""
    parser = argparse.ArgumentParser(description="Measure the files of predict --save of a large image.")
    parser.add_argument("--data", type=Path, help="folder of the two sets of nuclei")
    parser.add_argument("--drawn", action="store_true", help="a drawn map of discs on noise, no network")
    parser.add_argument("--side", type=int, default=10_240, help=f"side of the image, k x {FILE_TILE} pixels")
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0], help="scales of the network")
    parser.add_argument("--save", nargs="+", default=[*KINDS, "all"], help="kinds of files, or all")
    parser.add_argument("--folder", type=Path, help="place of the temporary files")
    parser.add_argument("--json", type=Path, help="write the rows")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.drawn:
            write_noise(folder, options.side)
        else:
            write_mosaic(options.data, options.side, "dark", folder)
        jobs = [("predict", predict, (options, folder))]
        for word in options.save:
            jobs.append((word, save, (options, folder, [*KINDS] if word == "all" else [word])))
        for what, function, arguments in jobs:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append({"what": what, "side": options.side, **pool.apply(function, arguments)})
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
