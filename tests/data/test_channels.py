"""Images of any channels: which are read, where files keep them, how they vary."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.data.channels import ALL, Channels, mean_and_deviation
from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.images import picture_size, read_image, stored_values, warn_of_images
from axial_deeplab.data.value_range import ValueRange

SIZE = 12, 17
FIVE = np.random.default_rng(0).integers(0, 256, (*SIZE, 5), np.uint8)
PLANES = np.moveaxis(FIVE, 2, 0)


def sample_wise(path: Path) -> None:
    tifffile.imwrite(path, FIVE, photometric="minisblack", planarconfig="contig")


def plane_by_plane(path: Path) -> None:
    tifffile.imwrite(path, PLANES, photometric="minisblack", planarconfig="separate", compression="zlib")


def color_and_two_more(path: Path) -> None:
    tifffile.imwrite(path, FIVE, photometric="rgb", extrasamples=["unassalpha", "unspecified"])


def imagej(path: Path) -> None:
    tifffile.imwrite(path, PLANES, imagej=True, metadata={"axes": "CYX"})


def ome(path: Path) -> None:
    tifffile.imwrite(path, PLANES, ome=True, metadata={"axes": "CYX"})


def stack(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for plane in PLANES:
            writer.write(plane, contiguous=False, metadata=None)


def with_a_preview(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(FIVE[::2, ::2, 0], subfiletype=1, metadata=None)
        writer.write(FIVE, photometric="minisblack", planarconfig="contig", metadata=None)


@pytest.mark.parametrize(
    "write",
    [sample_wise, plane_by_plane, color_and_two_more, imagej, ome, stack, with_a_preview],
    ids=lambda function: function.__name__,
)
def test_channels_are_those_that_were_written(write, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(path)
    pixels = read_image(path, channels=Channels((4, 1, 3)))
    np.testing.assert_array_equal(pixels, FIVE[..., [3, 0, 2]])
    np.testing.assert_array_equal(stored_values(path, channels=ALL), FIVE)


def test_page_counts_all_channels_of_a_time_together(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    times = np.stack([PLANES[:2], PLANES[2:4]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, times, imagej=True, metadata={"axes": "TCYX"})
    first = read_image(path, channels=ALL)
    assert "has 2 pages, of which only the first is read" in str(recwarn.pop(UserWarning).message)
    np.testing.assert_array_equal(first, FIVE[..., :2])
    np.testing.assert_array_equal(read_image(path, channels=ALL, page=2), FIVE[..., 2:4])
    with pytest.raises(
        ValueError, match=r"a\.tif must have page 3, got 2 pages of all channels; give another"
    ):
        read_image(path, channels=ALL, page=3)


# Rows of a picture with many channels, which tifffile writes as pages if nobody says what they are.
ROWS = np.random.default_rng(1).integers(0, 65536, (24, 20, 16), np.uint16)


def as_an_array(path: Path, values: np.ndarray) -> None:
    tifffile.imwrite(path, values)


def as_single_pages(path: Path, values: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as writer:
        for page in values:
            writer.write(page, contiguous=False, metadata=None)


@pytest.mark.parametrize("write", [as_an_array, as_single_pages])
@pytest.mark.parametrize("number", [2, 5, 16])
def test_channels_that_lie_behind_width_are_no_pages(write, number: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(path, ROWS[..., :number])
    told = rf"a\.tif is read as 24 x 20 pixels .* of {number} channels, rather than 24 pages .* --page"
    with pytest.warns(UserWarning, match=told):
        pixels = read_image(path, channels=Channels((number, 1)))
    tifffile.imwrite(tmp_path / "b.tif", ROWS[..., :number], photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(pixels, read_image(tmp_path / "b.tif", channels=Channels((number, 1))))
    np.testing.assert_array_equal(stored_values(path, channels=ALL), ROWS[..., :number])
    with pytest.warns(UserWarning, match=told):
        assert picture_size(path) == (24, 20)
    error = rf"a\.tif must be a picture in grey or color, got 24 x 20 pixels .* of {number} .* --channels"
    with pytest.raises(ValueError, match=error):
        read_image(path)
    with pytest.raises(ValueError, match=error):
        read_id_map(path)
    assert picture_size(path, page=3) == (20, number)
    np.testing.assert_array_equal(stored_values(path, page=3)[..., 0], ROWS[2, :, :number])


@pytest.mark.parametrize("shape", [(16, 24, 20), (24, 20, 17), (16, 24, 16), (20, 10, 16)])
def test_stacks_of_other_sizes_are_pages(shape: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages = np.resize(ROWS, shape)
    as_single_pages(path, pages)
    np.testing.assert_array_equal(stored_values(path, channels=ALL), np.moveaxis(pages, 0, 2))
    np.testing.assert_array_equal(stored_values(path)[..., 0], pages[0])


def test_alpha_is_the_last_channel_of_other_files(tmp_path: Path) -> None:
    Image.fromarray(FIVE[..., :4], "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", channels=ALL), FIVE[..., :4])
    Image.fromarray(FIVE[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", channels=ALL), FIVE[..., :1])


def test_each_channel_has_a_range_of_its_own(tmp_path: Path) -> None:
    ramp = np.arange(np.prod(SIZE), dtype=np.float32).reshape(SIZE)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp / 1e4, 7e3 - ramp], axis=2), planarconfig="contig")
    pixels = read_image(tmp_path / "a.tif", channels=ALL, value_range=ValueRange("percentiles 0 100"))
    assert pixels.reshape(-1, 2)[[0, -1]].tolist() == [[0, 255], [255, 0]]
    dark = np.stack([ramp * 300, ramp], axis=2).astype(np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", dark, planarconfig="contig")
    with pytest.warns(
        UserWarning, match=r"b\.tif \(channel 2 of those that are read\) uses 0\.3% of the range"
    ):
        warn_of_images([tmp_path / "b.tif"], channels=Channels((1, 2)))


def test_white_is_zero_and_orientation(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FIVE[..., 0], photometric="miniswhite", extratags=[(274, "H", 1, 6, True)])
    pixels = read_image(path, channels=ALL)
    np.testing.assert_array_equal(pixels[..., 0], 255 - np.rot90(FIVE[..., 0], -1))


def test_other_channels_than_asked_for_are_refused_with_file_and_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    sample_wise(path)
    lacks = r"a\.tif must have channel 6, got 5 channels \(12 x 17 pixels, height x width\); .* --channels"
    with pytest.raises(ValueError, match=lacks):
        read_image(path, channels=Channels((1, 6)))
    other = r"a\.tif must have 4 channels as the pictures of the training, got 5 channels"
    with pytest.raises(ValueError, match=other):
        read_image(path, channels=Channels((1, 2), of=4))
    with pytest.raises(ValueError, match=r"channels must be numbers from 1 on, got \[0, 1\]; 1 is the first"):
        Channels((0, 1))
    with pytest.raises(ValueError, match=r"a TIFF of 5 bands, .* choose them with --channels \(data"):
        read_image(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"a\.tif must be a complete image, got: a damaged TIFF"):
        read_image(path, channels=ALL)


def test_mean_and_deviation_are_of_all_pixels_together() -> None:
    images = [FIVE, FIVE[:3, :5] // 2]
    values = np.concatenate([image.reshape(-1, 5) for image in images])
    mean, deviation = mean_and_deviation(iter(images))
    np.testing.assert_allclose(mean, values.mean(axis=0), atol=6e-4)
    np.testing.assert_allclose(deviation, values.std(axis=0), atol=6e-4)
    assert mean_and_deviation([np.full((3, 4, 2), 9, np.uint8)]) == ([9, 9], [1, 1])
