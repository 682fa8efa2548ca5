"""The built-in data set on disk: a folder of pictures, a folder of panoptic PNGs, and the COCO panoptic JSON."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from axial_deeplab.data.scenes.scene import SCENE_CATEGORIES, SceneSegment, check_request, draw_scene
from axial_deeplab.files import atomic_directory
from axial_deeplab.panoptic_format import write_panoptic_png

# Rises with every change of the drawing: pictures of different versions are different data sets.
SCENES_VERSION = 1
JPEG_QUALITY = (72, 95)


def write_scenes(
    output: str | os.PathLike[str],
    num_images: int,
    seed: int,
    *,
    height: int = 256,
    width: int = 384,
    num_workers: int = 1,
) -> None:
    """Draw a data set of street and nature scenes in the COCO panoptic format.

    Writes `output/images/*.jpg`, `output/panoptic/*.png` (id = red + 256 * green + 65536 * blue) and
    `output/panoptic.json`. Image i depends on the seed and i alone, not on `num_images` or `num_workers`.

    Args:
        output: the new folder; it must not exist yet, or be empty.
        num_images: how many scenes.
        seed: of the data set, at least 0.
        height: rows of a picture.
        width: columns of a picture.
        num_workers: processes that draw.

    Raises:
        ValueError: a number is out of its range, or the folder is not empty.
        OSError: the folder cannot be written.
    """
    for name, value in (("num_images", num_images), ("num_workers", num_workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; choose a larger number")
    check_request(seed, height, width)
    with atomic_directory(output) as folder:
        (folder / "images").mkdir()
        (folder / "panoptic").mkdir()
        write_one = partial(_write_scene, folder, seed, height, width)
        with _workers(num_workers, num_images) as run:
            annotations = list(tqdm(run(write_one, range(num_images)), total=num_images, desc="scenes", unit="image"))
        document = _document(annotations, seed, height, width)
        (folder / "panoptic.json").write_text(json.dumps(document, indent=1) + "\n")


@contextmanager
def _workers(num_workers: int, num_images: int) -> Iterator[Any]:
    """Yield a `map` that runs in this process, or in several."""
    if num_workers == 1:
        yield map
        return
    # Spawned processes are the same on every system, and safe beside the threads of other libraries.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_workers, num_images), mp_context=context) as pool:
        yield partial(pool.map, chunksize=4)


def _write_scene(folder: Path, seed: int, height: int, width: int, index: int) -> dict[str, Any]:
    """Draw and write one scene; return its annotation."""
    scene = draw_scene((seed, index), height, width)
    name = f"{index:06d}"
    low, high = JPEG_QUALITY
    quality = int(np.random.default_rng((seed, index, SCENES_VERSION)).integers(low, high + 1))
    Image.fromarray(scene.image).save(folder / "images" / f"{name}.jpg", quality=quality)
    write_panoptic_png(folder / "panoptic" / f"{name}.png", scene.ids)
    return {
        "image_id": index,
        "file_name": f"{name}.png",
        "segments_info": [_segment_entry(segment) for segment in scene.segments],
    }


def _segment_entry(segment: SceneSegment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "category_id": segment.category_id,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": int(segment.is_crowd),
    }


def _document(annotations: list[dict[str, Any]], seed: int, height: int, width: int) -> dict[str, Any]:
    images = [
        {
            "id": annotation["image_id"],
            "file_name": Path(annotation["file_name"]).with_suffix(".jpg").name,
            "height": height,
            "width": width,
            "license": 1,
        }
        for annotation in annotations
    ]
    return {
        "info": {
            "description": "Procedural street and nature scenes of axial-deeplab",
            "version": str(SCENES_VERSION),
            "scenes_version": SCENES_VERSION,
            "seed": seed,
        },
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": SCENE_CATEGORIES.to_json(),
    }
