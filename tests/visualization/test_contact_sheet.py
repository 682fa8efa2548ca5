"""Contact sheets: every picture once, in its order, in pages."""

import numpy as np
from PIL import Image

from axial_deeplab.visualization.contact_sheet import COLUMNS, ROWS, contact_sheets


def pictures(count):
    for number in range(count):
        yield f"folder/{number}.jpg", Image.new("RGB", (300, 100), (number, 255 - number, 128))


def test_pages():
    assert [page.size for page in contact_sheets(pictures(1), side=160)] == [(180, 200)]
    sizes = [page.size for page in contact_sheets(pictures(COLUMNS * ROWS + 9), side=160)]
    assert sizes == [(8 * 170 + 10, 12 * 190 + 10), (8 * 170 + 10, 2 * 190 + 10)]
    assert list(contact_sheets([])) == []


def test_each_picture_has_its_place():
    (page,) = contact_sheets(pictures(10), side=160)
    pixels = np.asarray(page)
    for number in range(10):
        row, column = divmod(number, COLUMNS)
        middle = pixels[10 + row * 190 + 80, 10 + column * 170 + 80]
        assert middle.tolist() == [number, 255 - number, 128]


def test_long_names_are_cut():
    (page,) = contact_sheets([("folder/" * 30 + "a.jpg", Image.new("RGB", (9, 9)))], side=160)
    assert page.size == (180, 200)
    assert (np.asarray(page)[:, :5] == 255).all()
