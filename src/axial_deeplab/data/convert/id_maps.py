"""Reading PNG files whose grey level or palette index is an id: labels, instances, masks."""

import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.images import DAMAGED, FORMATS, damage

_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def read_id_map(path: str | os.PathLike[str]) -> NDArray[np.int32]:
    """Read the ids (H, W) of a PNG, TIFF ... of one channel: grey levels of 8 or 16 bits, or palette indices.

    Raises:
        ValueError: the file is broken or has several channels.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                mode = image.mode
                pixels = np.asarray(image)
        except DAMAGED as error:
            raise ValueError(
                f"{path} must be a complete image of ids, got: {damage(error)}; write the file again"
            ) from None
    if mode not in _MODES:
        raise ValueError(
            f"{path} must have one channel of 8 or 16 bits whose values are ids, got mode {mode}; "
            "save the ids as greyscale, not as colors"
        )
    return pixels.astype(np.int32)
