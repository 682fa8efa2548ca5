"""The labels of public data sets are those of their own files."""

import json
from collections.abc import Callable
from pathlib import Path

from axial_deeplab.data.labels import cityscapes, coco
from axial_deeplab.panoptic.categories import Categories

Find = Callable[[str], Path]


def test_coco(shared_data: Find) -> None:
    path = shared_data("coco_panoptic_mini") / "annotations" / "panoptic_val2017.json"
    given = Categories.from_json(json.loads(path.read_text())["categories"])
    assert [(c.id, c.name, c.is_thing) for c in coco.CATEGORIES] == [
        (c.id, c.name, c.is_thing) for c in given
    ]


def test_coco_has_80_things_53_stuff_and_a_color_for_each() -> None:
    assert (len(coco.CATEGORIES.thing_ids), len(coco.CATEGORIES.stuff_ids)) == (80, 53)
    assert len({category.color for category in coco.CATEGORIES}) == 133
    assert coco.CATEGORIES[0].color == (220, 20, 60)
    assert (coco.CATEGORIES[132].id, coco.CATEGORIES[132].name) == (200, "rug-merged")


def test_cityscapes(golden: Find) -> None:
    path = golden("cityscapes_mini_a") / "gtFine" / "cityscapes_panoptic_val.json"
    entries = json.loads(path.read_text())["categories"]
    assert Categories.from_json(entries) == cityscapes.CATEGORIES
    assert [cityscapes.LABEL_OF_ID[e["id"]].group for e in entries] == [e["supercategory"] for e in entries]
    assert [label.id for label in cityscapes.LABELS] == list(range(34))
