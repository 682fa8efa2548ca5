"""Time reading and augmenting training images: images a second for each worker, and what the stages cost.

Processor time of one process is what a worker needs, whatever else the machine does. With --num-workers a
`DataLoader` is timed as training uses it, and the memory of its processes is watched over the epochs.

    python benchmarks/data_loading.py --root data/coco --split val2017 --long-side 1025
    python benchmarks/data_loading.py --format cityscapes --root data/cityscapes --split val --crop 1025 2049
    python benchmarks/data_loading.py --num-workers 2 --epochs 5      (draws scenes if no data set is given)
"""

import argparse
import gc
import json
import os
import platform
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import torch
from torch.utils.data import DataLoader

from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.images import read_image
from axial_deeplab.data.panoptic_dataset import PanopticDataset, Sample
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.data.targets import PanopticTargets, number_segments
from axial_deeplab.data.transforms import TrainingDataset, TrainTransform, stacked


def time_stages(dataset: PanopticDataset, transform: TrainTransform, rounds: int) -> dict[str, float]:
    """Return the processor time of each stage of a worker, milliseconds an image, without the first round."""
    spent: Counter[str] = Counter()
    for each, index in product(range(rounds + 1), range(len(dataset))):
        record = dataset.records[index]
        with _timed(spent, "ground truth: PNG to map"):
            truth = dataset.read_ground_truth(index)
        with _timed(spent, "image: decode"):
            image = read_image(record.image, size=truth.size)
        sample = Sample(image, truth, record.image_id, record.file_name, truth.size)
        with _timed(spent, "scale, flip, crop"):
            _, truth = transform.crop(sample, np.random.default_rng((0, each, index)))
        with _timed(spent, "map to rows and segments"):
            number_segments(truth)
        if each == 0 and index == len(dataset) - 1:
            spent.clear()
    return {stage: 1e3 * seconds / (rounds * len(dataset)) for stage, seconds in spent.items()}


class LoaderTimes(NamedTuple):
    """What a `DataLoader` took: for each epoch images a second by the clock and megabytes of all workers;
    processor time of the workers, of the process that receives, and of the targets in it, milliseconds an
    image; and the bytes a pixel that it receives."""

    images_per_second: list[float]
    megabytes: list[float]
    worker_ms: float
    receiver_ms: float
    targets_ms: float
    bytes_a_pixel: float


def time_loader(
    dataset: PanopticDataset, transform: TrainTransform, num_workers: int, epochs: int
) -> LoaderTimes:
    """Read a data set several times through a `DataLoader`, batches of four."""
    targets = PanopticTargets(dataset.categories.thing_ids)
    settings = {field.name: getattr(transform, field.name) for field in fields(transform)}
    training = TrainingDataset(dataset, **settings)
    loader = DataLoader(
        training, batch_size=4, num_workers=num_workers, persistent_workers=True, collate_fn=stacked
    )
    rates, megabytes = [], []
    of_targets: Counter[str] = Counter()
    own, of_children = time.process_time(), _time_of_children()
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in loader:
            with _timed(of_targets, "targets"):
                targets.of_batch(batch["rows"], batch["segments"])
        rates.append(len(dataset) / (time.perf_counter() - start))
        megabytes.append(_memory_of_children())
    own = time.process_time() - own - of_targets["targets"]
    tensors = [value for value in batch.values() if isinstance(value, torch.Tensor)]
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / batch["rows"].numel()
    # The time of a process counts when it has ended.
    del loader
    gc.collect()
    per_image = 1e3 / (len(dataset) * epochs)
    worker = (_time_of_children() - of_children) * per_image
    own, of_targets_ms = own * per_image, of_targets["targets"] * per_image
    return LoaderTimes(rates, megabytes, worker, own, of_targets_ms, num_bytes)


@contextmanager
def _timed(spent: Counter[str], stage: str) -> Iterator[None]:
    start = time.process_time()
    yield
    spent[stage] += time.process_time() - start  # type: ignore[assignment]


def _time_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _memory_of_children() -> float:
    """Return the memory of the processes that this one started, without what they share; Linux alone."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        return float("nan")
    kilobytes = 0
    for pid in children.read_text().split():
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        kilobytes += int(status.get("RssAnon", "0 kB").split()[0])
    return kilobytes / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--format", default="coco", help="coco, cityscapes or mapillary")
    parser.add_argument("--root", help="folder of the data set; none draws 24 scenes of 480 x 640")
    parser.add_argument("--split", help="part of it")
    parser.add_argument("--crop", type=int, nargs=2, default=(1025, 1025), metavar=("H", "W"))
    parser.add_argument("--long-side", type=int, help="pixels of the longer side before the random scale")
    parser.add_argument("--num-images", type=int, default=60, help="the first so many")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is read")
    parser.add_argument("--num-workers", type=int, help="also time a DataLoader with so many processes")
    parser.add_argument("--epochs", type=int, default=5, help="of this DataLoader")
    parser.add_argument("--json", help="write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.root
        if root is None:
            root = f"{folder}/scenes"
            write_scenes(root, 24, seed=0, height=480, width=640)
        split = SplitConfig(root=root, split=options.split)
        data = replace(DataConfig(format=options.format), train=split)
        dataset = open_dataset(data, "train", limit=options.num_images)
        transform = TrainTransform(tuple(options.crop), long_side=options.long_side)
        stages = time_stages(dataset, transform, options.rounds)
        total = sum(stages.values())
        print(
            f"{len(dataset)} images of {root}, crop {options.crop[0]} x {options.crop[1]}, long side "
            f"{options.long_side or 'as it is'}; "
            f"Pillow {PIL.__version__}, numpy {np.__version__}, {platform.processor() or platform.machine()}"
        )
        for stage, milliseconds in (*stages.items(), ("total", total)):
            print(f"  {stage:26}{milliseconds:6.1f} ms  {milliseconds / total:4.0%}")
        print(f"  {1e3 / total:.1f} images a second for each worker")
        loader = None
        if options.num_workers:
            loader = time_loader(dataset, transform, options.num_workers, options.epochs)
            for number, (rate, megabytes) in enumerate(
                zip(loader.images_per_second, loader.megabytes, strict=True), 1
            ):
                print(
                    f"  epoch {number}: {rate:.1f} images a second by the clock, "
                    f"{options.num_workers} workers with {megabytes:.0f} MB of their own"
                )
            print(
                f"  with the way to the training process: {loader.worker_ms:.1f} ms of a worker, "
                f"{loader.receiver_ms:.1f} ms of the training process an image; "
                f"{1e3 / loader.worker_ms:.1f} images a second of a worker's processor time"
            )
            print(
                f"  {loader.bytes_a_pixel:.1f} bytes a pixel; the targets, made in the training process, "
                f"{loader.targets_ms:.1f} ms an image"
            )
    if options.json:
        numbers = {
            "stages_ms": stages,
            "images_per_second_per_worker": 1e3 / total,
            "loader": loader and loader._asdict(),
        }
        Path(options.json).write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
