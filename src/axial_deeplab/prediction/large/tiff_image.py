"""TIFF read by windows: GeoTIFF, slides, the first level of a pyramid."""

import contextlib
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.geotiff import geo_tags, map_grid
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.images import StoredImage
from axial_deeplab.data.nodata import without_data
from axial_deeplab.data.tiff import (
    UnsupportedImageError,
    is_preview,
    nodata_of,
    palette_of,
    refuse_channels_behind,
)
from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.prediction.large.large_image import LargeImage, naming_damage_of
from axial_deeplab.prediction.large.tiling import Window
from axial_deeplab.util.files import opened

# Decoded parts of a file that are kept, since neighboring windows share them.
_CACHE_BYTES = 2**26
# A part that has more is not worth reading by windows.
_LARGEST_PART = 2**28
_PALETTE, _YCBCR, _RGB = 3, 6, 2
_GREY = (0, 1)
# Bits below 8 that the reader of whole images does not take either.
_ODD_BITS = (3, 5, 6, 7)
_JPEGS = (6, 7, 34892, 33007)


class TiffImage(LargeImage):
    """A TIFF whose tiles or strips are decoded as they are needed: GeoTIFF, slides, level 0 of a pyramid.

    Args:
        path: TIFF file.
        value_range: see `LargeImage`.
        number: page, see `read_image`.
        channels: see `LargeImage`.

    Raises:
        UnsupportedImageError: windows of it cannot be read; the text goes on after the path.
        ValueError: the file is damaged.
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: Path, value_range: ValueRange | None, number: int | None, channels: Channels | None = None
    ) -> None:
        import tifffile

        self._file = opened(path)
        try:
            with naming_damage_of(path):
                tiff = tifffile.TiffFile(self._file)
                pages: list[Any] = list(tiff.pages)
                pictures = [page for page in pages if not is_preview(page)] or pages[:1]
                if not 1 <= (number or 1) <= len(pictures):
                    raise UnsupportedImageError(
                        f"must have page {number}, got {len(pictures)} pages; give another --page"
                    )
                page = self._page = pictures[(number or 1) - 1]
                self._place = pages.index(page)
                # Smaller pages are the levels of a pyramid, labels and previews of slides.
                shape = page.imagelength, page.imagewidth
                same = [p for p in pictures if (p.imagelength, p.imagewidth) == shape]
                if channels is not None and len(same) > 1:  # they may be pages
                    raise UnsupportedImageError("must have its channels in one page, got several")
                if len(same) > 1 and number is None:
                    refuse_channels_behind(tiff)
                self.channels = channels
                self._require_windows(page)
            if len(same) > 1 and number is None:
                text = f"has {len(same)} pages, of which only the first is read; save the others as files"
                warnings.warn(ImageWarning(path, text, "pages"), stacklevel=5)
            super().__init__(str(path), shape, value_range, channels)
            self.placed = {"geo_tags": geo_tags(page)}
            names_it = nodata_of(page) is not None or (channels is None and bool(self._alpha))
            self._may_lack_data = names_it and map_grid(page) is not None
            self._parts: OrderedDict[int, NDArray[Any]] = OrderedDict()
            self._fit_range()
        except BaseException:
            self.close()
            raise

    def without_data(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where a window (h, w) has no data.

        Raises:
            ValueError: it cannot be decoded.
        """
        return without_data(self._stored(window)) if self._may_lack_data else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _require_windows(self, page: Any) -> None:
        """Look at what the page is, and refuse what only a reader of whole images can make of it."""
        bands, kind = page.samplesperpixel, int(page.photometric)
        self._colors = 3 if kind in (_RGB, _YCBCR) or (kind in _GREY and bands == 3) else 1
        extra = [int(each) for each in page.extrasamples]
        self._alpha = extra[0] if bands > self._colors and extra[:1] in ([1], [2]) else 0
        self._is_planar = int(page.planarconfig) == 2 and bands > 1
        self._part = (
            (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        )
        orientation = page.tags.get(274)
        compression = int(page.compression)
        known = kind in (*_GREY, _RGB, _PALETTE) or (kind == _YCBCR and compression in _JPEGS)
        if page.bitspersample in _ODD_BITS:
            raise UnsupportedImageError(
                f"must have 1, 2, 4, 8 or more bits, got {page.bitspersample}; save it with 8"
            )
        if not known or page.imagedepth > 1:
            raise UnsupportedImageError(
                f"must be grey, RGB or a palette, got {page.photometric.name}; convert it"
            )
        if self.channels is not None:
            self.channels.chosen(np.empty((1, 1, bands)))  # refuses what it lacks
        elif bands != self._colors + bool(self._alpha):
            raise UnsupportedImageError(
                f"must be a picture in grey or color, got a TIFF of {bands} bands, of which nobody knows "
                "which are red, green and blue; choose them with --channels (data.channels), such as 3 2 1"
            )
        if orientation is not None and int(orientation.value) != 1:
            raise UnsupportedImageError(
                f"must be upright, got orientation {orientation.value}; turn its pixels"
            )
        # Without compression any rows can be read, however long the strips are.
        self._is_mapped = not page.is_tiled and page.is_memmappable
        if self._is_mapped:
            return
        sides = zip((page.imagelength, page.imagewidth), self._part, strict=True)
        size = math.prod(map(min, sides)) * page.dtype.itemsize * (1 if self._is_planar else bands)
        if size > _LARGEST_PART:
            raise UnsupportedImageError(
                f"must have tiles or short strips, got strips of {size / 1e6:,.0f} MB; save it with tiles"
            )
        with _imagecodecs_named(page):
            self._decoded(page, 0)

    def _decoded(self, page: Any, index: int) -> NDArray[Any] | None:
        offset, size = page.dataoffsets[index], page.databytecounts[index]
        data = None
        if size:
            self._file.seek(offset)
            data = self._file.read(size)
            if len(data) < size:
                raise ValueError("it is cut off")
        tables = {"jpegtables": page.jpegtables} if int(page.compression) in _JPEGS else {}
        if int(page.compression) in _JPEGS and page.jpegheader is not None:
            tables["jpegheader"] = page.jpegheader
        segment = page.decode(data, index, **tables)[0]
        return None if segment is None else segment[0]

    def _part_at(self, index: int) -> NDArray[Any] | None:
        if index not in self._parts:
            part = self._decoded(self._page, index)
            if part is None:  # of a sparse file
                return None
            self._parts[index] = part
            while sum(kept.nbytes for kept in self._parts.values()) > _CACHE_BYTES and len(self._parts) > 1:
                self._parts.popitem(last=False)
        self._parts.move_to_end(index)
        return self._parts[index]

    def _stored(self, window: Window) -> StoredImage:
        if self._is_mapped:
            return self._as_stored(self._mapped(window))
        page = self._page
        height, width = self._part
        across, down = -(-self.size[1] // width), -(-self.size[0] // height)
        bands = page.samplesperpixel
        values = np.full((*window.shape, bands), nodata_of(page) or 0, page.dtype)
        with naming_damage_of(self.name), _imagecodecs_named(page):
            for row in range(window.top // height, -(-window.bottom // height)):
                for column in range(window.left // width, -(-window.right // width)):
                    for plane in range(bands if self._is_planar else 1):
                        part = self._part_at((plane * down + row) * across + column)
                        if part is None:
                            continue
                        top, left = row * height, column * width
                        there = Window(top, left, top + part.shape[0], left + part.shape[1])
                        shared = window.shared(there)
                        into = (
                            *shared.within(window),
                            slice(plane, plane + 1) if self._is_planar else slice(None),
                        )
                        values[into] = part[shared.within(there)]
        return self._as_stored(values)

    def _mapped(self, window: Window) -> NDArray[Any]:
        page = self._page
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        with naming_damage_of(self.name):
            mapped = np.memmap(self.name, dtype, "r", page.dataoffsets[0], page.shape)
            if self._is_planar:
                mapped = np.moveaxis(mapped, 0, 2)
            values = np.array(mapped[window.slices])
        return values[..., None] if values.ndim == 2 else values

    def _as_stored(self, values: NDArray[Any]) -> StoredImage:
        page = self._page
        bits = page.bitspersample
        if int(page.photometric) == _PALETTE and self.channels is None:
            return StoredImage(palette_of(page.colormap)[values[..., 0]])
        if bits < 8:
            values, bits = (values.astype(np.uint8) * (255 // (2**bits - 1))).astype(np.uint8), 8
        if self.channels is not None:
            stored = self._chosen(values)
        else:
            alpha = values[..., self._colors] if self._alpha else None
            stored = StoredImage(
                values[..., : self._colors], alpha, premultiplied=self._alpha == 1, profile=page.iccprofile
            )
        return stored._replace(bits=bits, white_is_zero=int(page.photometric) == 0, nodata=nodata_of(page))


@contextlib.contextmanager
def _imagecodecs_named(page: Any) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise UnsupportedImageError(
            f"must be a TIFF that can be decoded, got the compression {page.compression.name}; "
            'pip install "axial-deeplab[large]", or save it without'
        ) from None
