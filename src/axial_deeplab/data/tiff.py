"""TIFF files: which page is the picture, and the pages that Pillow reads wrong or not at all."""

import contextlib
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.util.files import opened

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_REDUCED_OR_MASK = 1 | 4  # of the tag NewSubfileType
_OLD_SUBFILE_TYPE, _OLD_REDUCED = 255, 2
_ORIENTATION = 274
COLOR_MAP = 320
_NODATA = 42113
# None, those of fax machines, LZW, JPEG, Deflate, PackBits: every Pillow has them, and other ones by chance.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946)
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
# Pictures are hardly narrower than that, and hardly have more channels.
_MOST_CHANNELS_BEHIND = 16

# Tags that are odd are no news to those who want the picture.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class UnsupportedImageError(ValueError):
    """A complete image file of a kind that cannot be read; the text goes on after the path of the file."""


class TiffPage(NamedTuple):
    """The page of a TIFF file that is the picture.

    Args:
        place: its place among all pages of the file.
        num_pages: pages that are pictures, without previews and masks.
        values: (H, W, 1 or 3); None where Pillow reads the page right.
        alpha: (H, W), of the type of `values`; None where all is opaque.
        premultiplied: whether the values are multiplied with alpha.
        white_is_zero: whether low values are bright.
        bits: bits of a value.
        orientation: as in EXIF, 1 for upright.
        is_coarse: whether only the upper 8 bits of the values could be decoded.
        profile: ICC profile of the colors.
        warning: what is read in one of two ways that may be meant; None where nothing is.
        nodata: see `nodata_of`.
        shape: height, width and number of samples.
    """

    place: int
    num_pages: int
    values: NDArray[Any] | None = None
    alpha: NDArray[Any] | None = None
    premultiplied: bool = False
    white_is_zero: bool = False
    bits: int = 8
    orientation: int = 1
    is_coarse: bool = False
    profile: bytes | None = None
    warning: str | None = None
    nodata: float | None = None
    shape: tuple[int, int, int] = (0, 0, 0)


def read_tiff(file: BinaryIO, *, number: int | None = None, pixels: bool = True) -> TiffPage:
    """Read the first page of a TIFF file that is no preview of another.

    Args:
        file: the open file.
        number: which page instead, from 1 on.
        pixels: whether to read values that Pillow does not; otherwise the page is only looked up.

    Raises:
        UnsupportedImageError: there is no such page, or it is of a kind that cannot be read.
        ValueError: the file is damaged.
    """
    import tifffile

    file.seek(0)
    with _all_errors_as_damage(), tifffile.TiffFile(file) as tiff:
        pages = list(tiff.pages)
        pictures = [place for place, page in enumerate(pages) if not is_preview(page)] or [0]
        if number is not None and not 1 <= number <= len(pictures):
            raise UnsupportedImageError(
                f"must have page {number}, got {len(pictures)} pages; give another --page"
            )
        place = pictures[(number or 1) - 1]
        page: Any = pages[place]
        if number is None and len(pictures) > 1:
            refuse_channels_behind(tiff)
        _refuse_bomb(page, page.imagewidth * page.imagelength * page.imagedepth * page.samplesperpixel)
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel * page.imagedepth)
        found = TiffPage(place, len(pictures), bits=page.bitspersample, shape=shape)
        found = found._replace(nodata=nodata_of(page))
        return _decoded(page, found, file) if pixels and not _pillow_reads(page) else found


