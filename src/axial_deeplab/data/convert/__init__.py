"""Other annotations as COCO panoptic data."""

from axial_deeplab._moved import contents_moved

# It was a module until version 0.1.
__getattr__ = contents_moved(
    __name__, *(f"axial_deeplab.data.convert.{module}" for module in ("unwritten", "map_files", "convert"))
)
