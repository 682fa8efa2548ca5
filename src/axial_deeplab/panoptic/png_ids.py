"""A fast way to read the ids of a panoptic PNG: inflate, undo the filters and join the colors in one pass.

Pillow copies its pixels twice to hand them out, which takes half as long as decoding them. This reads the
plain RGB files that panoptic data consist of and declines all else, damaged files too: those are left to
Pillow, which says what is wrong with them.
"""

import zlib
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

# Larger pictures are Pillow's to judge: they may be bombs.
MAX_PIXELS = 2**26

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 8 bits, RGB, deflate, the five filters, not interlaced.
_PLAIN = bytes([8, 2, 0, 0, 0])

_numba_is_missing = find_spec("numba") is None


def decode_ids(png: bytes) -> NDArray[np.int32] | None:
    """Return the ids `red + 256 * green + 65536 * blue` (H, W) of a PNG, or None if it is not a plain one.

    Args:
        png: content of the file.
    """
    if _numba_is_missing or not png.startswith(_SIGNATURE):
        return None
    chunks = list(_chunks(png))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
        return None
    header = chunks[0][1]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if header[8:] != _PLAIN or not 0 < width * height <= MAX_PIXELS:
        return None
    packed = b"".join(content for kind, content in chunks if kind == b"IDAT")
    num_bytes = height * (1 + 3 * width)
    try:
        # One byte more than there should be tells a picture that is too long.
        lines = zlib.decompressobj().decompress(packed, num_bytes + 1)
    except zlib.error:
        return None
    if len(lines) != num_bytes:
        return None
    # Compiled on first use, not at import: few commands read PNG files.
    from axial_deeplab.panoptic.png_lines import join_lines

    ids = np.empty((height, width), dtype=np.uint32)
    is_valid = join_lines(np.frombuffer(lines, dtype=np.uint8).reshape(height, -1), ids)
    return ids.view(np.int32) if is_valid else None


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk; stop before one that is damaged or cut off."""
    start = len(_SIGNATURE)
    while start + 12 <= len(png):
        end = start + 8 + int.from_bytes(png[start : start + 4], "big")
        if zlib.crc32(png[start + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            return
        yield png[start + 4 : start + 8], png[start + 8 : end]
        start = end + 4
