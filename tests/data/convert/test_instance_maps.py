"""Maps and masks that look right but mean something else are named, and the options mend them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.convert.convert import write_panoptic
from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.convert.instance_maps import InstanceReading, number_pieces
from axial_deeplab.data.convert.map_files import maps_to_convert
from axial_deeplab.data.convert.panoptic_from import panoptic_from_maps
from axial_deeplab.data.targets import PanopticTargets
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import semantic_map
from dataset_conversion import convert, save
from saved_predictions import find_instances, numbered_map


def test_pieces_touch_at_sides_and_corners() -> None:
    values = np.array([[5, 0, 5, 5], [0, 5, 0, 0], [0, 0, 0, 2], [7, 0, 7, 2]], np.int32)
    expected = [[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 2], [3, 0, 4, 2]]
    np.testing.assert_array_equal(number_pieces(values), expected)
    np.testing.assert_array_equal(number_pieces(np.zeros((2, 3), np.int32)), 0)


def two_squares(levels: tuple[int, int] = (255, 255)) -> np.ndarray:
    values = np.zeros((12, 20), np.uint8)
    values[1:5, 1:5], values[6:11, 10:18] = levels
    return values


def test_binary_map_is_named_and_mended(tmp_path: Path) -> None:
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    with pytest.warns(
        UserWarning, match="1 of 1 numbers .* several separate pieces .*--connected-components"
    ):
        InstanceReading().warn_of_pieces([tmp_path / "a.png"])
    mended = InstanceReading(connected_components=True).read(tmp_path / "a.png")
    np.testing.assert_array_equal(mended, two_squares((1, 2)))


@pytest.mark.parametrize(
    ("numbers", "levels", "is_told"),
    [
        ((0, 1, 2), (0, 1, 2), False),
        ((0, 1, 2), (0, 100, 200), True),
        ((0, 1, 2), (200, 100, 0), True),
        ((0, 1, 1), (0, 255, 9), False),  # black and white: either way the same regions
        ((0, 1, 1), (255, 0, 9), True),
        ((0, 1, 2), ((0, 0, 0), (128, 0, 0), (0, 128, 0)), False),  # colors of VOC
    ],
)
def test_levels_of_a_palette_are_told(
    numbers: tuple[int, ...], levels: tuple[object, ...], is_told: bool, tmp_path: Path
) -> None:
    image = Image.fromarray(np.array([numbers], np.uint8), "P")
    colors = [level if isinstance(level, tuple) else (level,) * 3 for level in levels]
    image.putpalette([channel for color in colors for channel in color])
    image.save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert read_id_map(tmp_path / "a.png").tolist() == [list(numbers)]
    assert ["palette of greys" in str(each.message) for each in told] == [True] * is_told


@pytest.mark.filterwarnings("error")
def test_numbered_map_gets_no_warning(tmp_path: Path) -> None:
    Image.fromarray(two_squares((3, 9))).save(tmp_path / "a.png")
    InstanceReading().warn_of_pieces([tmp_path / "a.png"])


@pytest.mark.parametrize(
    ("numbers", "divisor"),
    [
        ([24000, 24001, 24003, 26000, 7, 24], 1000),  # Cityscapes: stuff and groups are below 1000
        ([55 * 256, 55 * 256 + 1, 19 * 256, 13 * 256], 256),  # Mapillary Vistas
        ([11 * 256 + 1, 11 * 256 + 2, 256], 256),  # deeplab2
        ([10_000, 20_001, 20_002], 10_000),
        (range(1, 1500), None),
        ([1003, 2007, 5531, 5532, 9000], None),
        ([4001, 4002, 4003], None),
        ([24000, 26000], None),
        ([], None),
    ],
)
def test_numbers_that_hold_a_class_are_told(tmp_path: Path, numbers: list[int], divisor: int | None) -> None:
    values = np.zeros((4, 1500), np.uint16)
    values[1, : len(numbers)] = numbers
    Image.fromarray(values).save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        InstanceReading().warn_of_pieces([tmp_path / "a.png"])
    expected = (
        []
        if divisor is None
        else [f"look like class * {divisor} + number, got {min(n for n in numbers if n >= divisor)}"]
    )
    assert [part in str(warning.message) for part, warning in zip(expected, told, strict=True)] == [
        True
    ] * len(told)


@pytest.mark.parametrize("numbers", [range(1, 17), 4052 * np.arange(1, 17) % 60001], ids=["1 to 16", "any"])
def test_numbers_that_are_averages_are_told(tmp_path: Path, numbers: list[int]) -> None:
    # As pyvips, OME-Zarr writers and GDAL make the coarser levels of label images, unless told otherwise.
    full = np.zeros((64, 64), np.uint16)
    for place in range(16):
        row, column = 16 * (place // 4), 16 * (place % 4)
        full[row + 3 : row + 14, column + 3 : column + 14] = numbers[place]
    for name, values in {
        "averages": full.reshape(32, 2, 32, 2).mean((1, 3)).astype(np.uint16),
        "nearest": full[::2, ::2],
        "mask": ((full > 0).reshape(32, 2, 32, 2).mean((1, 3)) * 255).astype(np.uint8),
        "tiles": np.kron(np.random.default_rng(0).permutation(256).reshape(16, 16), np.ones((2, 2))).astype(
            np.uint16
        ),
    }.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            InstanceReading().warn_of_pieces([tmp_path / f"{name}.png"])
        averages = [str(each.message) for each in told if "on slopes between" in str(each.message)]
        assert len(averages) == (name == "averages"), name
        if averages:
            assert "resize labels by the nearest pixel, and take the finest level of a pyramid" in averages[0]


def test_negative_numbers_that_16_bits_wrapped_are_no_nodata(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.tile(np.array([-32768, -1, 1, 2], np.int16), (4, 5)))
    with pytest.raises(ValueError, match=r"from 0 on, got -32768; they did not fit .* again as int32"):
        InstanceReading().read(tmp_path / "a.tif")


def test_black_objects_on_white_are_told(tmp_path: Path) -> None:
    Image.fromarray(255 - two_squares()).save(tmp_path / "a.png")
    with pytest.warns(
        UserWarning, match=r"a\.png covers all corners of the picture and leaves out .* invert it"
    ):
        InstanceReading().read_masks(tmp_path / "a.png")
    for levels in (np.full((5, 6), 255, np.uint8), two_squares()):
        Image.fromarray(levels).save(tmp_path / "a.png")
        with warnings.catch_warnings(action="error"):
            InstanceReading().read_masks(tmp_path / "a.png")


def test_grey_edges_are_named_and_cut(tmp_path: Path) -> None:
    soft = two_squares()
    soft[0, :9] = 30
    Image.fromarray(soft).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"a\.png has 3 grey levels.*--threshold 127"):
        InstanceReading().read_masks(tmp_path / "a.png")
    (mask,) = InstanceReading(threshold=127).read_masks(tmp_path / "a.png")
    np.testing.assert_array_equal(mask, two_squares() > 0)
    pieces = InstanceReading(threshold=127, connected_components=True).read_masks(tmp_path / "a.png")
    assert [int(piece.sum()) for piece in pieces] == [16, 40]


TYPES = ["int8", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib", "tile": (16, 16)}, {"byteorder": ">"}, {"photometric": "miniswhite"}],
    ids=str,
)
def test_tiff_of_any_type_has_the_ids_that_were_written(dtype: str, options: dict, tmp_path: Path) -> None:
    values = two_squares((3, 120)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    np.testing.assert_array_equal(InstanceReading().read(tmp_path / "a.tif"), values)


def test_two_levels_are_what_the_program_meant(tmp_path: Path) -> None:
    mask = two_squares() > 0
    tifffile.imwrite(tmp_path / "a.tif", mask)  # true as black, which it calls 1
    Image.fromarray(mask).save(tmp_path / "b.tif", compression="group4")
    tifffile.imwrite(tmp_path / "c.tif", ~mask, photometric="miniswhite", software="scanner")
    for name in ("a.tif", "b.tif", "c.tif"):
        (read,) = InstanceReading().read_masks(tmp_path / name)
        np.testing.assert_array_equal(read, mask, err_msg=name)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_maps_are_turned_as_their_photographs(suffix: str, tmp_path: Path) -> None:
    """A program that copies the metadata of a photograph to its map leaves both lying as the sensor lay."""
    ids = np.array([[1, 2, 3], [0, 0, 4]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(ids).save(tmp_path / f"half.{suffix}", exif=exif)
    assert read_id_map(tmp_path / f"half.{suffix}").tolist() == [[4, 0, 0], [3, 2, 1]]
    exif[0x0112] = 6
    Image.fromarray(ids).save(tmp_path / f"quarter.{suffix}", exif=exif)
    assert read_id_map(tmp_path / f"quarter.{suffix}").tolist() == [[0, 1], [0, 2], [4, 3]]


def test_ids_of_64_bits_are_bounded(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", two_squares().astype(np.int64) << 32)
    with pytest.raises(ValueError, match=r"a\.tif must have ids below 2147483648, got 0 to 109521666"):
        InstanceReading().read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", two_squares().astype(np.int64) - 1)
    with pytest.raises(ValueError, match=r"a\.tif must have numbers of instances from 0 on, got -1; "):
        InstanceReading().read(tmp_path / "a.tif")


def test_map_whose_width_is_lost_is_damaged(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", two_squares())
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(0)
    with pytest.raises(ValueError, match=r"a\.tif must be a complete image of ids, got: a damaged TIFF \("):
        InstanceReading().read(tmp_path / "a.tif")


def test_map_of_several_channels_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 8, 2), np.uint8), planarconfig="contig")
    with pytest.raises(ValueError, match=r"a\.tif must have one channel whose values are ids, got 2; "):
        InstanceReading().read(tmp_path / "a.tif")


def test_page_of_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([two_squares(), two_squares((1, 2))]), photometric="minisblack")
    with pytest.warns(UserWarning, match=r"a\.tif has 2 pages, of which the first is read; .*--page"):
        InstanceReading().read(path)
    np.testing.assert_array_equal(InstanceReading(page=2).read(path), two_squares((1, 2)))
    with pytest.raises(ValueError, match=r"a\.tif must have page 3, got 2 pages"):
        InstanceReading(page=3).read(path)


@pytest.mark.parametrize(("kind", "white"), [(5, 40), (2, 40), (5, 300), (2, 4095)])
def test_ids_of_a_pgm_are_not_stretched(tmp_path: Path, kind: int, white: int) -> None:
    ids = np.arange(40).reshape(5, 8)
    values = ids.astype(">u2" if white > 255 else "u1").tobytes() if kind == 5 else str(ids)[1:-1].encode()
    plain = values.replace(b"[", b"").replace(b"]", b"") if kind == 2 else values
    (tmp_path / "a.pgm").write_bytes(f"P{kind} 8 5 {white}\n".encode() + plain)
    np.testing.assert_array_equal(InstanceReading().read(tmp_path / "a.pgm"), ids)


def test_photographs_of_several_pages(tmp_path: Path) -> None:
    pages = np.stack([np.full((12, 20), level, np.uint16) for level in (1000, 2000, 3000)])
    maps = np.stack([two_squares(), two_squares((1, 2)), two_squares((3, 4))])
    for folder, stack in (("images", pages), ("maps", maps)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", stack, photometric="minisblack")
    for name, page in (("b.tif", Image.fromarray(pages[1][:, ::-1])), ("c.png", Image.fromarray(pages[0]))):
        page.save(tmp_path / "images" / name)
        tifffile.imwrite(tmp_path / "maps" / f"{name[0]}.tif", maps, photometric="minisblack")
    categories = Categories([Category(1, "ground", False), Category(2, "cell", True)])
    images = maps_to_convert(
        tmp_path / "images", categories, instances=tmp_path / "maps", reading=InstanceReading(page=3)
    )
    with pytest.raises(ValueError, match=r"a\.tif must have one page .* got page 3; give --copy-images"):
        write_panoptic(images, categories, tmp_path / "out")
    write_panoptic(images, categories, tmp_path / "out", copy_images=True)
    levels = [tifffile.imread(tmp_path / "out/images" / f"{name}.tif") for name in "ab"]
    assert [level.shape for level in levels] == [(12, 20), (12, 20)]
    assert [int(level[0, 0]) for level in levels] == [3000, 2000]


@pytest.mark.parametrize("wrong", [{"page": 0}, {"threshold": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        InstanceReading(**wrong)


def raster(dtype: type, number: int) -> np.ndarray:
    """Draw two objects on a picture that was turned, with a number in the corners that it left."""
    values = np.zeros((12, 20), dtype)
    values[4:6, 4:9], values[7:9, 9:12] = 3, 9
    values[:2, :3] = values[-2:, -3:] = number
    return values


@pytest.mark.parametrize(
    ("dtype", "number"), [(np.uint8, 255), (np.uint16, 65535), (np.int32, 2**31 - 1), (np.int32, -(2**31))]
)
def test_nodata_of_a_raster_is_named_and_mended(dtype: type, number: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, raster(dtype, number))
    if number > 0:
        with pytest.warns(UserWarning, match=rf"a\.tif has the instance {number} in 2 .*--nodata {number}"):
            InstanceReading().read(path)
    else:
        with pytest.raises(
            ValueError, match=rf"a\.tif must have numbers .* got {number}; .*--nodata {number}"
        ):
            InstanceReading().read(path)
    mended = InstanceReading(nodata=number).read(path)
    np.testing.assert_array_equal(mended, raster(np.int32, -1))
    pieces = InstanceReading(nodata=number, threshold=1, connected_components=True).read(path)
    np.testing.assert_array_equal(pieces, np.select([mended == 3, mended == 9, mended < 0], [1, 2, -1], 0))
    categories = Categories([Category(1, "rest", False), Category(2, "cell", True)])
    panoptic, _ = panoptic_from_maps(None, mended, categories)
    cells = np.select([mended == 3, mended == 9, mended < 0], [20_001, 20_002, 0], 10_000)
    np.testing.assert_array_equal(panoptic, cells)
    semantic = np.where(mended > 0, 2, 1)
    np.testing.assert_array_equal(panoptic_from_maps(semantic, mended, categories).map, cells)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [two_squares((3, 255)), two_squares((255, 255)), np.full((3, 3), 255)])
def test_a_greatest_number_elsewhere_is_no_nodata(values: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "a.png")
    InstanceReading().read(tmp_path / "a.png")


def many_squares(num: int) -> np.ndarray:
    """Return (60, 60) with num squares of one pixel, of numbers from 1 on."""
    values = np.zeros((60, 60), np.int32)
    places = values[::2, ::2]
    places[np.unravel_index(np.arange(num), places.shape)] = np.arange(1, num + 1)
    return values


def test_numbers_that_did_not_fit_into_8_bits_are_told(tmp_path: Path) -> None:
    Image.fromarray(many_squares(300).clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    told = r"a\.png has 46 pieces with the number 255, .* beside 254 other .* more bits"
    with pytest.warns(UserWarning, match=told):
        InstanceReading().read(tmp_path / "a.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_type_that_is_just_filled_is_not_told_as_too_small(dtype: type, tmp_path: Path) -> None:
    values = many_squares(255)
    values[-1, -1] = 255  # an object in two parts
    Image.fromarray(values.astype(dtype)).save(tmp_path / "a.png")
    InstanceReading().read(tmp_path / "a.png")
    Image.fromarray((many_squares(300) > 0).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    InstanceReading(connected_components=True).read(tmp_path / "mask.png")
    if dtype == np.uint16:
        Image.fromarray(many_squares(300).astype(dtype)).save(tmp_path / "b.png")
        InstanceReading().read(tmp_path / "b.png")


def test_more_than_9999_objects_of_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = np.zeros((240, 400), np.uint16)
    numbers[::2, ::2] = np.arange(1, 24_001).reshape(120, 200)
    (tmp_path / "maps").mkdir()
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "maps" / "a.tif", numbers)
    Image.new("RGB", (400, 240)).save(tmp_path / "images" / "a.png")
    words = ("maps", "--images", tmp_path / "images", "--instances", tmp_path / "maps", "--thing", "cell")
    assert convert(capsys, *words, "--background", "rest", "--output", tmp_path / "out")[0] == 0
    data = CocoPanopticDataset(
        tmp_path / "images", tmp_path / "out" / "panoptic", tmp_path / "out" / "panoptic.json"
    )
    (sample,) = data
    assert sample.panoptic is not None
    found = find_instances(sample.truth, data.categories)
    assert [each.number for each in found] == list(range(1, 24_001))
    assert {each.category.name for each in found} == {"cell"}
    assert (numbered_map(found, (240, 400)) > 0).tolist() == (numbers > 0).tolist()
    cell, rest = map(data.categories.names.index, ("cell", "rest"))
    np.testing.assert_array_equal(semantic_map(sample.panoptic), np.where(numbers > 0, cell, rest))
    targets = PanopticTargets([cell])(sample.truth)
    assert int(targets["center_target"].eq(1).sum()) == 24_000


@pytest.mark.parametrize("command", ["maps", "label-maps"])
def test_background_that_has_a_number_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a watershed has it: 1 is the background, 0 are the lines, 2 and on the objects."""
    numbers = two_squares((2, 3)).clip(1)
    numbers[5] = 0
    ending = "" if command == "maps" else "_masks"
    save(tmp_path / "photos/a.png", np.zeros((12, 20, 3), np.uint8))
    save(tmp_path / f"maps/a{ending}.png", numbers)
    words = ["maps", "--instances", tmp_path / "maps"] if command == "maps" else [tmp_path / "maps"]
    words += ["--images", tmp_path / "photos", "--thing", "cell", "--output"]
    code, told = convert(capsys, *words, tmp_path / "out")
    assert code == 0
    assert f"a{ending}.png has the instance 1 in all corners and 68% of the picture, as watersheds" in told
    save(tmp_path / f"maps/a{ending}.png", two_squares((2, 3)))
    assert "corners" not in convert(capsys, *words, tmp_path / "again")[1]
    if command == "maps":  # stuff may have any number
        save(tmp_path / "classes/a.png", np.where(numbers > 1, 7, 5).astype(np.uint8))
        save(tmp_path / "maps/a.png", numbers)
        (tmp_path / "categories.json").write_text(
            '[{"id": 5, "name": "rest", "isthing": 0}, {"id": 7, "name": "cell", "isthing": 1}]'
        )
        words = ["maps", "--images", tmp_path / "photos", "--instances", tmp_path / "maps", "--semantic"]
        words += [tmp_path / "classes", "--categories", tmp_path / "categories.json", "--output"]
        code, told = convert(capsys, *words, tmp_path / "both")
        assert (code, "corners" in told) == (0, False), told
