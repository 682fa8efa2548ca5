"""COCO panoptic data, to be written again with other things, or without crowds or empty pictures."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.discover import find_datasets, has_known_layout
from axial_deeplab.panoptic.categories import Categories

TITLE = "COCO panoptic data"


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return has_known_layout(source) and all(each.data.format == "coco" for each in find_datasets(source))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read the data sets in a folder; several stay apart, under their names."""
    options.refuse(TITLE, "images", "categories", "thing", "background", "attribute")
    found = find_datasets(source)
    images: list[UnwrittenImage] = []
    categories: Categories | None = None
    for name, data in found:
        dataset = open_dataset(data, "val")
        stuff = options.stuff_among(dataset.categories.names, source)
        dataset.categories = Categories(
            [
                replace(each, is_thing=each.name not in stuff and (each.is_thing or bool(options.things)))
                for each in dataset.categories
            ]
        )
        if categories is not None:
            dataset.categories.require_same_classes(categories, name, found[0].name)
        categories = dataset.categories
        part = data.val.split or Path(data.val.root or "").name
        images += [
            UnwrittenImage(
                record.image,
                record.image.relative_to(source).as_posix(),
                partial(dataset.read_ground_truth, index),
                record.image_id,
                page=options.reading.page,
                part=part if len(found) > 1 else "",
            )
            for index, record in enumerate(dataset.records)
        ]
    assert categories is not None
    return images, categories
