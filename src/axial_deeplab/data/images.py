"""Reading photographs of any common kind as RGB arrays."""

import os
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# Pillow knows more formats; some start programs that draw their pages.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")

# What Pillow raises, depending on the format, when a file is cut off or damaged.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


def read_image(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read an image file as RGB, uint8 (H, W, 3), upright.

    Cameras store a picture as the sensor lay and note in an EXIF tag how to turn it. It is turned, as viewers
    and labeling tools do, unless its annotation was made on the stored pixels, as `size` tells. Where the
    size cannot tell (half a turn, mirrors, squares), it is turned.

    Args:
        path: a file of one of `FORMATS`; modes as in `to_rgb`; the first frame of several.
        size: (height, width) in pixels that an annotation asks for; None takes the upright size.

    Raises:
        ValueError: the file is no complete image, or its size is another, turned or not.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            image: Image.Image = Image.open(file, formats=FORMATS)
            image.load()
            orientation = _orientation(image)
            stored = (image.height, image.width)
            upright = stored[::-1] if orientation in _SIDEWAYS else stored
            if orientation in _TURNS and (size is None or tuple(size) == upright):
                image = image.transpose(_TURNS[orientation])
            pixels = to_rgb(image)
        except DAMAGED as error:
            raise ValueError(
                f"{path} must be a complete image, got: {damage(error)}; replace the file"
            ) from None
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(
            f"{path} must be {size[0]} x {size[1]} pixels (height x width) as its annotation, "
            f"got {pixels.shape[0]} x {pixels.shape[1]}; give the image that was annotated"
        )
    return pixels


def damage(error: Exception) -> str:
    """Return what is wrong with an image file, of an error among `DAMAGED`."""
    if isinstance(error, UnidentifiedImageError):  # whose own words show the open file
        return f"a file that is none of {', '.join(FORMATS)}"
    return str(error)


def working_scale(
    size: tuple[int, int], *, long_side: int | None = None, max_size: int | None = None
) -> float:
    """Return the magnification at which networks are to see an image.

    Args:
        size: (height, width) of the image in pixels.
        long_side: what its longer side becomes, in pixels; None keeps it.
        max_size: most pixels of the longer side then; larger images are reduced. None for no limit.
    """
    longer = max(size)
    wanted = longer if long_side is None else long_side
    return (wanted if max_size is None else min(wanted, max_size)) / longer


def check_working_size(*, long_side: int | None, max_size: int | None) -> None:
    """Refuse sides that are not positive.

    Raises:
        ValueError: one of them is not.
    """
    for name, value in (("long_side", long_side), ("max_size", max_size)):
        if value is not None and value < 1:
            raise ValueError(
                f"{name} must be at least 1 pixel, got {value}; None keeps the images as they are"
            )


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a Pillow image to RGB, uint8 (H, W, 3).

    Greyscale is repeated, palettes and CMYK are converted, alpha is dropped. Of 16-bit greyscale the high
    byte is kept, as Pillow does for 16-bit color.

    Raises:
        ValueError: floating point or 32-bit pixels, whose range nobody knows.
    """
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.size and (wide.min() < 0 or wide.max() > 0xFFFF):
            raise ValueError(
                f"greyscale must be of 8 or 16 bits, got values up to {wide.max()}; rescale it to 8 bits"
            )
        return np.repeat((wide >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("pixels must be of 8 or 16 bits, got floating point numbers; rescale them to 8 bits")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except DAMAGED:
        # A picture with damaged metadata is still a good picture.
        return 1
    return orientation if isinstance(orientation, int) else 1
