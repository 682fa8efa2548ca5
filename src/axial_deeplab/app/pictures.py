"""Reading a picture that somebody sent: any file may come, and none may do harm."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.app.limits import MAX_BYTES, MIN_SIDE
from axial_deeplab.data.images import read_header, read_with_notes


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the network sees it.

    Args:
        pixels: RGB (H, W, 3), uint8, upright, or the channels that the network sees.
        file_name: name of the file, without folder.
        changes: what was done to the pixels of the file, and what is odd in it.
        reading: how the file was read: arguments of `read_image`.
    """

    pixels: NDArray[np.uint8]
    file_name: str
    changes: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name without suffix, fit for the names of other files."""
        return re.sub(r"[^\w.-]+", "_", PurePath(self.file_name).stem).strip("._")[:80] or "picture"

    @property
    def size(self) -> str:
        """Width and height, for people."""
        height, width = self.pixels.shape[:2]
        return f"{width} x {height}"


def read_picture(path: str | os.PathLike[str], *, max_side: int, **reading: Any) -> Picture:
    """Read a picture that somebody sent, after a look at its header.

    Args:
        path: the file; messages tell its name alone.
        max_side: longest side that is allowed, pixels.
        reading: arguments of `read_image`.

    Raises:
        ValueError: the file is no picture, or is damaged, too small or too large.
    """
    label = PurePath(path).name
    try:
        (height, width), mode, num_bytes = read_header(
            path, page=reading.get("page"), channels=reading.get("channels")
        )
        if min(width, height) < MIN_SIDE or max(width, height) > max_side:
            raise ValueError(
                f"picture must be {MIN_SIDE} to {max_side} pixels wide and high, got {width} x {height} "
                f"(width x height) in {label}; {'reduce' if max(width, height) > max_side else 'enlarge'} it"
            )
        if num_bytes > MAX_BYTES:
            raise ValueError(
                f"picture must be at most {MAX_BYTES >> 20} MiB when decoded, got {num_bytes >> 20} MiB "
                f"({mode}) in {label}; give it fewer channels or pages"
            )
        pixels, notes = read_with_notes(path, **reading)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), label)) from None
    changes = []
    if mode != "RGB" and reading.get("channels") is None:
        changes.append(f"converted from {mode} to RGB")
    if pixels.shape[:2] == (width, height) != (height, width):
        changes.append("turned upright as its EXIF tag says")
    return Picture(pixels, label, (*changes, *(f"it {note.text}" for note in notes)), reading)
