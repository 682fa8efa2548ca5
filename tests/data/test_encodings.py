"""One picture in many encodings: the network sees what a viewer shows, as it does of the plain PNG."""

import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.data.images import naming_damage, picture_size, read_image, to_rgb, warn_of_images
from axial_deeplab.data.value_range import ValueRange

HEIGHT, WIDTH = 24, 20
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
GREY = np.minimum(255, ROWS * 8 + COLUMNS * 4).astype(np.uint8)
COLORS = np.stack([GREY, 255 - GREY, np.minimum(255, COLUMNS * 13).astype(np.uint8)], axis=2)
WIDE, WIDE_COLORS = GREY.astype(np.uint16) * 257, COLORS.astype(np.uint16) * 257
# What lies below the transparent left half must not show.
HIDDEN = np.where(COLUMNS < WIDTH // 2, 0, 255).astype(np.uint8)
ON_WHITE = np.where(HIDDEN[..., None] == 0, 255, COLORS).astype(np.uint8)
GREY_ON_WHITE = np.where(HIDDEN == 0, 255, GREY).astype(np.uint8)

# Colors of a palette, whose values have 8 bits where 16 are meant.
REDS = np.stack([np.arange(256), np.arange(256) // 2, np.zeros(256)], axis=1).astype(np.uint16)

Write = Callable[[Path], object]


def tiff(values: np.ndarray, **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, values, **options)


def pillow(image: Image.Image, **options: Any) -> Write:
    return lambda path: image.save(path, **options)


def preview_first(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(COLORS[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(COLORS, photometric="rgb")


def png_of_16_bits(color_type: int, values: np.ndarray, key: bytes = b"") -> Write:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, color_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    content = header + (chunk(b"tRNS", key) if key else b"") + chunk(b"IDAT", zlib.compress(rows))
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))


def with_alpha(values: np.ndarray) -> np.ndarray:
    alpha = HIDDEN.astype(values.dtype) * (257 if values.dtype == np.uint16 else 1)
    return np.dstack([values, alpha])


def without_mark_of_alpha(values: np.ndarray) -> Write:
    """Write four bands as OpenCV does, without a word on the fourth."""

    def write(path: Path) -> None:
        tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unassalpha"])
        tag = struct.pack("<HHI", 338, 3, 1)
        content = path.read_bytes()
        assert content.count(tag) == 1
        path.write_bytes(content.replace(tag, struct.pack("<HHI", 65000, 3, 1)))

    return write


def palette_with_a_hole() -> Image.Image:
    image = Image.fromarray(np.where(HIDDEN == 0, 0, 1).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 10, 200, 90])
    return image


HOLE = np.where(HIDDEN[..., None] == 0, 255, np.array([10, 200, 90])).astype(np.uint8)
CMYK = np.dstack([255 - COLORS, np.zeros_like(GREY)])


def unmarked_cmyk(path: Path) -> None:
    """Write ink, not its absence, and take the mark of Adobe out."""
    Image.fromarray(255 - CMYK, "CMYK").save(path, quality=100, subsampling=0)
    content = path.read_bytes()
    start = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    path.write_bytes(content[:start] + content[start + 2 + length :])


def ppm(kind: int, values: np.ndarray, white: int) -> Write:
    header = f"P{kind}\n# a comment\n{WIDTH} {HEIGHT}\n{white}\n".encode()
    plain = " ".join(map(str, values.ravel().tolist())).encode()
    return lambda path: path.write_bytes(header + (plain if kind < 4 else values.astype(">u2").tobytes()))


def profile(kind: str) -> bytes:
    """Return an ICC profile of the kind of a built-in one, sRGB or, with gray, of gamma 1."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


def with_gamma(path: Path) -> None:
    """Write the picture so dark that a gamma of 1 shows it as it is."""
    dark = np.rint((WIDE / 65535.0) ** 2.2 * 65535).astype(np.uint16)
    png_of_16_bits(0, dark)(path)
    content = path.read_bytes()
    body = b"gAMA" + struct.pack(">I", 100_000)
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(content[:33] + chunk + content[33:])


PLANES = {"photometric": "rgb", "planarconfig": "separate"}
WHITE = {"photometric": "miniswhite"}
RGB = {"photometric": "rgb"}
ENCODINGS: dict[str, tuple[Write, np.ndarray]] = {
    "grey.png": (pillow(Image.fromarray(GREY)), GREY),
    "rgb.png": (pillow(Image.fromarray(COLORS)), COLORS),
    "grey16.png": (pillow(Image.fromarray(WIDE)), GREY),
    "rgb16.png": (png_of_16_bits(2, WIDE_COLORS), COLORS),
    "grey16_alpha.png": (png_of_16_bits(4, with_alpha(WIDE)), GREY_ON_WHITE),
    "rgb16_alpha.png": (png_of_16_bits(6, with_alpha(WIDE_COLORS)), ON_WHITE),
    "rgb16_key.png": (
        png_of_16_bits(2, np.where(HIDDEN[..., None] == 0, 4660, WIDE_COLORS), b"\x12\x34" * 3),
        ON_WHITE,
    ),
    "grey16_key.png": (png_of_16_bits(0, np.where(HIDDEN == 0, 4660, WIDE), b"\x12\x34"), GREY_ON_WHITE),
    "grey16.pgm": (ppm(5, WIDE, 65535), GREY),
    "rgb16.ppm": (ppm(6, WIDE_COLORS, 65535), COLORS),
    "rgb16_plain.ppm": (ppm(3, WIDE_COLORS, 65535), COLORS),
    "grey12.pgm": (ppm(5, WIDE >> 4, 4095), GREY),
    "rgb1000.ppm": (ppm(6, (COLORS.astype(np.uint32) * 1000 + 254) // 255, 1000), COLORS),
    "grey16.jp2": (pillow(Image.fromarray(WIDE), irreversible=False), GREY),
    "srgb_profile.png": (pillow(Image.fromarray(COLORS), icc_profile=profile("sRGB")), COLORS),
    "grey_with_profile_of_color.png": (pillow(Image.fromarray(GREY), icc_profile=profile("sRGB")), GREY),
    "broken_profile.png": (pillow(Image.fromarray(COLORS), icc_profile=b"no profile"), COLORS),
    "rgba.png": (pillow(Image.fromarray(with_alpha(COLORS))), ON_WHITE),
    "grey_alpha.png": (pillow(Image.fromarray(with_alpha(GREY), "LA")), GREY_ON_WHITE),
    "palette_hole.png": (pillow(palette_with_a_hole(), transparency=0), HOLE),
    "hole.gif": (pillow(palette_with_a_hole(), transparency=0), HOLE),
    "rgba.webp": (pillow(Image.fromarray(with_alpha(COLORS)), lossless=True), ON_WHITE),
    "grey.tif": (tiff(GREY), GREY),
    "rgb.tif": (tiff(COLORS, **RGB), COLORS),
    "white8.tif": (tiff(255 - GREY, **WHITE), GREY),
    "white16.tif": (tiff(65535 - WIDE, **WHITE), GREY),
    "white16_big_endian.tif": (tiff(65535 - WIDE, **WHITE, byteorder=">"), GREY),
    "white16_lzw.tif": (
        pillow(Image.fromarray(65535 - WIDE), compression="tiff_lzw", tiffinfo={262: 0}),
        GREY,
    ),
    "white16_deflate.tif": (tiff(65535 - WIDE, **WHITE, compression="zlib"), GREY),
    "grey16.tif": (tiff(WIDE), GREY),
    "big_endian_big.tif": (tiff(COLORS, **RGB, byteorder=">", bigtiff=True), COLORS),
    "big_endian16.tif": (tiff(WIDE, byteorder=">"), GREY),
    "bigtiff16.tif": (tiff(WIDE, bigtiff=True), GREY),
    "tiles16.tif": (tiff(WIDE_COLORS, **RGB, tile=(16, 16)), COLORS),
    "lzw16.tif": (pillow(Image.fromarray(WIDE), compression="tiff_lzw"), GREY),
    "lzw8.tif": (pillow(Image.fromarray(COLORS), compression="tiff_lzw"), COLORS),
    "rgb16.tif": (tiff(WIDE_COLORS, **RGB), COLORS),
    "planes8.tif": (tiff(np.moveaxis(COLORS, 2, 0), **PLANES), COLORS),
    "planes16.tif": (tiff(np.moveaxis(WIDE_COLORS, 2, 0), **PLANES), COLORS),
    "planes16_big_endian_tiles.tif": (
        tiff(np.moveaxis(WIDE_COLORS, 2, 0), **PLANES, byteorder=">", tile=(16, 16)),
        COLORS,
    ),
    "bands16.tif": (tiff(WIDE_COLORS, photometric="minisblack", planarconfig="contig"), COLORS),
    "signed8.tif": (tiff((GREY.astype(np.int16) - 128).astype(np.int8)), GREY),
    "signed16.tif": (tiff((WIDE.astype(np.int32) - 32768).astype(np.int16)), GREY),
    "rgba.tif": (tiff(with_alpha(COLORS), **RGB, extrasamples=["unassalpha"]), ON_WHITE),
    "rgba16.tif": (tiff(with_alpha(WIDE_COLORS), **RGB, extrasamples=["unassalpha"]), ON_WHITE),
    "rgba16_premultiplied.tif": (
        tiff(with_alpha(WIDE_COLORS) * (HIDDEN[..., None] // 255), **RGB, extrasamples=["assocalpha"]),
        ON_WHITE,
    ),
    "unmarked_alpha.tif": (without_mark_of_alpha(with_alpha(COLORS)), ON_WHITE),
    "unmarked_alpha16.tif": (without_mark_of_alpha(with_alpha(WIDE_COLORS)), ON_WHITE),
    "one_bit_lzma.tif": (
        tiff(GREY > 127, photometric="minisblack", compression="lzma"),
        np.where(GREY > 127, 255, 0).astype(np.uint8),
    ),
    "lzma8.tif": (tiff(COLORS, **RGB, compression="lzma"), COLORS),
    "deflate_tiles8.tif": (tiff(COLORS, **RGB, compression="zlib", tile=(16, 16)), COLORS),
    "rgba32.tif": (
        tiff(
            np.dstack([WIDE_COLORS.astype(np.uint32), HIDDEN.astype(np.uint32) * 0x01010101]),
            **RGB,
            extrasamples=["unassalpha"],
        ),
        ON_WHITE,
    ),
    "palette_of_8_bits.tif": (tiff(GREY, photometric="palette", colormap=REDS.T), REDS[GREY]),
    "four_bands.tif": (tiff(np.dstack([COLORS, GREY]), **RGB, extrasamples=["unspecified"]), COLORS),
    "preview.tif": (preview_first, COLORS),
    "cmyk.tif": (pillow(Image.fromarray(CMYK, "CMYK")), COLORS),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_shows_the_picture(tmp_path: Path, name: str) -> None:
    write, expected = ENCODINGS[name]
    write(tmp_path / name)
    pixels = read_image(tmp_path / name)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(
    "write", [pillow(Image.fromarray(CMYK, "CMYK"), quality=100, subsampling=0), unmarked_cmyk]
)
def test_cmyk_jpeg_with_and_without_mark(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").astype(int), COLORS, atol=8)


def test_a_gamma_is_that_of_screens(tmp_path: Path) -> None:
    with_gamma(tmp_path / "a.png")
    light = GREY > 100  # below it, 8 bits are too few
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[light][:, 0].astype(int), GREY[light], atol=4)


def test_colors_of_a_profile_are_those_of_screens(tmp_path: Path) -> None:
    lab = Image.fromarray(np.full((4, 5, 3), (200, 0, 0), np.uint8), "LAB")
    lab.save(tmp_path / "a.tif")
    grey = read_image(tmp_path / "a.tif")
    assert np.ptp(grey.astype(int)) <= 2
    assert 180 < grey.mean() < 200


def test_reds_of_a_profile_whose_reds_are_green(tmp_path: Path) -> None:
    other = profile("sRGB").replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    other = other.replace(b"s\0R\0G\0B", b"o\0t\0h\0r").replace(b"sRGB built-in", b"others built")
    swapped = COLORS[..., [1, 0, 2]]
    Image.fromarray(COLORS).save(tmp_path / "a.png", icc_profile=other)
    tiff(WIDE_COLORS, **RGB, iccprofile=other)(tmp_path / "a.tif")
    Image.fromarray(COLORS).save(tmp_path / "b.tif", icc_profile=other)
    for name in ("a.png", "a.tif", "b.tif"):
        np.testing.assert_allclose(read_image(tmp_path / name).astype(int), swapped, atol=2)


def test_jpeg_2000_keeps_all_bits_or_is_refused() -> None:
    path = Path(__file__).parents[1] / "golden" / "rgb16.jp2"
    if find_spec("imagecodecs"):
        np.testing.assert_array_equal(read_image(path), COLORS)
    else:
        message = (
            r"rgb16\.jp2 must be a JPEG 2000 .* got 16 bits for each of several; pip install imagecodecs"
        )
        with pytest.raises(ValueError, match=message):
            read_image(path)


def test_half_transparent_is_half_white() -> None:
    image = Image.new("RGBA", (2, 2), (0, 100, 255, 51))
    np.testing.assert_array_equal(to_rgb(image)[0, 0], [204, 224, 255])


DARK = {
    "twelve.png": pillow(Image.fromarray(GREY.astype(np.uint16) * 16)),
    "twelve_rgb.png": png_of_16_bits(2, COLORS.astype(np.uint16) * 16),
    "twelve.tif": tiff(GREY.astype(np.uint16) * 16),
    "twelve_white.tif": tiff(4095 - GREY.astype(np.uint16) * 16, photometric="miniswhite"),
    "twelve_rgb.tif": tiff(COLORS.astype(np.uint16) * 16, photometric="rgb"),
    "twelve32.tif": tiff(GREY.astype(np.uint32) * 16),
    "twelve.pgm": ppm(5, GREY.astype(np.uint16) * 16, 65535),
    "twelve_rgb.ppm": ppm(6, COLORS.astype(np.uint16) * 16, 65535),
    "twelve.jp2": pillow(Image.fromarray(GREY.astype(np.uint16) * 16), irreversible=False),
}


@pytest.mark.parametrize("name", DARK)
def test_12_bits_in_16_are_named_and_mended(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    DARK[name](path)
    with pytest.warns(
        UserWarning, match=rf"{name} uses 6\.\d% of the range of values .*--value-range.*bits 12"
    ):
        read_image(path)
    pixels = read_image(path, value_range=ValueRange("bits 12"))
    expected = COLORS if "rgb" in name else np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_allclose(pixels.astype(int), expected, atol=1 if "white" in name else 0)


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([0, 128, 255], "bits 8", [0, 128, 255]),
        ([0, 1000, 4095, 60000], "bits 12", [0, 62, 255, 255]),
        ([0, 256, 65535], "full", [0, 1, 255]),
        ([50, 100, 1100, 5000], "100 1100", [0, 0, 255, 255]),
        ([50, 600], "[100, 1100]", [0, 128]),
        (list(range(101)), "percentiles 0 100", np.rint(np.arange(101) * 2.55)),
        ([7, 7, 7], "percentiles 1 99", [0, 0, 0]),
    ],
)
def test_rules(values: list[int], rule: str, expected: Any) -> None:
    np.testing.assert_array_equal(ValueRange(rule).to_8_bits(np.array(values, np.uint16)), expected)


def test_8_bits_stay_whatever_the_rule() -> None:
    for rule in ("full", "bits 12", "percentiles 5 95", "3 4"):
        np.testing.assert_array_equal(ValueRange(rule).to_8_bits(GREY), GREY)


def test_floating_point_numbers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 0.5, 1, np.nan, 2]], np.float32))
    pixels = read_image(tmp_path / "a.tif", value_range=ValueRange("0 1"))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 128, 255, 0, 255])
    with pytest.raises(ValueError, match=r"floating point numbers.*--value-range"):
        read_image(tmp_path / "a.tif")


def test_transparency_in_floating_point_numbers(tmp_path: Path) -> None:
    values = np.array([[[0, 0.5, 1, alpha] for alpha in (1, 0.2, 0, 1.5, np.nan)]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, **RGB, extrasamples=["unassalpha"])
    pixels = read_image(tmp_path / "a.tif", value_range=ValueRange("0 1"))
    opaque = [0, 128, 255]
    assert pixels[0].tolist() == [opaque, [204, 230, 255], [255] * 3, opaque, opaque]


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "bits",
        "bits 7",
        "bits 40",
        "bits x",
        "percentiles",
        "percentiles 9 3",
        "4 3",
        "1",
        "nan 3",
        "dark",
    ],
)
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="value_range must be full, bits N"):
        ValueRange(rule)


def test_values_outside_the_range_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", WIDE)
    with pytest.warns(UserWarning, match=r"a\.tif has 9\d% of its values outside the range 0 to 4095"):
        read_image(tmp_path / "a.tif", value_range=ValueRange("bits 12"))


def test_pages_and_frames_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY, GREY]), photometric="minisblack")
    with pytest.warns(UserWarning, match=r"a\.tif has 3 pages, of which only the first is read"):
        read_image(tmp_path / "a.tif")
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=r"a\.gif has 2 frames, of which only the first is read"):
        read_image(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            tiff(np.zeros((8, HEIGHT, WIDTH), np.uint8), photometric="minisblack", planarconfig="separate"),
            "8 bands",
        ),
        (
            tiff(np.zeros((HEIGHT, WIDTH, 5), np.uint16), photometric="minisblack", planarconfig="contig"),
            "5 bands",
        ),
        (lambda path: path.write_bytes(b"II*\0\x08\0\0\0"), "must be a complete image, got: "),
        (lambda path: path.write_bytes(b"MM\0*" + bytes(50)), "must be a complete image, got: "),
    ],
)
def test_other_tiffs_are_refused_by_their_cause(tmp_path: Path, write: Write, message: str) -> None:
    write(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif .*{message}"):
        read_image(tmp_path / "a.tif")


def test_many_pictures_of_a_small_range_are_told_once(tmp_path: Path) -> None:
    for number in range(5):
        DARK["twelve.png"](tmp_path / f"{number}.png")
    paths = sorted(tmp_path.iterdir())
    told = r"^5 images, of which the first: .*0\.png uses 6\.\d% .*bits 12"
    with pytest.warns(UserWarning, match=told) as caught:
        warn_of_images(paths)
    assert len(caught) == 1
    for times in (1, 2):
        with pytest.warns(UserWarning, match=told) as caught, told_together(), ThreadPoolExecutor(3) as pool:
            list(pool.map(read_image, paths * times))
        assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"^(?!2 images).*0\.png uses 6\.\d% ") as caught, told_together():
        assert read_image(paths[0]).shape == read_image(str(paths[0])).shape
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
def test_threads_leave_the_filters_of_warnings_alone(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [tmp_path / "a.png"] * 200))
    assert list(warnings.filters) == before


def test_a_size_needs_no_range(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 5), np.float32))
    assert picture_size(tmp_path / "a.tif") == (3, 5)
    with pytest.raises(ValueError, match=r"a\.tif must be 5 x 4 pixels .*got 3 x 5"):
        picture_size(tmp_path / "a.tif", size=(5, 4))


def test_a_tiff_that_is_higher_than_its_values_is_damaged(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", WIDE, metadata=None, software=None)
    content = (tmp_path / "a.tif").read_bytes()
    height = next(pack for kind in (3, 4) if (pack := struct.pack("<HHII", 257, kind, 1, HEIGHT)) in content)
    (tmp_path / "a.tif").write_bytes(content.replace(height, height[:8] + struct.pack("<I", 60_000)))
    with pytest.raises(ValueError, match=r"a\.tif must be a complete image, got: a damaged TIFF"):
        read_image(tmp_path / "a.tif")


def test_a_picture_beyond_the_memory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tif must fit into memory"), naming_damage("a.tif"):
        raise MemoryError


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_a_page_is_the_picture(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(each) for each in (255 - GREY, GREY)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / name, page=2)[..., 0], GREY)
    assert picture_size(tmp_path / name, page=1) == GREY.shape
    with pytest.raises(ValueError, match=rf"{name} must have page 3, got 2"):
        read_image(tmp_path / name, page=3)


def test_what_fills_the_border_of_a_picture_does_not_hide_that_it_is_dark(tmp_path):
    # As rasters do: neither the range of the type nor percentiles suit what is inside.
    picture = np.add.outer(np.arange(40), np.arange(50)).astype(np.int32)
    for value, kind, rule, advice in (
        (65535, np.uint16, "full", "bits 8"),
        (-9999, np.int16, "percentiles 1 99", "4 87"),
        (-3.4e38, np.float32, "percentiles 1 99", "4 87"),
    ):
        values = picture.astype(kind)
        values[:4] = value
        path = tmp_path / f"{np.dtype(kind)}.tif"
        tifffile.imwrite(path, values)
        with pytest.warns(
            UserWarning, match=rf"{path.name} uses 0.\d% of the range .*, but for .*\"{advice}\""
        ):
            read_image(path, value_range=ValueRange(rule))
        with warnings.catch_warnings(action="error"):
            inside = read_image(path, value_range=ValueRange("0 88"))[4:, :, 0]
        assert abs(inside - picture[4:] * 255 / 88).max() <= 0.5
