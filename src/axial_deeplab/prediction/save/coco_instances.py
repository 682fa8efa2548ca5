"""COCO's instances with run lengths and scores; extra `coco`."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import relabel
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.panoptic.written_list import WrittenImage
from axial_deeplab.prediction.labels import Labels, SegmentTable
from axial_deeplab.prediction.large.results import LargePrediction
from axial_deeplab.prediction.save.instances import Instance, each_instance
from axial_deeplab.util.file_names import path_in_folder
from axial_deeplab.util.json_files import write_json

# Of an image: pycocotools counts them in 32 bits.
MOST_PIXELS = 2**32 - 1


def coco_annotation(instance: Instance, size: tuple[int, int], image_id: ImageId) -> dict[str, Any]:
    """Return an annotation as COCO's results have them: its mask as compressed run lengths, and its score.

    `size` is the height and width of the picture, `image_id` its number.
    """
    from pycocotools import mask

    height, width = size
    runs = {"size": [height, width], "counts": run_lengths(instance, size).tolist()}
    encoded = mask.frPyObjects(runs, height, width)
    annotation = {
        "image_id": image_id,
        "category_id": instance.category.id,
        "segmentation": {"size": list(size), "counts": encoded["counts"].decode("ascii")},
        "area": instance.area,
        "bbox": list(instance.bbox),
        "iscrowd": 0,
    }
    return annotation if instance.score is None else annotation | {"score": round(instance.score, 6)}


def run_lengths(instance: Instance, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return how many pixels in turn are not of a thing and are, down each column of a picture in turn.

    Source:
        cocodataset/cocoapi, common/maskApi.h, "RLE".
    """
    height, width = size
    starts: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    for window, mask in instance.bands():
        # Where a run begins or ends above a pixel, column by column.
        changes = np.diff(np.pad(mask, ((1, 1), (0, 0))).T.astype(np.int8), axis=1)
        for change, places in ((1, starts), (-1, ends)):
            columns, rows = np.nonzero(changes == change)
            places.append((columns + window.left) * height + rows + window.top)
    begin, end = (np.sort(np.concatenate(places)) for places in (starts, ends))
    # Runs that go on in the next band or column are one.
    goes_on = begin[1:] == end[:-1]
    begin, end = begin[np.append(True, ~goes_on)], end[np.append(~goes_on, True)]
    counts = np.diff(np.stack([begin, end], axis=1).ravel(), prepend=0, append=height * width)
    return counts if counts[-1] else counts[:-1]


def write_coco_instances(path: Path, writer: PanopticWriter, output: Path) -> None:
    """Write the things of all images whose panoptic PNG files a writer has written, also in runs before.

    The document has `images`, `annotations` and `categories`; its annotations alone are what COCO's server
    takes.

    Args:
        path: the JSON file.
        writer: has written the panoptic segmentations.
        output: folder of the labels of images that were seen in tiles, which are read by windows.
    """
    categories = writer.categories
    document = {
        "images": (each.image for each in writer.written()),
        "annotations": _annotations(writer, output),
        "categories": [entry for entry in categories.to_json() if entry["isthing"]],
    }
    write_json(path, document)


def _annotations(writer: PanopticWriter, output: Path) -> Iterator[dict[str, Any]]:
    categories, number = writer.categories, itertools.count(1)
    for written in writer.written():
        height, width = size = written.image["height"], written.image["width"]
        if height * width > MOST_PIXELS:
            warnings.warn(
                f"{written.image['file_name']}: coco-instances must be of images of at most {MOST_PIXELS:,} "
                f"pixels, as run lengths have 32 bits, got {height} x {width} (height x width); all else is "
                "written",
                stacklevel=2,
            )
            continue
        with _labels_of(written, writer, output) as labels:
            for instance in each_instance(labels, categories):
                annotation = coco_annotation(instance, size, written.image["id"])
                yield {"id": next(number), **annotation}


def _labels_of(written: WrittenImage, writer: PanopticWriter, output: Path) -> AbstractContextManager[Labels]:
    """Return the labels of an image: of a file that is read by windows if it has one, else of its PNG."""
    if "labels" in written.image:
        json_path = path_in_folder(output, written.image["labels"]).with_suffix(".json")
        if json_path.exists():
            return LargePrediction.read(json_path).labels()
    ids = read_panoptic_png(writer.folder / written.annotation["file_name"])
    # In the order of their labels.
    infos = list(written.annotation["segments_info"])
    labels = relabel(ids, {info["id"]: label for label, info in enumerate(infos, start=1)})
    table = SegmentTable(
        np.array([writer.categories.train_id(info["category_id"]) for info in infos], np.int64),
        np.array([info["area"] for info in infos], np.int64),
        np.array([info["bbox"] for info in infos], np.int64).reshape(-1, 4),
        np.array([info.get("score", np.nan) for info in infos], np.float64),
    )
    size = ids.shape[0], ids.shape[1]
    return nullcontext(Labels(size, table, lambda window: labels[window.slices]))
