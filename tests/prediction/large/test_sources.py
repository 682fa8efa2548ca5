"""Windows of large images show what `read_image` shows of the whole."""

import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import read_image, stored_values
from axial_deeplab.data.value_range import FULL, ValueRange
from axial_deeplab.prediction.large.large_image import ArrayImage
from axial_deeplab.prediction.large.sources import DecodedImage, open_image, open_values
from axial_deeplab.prediction.large.tiff_image import TiffImage
from axial_deeplab.prediction.large.tiling import Window

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (70, 90, 3), np.uint8)
GREY = RNG.integers(0, 256, (70, 90), np.uint8)
DEEP = RNG.integers(0, 2**16, (70, 90), np.uint16)
FIVE = np.zeros((70, 90, 5), np.uint8)
ALPHA = RNG.integers(0, 256, (70, 90, 4), np.uint8)
TILES = {"tile": (32, 48)}
ZIP = {"compression": "zlib"}
WINDOWS = [Window(0, 0, 70, 90), Window(31, 45, 34, 52), Window(69, 0, 70, 1), Window(5, 60, 70, 90)]


def check(path, folder, value_range=FULL, kind=TiffImage, channels=None):
    image = open_image(path, folder, value_range, channels=channels)
    assert type(image) is kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = read_image(path, value_range=value_range, channels=channels)
    assert image.size == whole.shape[:2]
    for window in WINDOWS:
        np.testing.assert_array_equal(image.read(window), whole[window.slices])
    image.close()
    check_values(path, folder, channels)


