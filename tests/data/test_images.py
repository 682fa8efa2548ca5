"""Photographs of every kind come out as upright RGB, or with one clear error."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.images import read_image, to_rgb

ORIENTATION = 0x0112


def gradient(height: int = 4, width: int = 6) -> np.ndarray:
    """No two corners, rows or columns alike, so that every turn shows."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 30, columns * 30, rows * 10 + columns * 7], axis=2).astype(np.uint8)


def save(path: Path, image: Image.Image, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path


def test_rgb_png_is_read_exactly(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.png", Image.fromarray(gradient())))
    np.testing.assert_array_equal(pixels, gradient())
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_become_rgb(mode: str) -> None:
    color = {"L": (90,) * 3, "LA": (90,) * 3, "1": (255,) * 3}.get(mode, (200, 60, 20))
    source = Image.new("RGB", (5, 3), color)
    if mode == "PA":
        source = source.convert("P", palette=Image.Palette.ADAPTIVE)
    pixels = to_rgb(source.convert(mode, palette=Image.Palette.ADAPTIVE))
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to(color, pixels.shape), atol=3)


def test_greyscale_jpeg_has_three_equal_channels(tmp_path: Path) -> None:
    grey = Image.fromarray(gradient()[..., 2], "L")
    pixels = read_image(save(tmp_path / "a.jpg", grey))
    assert pixels.shape == (4, 6, 3)
    assert (pixels == pixels[..., :1]).all()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (16, 16), (200, 60, 20)).convert("CMYK"))
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    np.testing.assert_allclose(read_image(path).mean(axis=(0, 1)), (200, 60, 20), atol=3)


def test_16_bit_greyscale_keeps_the_high_byte(tmp_path: Path) -> None:
    wide = np.array([[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(wide).save(path)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels[..., 0], [[0, 0, 1], [127, 128, 255]])
    assert (pixels == pixels[..., :1]).all()
    np.testing.assert_array_equal(to_rgb(Image.fromarray(wide.astype(np.int32))), pixels)


def png_of_16_bit_color(color: tuple[int, int, int]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(">6H", *color, *color))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_16_bit_color_keeps_the_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bit_color((0xC8FF, 0x3C00, 0x1480)))
    np.testing.assert_array_equal(read_image(path), [[[0xC8, 0x3C, 0x14]] * 2])


@pytest.mark.parametrize(("mode", "message"), [("F", "floating point"), ("I", "values up to 70000")])
def test_refuses_pixels_of_unknown_range(tmp_path: Path, mode: str, message: str) -> None:
    path = tmp_path / "a.tiff"
    Image.new(mode, (3, 2), 70_000).save(path)
    with pytest.raises(ValueError, match=rf"a\.tiff: pixels must be .*{message}.*--value-range"):
        read_image(path)


# What a viewer shows, from what is stored.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_turns_the_image_upright(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), orientation)
    expected = TURNED[orientation](gradient())
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(path, size=expected.shape[:2]), expected)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotation_of_the_stored_pixels_keeps_them(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), orientation)
    np.testing.assert_array_equal(read_image(path, size=(4, 6)), gradient())


def test_square_image_is_turned_as_viewers_do(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient(5, 5)), 6)
    np.testing.assert_array_equal(read_image(path, size=(5, 5)), TURNED[6](gradient(5, 5)))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_meaningless_orientation_is_passed_over(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), orientation)
    np.testing.assert_array_equal(read_image(path), gradient())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0no header"])
def test_damaged_exif_does_not_matter(tmp_path: Path, exif: bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, format="PNG", exif=exif)
    path = tmp_path / "a.png"
    path.write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_image(path), gradient())


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff"])
def test_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"photo.{suffix}", Image.effect_noise((60, 50), 80).convert("RGB"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"photo\.{suffix} must be a complete image"):
        read_image(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)
def test_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    """Of the last one Pillow would let Ghostscript draw the page."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    kind = "a file that is none of JPEG, PNG, .*" if content else "an empty file"
    expected = rf"photo\.jpg must be a complete image, got: {kind}; replace the file$"
    with pytest.raises(ValueError, match=expected):
        read_image(path)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"photo\.jpg"):
        read_image(tmp_path / "photo.jpg")
    with pytest.raises(OSError, match=str(tmp_path)):
        read_image(tmp_path)


def test_size_that_fits_neither_way_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), 6)
    with pytest.raises(
        ValueError, match=r"a\.png must be 7 x 6 pixels \(height x width\) as its annotation, got 4 x 6"
    ):
        read_image(path, size=(7, 6))


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses from twice as many on
    with pytest.raises(ValueError, match=r"a\.png must have at most 1,000 pixels.*cut it into tiles"):
        read_image(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (20_000, 50)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (size[1], size[0])))
    assert read_image(path, size=size).shape == (*size, 3)
