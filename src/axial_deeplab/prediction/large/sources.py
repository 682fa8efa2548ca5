"""Opening images of any size to read them by windows; files of other kinds are decoded once, to disk."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import FORMATS, StoredImage, read_image, stored_values
from axial_deeplab.data.nodata import read_without_data
from axial_deeplab.data.tiff import MAGIC, UnsupportedImageError, is_preview
from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.prediction.large.kept_squares import KeptSquares
from axial_deeplab.prediction.large.large_image import SAMPLED_SIDE, ArrayImage, LargeImage
from axial_deeplab.prediction.large.maps import Blocks
from axial_deeplab.prediction.large.tiff_image import TiffImage
from axial_deeplab.prediction.large.tiling import Window
from axial_deeplab.prediction.large.zarr_image import ZarrImage
from axial_deeplab.util.files import opened, temporary_directory

# Pixels of an image that may be in memory as a whole, with its map: more would take more than a GB.
_WHOLE_PIXELS = 2**25
_VALUES_PREFIX = ".axial-deeplab-values-"


class DecodedImage(LargeImage):
    """An image of any kind that `read_image` reads: decoded once, then kept on disk.

    Args:
        path: image file.
        folder: for the pixels.
        value_range: see `LargeImage`.
        page: see `read_image`.
        channels: see `LargeImage`.

    Raises:
        ValueError: the file is damaged or has more pixels than its reader takes.
        OSError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        value_range: ValueRange,
        page: int | None,
        channels: Channels | None = None,
    ) -> None:
        pixels = read_image(path, value_range=value_range, page=page, channels=channels)
        super().__init__(str(path), (pixels.shape[0], pixels.shape[1]), value_range, channels)
        self._pixels = _on_disk(folder / "pixels", pixels)
        without_data = read_without_data(path, page=page, channels=channels)
        self._without_data = None if without_data is None else _on_disk(folder / "without_data", without_data)

    def without_data(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where a window (h, w) has no data."""
        return None if self._without_data is None else self._without_data.read(0, window.slices)

    def _stored(self, window: Window) -> StoredImage:
        return StoredImage(self._pixels.read(0, window.slices), is_separate=self.channels is not None)


def open_image(
    source: Any,
    folder: Path,
    value_range: ValueRange,
    page: int | None = None,
    channels: Channels | None = None,
) -> LargeImage:
    """Open an image to read it by windows.

    Args:
        source: path of an image file or an OME-Zarr folder, or an array (see `ArrayImage`).
        folder: for the pixels of files that are decoded whole.
        value_range: see `LargeImage`.
        page: see `read_image`.
        channels: see `LargeImage`; an array has just those.

    Raises:
        ValueError: the image is damaged or of a kind that cannot be read.
        OSError: it cannot be opened.
    """
    if not isinstance(source, str | os.PathLike):
        of_array = None if channels is None else Channels((), of=len(channels.numbers))
        return ArrayImage(source, "image", value_range, of_array)
    path = Path(source)
    if path.is_dir():
        return ZarrImage(path, value_range, channels)
    image = _tiff_of_windows(path, value_range, page, channels)
    if isinstance(image, TiffImage):
        return image
    try:
        return DecodedImage(path, folder, value_range, page, channels)
    except (ValueError, MemoryError):
        if image is None or channels is not None:  # which that reader finds in other places, too
            raise
        raise ValueError(f"{path} {image}") from None


def _tiff_of_windows(
    path: Path, value_range: ValueRange | None, page: int | None, channels: Channels | None
) -> TiffImage | UnsupportedImageError | None:
    """Open a TIFF, or return why windows of it cannot be read; None of other files."""
    with opened(path) as file:
        if file.read(4) not in MAGIC:
            return None
    try:
        return TiffImage(path, value_range, page, channels)
    except UnsupportedImageError as error:
        return error


@contextlib.contextmanager
def open_values(
    path: Path, folder: Path, size: tuple[int, int], page: int | None = None, channels: Channels | None = None
) -> Iterator[Callable[[Window], NDArray[Any]]]:
    """Yield what reads windows (h, w, C) of the values that `stored_values` gives of the whole.

    Args:
        path: image file or OME-Zarr folder; it has been opened before, so that what is odd in it is told.
        folder: for the values of large files that are decoded whole.
        size: (height, width) of the image in pixels.
        page: see `stored_values`.
        channels: see `stored_values`.

    Raises:
        ValueError: the image is damaged.
        OSError: the file cannot be opened, or the values not be written.
    """
    if path.is_dir():
        yield KeptSquares(size, SAMPLED_SIDE, ZarrImage(path, None, channels).values).read
        return
    if fits_as_a_whole(size):
        whole = stored_values(path, page=page, channels=channels)
        yield lambda window: whole[window.slices]
        return
    image = _tiff_of_windows(path, None, page or 1, channels)
    if isinstance(image, TiffImage):
        with contextlib.closing(image):
            yield image.values
        return
    with temporary_directory(folder, _VALUES_PREFIX) as scratch:
        blocks = _on_disk(scratch / "values", stored_values(path, page=page, channels=channels))
        yield lambda window: blocks.read(0, window.slices)


def _on_disk(path: Path, values: NDArray[Any]) -> Blocks:
    blocks = Blocks(path, 1, values.shape, values.dtype)
    blocks.write(0, values)
    return blocks


def fits_as_a_whole(size: tuple[int, int]) -> bool:
    """Whether an image of (height, width) may be in memory with all its pixels."""
    return size[0] * size[1] <= _WHOLE_PIXELS


def read_whole(
    path: Path, value_range: ValueRange, page: int | None, channels: Channels | None = None
) -> NDArray[np.uint8]:
    """Return all pixels (H, W, C) of an image file or OME-Zarr folder, uint8; errors are `open_image`'s."""
    if not path.is_dir():
        return read_image(path, value_range=value_range, page=page, channels=channels)
    image = ZarrImage(path, value_range, channels)
    return image.read(Window(0, 0, *image.size))


def image_size(path: Path) -> tuple[int, int] | None:
    """Return (height, width) in pixels of an image file as it is stored, None if that cannot be told."""
    import tifffile

    with contextlib.suppress(Exception), opened(path) as file:  # who reads it tells what is wrong with it
        if file.read(4) in MAGIC:
            file.seek(0)
            pages: list[Any] = list(tifffile.TiffFile(file).pages)
            page = next((page for page in pages if not is_preview(page)), pages[0])
            return page.imagelength, page.imagewidth
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            return image.height, image.width
    return None
