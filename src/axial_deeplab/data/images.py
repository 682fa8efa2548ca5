"""Reading photographs of any common kind as RGB arrays."""

import contextlib
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from axial_deeplab.data.tiff import MAGIC, UnsupportedImageError, read_tiff
from axial_deeplab.data.value_range import FULL, ValueRange

# Pillow knows more formats; some start programs that draw their pages.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")

# What Pillow raises, depending on the format, when a file is cut off or damaged.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_WHITE = 255


class _Stored(NamedTuple):
    """What an image file says.

    Args:
        values: (H, W, 1 or 3), of any type.
        alpha: (H, W), 0 for transparent; None where all is opaque.
        orientation: as in EXIF.
        bits: bits of a value, if they are fewer than the type has.
        white_is_zero: whether low values are bright.
        premultiplied: whether the values are multiplied with alpha.
        is_coarse: whether only the upper 8 bits of the values are there.
        more: what the file has beside this picture, for a warning.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None = None
    orientation: int = 1
    bits: int | None = None
    white_is_zero: bool = False
    premultiplied: bool = False
    is_coarse: bool = False
    more: str | None = None


def read_image(
    path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, value_range: ValueRange = FULL
) -> NDArray[np.uint8]:
    """Read an image file as RGB, uint8 (H, W, 3), upright, as a viewer shows it.

    Cameras store a picture as the sensor lay and note in an EXIF tag how to turn it. It is turned, as viewers
    and labeling tools do, unless its annotation was made on the stored pixels, as `size` tells. Where the
    size cannot tell (half a turn, mirrors, squares), it is turned.

    Greyscale is repeated, palettes and CMYK are converted, and what is transparent is laid on white. Of
    several pages or frames the first is read, with a warning; a page that is marked as a preview does not
    count. A picture that hardly suits the range of values gets a warning, too.

    Args:
        path: a file of one of `FORMATS`.
        size: (height, width) in pixels that an annotation asks for; None takes the upright size.
        value_range: which values are black and white where a channel has more than 8 bits.

    Raises:
        ValueError: the file is no complete image, its pixels have no range, or its size is another, turned or
            not.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file, naming_damage(path):
        stored = _read(file)
    if stored.is_coarse and value_range.kind != "full":
        raise ValueError(
            f"{path}: value range {value_range.rule} needs all bits of this compressed TIFF; "
            "pip install imagecodecs, or save it uncompressed"
        )
    try:
        has_8_bits = stored.values.dtype == np.uint8  # as nearly all pictures, and then there is no range
        complaint = None if has_8_bits else value_range.complaint(stored.values, bits=stored.bits)
        pixels = _as_shown(stored, value_range)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for text in (complaint, stored.more):
        if text is not None:
            warnings.warn(f"{path} {text}", stacklevel=2)
    turned = _turned(pixels, stored.orientation)
    if size is None or turned.shape[:2] == tuple(size):
        pixels = np.ascontiguousarray(turned)
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(
            f"{path} must be {size[0]} x {size[1]} pixels (height x width) as its annotation, "
            f"got {pixels.shape[0]} x {pixels.shape[1]}; give the image that was annotated"
        )
    return pixels


def stored_values(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the values (H, W, 1 or 3) of an image file as they are stored, of any type, upright.

    Raises:
        ValueError: the file is no complete image.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file, naming_damage(path):
        stored = _read(file)
    return _turned(stored.values, stored.orientation)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, the limit of the reader "
            "(twice PIL.Image.MAX_IMAGE_PIXELS), got more; cut it into tiles, or reduce it"
        ) from None
    except UnsupportedImageError as error:
        raise ValueError(f"{path} {error}") from None
    except DAMAGED as error:
        raise ValueError(f"{path} must be {kind}, got: {damage(error)}; {mend}") from None


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
        if value is not None and value < 1:
            raise ValueError(
                f"{name} must be at least 1 pixel, got {value}; None keeps the images as they are"
            )


def to_rgb(image: Image.Image, *, value_range: ValueRange = FULL) -> NDArray[np.uint8]:
    """Convert a Pillow image to RGB, uint8 (H, W, 3), as `read_image` does.

    Raises:
        ValueError: floating point or 32-bit pixels, whose range nobody knows.
    """
    return _as_shown(_of_pillow(image), value_range)


def _read(file: BinaryIO) -> _Stored:
    if file.read(4) in MAGIC:
        return _read_tiff(file)
    file.seek(0)
    image: Image.Image = Image.open(file, formats=FORMATS)
    if image.format == "PNG" and _has_16_bit_color(file):
        return _read_16_bit_color(file)
    image.load()
    more = "has several frames, of which only the first is read; save the others as files of their own"
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    return _of_pillow(image)._replace(orientation=_orientation(image), more=more if several else None)


def _read_tiff(file: BinaryIO) -> _Stored:
    page = read_tiff(file)
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
        stored = _of_pillow(image)._replace(orientation=_orientation(image))
    else:
        stored = _Stored(
            page.values, page.alpha, page.orientation, page.bits, page.white_is_zero,
            page.premultiplied, page.is_coarse,
        )  # fmt: skip
    more = (
        f"has {page.num_pages} pages, of which only the first is read; save the others as files of their own"
    )
    return stored._replace(more=more if page.num_pages > 1 else None)


def _of_pillow(image: Image.Image) -> _Stored:
    if image.mode[0] in "IF":
        return _Stored(np.asarray(image)[..., None])
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        return _Stored(pixels[..., :3], pixels[..., 3])
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes all for Adobe's, which store the inks inverted.
        image = Image.fromarray(_WHITE - np.asarray(image), "CMYK")
    return _Stored(np.array(image if image.mode == "RGB" else image.convert("RGB")))


def _has_16_bit_color(file: BinaryIO) -> bool:
    """Whether a PNG has 16 bits for each of several channels, of which Pillow drops 8."""
    file.seek(24)
    depth, color_type = file.read(2)
    file.seek(0)
    return depth == 16 and color_type != 0


def _read_16_bit_color(file: BinaryIO) -> _Stored:
    """Let Pillow decode the upper bytes, and the lower ones as if they were those of the other byte order."""
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
    return _Stored(values[..., :colors], alpha, _orientation(image))


def _as_shown(stored: _Stored, value_range: ValueRange) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) as a viewer shows them, transparent ones on white."""
    pixels = stored.values
    if pixels.dtype != np.uint8:
        pixels = value_range.to_8_bits(pixels, bits=stored.bits)
    if stored.white_is_zero:
        pixels = _WHITE - pixels
    if stored.alpha is not None and (stored.alpha != np.iinfo(stored.alpha.dtype).max).any():
        alpha = FULL.to_8_bits(stored.alpha)[..., None].astype(np.uint16)
        light = pixels.astype(np.uint16) * (_WHITE if stored.premultiplied else alpha)
        shown = (light + (_WHITE - alpha) * _WHITE + _WHITE // 2) // _WHITE
        pixels = np.minimum(shown, _WHITE).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the pixels (H, W, C) upright; orientations 5 to 8 lie on their side."""
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except DAMAGED:
        # A picture with damaged metadata is still a good picture.
        return 1
    return orientation if isinstance(orientation, int) else 1