def read_channels(file: BinaryIO, *, number: int | None = None) -> TiffPage:
    """Read all channels of a TIFF file, its values being (H, W, C).

    They are the samples of a page, and the pages that OME or ImageJ call channels; otherwise all pages of a
    stack that says nothing of them, unless the channels lie behind (see `channels_behind`).

    Args:
        file: the open file.
        number: page of all channels together, from 1 on, where there are several times or depths; pages of a
            stack that says nothing are then no channels.

    Raises:
        UnsupportedImageError: there is no such page, or it is of a kind that cannot be read.
        ValueError: the file is damaged.
    """
    import tifffile

    file.seek(0)
    with _all_errors_as_damage(), tifffile.TiffFile(file) as tiff:
        series = _first_series(tiff)
        page, axes = series.keyframe, list(enumerate(series.axes))
        _refuse_bomb(page, math.prod(series.shape))
        channels = [place for place, axis in axes if axis in "SC"]
        size, warning = [place for place, axis in axes if axis in "YX"], None
        if not channels and number is None:
            channels = [place for place, axis in axes if axis in "IQ"]
            if told := _channels_behind(series):
                size = [place for place, _ in axes if series.shape[place] > 1]
                channels = [size.pop()]
                warning = f"is read as {told}; if the pages are pictures, give --page N"
        if len(size) != 2:
            raise ValueError(f"no height and width among the axes {series.axes}")
        others = [place for place, _ in axes if place not in (*size, *channels)]
        try:
            values = series.asarray().transpose((*others, *size, *channels))
        except (ValueError, ImportError) as error:
            raise _missing_codec(page) if _is_missing_codec(error) else error from None
        height, width, *of_channels = (series.shape[place] for place in (*size, *channels))
        pages = values.reshape(-1, height, width, math.prod(of_channels))
        if number is not None and not 1 <= number <= len(pages):
            raise UnsupportedImageError(
                f"must have page {number}, got {len(pages)} pages of all channels; give another --page"
            )
        return _found(page, TiffPage(page.index, len(pages)))._replace(
            values=_from_few_bits(pages[(number or 1) - 1], page), warning=warning
        )


def read_numbers(file: BinaryIO, place: int) -> NDArray[Any] | None:
    """Read the values (H, W) of a page of one channel as they are stored, whatever a viewer shows.

    Pillow reads no 64 bits, and shows white-is-zero, which tifffile writes of booleans, inverted.

    Args:
        file: the open file.
        place: place of the page among all pages, as `read_tiff` gives it.

    Returns:
        The values; None of a page that Pillow reads right, or alone.

    Raises:
        UnsupportedImageError: it has several channels, and is no color.
        ValueError: the file is damaged.
    """
    import tifffile

    file.seek(0)
    with _all_errors_as_damage(), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[place]
        is_white_zero = int(page.photometric) == _WHITE_IS_ZERO
        if page.samplesperpixel not in (1, 3, 4):
            raise UnsupportedImageError(
                f"must have one channel whose values are ids, got {page.samplesperpixel}; give the map of ids"
            )
        if page.samplesperpixel != 1 or page.imagedepth > 1 or _ORIENTATION in page.tags:
            return None
        # Of two levels others than tifffile mean what is shown.
        if page.bitspersample < 8 and not (is_white_zero and page.software.startswith("tifffile")):
            return None
        try:
            values = np.asarray(page.asarray())
        except (ValueError, ImportError) as error:
            if _is_missing_codec(error):
                return None
            raise
        if values.shape != (page.imagelength, page.imagewidth) or not values.size:
            raise ValueError(f"values of the shape {values.shape}")
        return values


def refuse_channels_behind(tiff: Any) -> None:
    """Refuse a stack whose pages are rather the rows of a picture of many channels.

    An array (H, W, C) with more channels than colors, which tifffile writes without a word of what they are,
    is H pages of W x C pixels. It is taken for a picture if C is at most 16 and less than H and W.

    Args:
        tiff: the open `tifffile.TiffFile`.

    Raises:
        UnsupportedImageError: it is one.
    """
    if told := _channels_behind(_first_series(tiff)):
        raise UnsupportedImageError(
            f"must be a picture in grey or color, got {told}; choose some with --channels (data.channels), "
            "or a page with --page (data.page)"
        )


def _channels_behind(series: Any) -> str | None:
    """Tell the height, width and channels of such a stack; None of others."""
    axes = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1]
    if "".join(axis for axis, _ in axes) not in ("QYX", "IYX"):
        return None
    height, width, channels = (size for _, size in axes)
    if channels > _MOST_CHANNELS_BEHIND or channels >= min(height, width):
        return None
    return (
        f"{height} x {width} pixels (height x width) of {channels} channels, rather than {height} pages of "
        f"{width} x {channels}"
    )


def _first_series(tiff: Any) -> Any:
    return next((each for each in tiff.series if not is_preview(each.keyframe)), tiff.series[0])


