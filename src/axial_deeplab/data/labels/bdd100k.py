"""The labels of BDD100K, as bdd100k/label/label.py and its documentation define them."""

from axial_deeplab.panoptic.categories import Categories, Category

INSTANCES = Categories(
    Category(number, name, True)
    for number, name in enumerate(
        ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"), start=1
    )
)
"""The classes of instance segmentation and of segmentation tracking."""

_STUFF = (
    *("dynamic", "ego vehicle", "ground", "static", "parking", "rail track", "road", "sidewalk", "bridge"),
    *("building", "fence", "garage", "guard rail", "tunnel", "wall", "banner", "billboard", "lane divider"),
    *("parking sign", "pole", "polegroup", "street light", "traffic cone", "traffic device", "traffic light"),
    *("traffic sign", "traffic sign frame", "terrain", "vegetation", "sky"),
)
_THINGS = (
    *("person", "rider", "bicycle", "bus", "car", "caravan", "motorcycle", "trailer", "train", "truck"),
)

PANOPTIC = Categories(
    Category(number, name, name in _THINGS) for number, name in enumerate((*_STUFF, *_THINGS), start=1)
)
"""The classes of panoptic segmentation."""
