"""Files of annotations that are not converted: what they are, and what to export or save in their place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axial_deeplab.data.convert.source_files import files_of
from axial_deeplab.data.convert.xml import read_xml
from axial_deeplab.panoptic.json_entries import load_json

_BOXES = "which outline nothing; export polygons or masks, or draw them"
_AS_COCO = "export COCO instances from there"
# Keys of the document, or of the first entry of a list.
_JSON = (
    (
        {"image_id", "category_id"},
        "a list of results of COCO, which names no pictures and classes; put it into the JSON of its data "
        "set as the annotations, and give each an id",
    ),
    ({"item", "annotations"}, f"Darwin JSON of V7; {_AS_COCO}"),
    ({"instances", "metadata"}, f"a JSON of SuperAnnotate; {_AS_COCO}"),
    (
        {"objects", "size"},
        "an annotation of Supervisely; put the meta.json of its project beside the folders",
    ),
    ({"label_classes", "images"}, f"a JSON of Hasty; {_AS_COCO}"),
    ({"categories", "items"}, f"a JSON of Datumaro; {_AS_COCO}"),
    ({"samples"}, f"a data set of FiftyOne; {_AS_COCO} (COCODetectionDataset)"),
    ({"image", "annotations"}, f"boxes of CreateML, {_BOXES}"),
)
# Files of each suffix that are looked at.
_LOOKED_AT = 100


def unread_kind(source: Path) -> str | None:
    """Return what a source has that is not converted, and what to do about it; None if nothing is known.

    Raises:
        ValueError: a JSON or XML file is damaged, so that nobody can tell.
        OSError: a file cannot be opened.
    """
    return next(_found(source), None)


def _found(source: Path) -> Iterator[str]:
    for path in files_of(source, ".json")[:_LOOKED_AT]:
        document = load_json(path, types=(dict, list))
        entry: Any = document[0] if isinstance(document, list) and document else document
        keys = set(entry) if isinstance(entry, dict) else set()
        yield from (f"{path}, {what}" for signs, what in _JSON if signs <= keys)
    for path in files_of(source, ".xml")[:_LOOKED_AT]:
        document = read_xml(path)
        if document.find("object/bndbox") is not None:
            yield f"{path}, boxes of Pascal VOC, {_BOXES}"
        if document.tag == "annotations" and document.find("track") is not None:
            yield f'{path}, tracks of CVAT "for video"; export "for images 1.1" from there, with the frames'
    for path in files_of(source, ".csv")[:_LOOKED_AT]:
        with path.open(encoding="utf-8", errors="replace") as file:
            columns = set(file.readline(1000).strip().lower().split(","))
        if {"xmin", "ymin", "xmax", "ymax"} <= columns:
            yield f"{path}, a table of boxes, {_BOXES}"
    for path in files_of(source, ".ndjson")[:1]:
        yield f"{path}, an export of Labelbox; {_AS_COCO}"
    for path in files_of(source, ".npy")[:1]:
        kind = "a file of cellpose's window" if path.stem.endswith("_seg") else "an array"
        yield (
            f"{path}, {kind}; save the label maps beside the pictures as {path.stem.removesuffix('_seg')}"
            "_masks.tif: tifffile.imwrite(FILE, labels)"
        )
