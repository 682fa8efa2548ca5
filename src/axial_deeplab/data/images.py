"""Reading photographs of any common kind as RGB arrays."""

import contextlib
import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from axial_deeplab.data.channels import ALL, Channels
from axial_deeplab.data.image_warnings import ImageWarning, told_together
from axial_deeplab.data.screen_colors import exponent_of_gamma, in_srgb
from axial_deeplab.data.tiff import (
    COLOR_MAP,
    MAGIC,
    TiffPage,
    UnsupportedImageError,
    palette_of,
    read_channels,
    read_tiff,
)
from axial_deeplab.data.value_range import FULL, ValueRange
from axial_deeplab.data.wide_images import (
    WideValues,
    has_16_bit_color,
    read_16_bit_png,
    read_wide_jpeg_2000,
    read_wide_ppm,
)
from axial_deeplab.util.files import opened

# Pillow knows more formats; some start programs that draw their pages.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")

# What Pillow raises, depending on the format, when a file is cut off or damaged.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_WHITE = 255
_ONE_IS_READ = (
    "of which only the first is read; give another with --page, choose them with --channels if they are "
    "channels, or save them as files of their own"
)
# Images that are looked at before a training reads them all: what is odd in one is odd in most.
_LOOKED_AT = 20

# Large pictures are read without a word up to Pillow's limit, which is an error. Set once: the
# filters are shared by all threads, which must not change them while others read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class StoredImage(NamedTuple):
    """What an image file says.

    Args:
        values: (H, W, 1 or 3), of any type; (H, W, C) if the channels are separate.
        alpha: (H, W), 0 for transparent; None where all is opaque.
        orientation: as in EXIF.
        bits: bits of a value, if they are fewer than the type has.
        white_is_zero: whether low values are bright.
        premultiplied: whether the values are multiplied with alpha.
        is_coarse: whether only the upper 8 bits of the values are there.
        more: what the file has beside this picture, for a warning.
        profile: ICC profile of the colors; None for those of usual screens.
        exponent: power of the values from 0 to 1, as the gamma of the file asks for.
        is_separate: whether the channels are no colors, so that each has a range of values of its own.
        nodata: value where a raster has none; None where the file names no such value.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None = None
    orientation: int = 1
    bits: int | None = None
    white_is_zero: bool = False
    premultiplied: bool = False
    is_coarse: bool = False
    more: str | None = None
    profile: bytes | None = None
    exponent: float = 1.0
    is_separate: bool = False
    nodata: float | None = None

    @property
    def parts(self) -> list[NDArray[Any]]:
        """What has a range of values of its own."""
        return list(np.moveaxis(self.values, 2, 0)) if self.is_separate else [self.values]


def read_image(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    value_range: ValueRange = FULL,
    page: int | None = None,
    channels: Channels | None = None,
) -> NDArray[np.uint8]:
    """Read an image file as RGB, uint8 (H, W, 3), upright, as a viewer shows it; or its channels (H, W, C).

    Cameras store a picture as the sensor lay and note in an EXIF tag how to turn it. It is turned, as viewers
    and labeling tools do, unless its annotation was made on the stored pixels, as `size` tells. Where the
    size cannot tell (half a turn, mirrors, squares), it is turned.

    Greyscale is repeated, palettes and CMYK are converted, colors of an ICC profile and the gamma of a PNG
    become those of usual screens (sRGB), and what is transparent is laid on white. Of several pages or frames
    the first is read, with a warning; a page that is marked as a preview does not count. A picture that
    hardly suits the range of values gets a warning, too.

    With `channels` the file is read as it is stored, without any conversion of colors: samples of TIFF, pages
    of TIFF that are channels (OME, ImageJ, or a stack without names), alpha as the last channel of others.
    Each channel has a range of values of its own.

    Args:
        path: a file of one of `FORMATS`.
        size: (height, width) in pixels that an annotation asks for; None takes the upright size.
        value_range: which values are black and white where a channel has more than 8 bits.
        page: page or frame of the file, from 1 on; None takes the first. With `channels`, pages that are
            channels count together as one.
        channels: channels to read; None reads RGB.

    Raises:
        ValueError: the file is no complete image, lacks the page or a channel, its pixels have no range, or
            its size is another, turned or not.
        OSError: the file cannot be opened.
    """
    pixels, notes = read_with_notes(path, size=size, value_range=value_range, page=page, channels=channels)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return pixels


def read_with_notes(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    value_range: ValueRange = FULL,
    page: int | None = None,
    channels: Channels | None = None,
) -> tuple[NDArray[np.uint8], list[ImageWarning]]:
    """Read an image file as `read_image` does; return its pixels and the warnings, without giving them."""
    with opened(path) as file, naming_damage(path):
        stored = _read(file, page, channels)
    if stored.is_coarse and value_range.kind != "full":
        raise ValueError(
            f"{path}: value range {value_range.rule} needs all bits of this compressed TIFF; "
            "pip install imagecodecs, or save it uncompressed"
        )
    try:
        has_8_bits = stored.values.dtype == np.uint8  # as nearly all pictures, and then there is no range
        complaint = None if has_8_bits else _complaint(stored, value_range)
        pixels = as_shown(stored, value_range)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    notes = {"range": complaint, "pages": stored.more}
    return _fitted(pixels, stored.orientation, size, path), [
        ImageWarning(path, text, kind) for kind, text in notes.items() if text is not None
    ]


class ImageHeader(NamedTuple):
    """What an image file says of its picture before any pixel is decoded.

    Args:
        size: (height, width) in pixels, as they are stored.
        mode: Pillow's name for the kind of the pixels; of other TIFFs than RGB, samples and their bits.
        num_bytes: bytes of the values that are decoded.
    """

    size: tuple[int, int]
    mode: str
    num_bytes: int


def read_header(
    path: str | os.PathLike[str], *, page: int | None = None, channels: Channels | None = None
) -> ImageHeader:
    """Read the header of an image file, of the page that `read_image` reads.

    Args:
        path: see `read_image`.
        page: see `read_image`.
        channels: see `read_image`.

    Raises:
        ValueError: the file is no image, lacks the page, or has more pixels than the reader takes.
        OSError: the file cannot be opened.
    """
    with opened(path) as file, naming_damage(path):
        if file.read(4) not in MAGIC:
            file.seek(0)
            image: Image.Image = Image.open(file, formats=FORMATS)
            return ImageHeader(
                (image.height, image.width), image.mode, 4 * len(image.getbands()) * math.prod(image.size)
            )
        found = read_tiff(file, number=None if channels else page, pixels=False)
        height, width, samples = found.shape
        mode = "RGB" if (samples, found.bits) == (3, 8) else f"{samples} x {found.bits} bits"
        pages = found.num_pages if channels else 1
        return ImageHeader((height, width), mode, pages * math.prod(found.shape) * found.bits // 8)


def picture_size(
    path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, page: int | None = None
) -> tuple[int, int]:
    """Decode an image file, whatever the range of its values; return its (height, width) in pixels.

    Args:
        path: see `read_image`.
        size: see `read_image`.
        page: see `read_image`.

    Raises:
        ValueError: the file is no complete image, or its size is another, turned or not.
        OSError: the file cannot be opened.
    """
    with opened(path) as file, naming_damage(path):
        try:
            stored = _read(file, page)
        except UnsupportedImageError as error:  # of many bands, say, which `channels` reads
            file.seek(0)
            if file.read(4) not in MAGIC:
                raise
            file.seek(0)
            try:
                stored = _read(file, page, ALL)
            except UnsupportedImageError:
                raise error from None
    if stored.more is not None:
        warnings.warn(ImageWarning(path, stored.more, "pages"), stacklevel=2)
    height, width = _fitted(stored.values, stored.orientation, size, path).shape[:2]
    return height, width


def _complaint(stored: StoredImage, value_range: ValueRange) -> str | None:
    """Return why the values are hardly of this range, of separate channels for the first that is odd."""
    for number, part in enumerate(stored.parts, start=1):
        complaint = value_range.complaint(part, bits=stored.bits, nodata=stored.nodata)
        if complaint is not None:
            return (
                f"(channel {number} of those that are read) {complaint}" if stored.is_separate else complaint
            )
    return None


def warn_of_images(files: Sequence[Path], **reading: Any) -> None:
    """Look at some image files, evenly spaced among all, and tell what is odd in them.

    Args:
        files: image files; those that cannot be read are passed over.
        reading: arguments of `read_image`.
    """
    step = max(1, -(-len(files) // _LOOKED_AT))
    with told_together():
        for path in files[::step]:
            if not path.is_file():  # a pipe would wait for ever
                continue
            with contextlib.suppress(ValueError, OSError):
                read_image(path, **reading)


def _fitted(
    pixels: NDArray[Any], orientation: int, size: tuple[int, int] | None, path: str | os.PathLike[str]
) -> NDArray[Any]:
    """Return the pixels (H, W, C) upright, or as they lie if only that is the size that is asked for."""
    upright = turned(pixels, orientation)
    if size is None or upright.shape[:2] == tuple(size):
        pixels = np.ascontiguousarray(upright)
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(
            f"{path} must be {size[0]} x {size[1]} pixels (height x width) as its annotation, "
            f"got {pixels.shape[0]} x {pixels.shape[1]}; give the image that was annotated"
        )
    return pixels


def stored_values(
    path: str | os.PathLike[str], *, page: int | None = None, channels: Channels | None = None
) -> NDArray[Any]:
    """Read the values (H, W, C) of an image file as they are stored, of any type, upright.

    Args:
        path: the file.
        page: page or frame of the file, from 1 on; None takes the first.
        channels: see `read_image`; None reads grey or color, so that C is 1 or 3.

    Raises:
        ValueError: the file is no complete image.
        OSError: the file cannot be opened.
    """
    stored = read_stored(path, page=page, channels=channels)
    return turned(stored.values, stored.orientation)


def read_stored(
    path: str | os.PathLike[str], *, page: int | None = None, channels: Channels | None = None
) -> StoredImage:
    """Read what an image file says; arguments and errors are those of `stored_values`."""
    with opened(path) as file, naming_damage(path):
        return _read(file, page, channels)


@contextlib.contextmanager
def naming_damage(
    path: str | os.PathLike[str], kind: str = "a complete image", mend: str = "replace the file"
) -> Iterator[None]:
    """Turn what readers raise of an image file into one clear error.

    Args:
        path: the file.
        kind: what it must be.
        mend: what to do if it is not.

    Raises:
        ValueError: the file is damaged, too large, or of a kind that cannot be read.
    """
    try:
        yield
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, the limit of the reader "
            "(twice PIL.Image.MAX_IMAGE_PIXELS), got more; cut it into tiles, or reduce it"
        ) from None
    except MemoryError:
        raise ValueError(
            f"{path} must fit into memory, got more than there is (or a damaged file); cut it into tiles, or "
            "reduce it"
        ) from None
    except UnsupportedImageError as error:
        raise ValueError(f"{path} {error}") from None
    except DAMAGED as error:
        is_empty = isinstance(error, UnidentifiedImageError) and not os.path.getsize(path)
        what = "an empty file" if is_empty else damage(error)
        raise ValueError(f"{path} must be {kind}, got: {what}; {mend}") from None


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
        if value is not None and not (isinstance(value, Integral) and value >= 1):
            raise ValueError(
                f"{name} must be at least 1 pixel, got {value!r}; None keeps the images as they are"
            )


def to_rgb(image: Image.Image, *, value_range: ValueRange = FULL) -> NDArray[np.uint8]:
    """Convert a Pillow image to RGB, uint8 (H, W, 3), as `read_image` does.

    Raises:
        ValueError: floating point or 32-bit pixels, whose range nobody knows.
    """
    return as_shown(_of_pillow(image), value_range)


def _read(file: BinaryIO, page: int | None, channels: Channels | None = None) -> StoredImage:
    if channels is not None:
        return _read_channels(file, page, channels)
    if file.read(4) in MAGIC:
        return _read_tiff(file, page)
    file.seek(0)
    image: Image.Image = Image.open(file, formats=FORMATS)
    number = getattr(image, "n_frames", 1)
    if page is not None and not 1 <= page <= number:
        raise UnsupportedImageError(f"must have page {page}, got {number}; give another --page, or none")
    image.seek((page or 1) - 1)
    wide = _read_wide(file, image)
    if wide is not None:
        stored = StoredImage(
            wide.values, wide.alpha, bits=wide.bits, profile=image.info.get("icc_profile"),
            exponent=exponent_of_gamma(image),
        )  # fmt: skip
    else:
        image.load()
        stored = _of_pillow(image)
    more = f"has {number} frames, {_ONE_IS_READ}"
    several = image.format != "MPO" and number > 1 and page is None
    return stored._replace(orientation=orientation_of(image), more=more if several else None)


def _read_channels(file: BinaryIO, number: int | None, channels: Channels) -> StoredImage:
    if file.read(4) in MAGIC:
        page = read_channels(file, number=number)
        assert page.values is not None
        stored = StoredImage(
            page.values, None, page.orientation, page.bits, page.white_is_zero,
            more=_more(page, number), nodata=page.nodata,
        )  # fmt: skip
    else:
        file.seek(0)
        stored = _read(file, number)
        if stored.alpha is not None:
            values = np.concatenate([stored.values, stored.alpha[..., None]], axis=2)
            stored = stored._replace(values=values, alpha=None)
    return stored._replace(
        values=channels.chosen(stored.values), profile=None, exponent=1.0, is_separate=True
    )


def _read_wide(file: BinaryIO, image: Image.Image) -> WideValues | None:
    """Read a picture of more than 8 bits of which Pillow would drop some; None for all others."""
    if image.format == "PNG":
        return read_16_bit_png(file) if has_16_bit_color(file) else None
    if image.format == "PPM":
        return read_wide_ppm(file)
    return read_wide_jpeg_2000(file, image) if image.format == "JPEG2000" else None


def _read_tiff(file: BinaryIO, number: int | None) -> StoredImage:
    page = read_tiff(file, number=number)
    if page.values is None:
        file.seek(0)
        try:
            image: Image.Image = Image.open(file, formats=FORMATS)
            image.seek(page.place)
            image.load()
        except UnidentifiedImageError:
            raise UnsupportedImageError(
                "must be a TIFF of a kind that Pillow reads, got another color model, number of bits or "
                "compression; save it as PNG"
            ) from None
        if image.mode == "P":
            image.putpalette(palette_of(image.tag_v2[COLOR_MAP]).tobytes())  # type: ignore[attr-defined]
        stored = _of_pillow(image)._replace(orientation=orientation_of(image), nodata=page.nodata)
    else:
        stored = StoredImage(
            page.values, page.alpha, page.orientation, page.bits, page.white_is_zero,
            page.premultiplied, page.is_coarse, profile=page.profile, nodata=page.nodata,
        )  # fmt: skip
    return stored._replace(more=_more(page, number))


def _more(page: TiffPage, number: int | None) -> str | None:
    if page.warning is not None:
        return page.warning
    several = page.num_pages > 1 and number is None
    return f"has {page.num_pages} pages, {_ONE_IS_READ}" if several else None


def _of_pillow(image: Image.Image) -> StoredImage:
    profile, exponent = image.info.get("icc_profile"), exponent_of_gamma(image)
    if image.mode[0] in "IF":
        values, key = np.asarray(image), image.info.get("transparency")
        alpha = None if key is None else np.where(values == key, 0, 0xFFFF).astype(np.uint16)
        return StoredImage(values[..., None], alpha, profile=profile, exponent=exponent)
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        return StoredImage(pixels[..., :3], pixels[..., 3], profile=profile, exponent=exponent)
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes all for Adobe's, which store the inks inverted.
        image = Image.fromarray(_WHITE - np.asarray(image), "CMYK")
    if image.mode in ("CMYK", "LAB"):
        return StoredImage(np.array(in_srgb(image, profile)))
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    return StoredImage(np.atleast_3d(np.array(image)), profile=profile, exponent=exponent)


def as_shown(stored: StoredImage, *value_ranges: ValueRange) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) as a viewer shows them, transparent ones on white; or separate channels.

    Args:
        stored: what the file says.
        value_ranges: which values are black and white; one for all, or one for each separate channel.
    """
    pixels = stored.values
    if pixels.dtype != np.uint8:
        ranges = value_ranges if len(value_ranges) > 1 else value_ranges * len(stored.parts)
        parts = [
            each.to_8_bits(part, bits=stored.bits, nodata=stored.nodata)
            for part, each in zip(stored.parts, ranges, strict=True)
        ]
        pixels = np.stack(parts, axis=2) if stored.is_separate else parts[0]
    if stored.white_is_zero:
        pixels = _WHITE - pixels
    if stored.is_separate:
        return np.ascontiguousarray(pixels)
    if stored.exponent != 1:
        brightness = (np.arange(_WHITE + 1) / _WHITE) ** stored.exponent
        pixels = np.rint(brightness * _WHITE).astype(np.uint8)[pixels]
    if stored.profile:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        pixels = np.array(in_srgb(image, stored.profile))
    shown = None if stored.alpha is None else _alpha_of_8_bits(stored.alpha)
    if shown is not None and (shown != _WHITE).any():
        alpha = shown[..., None].astype(np.uint16)
        light = pixels.astype(np.uint16) * (_WHITE if stored.premultiplied else alpha)
        on_white = (light + (_WHITE - alpha) * _WHITE + _WHITE // 2) // _WHITE
        pixels = np.minimum(on_white, _WHITE).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def _alpha_of_8_bits(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    """Return alpha as 0 to 255; of floating point numbers 1 is opaque, of others the greatest of the type."""
    if alpha.dtype.kind == "f":
        return np.rint(np.nan_to_num(alpha, nan=1).clip(0, 1) * _WHITE).astype(np.uint8)
    return (alpha >> 24).astype(np.uint8) if alpha.dtype == np.uint32 else FULL.to_8_bits(alpha)


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the pixels (H, W, ...) upright, as an orientation of EXIF says; 5 to 8 lie on their side."""
    if orientation in _SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def orientation_of(image: Image.Image) -> int:
    """Return the orientation of EXIF, 1 for upright, as Pillow makes a TIFF when it reads the pixels."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except DAMAGED:
        # A picture with damaged metadata is still a good picture.
        return 1
    return orientation if isinstance(orientation, int) else 1
