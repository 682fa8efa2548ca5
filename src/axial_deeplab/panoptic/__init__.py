"""What a panoptic map is: ids, void, segments, categories, and its files."""

from axial_deeplab._moved import contents_moved

# The names of the module panoptic_format of version 0.1.
__getattr__ = contents_moved(
    __name__, *(f"axial_deeplab.panoptic.{module}" for module in ("map", "coco_json", "png", "writer"))
)
