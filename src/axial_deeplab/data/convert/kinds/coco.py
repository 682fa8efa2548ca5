"""COCO instances, also as Roboflow and Label Studio export them: a JSON beside the pictures or above them.

Source:
    Roboflow: train, valid and test, each with _annotations.coco.json and its pictures. Label Studio:
    result.json, whose names are its own paths, whose categories begin at 0 and which has no brushes.
"""

from functools import partial
from pathlib import Path
from typing import Any

from axial_deeplab.data.convert.coco_instances import coco_instances_to_convert
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import PARTS, any_json, files_of, folder_of
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import load_json

TITLE = "a COCO instances export"


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any_json(source, _is_coco)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a JSON, or a folder with one for each part."""
    if options.categories is not None:
        raise ValueError("--categories must not be given for COCO, whose JSON has them; leave it out")
    photos = Photos(options.images or folder_of(source))
    found: list[UnwrittenImage] = []
    categories: Categories | None = None
    read_before: dict[str, Path] = {}
    for path in files_of(source, ".json"):
        if not _is_coco(load_json(path, types=(dict, list))):
            continue
        folder = path.relative_to(folder_of(source)).parent
        part = PARTS.get(folder.name, "")
        if part in read_before:
            raise ValueError(
                f"{source} must have one JSON for each part, got {read_before[part]} and {path}; give one"
            )
        read_before[part] = path
        unwritten, others = coco_instances_to_convert(
            path, photos.folder, options=options, find=partial(_find, photos, folder, str(path))
        )
        if categories is not None:
            others.require_same_classes(categories, str(path), str(next(iter(read_before.values()))))
        categories = others
        found += [image._replace(part=part) for image in unwritten]
    photos.warn_of_others(source)
    assert categories is not None
    return found, categories


def _find(photos: Photos, folder: Path, where: str, name: str) -> Path:
    return photos.find(f"{folder.as_posix()}/{name}", where)


def _is_coco(document: Any) -> bool:
    if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= set(document):
        return False
    annotations = document["annotations"]
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return not (isinstance(first, dict) and "segments_info" in first)
