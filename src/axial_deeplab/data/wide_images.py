"""Pictures of more than 8 bits a channel of which Pillow drops some: PNG in color, PPM, JPEG 2000."""

import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.tiff import UnsupportedImageError

_GAP = rb"(?:\s|#[^\n]*\n)"
_PPM_HEADER = re.compile(rb"P([2356])" + 3 * (_GAP + rb"+(\d{1,9})") + _GAP)
_LONGEST_HEADER = 2**16  # with comments


class WideValues(NamedTuple):
    """The values of a picture, with all bits of its file.

    Args:
        values: (H, W, 1 or 3), uint16.
        alpha: (H, W), uint16, 0 for transparent; None where all is opaque.
        bits: bits of a value.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None = None
    bits: int = 16


def has_16_bit_color(file: BinaryIO) -> bool:
    """Whether a PNG has 16 bits for each of several channels, of which Pillow drops 8."""
    file.seek(24)
    depth, color_type = file.read(2)
    file.seek(0)
    return depth == 16 and color_type != 0


def read_16_bit_png(file: BinaryIO) -> WideValues:
    """Let Pillow decode the upper bytes, and the lower ones as if they were those of the other byte order."""
    file.seek(0)
    image = Image.open(file, formats=["PNG"])
    (tile,) = image.tile
    layout, key = str(tile.args), image.info.get("transparency")
    has_grey = layout == "LA;16B"
    if has_grey:
        image.tile = [tile._replace(args="RGBA")]  # four bytes a pixel, two channels of two
        bytes_ = np.asarray(image).astype(np.uint16)
        values = bytes_[..., ::2] << 8 | bytes_[..., 1::2]
    else:
        upper = np.asarray(image).astype(np.uint16)
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
        image.tile = [tile._replace(args=layout.replace("16B", "16L"))]
        values = upper << 8 | np.asarray(image)
    colors = 1 if has_grey else 3
    alpha = values[..., colors] if values.shape[2] > colors else None
    if alpha is None and isinstance(key, tuple):
        alpha = np.where((values == np.array(key)).all(axis=2), 0, 0xFFFF).astype(np.uint16)
    return WideValues(values[..., :colors], alpha)


def read_wide_ppm(file: BinaryIO) -> WideValues | None:
    """Read a PPM or PGM file of more than 8 bits, of which Pillow drops some; None if it has 8."""
    file.seek(0)
    header = _PPM_HEADER.match(file.read(_LONGEST_HEADER))
    is_wide = header is not None and int(header[4]) > 0xFF
    read = read_ppm(file) if is_wide else None
    file.seek(0)
    if read is None:
        return None
    values, white = read
    bits = white.bit_length()
    highest = 2**bits - 1
    if white != highest:
        values = (np.minimum(values, white).astype(np.uint32) * highest // white).astype(np.uint16)
    return WideValues(values, bits=bits)


def read_ppm(file: BinaryIO) -> tuple[NDArray[np.uint16], int] | None:
    """Return the values (H, W, 1 or 3) of a PPM or PGM file as they are, and which one is white.

    Pillow stretches them, so that white is 255 or 65535. None for files of one bit, and for others.
    """
    file.seek(0)
    content = file.read()
    header = _PPM_HEADER.match(content)
    kind, width, height, white = map(int, header.groups()) if header else (0, 0, 0, 0)
    if header is None or not 0 < white <= 0xFFFF:
        return None
    channels = 3 if kind in (3, 6) else 1
    count = width * height * channels
    if kind in (2, 3):
        values = np.array(content[header.end() :].split(maxsplit=count)[:count], dtype=np.uint16)
    else:
        kind_of_value = np.dtype(">u2" if white > 0xFF else "u1")
        stored = content[header.end() :][: count * kind_of_value.itemsize]
        whole = len(stored) // kind_of_value.itemsize * kind_of_value.itemsize
        values = np.frombuffer(stored[:whole], kind_of_value).astype(np.uint16)
    if len(values) < count:
        raise ValueError(f"{len(values)} of {count} values, for the file is cut off")
    return values.reshape(height, width, channels), white


def read_wide_jpeg_2000(file: BinaryIO, image: Image.Image) -> WideValues | None:
    """Return a JPEG 2000 picture of more than 8 bits with those of the file; None if it has 8.

    Pillow shifts the values of one channel up to 16 bits, and rounds those of several to 8, white to black.

    Raises:
        UnsupportedImageError: there are several channels, which imagecodecs reads, and it is not installed.
    """
    file.seek(0)
    content = file.read()
    start = content.find(b"\xff\x4f\xff\x51")  # marks the start of the codestream and its sizes
    bits = (content[start + 42] & 0x7F) + 1 if 0 <= start < len(content) - 42 else 8
    if bits <= 8:
        return None
    if image.mode.startswith("I"):
        return WideValues(np.asarray(image)[..., None] >> max(0, 16 - bits), bits=bits)
    try:
        import imagecodecs
    except ImportError:
        raise UnsupportedImageError(
            f"must be a JPEG 2000 picture of 8 bits, or of one channel, got {bits} bits for each of several; "
            "pip install imagecodecs, or save it as TIFF or PNG"
        ) from None
    values: NDArray[Any] = np.atleast_3d(imagecodecs.jpeg2k_decode(content)).astype(np.uint16)
    colors = 3 if values.shape[2] > 2 else 1
    alpha = None
    if values.shape[2] > colors:
        alpha = (values[..., colors].astype(np.uint32) * 0xFFFF // (2**bits - 1)).astype(np.uint16)
    return WideValues(values[..., :colors], alpha, bits=bits)
