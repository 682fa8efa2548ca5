"""An image that is read by windows, and arrays as such."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.images import StoredImage, as_shown
from axial_deeplab.data.tiff import UnsupportedImageError
from axial_deeplab.data.value_range import ValueRange, measured
from axial_deeplab.prediction.large.tiling import Window, cut
from axial_deeplab.util.text import one_line

_SAMPLED = 16  # windows that show what values an image has
SAMPLED_SIDE = 512


class LargeImage:
    """An image that is read by windows, as `read_image` shows the whole.

    Args:
        name: what messages call it.
        size: (height, width) in pixels.
        value_range: which values are black and white where they are not 8 bits; None where only the stored
            values are read.
        channels: channels of the file; None shows RGB.
        placed: what the file says of its place: tags of a GeoTIFF, scales of an OME-Zarr.
    """

    placed: Mapping[str, Any]

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        value_range: ValueRange | None,
        channels: Channels | None = None,
    ) -> None:
        if 0 in size:
            raise ValueError(f"{name} must have pixels, got {size[0]} x {size[1]}; give another image")
        self.name, self.size, self.value_range, self.channels = name, size, value_range, channels
        self.placed = {}
        self.value_ranges: tuple[ValueRange, ...] = () if value_range is None else (value_range,)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return the pixels of a window, (h, w, 3), uint8; or its channels (h, w, C).

        Raises:
            ValueError: it cannot be decoded.
        """
        return as_shown(self._stored(window), *self.value_ranges)

    def values(self, window: Window) -> NDArray[Any]:
        """Return the values of a window (h, w, C) as `stored_values` gives those of the whole.

        Raises:
            ValueError: it cannot be decoded.
        """
        stored = self._stored(window)
        is_turned = stored.white_is_zero and stored.values.dtype == np.uint8 and not stored.is_separate
        return 255 - stored.values if is_turned else stored.values

    def without_data(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where a window (h, w) has no data, as `read_without_data` says of the whole.

        Raises:
            ValueError: it cannot be decoded.
        """
        return None

    def close(self) -> None:
        """Close the file."""

    def _stored(self, window: Window) -> StoredImage:
        raise NotImplementedError

    def _chosen(self, values: NDArray[Any]) -> StoredImage:
        """Return the channels that are wanted, among all (h, w, C)."""
        assert self.channels is not None
        try:
            return StoredImage(self.channels.chosen(values), is_separate=True)
        except UnsupportedImageError as error:
            raise ValueError(f"{self.name} {error}") from None

    def _fit_range(self) -> None:
        """Set the ranges of values from a sample of the image, if their rule asks for one, and doubt them."""
        if self.value_range is None:
            return
        value_range, side = self.value_range, SAMPLED_SIDE
        windows = cut(self.size, side)
        chosen = windows[:: max(1, len(windows) // _SAMPLED)]
        first = self._stored(chosen[0])
        if first.values.dtype == np.uint8:
            return
        parts = zip(*(self._stored(window).parts for window in chosen), strict=True)
        samples = [np.concatenate([values.ravel() for values in part]) for part in parts]
        complaints = (
            value_range.complaint(sample, bits=first.bits, nodata=first.nodata) for sample in samples
        )
        complaint = next((each for each in complaints if each is not None), None)
        if complaint is not None:
            warnings.warn(ImageWarning(self.name, complaint, "range"), stacklevel=4)
        if value_range.kind == "percentiles":
            known = (measured(sample, first.nodata) for sample in samples)
            self.value_ranges = tuple(_percentiles(each, value_range) for each in known)


def _percentiles(finite: NDArray[Any], value_range: ValueRange) -> ValueRange:
    low, high = np.percentile(finite, value_range.numbers) if len(finite) else (0.0, 1.0)
    return ValueRange(f"{low} {high if high > low else low + 1}")


class ArrayImage(LargeImage):
    """An array, in memory or not: anything with a shape and slices.

    Args:
        values: (H, W), (H, W, 1) or (H, W, 3), or (H, W, C) with `channels`; `numpy.memmap`, an array of zarr
            or h5py, ...
        name: what messages call it.
        value_range: see `LargeImage`.
        channels: see `LargeImage`.

    Raises:
        ValueError: it has another shape.
    """

    def __init__(
        self, values: Any, name: str, value_range: ValueRange | None, channels: Channels | None = None
    ) -> None:
        shape = tuple(getattr(values, "shape", ()))
        wrong = channels is None and len(shape) == 3 and shape[2] not in (1, 3)
        if len(shape) not in (2, 3) or wrong:
            raise ValueError(
                f"{name} must be (H, W), (H, W, 1) or (H, W, 3), got {shape}; give grey or RGB, or --channels"
            )
        super().__init__(name, (int(shape[0]), int(shape[1])), value_range, channels)
        self._values = values
        self._fit_range()

    def _stored(self, window: Window) -> StoredImage:
        values = np.asarray(self._values[window.slices])
        values = values[..., None] if values.ndim == 2 else values
        return self._chosen(values) if self.channels is not None else StoredImage(values)


@contextlib.contextmanager
def naming_damage_of(path: str | os.PathLike[str], kind: str = "a complete TIFF") -> Iterator[None]:
    """Name the file in all that its reader raises: it trusts the file, so that damage shows as any error."""
    try:
        yield
    except (UnsupportedImageError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} must be {kind}, got: {one_line(error)}; replace it") from None
