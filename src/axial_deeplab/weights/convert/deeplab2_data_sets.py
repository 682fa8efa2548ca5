"""How deeplab2 trains and evaluates panoptic networks on its data sets, as far as weights depend on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axial_deeplab.data.labels import cityscapes, coco
from axial_deeplab.panoptic.categories import Categories

# 400 centers is its default, of which it keeps the 399 highest.
_CENTERS: Mapping[str, Any] = {"center_threshold": 0.1, "top_k": 400, "strict_top_k": True}


@dataclass(frozen=True)
class DataSet:
    """The settings of deeplab2's configurations for a data set.

    Args:
        categories: categories of the semantic channels, in their order; None if they are not known.
        crop_size: height and width of the images of training and evaluation, pixels; None if not known.
        post_processing: settings of the post-processing in its evaluation.
        view: at which size it sees images, see `prediction.batch.View`.
        num_void_classes: semantic channels before those of the categories. They mean void, which no pixel of
            the training has, and are left out.
    """

    categories: Categories | None = None
    crop_size: tuple[int, int] | None = None
    post_processing: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    num_void_classes: int = 0


DATA_SETS = {
    "cityscapes": DataSet(
        cityscapes.CATEGORIES, (1025, 2049), {**_CENTERS, "nms_kernel": 13, "stuff_area": 2048}
    ),
    "coco": DataSet(
        coco.CATEGORIES,
        (641, 641),
        {**_CENTERS, "nms_kernel": 41, "stuff_area": 4096},
        view={"long_side": 641},
        num_void_classes=1,
    ),
}
"""By name. Source: configs/{cityscapes,coco} and data/dataset.py of deeplab2."""


def find_data_set(name: str) -> DataSet:
    """Return a data set of deeplab2 by its name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in DATA_SETS:
        raise ValueError(f"data_set must be one of {', '.join(DATA_SETS)}, got {name}; give categories")
    return DATA_SETS[name]