def check_values(path, folder, channels=None):
    """Compare the stored values of windows with those of the whole; grey may have one channel for three."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = stored_values(path, channels=channels)
    for most_pixels in (0, 2**25):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("axial_deeplab.prediction.large.sources._WHOLE_PIXELS", most_pixels)
            with open_values(path, folder, whole.shape[:2], channels=channels) as read:
                for window in WINDOWS:
                    expected = whole[window.slices]
                    np.testing.assert_array_equal(np.broadcast_to(read(window), expected.shape), expected)
    assert not list(folder.glob(".axial*"))


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (COLOR, {"photometric": "rgb", **TILES, **ZIP}),
        (COLOR, {"photometric": "rgb", **TILES}),
        (COLOR, {"photometric": "rgb"}),
        (COLOR, {"photometric": "rgb", "rowsperstrip": 7, **ZIP, "predictor": True}),
        (np.moveaxis(COLOR, 2, 0), {"photometric": "rgb", "planarconfig": "separate", **TILES, **ZIP}),
        (np.moveaxis(COLOR, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (GREY, {"photometric": "minisblack", **TILES}),
        (GREY, {"photometric": "miniswhite", "rowsperstrip": 7}),
        (DEEP, {"photometric": "minisblack", **TILES, **ZIP, "byteorder": ">"}),
        (DEEP, {"photometric": "miniswhite"}),
        (ALPHA, {"photometric": "rgb", "extrasamples": ["unassalpha"], **TILES, **ZIP}),
        (GREY, {"photometric": "palette", "colormap": RNG.integers(0, 2**16, (3, 256), np.uint16), **TILES}),
        (GREY, {"photometric": "palette", "colormap": RNG.integers(0, 2**8, (3, 256), np.uint16), **TILES}),
        (GREY > 99, {"photometric": "minisblack", "rowsperstrip": 9}),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else str(value.shape),
)
def test_tiff_by_windows(values, options, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, bigtiff=True, **options)
    check(path, tmp_path)
    tifffile.imwrite(path, values, **options)
    check_values(path, tmp_path)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"planarconfig": "contig", **TILES, **ZIP}, TiffImage),
        ({"planarconfig": "contig", "photometric": "miniswhite"}, TiffImage),
        ({"planarconfig": "separate", "rowsperstrip": 7, **ZIP}, TiffImage),
        ({"imagej": True, "metadata": {"axes": "CYX"}}, DecodedImage),
    ],
    ids=str,
)
def test_channels_by_windows(options, kind, tmp_path):
    path = tmp_path / "a.tif"
    values = RNG.integers(0, 2**12, (70, 90, 5), np.uint16)
    is_last = options.get("planarconfig") == "contig"
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(path, values if is_last else np.moveaxis(values, 2, 0), **options)
    for rule in ("0 4095", "percentiles 0 100"):  # which a sample of so small an image are exact in
        check(path, tmp_path, ValueRange(rule), kind, Channels((5, 1)))
    with pytest.raises(ValueError, match=r"a\.tif must have channel 7, got 5 channels"):
        open_image(path, tmp_path, FULL, channels=Channels((7,)))


def test_channels_of_arrays_are_those_of_the_network():
    image = open_image(FIVE, None, FULL, channels=Channels((9, 2, 3, 4, 6)))
    assert image.read(WINDOWS[1]).shape == (*WINDOWS[1].shape, 5)
    with pytest.raises(ValueError, match="image must have 2 channels as the pictures of the training, got 5"):
        open_image(FIVE, None, FULL, channels=Channels((1, 2)))


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "zstd"])
def test_other_compressions_need_imagecodecs(compression, tmp_path):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOR, photometric="rgb", tile=(32, 48), compression=compression)
    image = open_image(path, tmp_path, FULL)
    expected = tifffile.imread(path)
    for window in WINDOWS:
        np.testing.assert_array_equal(image.read(window), expected[window.slices])


def test_premultiplied_alpha_is_laid_on_white(tmp_path):
    path = tmp_path / "a.tif"
    values = np.array([[[100, 0, 0, 200], [0, 0, 0, 0]]], np.uint8).repeat(40, axis=0).repeat(40, axis=1)
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["assocalpha"], **TILES)
    pixels = open_image(path, tmp_path, FULL).read(Window(0, 0, 40, 80))
    assert pixels[0, [0, 79]].tolist() == [[155, 55, 55], [255, 255, 255]]


def test_sparse_tiles_are_empty(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiles = (None if number == 3 else np.full((32, 48, 3), 7, np.uint8) for number in range(6))
        tiff.write(tiles, shape=(70, 90, 3), dtype=np.uint8, photometric="rgb", **TILES, **ZIP)
    pixels = open_image(path, tmp_path, FULL).read(WINDOWS[0])
    assert not pixels[32:64, 48:].any()
    assert (pixels[:32] == 7).all()


def test_channels_that_lie_behind_width_are_no_pages(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(np.resize(DEEP, (5, 70, 90)), 0, 2))
    with pytest.warns(UserWarning, match="is read as 70 x 90 pixels .* of 5 channels, rather than 70 pages"):
        check(tmp_path / "a.tif", tmp_path, kind=DecodedImage, channels=Channels((3, 1)))
    with pytest.raises(ValueError, match=r"a\.tif must be a picture in grey or color, got 70 x 90 pixels"):
        open_image(tmp_path / "a.tif", tmp_path, FULL)


def test_a_pyramid_is_read_at_its_largest_level_without_a_word(tmp_path, recwarn):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(COLOR, photometric="rgb", subifds=1, **TILES)
        tiff.write(COLOR[::2, ::2], photometric="rgb", subfiletype=1, **TILES)
        tiff.write(COLOR[::4, ::4], photometric="rgb", **TILES)  # as slides of Aperio have them
    np.testing.assert_array_equal(open_image(path, tmp_path, FULL).read(WINDOWS[0]), COLOR)
    assert not [each for each in recwarn if "pages" in str(each.message)]


def test_of_several_pages_the_first_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([COLOR, COLOR]), photometric="rgb", **TILES)
    with pytest.warns(UserWarning, match="a.tif has 2 pages, of which only the first is read"):
        open_image(path, tmp_path, FULL)


def test_bits_that_the_whole_is_not_read_with_are_refused(tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra dev")
    path, form = tmp_path / "a.tif", {"driver": "GTiff", "count": 1, "dtype": "uint8", "nbits": 7}
    with rasterio.open(path, "w", height=40, width=60, **form) as file:
        file.write(np.zeros((1, 40, 60), np.uint8))
    with pytest.raises(ValueError, match="must have 1, 2, 4, 8 or more bits, got 7; save it with 8"):
        open_image(path, tmp_path, FULL)


def test_the_place_on_earth_is_kept(tmp_path):
    path = tmp_path / "a.tif"
    scale = (33550, "d", 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite(path, COLOR, photometric="rgb", extratags=[scale], **TILES)
    image = open_image(path, tmp_path, FULL)
    assert image.placed["geo_tags"] == [(33550, 12, 3, (0.5, 0.5, 0.0), True)]


@pytest.mark.parametrize("rule", ["full", "bits 12", "100 3000"])
def test_values_of_16_bits(rule, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP // 16, **TILES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(path, tmp_path, ValueRange(rule))


def test_percentiles_are_those_of_a_sample_of_the_whole(tmp_path):
    image = ArrayImage(DEEP, "image", ValueRange("percentiles 1 99"))
    low, high = np.percentile(DEEP, (1, 99))
    assert image.value_ranges[0].numbers == (low, high)


def test_a_range_that_hardly_suits_gets_a_warning():
    with pytest.warns(UserWarning, match=r"image uses 0.0% of the range .* give --value-range"):
        ArrayImage(DEEP // 2**12, "image", FULL)


def test_floating_point_without_range_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32), **TILES)
    with pytest.raises(ValueError, match="pixels must be whole numbers, got floating point"):
        open_image(tmp_path / "a.tif", tmp_path, FULL).read(WINDOWS[0])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_other_files_are_decoded_once(name, tmp_path):
    Image.fromarray(COLOR).save(tmp_path / name)
    check(tmp_path / name, tmp_path, kind=DecodedImage)


def test_turned_tiff_is_decoded_once(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.tif", tiffinfo={274: 6})
    image = open_image(tmp_path / "a.tif", tmp_path, FULL)
    assert image.size == (90, 70)
    np.testing.assert_array_equal(image.read(Window(0, 0, 90, 70)), read_image(tmp_path / "a.tif"))
    check_values(tmp_path / "a.tif", tmp_path)


def test_arrays_need_not_be_in_memory(tmp_path):
    path = tmp_path / "a.dat"
    COLOR.tofile(path)
    image = open_image(np.memmap(path, np.uint8, "r", shape=COLOR.shape), tmp_path, FULL)
    np.testing.assert_array_equal(image.read(WINDOWS[1]), COLOR[WINDOWS[1].slices])
    grey = open_image(GREY, tmp_path, FULL)
    np.testing.assert_array_equal(grey.read(WINDOWS[1]), GREY[WINDOWS[1].slices][..., None].repeat(3, axis=2))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("nested", [False, True])
def test_ome_zarr(version, nested, tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    if nested:
        group = group.create_group("0")
    values = np.moveaxis(COLOR, 2, 0)[None, :, None]
    for path, level in (("s0", values), ("s1", values[..., ::2, ::2])):
        group.create_array(path, data=level, chunks=(1, 1, 1, 32, 32))
    axes = [{"name": name} for name in "tczyx"]
    image = {"axes": axes, "datasets": [{"path": "s0"}, {"path": "s1"}]}
    group.attrs.update({"multiscales": [image]} if version == 2 else {"ome": {"multiscales": [image]}})
    opened = open_image(tmp_path / "a.zarr", tmp_path, FULL)
    assert opened.size == (70, 90)
    with open_values(tmp_path / "a.zarr", tmp_path, (70, 90)) as read:
        for window in WINDOWS:
            np.testing.assert_array_equal(opened.read(window), COLOR[window.slices])
            np.testing.assert_array_equal(read(window), COLOR[window.slices])


def test_an_array_of_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "a.zarr", DEEP)
    np.testing.assert_array_equal(
        open_image(tmp_path / "a.zarr", tmp_path, FULL).read(WINDOWS[1])[..., 0], DEEP[WINDOWS[1].slices] >> 8
    )


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "a.tif must be a complete "),
        (lambda path: path.write_bytes(b"II*\0"), "a.tif must be a complete "),
        (lambda path: path.write_bytes(b""), "a.tif must be a complete image"),
        (lambda path: tifffile.imwrite(path, FIVE, planarconfig="contig", **TILES), "TIFF of 5 bands"),
        (lambda path: path.write_text("no image"), "a.tif must be a complete image"),
    ],
    ids=["cut off", "header alone", "empty", "5 bands", "text"],
)
def test_what_cannot_be_read_is_refused(breaks, message, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOR, photometric="rgb", **TILES, **ZIP)
    breaks(path)
    with pytest.raises(ValueError, match=message):
        open_image(path, tmp_path, FULL).read(WINDOWS[0])


def test_a_damaged_tile_names_the_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOR, photometric="rgb", **TILES, **ZIP)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].dataoffsets[4]
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.tif must be a complete TIFF, got: .*; replace it"):
        open_image(path, tmp_path, FULL).read(WINDOWS[0])


@pytest.mark.parametrize("shape", [(5,), (5, 5, 4), (2, 5, 5, 3), (0, 5), (5, 0, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="image must"):
        ArrayImage(np.zeros(shape, np.uint8), "image", FULL)


def test_a_folder_without_image_is_refused(tmp_path):
    pytest.importorskip("zarr")
    with pytest.raises(ValueError, match=r"must be an OME-Zarr image, got: .*; replace it"):
        open_image(tmp_path, tmp_path, FULL)


LOWEST = -3.4028234663852886e38  # of float32, which most rasters of that type name


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("f4", -9999), ("f4", LOWEST), ("i2", -9999), ("u2", 65535), ("u2", 65535.0)]
)
@pytest.mark.parametrize("channels", [None, Channels((1,))])
def test_pixels_without_data_have_no_part_in_percentiles(dtype, nodata, channels, tmp_path):
    """A mosaic has a collar of what GDAL calls nodata: all the rest would be one grey."""
    path, rule = tmp_path / "a.tif", ValueRange("percentiles 0 100")
    scene = (np.add.outer(np.arange(70), np.arange(90)) * 10 + 100).astype(dtype)
    scene[0, 20] = 0  # a value as others are
    values = scene.copy()
    values[:, :20] = nodata
    tags = [(42113, "s", 0, str(nodata), True)]
    tifffile.imwrite(path, values, photometric="minisblack", extratags=tags, **TILES)
    known = scene[:, 20:].astype(float)
    expected = np.rint((known - known.min()) * (255 / np.ptp(known)))
    pixels = read_image(path, value_range=rule, channels=channels)
    np.testing.assert_array_equal(pixels[:, 20:, 0], expected)
    check(path, tmp_path, rule, TiffImage, channels)