def save_page(source: Path, number: int, target: Path) -> None:
    """Write one page of a TIFF file as a file of its own, with the values that it has; copy other pictures.

    Args:
        source: the file.
        number: which page, from 1 on, without previews.
        target: the file to write.

    Raises:
        ValueError: there is no such page, it is of a kind that cannot be read, or the file is no TIFF and
            has several frames.
        OSError: a file cannot be read or written.
    """
    import tifffile

    with opened(source) as file:
        if file.read(4) not in MAGIC:
            file.seek(0)
            frames = getattr(Image.open(file), "n_frames", 1)
            if frames > 1 or number > 1:
                raise UnsupportedImageError(
                    f"must be a TIFF for page {number} of it to be copied, got a file of {frames} frames; "
                    "leave out --page, or save that frame as a file of its own"
                )
            shutil.copyfile(source, target)
            return
        place = read_tiff(file, number=number, pixels=False).place
        file.seek(0)
        with _all_errors_as_damage(), tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages[place]
            if not _pillow_reads(page):
                planes = {"planarconfig": page.planarconfig} if page.samplesperpixel > 1 else {}
                extra = {"extrasamples": page.extrasamples} if page.extrasamples else {}
                icc = {"iccprofile": page.iccprofile} if page.iccprofile else {}
                tifffile.imwrite(
                    target, page.asarray(), photometric=page.photometric, **planes, **extra, **icc
                )
                return
        file.seek(0)
        with Image.open(file, formats=["TIFF"]) as image:
            image.seek(place)
            image.save(target, format="TIFF", save_all=False)


def has_pages(path: Path) -> bool:
    """Whether an image file is a TIFF of several pages."""
    with opened(path) as file:
        return file.read(4) in MAGIC and read_tiff(file, pixels=False).num_pages > 1


