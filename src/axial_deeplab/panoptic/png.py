"""Panoptic PNG files, whose colors are the ids of segments: `id = red + 256 * green + 65536 * blue`."""

import io
import os
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.panoptic.map import IntArray, PanopticMap
from axial_deeplab.util.files import atomic_path

# An id is a color: three channels of 8 bits.
MAX_ID = 256**3 - 1


def rgb2id(colors: NDArray[Any]) -> PanopticMap:
    """Return the ids `red + 256 * green + 65536 * blue` of colors (..., 3) as int32 (...)."""
    colors = np.asarray(colors)
    # In place and in int32 from the start: three times faster, and 8-bit colors cannot overflow.
    ids = np.array(colors[..., 2], dtype=np.int32)
    ids <<= 8
    ids |= colors[..., 1]
    ids <<= 8
    ids |= colors[..., 0]
    return ids


def id2rgb(ids: IntArray) -> NDArray[np.uint8]:
    """Return the colors (..., 3) of ids (...).

    Raises:
        ValueError: an id does not fit into a color.
    """
    ids = np.asarray(ids)
    _check_id_range(ids)
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)


def _check_id_range(ids: IntArray) -> None:
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        worst = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(
            f"ids must be from 0 to {MAX_ID} to fit a color, got {worst}; number the segments anew"
        )


def read_panoptic_png(path: str | os.PathLike[str]) -> PanopticMap:
    """Read the ids (H, W) of a panoptic PNG: 8 bits a channel, RGB, or RGBA without transparency.

    Raises:
        ValueError: the file is broken or of another kind.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        content = file.read()
    _check_png_header(path, content[:26])
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a complete PNG, got {error}; write the file again") from None
    if pixels.shape[2] == 4 and (pixels[..., 3] != 255).any():
        raise ValueError(f"{path} must be an opaque RGB PNG, got transparent pixels; save it without alpha")
    return rgb2id(pixels)


def _check_png_header(path: str | os.PathLike[str], header: bytes) -> None:
    """Refuse what Pillow would convert silently: 16 bits become 8, palettes become grey levels."""
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise ValueError(f"{path} must be a PNG, got another kind of file; convert it to RGB PNG of 8 bits")
    depth, color_type = header[24], header[25]
    if depth != 8 or color_type not in (2, 6):
        kinds = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGBA"}
        raise ValueError(
            f"{path} must be an RGB PNG of 8 bits, got {kinds.get(color_type, 'unknown')} of {depth} bits; "
            "a panoptic PNG holds id = red + 256 * green + 65536 * blue"
        )


def write_panoptic_png(path: str | os.PathLike[str], ids: IntArray) -> None:
    """Write ids (H, W) as a panoptic PNG.

    Raises:
        ValueError: an id does not fit into a color.
        OSError: the file cannot be written.
    """
    ids = np.asarray(ids)
    _check_id_range(ids)
    size = (ids.shape[1], ids.shape[0])
    image = Image.frombytes("RGB", size, np.ascontiguousarray(ids, dtype="<u4").tobytes(), "raw", "RGBX")
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
