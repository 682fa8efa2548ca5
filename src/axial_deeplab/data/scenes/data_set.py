"""The built-in data set on disk: scenes as a COCO panoptic data set."""

import json
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from axial_deeplab.data.scenes.scene import CATEGORIES, draw_scene
from axial_deeplab.panoptic.png import write_panoptic_png
from axial_deeplab.util.files import atomic_directory

# Raised whenever the same seed gives other pictures: weights and scores belong to one version.
SCENES_VERSION = "1.1"

Entries = tuple[dict[str, Any], dict[str, Any]]
"""Of one scene: what the JSON has under images, and under annotations."""


def write_scenes(
    output: str | os.PathLike[str],
    num_images: int,
    seed: int,
    *,
    height: int = 256,
    width: int = 384,
    num_workers: int = 1,
    progress_bar: bool = True,
) -> None:
    """Draw scenes and write them as images/, panoptic/ and panoptic.json.

    Scene i depends on the seed, the size and i alone: not on the number of images or of workers.

    Args:
        output: folder to make; it must be new or empty, and appears only when all is written.
        num_images: scenes to draw.
        seed: seed of the data set, 0 or more.
        height: rows of each image, at least 32.
        width: columns of each image, at least 32.
        num_workers: processes that draw.
        progress_bar: show a progress bar.

    Raises:
        ValueError: the folder is not empty, or a number is out of its range.
        OSError: the folder cannot be written, or a worker process was killed or could not start.
    """
    for name, value, least in (
        ("num_images", num_images, 1),
        ("seed", seed, 0),
        ("num_workers", num_workers, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}; choose a larger number")
    for name, value in (("height", height), ("width", width)):
        if value < 32:
            raise ValueError(f"{name} must be at least 32 pixels, got {value}; draw larger scenes")
    with atomic_directory(output) as folder:
        (folder / "images").mkdir()
        (folder / "panoptic").mkdir()
        write = partial(_write_scene, folder=folder, seed=seed, height=height, width=width)
        with closing(_map(write, range(num_images), num_workers)) as scenes:
            entries = list(tqdm(scenes, "scenes", num_images, unit="image", disable=not progress_bar))
        document = {
            "info": {"description": "axial-deeplab scenes", "version": SCENES_VERSION, "seed": seed},
            "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "images": [image for image, _ in entries],
            "annotations": [annotation for _, annotation in entries],
            "categories": [
                {"id": number, "name": name, "supercategory": "thing" if is_thing else "stuff",
                 "isthing": int(is_thing), "color": list(color)}
                for number, name, is_thing, color in CATEGORIES
            ],
        }  # fmt: skip
        (folder / "panoptic.json").write_text(json.dumps(document))


def _map(function: Callable[[int], Entries], items: Iterable[int], num_workers: int) -> Generator[Entries]:
    """Yield the results of a function in order, from worker processes if there is more than one."""
    if num_workers == 1:
        yield from map(function, items)
        return
    # multiprocessing.Pool would wait forever for a worker that is killed or cannot start.
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(function, items)
    except BrokenProcessPool:
        raise ChildProcessError(
            "worker processes must run to their end, got one that was killed or could not start; "
            'give a script its `if __name__ == "__main__":`, or num_workers 1'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _write_scene(index: int, *, folder: Path, seed: int, height: int, width: int) -> Entries:
    """Draw one scene, write its two files, and return its entries for the JSON."""
    scene = draw_scene((seed, index), height, width)
    name = f"{index:06d}"
    # The quality that cameras and web sites use varies; it belongs to the scene like its light.
    quality = int(np.random.default_rng((seed, index, 1)).integers(70, 96))
    Image.fromarray(scene.image).save(folder / "images" / f"{name}.jpg", quality=quality)
    write_panoptic_png(folder / "panoptic" / f"{name}.png", scene.ids)
    image = {"id": index, "file_name": f"{name}.jpg", "height": height, "width": width, "license": 1}
    annotation = {
        "image_id": index,
        "file_name": f"{name}.png",
        "segments_info": [
            {
                "id": s.id,
                "category_id": s.category_id,
                "area": s.area,
                "bbox": list(s.bbox),
                "iscrowd": int(s.is_crowd),
            }
            for s in scene.segments
        ],
    }
    return image, annotation
