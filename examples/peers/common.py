"""What the peers share: a part of the data as images and label maps, label maps as files, processor time.

Needs NumPy and Pillow alone, so that it runs in the environment of each peer.
"""

import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read(folder: Path) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    """Return the image (H, W, 3) and the number of the nucleus of each pixel (H, W; 0: none), by name.

    Args:
        folder: part that `examples/nuclei_data_set.py` wrote. Images that it repeats are there once.
    """
    listing = json.loads((folder / "panoptic.json").read_text(encoding="utf-8"))
    (background,) = (kind["id"] for kind in listing["categories"] if not kind["isthing"])
    pictures = {}
    for annotation in listing["annotations"]:
        path = folder / "panoptic" / annotation["file_name"]
        if "_" in path.stem:
            continue
        ids = np.asarray(Image.open(path).convert("RGB")) @ np.array([1, 256, 65536])
        nuclei = [part["id"] for part in annotation["segments_info"] if part["category_id"] != background]
        labels = np.zeros(ids.shape, np.uint16)
        for number, identity in enumerate(nuclei, 1):
            labels[ids == identity] = number
        image = np.asarray(Image.open(folder / "images" / path.name).convert("RGB"))
        pictures[path.stem] = image, labels
    return pictures


def repeats(folder: Path) -> Counter[str]:
    """Return how often the training set holds each image, by name: rare kinds are there several times."""
    return Counter(path.stem.split("_")[0] for path in (folder / "images").iterdir())


def processor_seconds() -> float:
    """Return the user and system time of this process and of those that it waited for, all threads."""
    return sum(os.times()[:4])


def predict(
    folder: Path,
    output: Path,
    segment: Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint16], list[float]]],
) -> None:
    """Write the label map of each image of a part, their scores and what they cost.

    Args:
        folder: part of the data, of which the answers are not read.
        output: new folder: `labels/NAME.png`, and `cost.json` with scores of each nucleus, processor seconds
            of the images and peak memory of the process in bytes.
        segment: function of an image (H, W, 3) that returns its label map (H, W) and the score of each label.
    """
    (output / "labels").mkdir(parents=True)
    scores, start = {}, time.process_time()
    paths = sorted((folder / "images").iterdir())
    for path in paths:
        labels, scores[path.stem] = segment(np.asarray(Image.open(path).convert("RGB")))
        Image.fromarray(labels.astype(np.uint16)).save(output / "labels" / path.name)
    cost = {
        "images": len(paths),
        "processor_seconds": time.process_time() - start,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "scores": scores,
    }
    (output / "cost.json").write_text(json.dumps(cost), encoding="utf-8")
