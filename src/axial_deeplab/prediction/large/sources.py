"""Large images read by windows: TIFF, GeoTIFF, pyramids, OME-Zarr, arrays, and all other files."""

import contextlib
import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import FORMATS, StoredImage, as_shown, read_image, stored_values
from axial_deeplab.data.tiff import MAGIC, UnsupportedImageError, is_preview, refuse_channels_behind
from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.prediction.large.kept_squares import KeptSquares
from axial_deeplab.prediction.large.maps import Blocks
from axial_deeplab.prediction.large.tiling import Window, cut
from axial_deeplab.util.files import opened, temporary_directory

# Decoded parts of a file that are kept, since neighboring windows share them.
_CACHE_BYTES = 2**26
# A part that has more is not worth reading by windows.
_LARGEST_PART = 2**28
# Pixels of an image that may be in memory as a whole, with its map: more would take more than a GB.
_WHOLE_PIXELS = 2**25
_VALUES_PREFIX = ".axial-deeplab-values-"
_SAMPLED = 16  # windows that show what values an image has
_SAMPLED_SIDE = 512
_PALETTE, _YCBCR, _RGB = 3, 6, 2
_GREY = (0, 1)
_JPEGS = (6, 7, 34892, 33007)
# Where on Earth the pixels lie: scale, tie points, transformation, keys of the projection; what is no data.
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)


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

    def close(self) -> None:
        """Close the file."""

    def _stored(self, window: Window) -> StoredImage:
        raise NotImplementedError

    def _fit_range(self) -> None:
        """Set the ranges of values from a sample of the image, if their rule asks for one, and doubt them."""
        if self.value_range is None:
            return
        value_range, side = self.value_range, _SAMPLED_SIDE
        windows = cut(self.size, side)
        chosen = windows[:: max(1, len(windows) // _SAMPLED)]
        first = self._stored(chosen[0])
        if first.values.dtype == np.uint8:
            return
        parts = zip(*(self._stored(window).parts for window in chosen), strict=True)
        samples = [np.concatenate([values.ravel() for values in part]) for part in parts]
        complaints = (value_range.complaint(sample, bits=first.bits) for sample in samples)
        complaint = next((each for each in complaints if each is not None), None)
        if complaint is not None:
            warnings.warn(f"{self.name} {complaint}", stacklevel=4)
        if value_range.kind == "percentiles":
            self.value_ranges = tuple(_percentiles(sample, value_range) for sample in samples)


def _percentiles(sample: NDArray[Any], value_range: ValueRange) -> ValueRange:
    finite = sample[np.isfinite(sample)]
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
        return _chosen(self, values) if self.channels is not None else StoredImage(values)


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

    def _stored(self, window: Window) -> StoredImage:
        return StoredImage(self._pixels.read(0, window.slices), is_separate=self.channels is not None)


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
        self,
        path: Path,
        value_range: ValueRange | None,
        number: int | None,
        channels: Channels | None = None,
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
                warnings.warn(
                    f"{path} has {len(same)} pages, of which only the first is read; save the others as "
                    "files of their own",
                    stacklevel=5,
                )
            super().__init__(str(path), shape, value_range, channels)
            self.placed = {
                "geo_tags": [_written_again(page.tags[tag]) for tag in _GEO_TAGS if tag in page.tags]
            }
            self._parts: OrderedDict[int, NDArray[Any]] = OrderedDict()
            self._fit_range()
        except BaseException:
            self.close()
            raise

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
        values = np.full((*window.shape, bands), page.nodata, page.dtype)
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
            colors = np.asarray(page.colormap)[:, values[..., 0]]
            return StoredImage((np.moveaxis(colors, 0, 2) >> 8).astype(np.uint8))
        if bits < 8:
            values, bits = (values.astype(np.uint8) * (255 // (2**bits - 1))).astype(np.uint8), 8
        if self.channels is not None:
            chosen = _chosen(self, values)
            return chosen._replace(bits=bits, white_is_zero=int(page.photometric) == 0)
        return StoredImage(
            values[..., : self._colors],
            values[..., self._colors] if self._alpha else None,
            bits=bits,
            white_is_zero=int(page.photometric) == 0,
            premultiplied=self._alpha == 1,
            profile=page.iccprofile,
        )


class ZarrImage(ArrayImage):
    """The largest level of an OME-Zarr image, or an array of Zarr.

    Args:
        path: folder of the group or array.
        value_range: see `LargeImage`.
        channels: see `LargeImage`.

    Raises:
        ValueError: zarr is missing, or the folder holds no image in grey or RGB.
    """

    def __init__(self, path: Path, value_range: ValueRange | None, channels: Channels | None = None) -> None:
        zarr = require_zarr(path)
        with naming_damage_of(path, "an OME-Zarr image"):
            node = zarr.open(path, mode="r")
            attributes, place = _multiscale(node)
            zarr_format = node.metadata.zarr_format
            array = node[place] if place else node
            axes = [axis["name"] if isinstance(axis, dict) else axis for axis in attributes.get("axes", ())]
            if not axes:
                axes = list("tczyx")[-array.ndim :] if place else ["y", "x", "c"][: array.ndim]
        super().__init__(_Planes(array, axes, str(path)), str(path), value_range, channels)
        self.placed = {"multiscale": attributes, "axes": axes, "zarr_format": zarr_format}


def _chosen(image: LargeImage, values: NDArray[Any]) -> StoredImage:
    """Return the channels of an image that are wanted, among all (h, w, C)."""
    assert image.channels is not None
    try:
        return StoredImage(image.channels.chosen(values), is_separate=True)
    except UnsupportedImageError as error:
        raise ValueError(f"{image.name} {error}") from None


class _Planes:
    """A view (H, W, C) of an array with named axes: the first time and the first depth."""

    def __init__(self, array: Any, axes: list[str], name: str) -> None:
        self._array, self._axes = array, axes
        lengths = dict(zip(axes, array.shape, strict=True))
        if "y" not in lengths or "x" not in lengths:
            raise ValueError(f"{name} must have axes y and x, got {axes}; give an image")
        self.shape = lengths["y"], lengths["x"], lengths.get("c", 1)
        several = {axis: length for axis, length in lengths.items() if axis not in "yxc" and length > 1}
        if several:
            told = ", ".join(f"{length} of {axis}" for axis, length in several.items())
            warnings.warn(
                f"{name} has {told}, of which only the first is read; save the others", stacklevel=5
            )

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        of_axis: dict[str, slice | int] = {"y": part[0], "x": part[1], "c": slice(None)}
        values = np.asarray(self._array[tuple(of_axis.get(axis, 0) for axis in self._axes)])
        left = [axis for axis in self._axes if axis in of_axis]
        return values.transpose([left.index(axis) for axis in "yxc" if axis in left])


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
    path: Path,
    folder: Path,
    size: tuple[int, int],
    page: int | None = None,
    channels: Channels | None = None,
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
        yield KeptSquares(size, _SAMPLED_SIDE, ZarrImage(path, None, channels).values).read
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


def require_zarr(path: Path) -> Any:
    """Return the module zarr.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import zarr
    except ImportError:
        raise ValueError(
            f'{path}: Zarr needs the package zarr, which is missing; pip install "axial-deeplab[large]"'
        ) from None
    return zarr


def is_zarr(path: Path) -> bool:
    """Whether a folder is a group or an array of Zarr."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _multiscale(node: Any) -> tuple[dict[str, Any], str]:
    """Return what a group says of its image, and the path of the largest level; nothing of an array."""
    if hasattr(node, "shape"):
        return {}, ""
    for prefix in ("", "0/"):  # bioformats2raw puts images into numbered groups
        group = node if not prefix else node.get("0")
        attributes = dict(group.attrs) if group is not None else {}
        several = attributes.get("ome", attributes).get("multiscales")
        if several:
            return several[0], prefix + several[0]["datasets"][0]["path"]
    raise ValueError("there is no image in this group")


def _written_again(tag: Any) -> tuple[int, int, int, Any, bool]:
    """Return a tag as tifffile writes extra ones."""
    value = tag.value
    return int(tag.code), int(tag.dtype), int(tag.count), value, True


@contextlib.contextmanager
def naming_damage_of(path: str | os.PathLike[str], kind: str = "a complete TIFF") -> Iterator[None]:
    """Name the file in all that its reader raises: it trusts the file, so that damage shows as any error."""
    try:
        yield
    except (UnsupportedImageError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} must be {kind}, got: {reason}; replace it") from None


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
