"""Time panoptic quality on files, PNG decoding included: ours with one thread, and panopticapi's single core.

The ground truth is a data set in COCO panoptic format, by default scenes drawn for this; the predictions are
the ground truth moved by a few pixels, with wavy borders. Runs are interleaved, and the processor time of the
process is counted, so that a busy machine matters little. Both must give the same PQ.

    python benchmarks/panoptic_quality.py --panopticapi CHECKOUT_OF_COCODATASET_PANOPTICAPI
    python benchmarks/panoptic_quality.py --gt-json panoptic_val2017.json --num-images 60
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.benchmark.measure import interleaved, timed
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.panoptic_quality import evaluate_files
from axial_deeplab.panoptic.map import IntArray
from axial_deeplab.panoptic.png import read_panoptic_png, write_panoptic_png


def distorted(ids: IntArray) -> IntArray:
    """Move a map by a few pixels and make its borders wavy: about as many segments and runs as before."""
    moved = np.roll(ids, (3, 5), axis=(0, 1))
    height, width = ids.shape
    wave = np.round(3 * np.sin(np.arange(width) / 7)).astype(np.int64)
    rows = np.clip(np.arange(height)[:, None] + wave, 0, height - 1)
    return np.take_along_axis(moved, rows, axis=0)


def write_predictions(gt_json: Path, gt_folder: Path, target: Path, num_images: int) -> tuple[Path, Path]:
    """Write shortened ground truth and distorted predictions; return the two JSON files."""
    document = json.loads(gt_json.read_text())
    truth = {**document, "annotations": document["annotations"][:num_images]}
    (target / "pred").mkdir(parents=True)
    predicted = []
    for annotation in truth["annotations"]:
        ids = distorted(read_panoptic_png(gt_folder / annotation["file_name"]))
        write_panoptic_png(target / "pred" / annotation["file_name"], ids)
        present = set(np.unique(ids).tolist())
        segments = [entry for entry in annotation["segments_info"] if entry["id"] in present]
        predicted.append({**annotation, "segments_info": segments})
    paths = target / "gt.json", target / "pred.json"
    for path, content in zip(paths, (truth, {**truth, "annotations": predicted}), strict=True):
        path.write_text(json.dumps(content))
    return paths


def panopticapi_runner(
    gt_json: Path, gt_folder: Path, pred_json: Path, pred_folder: Path
) -> Callable[[], float]:
    """Return a function that runs panopticapi on one core and returns PQ in percent."""
    from panopticapi.evaluation import pq_compute_single_core

    def run() -> float:
        truth, predictions = (json.loads(path.read_text()) for path in (gt_json, pred_json))
        categories = {category["id"]: category for category in truth["categories"]}
        by_image = {entry["image_id"]: entry for entry in predictions["annotations"]}
        pairs = [(entry, by_image[entry["image_id"]]) for entry in truth["annotations"]]
        with contextlib.redirect_stdout(io.StringIO()):
            counts = pq_compute_single_core(0, pairs, str(gt_folder), str(pred_folder), categories)
        averages: dict[str, Any] = counts.pq_average(categories, isthing=None)[0]
        return 100 * float(averages["pq"])

    return run


def measure(runners: dict[str, Callable[[], float]], rounds: int, num_images: int) -> dict[str, Any]:
    """Return milliseconds of processor time an image (the median of the rounds) and PQ by name."""
    qualities = {name: run() for name, run in runners.items()}  # the first run compiles and fills caches
    timers = [partial(timed, run, clock=time.process_time) for run in runners.values()]
    results = {}
    for name, times in zip(runners, interleaved(timers, rounds), strict=True):
        ms = statistics.median(times) / num_images
        results[name] = {"ms": ms, "fastest_ms": min(times) / num_images, "pq": qualities[name]}
    return results


def main() -> None:
    """Run the comparison, print it and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gt-json", type=Path, help="its PNG files lie beside it; default: drawn scenes")
    parser.add_argument("--num-images", type=int, default=40)
    parser.add_argument("--height", type=int, default=480, help="of the scenes")
    parser.add_argument("--width", type=int, default=640, help="of the scenes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--panopticapi", type=Path, help="folder that has the package panopticapi")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.panopticapi is not None:
        sys.path.insert(0, str(options.panopticapi))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.gt_json is None:
            size = {"height": options.height, "width": options.width}
            write_scenes(folder / "scenes", options.num_images, seed=0, **size)
            gt_json, gt_folder = folder / "scenes" / "panoptic.json", folder / "scenes" / "panoptic"
        else:
            gt_json, gt_folder = options.gt_json, options.gt_json.with_suffix("")
        gt_short, pred_json = write_predictions(gt_json, gt_folder, folder / "case", options.num_images)
        files = (gt_short, gt_folder, pred_json, folder / "case" / "pred")
        runners = {"ours": lambda: evaluate_files(*files, num_workers=1).all.pq}
        if find_spec("panopticapi") is not None:
            runners["panopticapi"] = panopticapi_runner(*files)
        num_images = len(json.loads(gt_short.read_text())["annotations"])
        results = measure(runners, options.rounds, num_images)
    for name, numbers in results.items():
        time_text = f"{numbers['ms']:6.2f} ms an image (fastest {numbers['fastest_ms']:.2f})"
        print(f"{name:12} {time_text}, PQ {numbers['pq']:.12f}")
    if "panopticapi" in results:
        print(f"ratio {results['ours']['ms'] / results['panopticapi']['ms']:.2f}")
    machine = platform.processor() or platform.machine()
    print(f"{num_images} images; {machine}, Python {platform.python_version()}, NumPy {np.__version__}")
    if options.json:
        options.json.write_text(json.dumps({**results, "num_images": num_images}, indent=2) + "\n")


if __name__ == "__main__":
    main()
