"""Examining a data set before training, and reporting all that is wrong with it."""

from axial_deeplab._moved import contents_moved

__getattr__ = contents_moved(__name__, "axial_deeplab.data.check.check")  # was a module until version 0.1
