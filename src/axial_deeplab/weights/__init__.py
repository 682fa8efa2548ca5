"""Weights that describe themselves: their files, their names, where they come from."""

from axial_deeplab._moved import contents_moved

# Was a module until version 0.1.
__getattr__ = contents_moved(
    __name__, *(f"{__name__}.{module}" for module in ("file", "loaded", "matching", "names"))
)
