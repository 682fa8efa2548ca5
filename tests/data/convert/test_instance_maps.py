"""Maps and masks that look right but mean something else are named, and the options mend them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.data.convert.instance_maps import InstanceReading, number_pieces


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


@pytest.mark.filterwarnings("error")
def test_numbered_map_gets_no_warning(tmp_path: Path) -> None:
    Image.fromarray(two_squares((3, 9))).save(tmp_path / "a.png")
    InstanceReading().warn_of_pieces([tmp_path / "a.png"])


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


def test_page_of_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([two_squares(), two_squares((1, 2))]), photometric="minisblack")
    with pytest.warns(UserWarning, match=r"a\.tif has 2 pages, of which the first is read; .*--page"):
        InstanceReading().read(path)
    np.testing.assert_array_equal(InstanceReading(page=2).read(path), two_squares((1, 2)))
    with pytest.raises(ValueError, match=r"a\.tif must have page 3, got 2 pages"):
        InstanceReading(page=3).read(path)


@pytest.mark.parametrize("wrong", [{"page": 0}, {"threshold": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        InstanceReading(**wrong)
