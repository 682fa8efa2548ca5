"""JSON files of labelme, in which predictions are corrected by hand."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Any

from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.outlines import joined
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.util.json_files import text_of_items

# The version of labelme whose files these are.
VERSION = "5.5.0"


@contextmanager
def open_labelme(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write a polygon for each part of each thing; parts of one thing share a `group_id`.

    Holes are bridged to the outline around them. The picture is named from where the file lies.
    """
    height, width = picture.labels.size
    document: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": [],
        "imagePath": _path_from(path.parent, picture.path),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    before, shapes, after = json.dumps(document, indent=2).partition('"shapes": [')
    with text_of_items(path, f"{before}{shapes}", ",", f"\n  {after}") as add:

        def add_shapes(instance: Instance) -> None:
            for shape in _shapes(instance):
                add("\n" + indent(json.dumps(shape, indent=2), "    "))

        yield add_shapes


def _shapes(instance: Instance) -> list[dict[str, Any]]:
    score = "" if instance.score is None else f"score {instance.score:.6f}"
    return [
        {
            "label": instance.category.name,
            "points": joined([polygon]).astype(float).tolist(),
            "group_id": instance.number if len(instance.polygons) > 1 else None,
            "description": score,
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for polygon in instance.polygons
    ]


def _path_from(folder: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive of Windows
        return path.resolve().as_posix()
