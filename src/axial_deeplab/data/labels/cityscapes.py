"""The labels of Cityscapes, as cityscapesScripts defines them."""

from typing import NamedTuple

from axial_deeplab.panoptic.categories import Categories, Category, Color


class CityscapesLabel(NamedTuple):
    """One label.

    Args:
        id: value in `labelIds` files, and in `instanceIds` files of regions without instances.
        name: as the data set spells it.
        group: what the data set calls its category.
        has_instances: thing or not.
        is_evaluated: False makes it void.
        color: color in the data set's pictures.
    """

    id: int
    name: str
    group: str
    has_instances: bool
    is_evaluated: bool
    color: Color


LABELS = (
    CityscapesLabel(0, "unlabeled", "void", False, False, (0, 0, 0)),
    CityscapesLabel(1, "ego vehicle", "void", False, False, (0, 0, 0)),
    CityscapesLabel(2, "rectification border", "void", False, False, (0, 0, 0)),
    CityscapesLabel(3, "out of roi", "void", False, False, (0, 0, 0)),
    CityscapesLabel(4, "static", "void", False, False, (0, 0, 0)),
    CityscapesLabel(5, "dynamic", "void", False, False, (111, 74, 0)),
    CityscapesLabel(6, "ground", "void", False, False, (81, 0, 81)),
    CityscapesLabel(7, "road", "flat", False, True, (128, 64, 128)),
    CityscapesLabel(8, "sidewalk", "flat", False, True, (244, 35, 232)),
    CityscapesLabel(9, "parking", "flat", False, False, (250, 170, 160)),
    CityscapesLabel(10, "rail track", "flat", False, False, (230, 150, 140)),
    CityscapesLabel(11, "building", "construction", False, True, (70, 70, 70)),
    CityscapesLabel(12, "wall", "construction", False, True, (102, 102, 156)),
    CityscapesLabel(13, "fence", "construction", False, True, (190, 153, 153)),
    CityscapesLabel(14, "guard rail", "construction", False, False, (180, 165, 180)),
    CityscapesLabel(15, "bridge", "construction", False, False, (150, 100, 100)),
    CityscapesLabel(16, "tunnel", "construction", False, False, (150, 120, 90)),
    CityscapesLabel(17, "pole", "object", False, True, (153, 153, 153)),
    CityscapesLabel(18, "polegroup", "object", False, False, (153, 153, 153)),
    CityscapesLabel(19, "traffic light", "object", False, True, (250, 170, 30)),
    CityscapesLabel(20, "traffic sign", "object", False, True, (220, 220, 0)),
    CityscapesLabel(21, "vegetation", "nature", False, True, (107, 142, 35)),
    CityscapesLabel(22, "terrain", "nature", False, True, (152, 251, 152)),
    CityscapesLabel(23, "sky", "sky", False, True, (70, 130, 180)),
    CityscapesLabel(24, "person", "human", True, True, (220, 20, 60)),
    CityscapesLabel(25, "rider", "human", True, True, (255, 0, 0)),
    CityscapesLabel(26, "car", "vehicle", True, True, (0, 0, 142)),
    CityscapesLabel(27, "truck", "vehicle", True, True, (0, 0, 70)),
    CityscapesLabel(28, "bus", "vehicle", True, True, (0, 60, 100)),
    CityscapesLabel(29, "caravan", "vehicle", True, False, (0, 0, 90)),
    CityscapesLabel(30, "trailer", "vehicle", True, False, (0, 0, 110)),
    CityscapesLabel(31, "train", "vehicle", True, True, (0, 80, 100)),
    CityscapesLabel(32, "motorcycle", "vehicle", True, True, (0, 0, 230)),
    CityscapesLabel(33, "bicycle", "vehicle", True, True, (119, 11, 32)),
    # License plates are label -1 in cityscapesScripts, which never draws them.
)

LABEL_OF_ID = {label.id: label for label in LABELS}

CATEGORIES = Categories(
    Category(label.id, label.name, label.has_instances, label.color) for label in LABELS if label.is_evaluated
)
"""The 19 categories that count; their order is that of Cityscapes' train ids."""
