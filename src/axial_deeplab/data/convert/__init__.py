"""Other annotations as COCO panoptic data."""

from axial_deeplab._moved import contents_moved

__getattr__ = contents_moved(__name__, "axial_deeplab.data.convert.convert")  # was a module until version 0.1
