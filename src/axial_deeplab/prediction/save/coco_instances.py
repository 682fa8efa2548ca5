"""COCO's instances with run lengths and scores; extra `coco`."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.panoptic.coco_json import ImageId
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.save.instances import Instance, find_instances
from axial_deeplab.util.json_files import write_json


def coco_annotation(instance: Instance, size: tuple[int, int], image_id: ImageId) -> dict[str, Any]:
    """Return an annotation as COCO's results have them: its mask as compressed run lengths, and its score.

    Args:
        instance: the thing.
        size: height and width of the picture.
        image_id: number of the picture.
    """
    from pycocotools import mask

    encoded = mask.encode(np.asfortranarray(instance.full_mask(size), dtype=np.uint8))
    annotation = {
        "image_id": image_id,
        "category_id": instance.category.id,
        "segmentation": {"size": list(size), "counts": encoded["counts"].decode("ascii")},
        "area": instance.area,
        "bbox": list(instance.bbox),
        "iscrowd": 0,
    }
    return annotation if instance.score is None else annotation | {"score": round(instance.score, 6)}


def write_coco_instances(path: Path, writer: PanopticWriter) -> None:
    """Write the things of all panoptic PNG files that a writer has written, also in runs before.

    The document has `images`, `annotations` and `categories`; its annotations alone are what COCO's server
    takes.

    Args:
        path: the JSON file.
        writer: has written the panoptic segmentations.
    """
    categories = writer.categories
    document = {
        "images": (each.image for each in writer.written()),
        "annotations": _annotations(writer),
        "categories": [entry for entry in categories.to_json() if entry["isthing"]],
    }
    write_json(path, document)


def _annotations(writer: PanopticWriter) -> Iterator[dict[str, Any]]:
    categories, number = writer.categories, itertools.count(1)
    for _, panoptic, _, _ in writer.written():
        ids = read_panoptic_png(writer.folder / panoptic["file_name"])
        segments = [
            Segment(
                id=info["id"],
                train_id=categories.train_id(info["category_id"]),
                area=info["area"],
                score=info.get("score"),
            )
            for info in panoptic["segments_info"]
        ]
        size = (ids.shape[0], ids.shape[1])
        for instance in find_instances(Panoptic(ids, segments), categories):
            annotation = coco_annotation(instance, size, panoptic["image_id"])
            yield {"id": next(number), **annotation}
