"""Weights that describe themselves: their files, their names, where they come from."""

from axial_deeplab._moved import contents_moved

__getattr__ = contents_moved(__name__, "axial_deeplab.weights.file")  # was a module until version 0.1