@contextlib.contextmanager
def _all_errors_as_damage() -> Iterator[None]:
    try:
        yield
    except (UnsupportedImageError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # tifffile trusts the file, so that damage shows as errors of any kind
        raise ValueError(f"a damaged TIFF ({str(error) or type(error).__name__})") from None


def is_preview(page: Any) -> bool:
    old = page.tags.get(_OLD_SUBFILE_TYPE)
    return bool(page.subfiletype & _REDUCED_OR_MASK) or (old is not None and old.value == _OLD_REDUCED)


def _refuse_bomb(page: Any, values: int) -> None:
    """Refuse a page, or a file of so many values, that may take all memory, or whose values are complex."""
    if page.dtype is not None and page.dtype.kind == "c":
        raise UnsupportedImageError(
            f"must have real numbers as pixels, got {page.dtype}; save what numpy.abs gives of them"
        )
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 40)
    tile = page.tilewidth * page.tilelength * page.tiledepth
    if page.imagewidth * page.imagelength > limit or max(values // 8, tile) > limit:
        raise Image.DecompressionBombError


def _pillow_reads(page: Any) -> bool:
    """Whether Pillow gives what a viewer shows: 8 unsigned bits at most, and color models that it knows."""
    if int(page.photometric) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return True
    if int(page.compression) not in _COMPRESSIONS:
        return False
    samples = page.samplesperpixel
    usual = samples in (3, 4) if int(page.photometric) == _RGB else samples == 1
    is_known = page.parent.byteorder == "<" or not page.parent.is_bigtiff
    return usual and is_known and page.bitspersample <= 8 and int(page.sampleformat) in (1, 4)


def _decoded(page: Any, found: TiffPage, file: BinaryIO) -> TiffPage:
    bands = page.samplesperpixel
    colors = 3 if bands == 3 or int(page.photometric) == _RGB else 1
    extra = [int(kind) for kind in page.extrasamples]
    if not extra and bands == 4 and int(page.photometric) == _RGB:
        extra = [_UNASSOCIATED_ALPHA]  # OpenCV does not say so, and viewers take it for that
    has_alpha = bands > colors and extra[:1] in ([_ASSOCIATED_ALPHA], [_UNASSOCIATED_ALPHA])
    if bands < colors or (bands > colors + has_alpha and colors == 1) or page.imagedepth > 1:
        what = f"{bands} bands" if page.imagedepth == 1 else f"{page.imagedepth} planes of depth"
        raise UnsupportedImageError(
            f"must be a picture in grey or color, got a TIFF of {what}, of which nobody knows which are "
            "red, green and blue; choose them with --channels (data.channels), such as 3 2 1"
        )
    found = _found(page, found)._replace(
        premultiplied=extra[:1] == [_ASSOCIATED_ALPHA], profile=page.iccprofile
    )
    page.nodata = found.nodata or 0  # for parts that a sparse file leaves out
    try:
        values = page.asarray()
    except (ValueError, ImportError) as error:
        if not _is_missing_codec(error):
            raise
        values = _decoded_by_pillow(page, found.place, file)
        # Which Pillow has turned.
        found = found._replace(orientation=1, is_coarse=bands > 1 and page.dtype != np.uint8)
    else:
        if bands > 1 and page.axes.startswith("S"):  # plane by plane
            values = np.moveaxis(values, 0, 2)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[:2] != (page.imagelength, page.imagewidth) or not values.size:
        raise ValueError(f"values of the shape {values.shape}")
    values = _from_few_bits(values, page)
    alpha = values[..., colors] if has_alpha and values.shape[2] > colors else None
    return found._replace(values=values[..., :colors], alpha=alpha)


def _found(page: Any, found: TiffPage) -> TiffPage:
    """Add what the tags say of all values alike."""
    orientation = page.tags.get(_ORIENTATION)
    return found._replace(
        white_is_zero=int(page.photometric) == _WHITE_IS_ZERO,
        bits=page.bitspersample,
        nodata=nodata_of(page),
        orientation=1 if orientation is None else int(orientation.value),
    )


def nodata_of(page: Any) -> float | None:
    """Return the value that GDAL and its kin write where a raster has none.

    None if the page names none, or none that its pixels can have. (`nodata` of tifffile 2026.3.3 is 0 then,
    and for -3.4028234663852886e+38, the lowest number of float32, which most rasters name.)
    """
    tag, dtype = page.tags.get(_NODATA), page.dtype
    try:
        value = float(str(tag.value).strip("\0 ")) if tag is not None else None
    except ValueError:
        return None
    if value is None or dtype is None or page.bitspersample < 8:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    is_known = dtype.kind in "iu" and value.is_integer()
    return int(value) if is_known and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max else None


def palette_of(colors: Any) -> NDArray[np.uint8]:
    """Return the colors (N, 3) of a palette, from the 3 N values of its tag: all reds, greens and blues.

    They have 16 bits; where none exceeds 255 a program has written 8 bits, which viewers show as such.
    """
    values = np.reshape(colors, (3, -1)).T
    return (values if values.max(initial=0) < 256 else values >> 8).astype(np.uint8)


def _from_few_bits(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return values of fewer than 8 bits stretched to 8; others as they are."""
    if page.bitspersample >= 8:
        return values
    return (values.astype(np.uint16) * 255 // (2**page.bitspersample - 1)).astype(np.uint8)


def _is_missing_codec(error: Exception) -> bool:
    return isinstance(error, ImportError) or "imagecodecs" in str(error)


def _missing_codec(page: Any) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"must be a TIFF that can be decoded, got the compression {page.compression.name} of "
        f"{page.samplesperpixel} x {page.bitspersample} bits; pip install imagecodecs, or save it without"
    )


def _decoded_by_pillow(page: Any, place: int, file: BinaryIO) -> NDArray[Any]:
    """Decode what tifffile needs a further package for, if Pillow gives the values as they are stored."""
    missing = _missing_codec(page)
    file.seek(0)
    try:
        with Image.open(file, formats=["TIFF"]) as image:
            image.seek(place)
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        raise missing from None
    if page.samplesperpixel == 1 and mode in ("L", "I", "F", "I;16", "I;16B", "I;16L"):
        return values.astype(page.dtype)
    if mode == "RGB" and page.dtype == np.uint8:
        return values
    if mode == "RGB" and page.dtype == np.uint16:
        return values.astype(np.uint16) * 257  # of 16 bits Pillow keeps the upper 8
    raise missing
