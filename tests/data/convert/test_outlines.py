"""Which pixels lie inside outlines: our rule, and those of others, as docs/data.md tells them."""

import re
from pathlib import Path

import numpy as np
import pytest

from axial_deeplab.data.convert.outlines import ellipse, fill, polygon, rectangle, ring

SQUARE = [(2, 2), (6, 2), (6, 6), (2, 6)]
SIZE = (9, 9)
DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"


def drawn(*lines: list[tuple[float, float]], size: tuple[int, int] = SIZE) -> np.ndarray:
    pixels = np.zeros(size, bool)
    (top, left), inside = fill([ring(line, "line") for line in lines], size)
    pixels[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return pixels


def ours() -> np.ndarray:
    return drawn(SQUARE)


def pycocotools() -> np.ndarray:
    coco_mask = pytest.importorskip("pycocotools.mask")
    runs = coco_mask.frPyObjects([[value for point in SQUARE for value in point]], *SIZE)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def opencv() -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    return cv2.fillPoly(np.zeros(SIZE, np.uint8), [np.array(SQUARE, np.int32)], 1).astype(bool)


def pillow() -> np.ndarray:
    from PIL import Image, ImageDraw

    image = Image.new("1", SIZE[::-1])
    ImageDraw.Draw(image).polygon(SQUARE, fill=1, outline=1)
    return np.asarray(image)


def skimage() -> np.ndarray:
    draw = pytest.importorskip("skimage.draw")
    return draw.polygon2mask(SIZE, [(y, x) for x, y in SQUARE])


def rasterio() -> np.ndarray:
    features = pytest.importorskip("rasterio.features")
    polygon = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    return features.rasterize([polygon], SIZE).astype(bool)


@pytest.mark.parametrize(
    "draw", [ours, pycocotools, opencv, pillow, skimage, rasterio], ids=lambda f: f.__name__
)
def test_the_square_is_drawn_as_the_document_says(draw) -> None:
    rows = dict(re.findall(r"^\| (\w+)[^|]* \| (\d to \d) \|", DOCUMENT.read_text(), re.MULTILINE))
    pixels = draw()
    (places,) = np.nonzero(pixels.any(axis=1))
    square = np.zeros(SIZE, bool)
    square[places[0] : places[-1] + 1, places[0] : places[-1] + 1] = True
    np.testing.assert_array_equal(pixels, square)
    assert rows[draw.__name__] == f"{places[0]} to {places[-1]}"


def test_outlines_that_share_an_edge_share_no_pixel() -> None:
    random = np.random.default_rng(0)
    corners = [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)]
    for _ in range(100):
        center = tuple(random.uniform(1, 8, 2).round(1))
        parts = [drawn([center, corners[i - 1], corners[i]]) for i in range(4)]
        assert (np.sum(parts, axis=0) == 1).all()


def test_a_pixel_is_inside_where_its_center_is() -> None:
    line: list[tuple[float, float]] = [(1.2, 0.3), (7.7, 2.1), (4.4, 8.6), (3.1, 3.9)]
    pixels = drawn(line)
    for y, x in np.ndindex(*SIZE):
        crossings = 0
        for (x0, y0), (x1, y1) in zip(line, line[1:] + line[:1], strict=True):
            if (y0 <= y + 0.5) != (y1 <= y + 0.5):
                crossings += x + 0.5 >= x0 + (y + 0.5 - y0) / (y1 - y0) * (x1 - x0)
        assert pixels[y, x] == crossings % 2


def test_a_line_to_a_hole_and_back_encloses_nothing() -> None:
    outer, hole = (
        [(0.5, 0.5), (8.2, 0.7), (8.1, 8.3), (0.4, 8.6)],
        [(3.3, 2.9), (5.7, 3.3), (5.1, 6.2), (2.9, 5.8)],
    )
    apart = drawn(outer, hole)
    np.testing.assert_array_equal(drawn([*outer, outer[0], *hole, hole[0], outer[0]]), apart)
    assert not apart[4, 4]
    assert apart[1, 1]


def test_what_leaves_the_image_is_cut_off() -> None:
    np.testing.assert_array_equal(
        drawn([(-50, -50), (4, -50), (4, 50), (-50, 50)]), np.arange(9) < np.full((9, 9), 4)
    )
    assert not drawn([(20, 20), (30, 20), (30, 30)]).any()
    assert not drawn([(1, 1), (5, 5)]).any()


def test_turned_rectangles_and_ellipses() -> None:
    corners = rectangle(2, 3, 6, 5, 90, where="it")
    np.testing.assert_allclose(sorted(corners.tolist()), [[3, 2], [3, 6], [5, 2], [5, 6]], atol=1e-9)
    points = ellipse(0, 0, 300, 20, 30, where="it")
    radians = np.deg2rad(30)
    x = points[:, 0] * np.cos(radians) + points[:, 1] * np.sin(radians)
    y = points[:, 1] * np.cos(radians) - points[:, 0] * np.sin(radians)
    middles = ((x + np.roll(x, 1)) / 600) ** 2 + ((y + np.roll(y, 1)) / 40) ** 2
    assert (300 * (1 - np.sqrt(middles)) < 0.01).all()


@pytest.mark.parametrize(
    "points", [5, [1, 2], [["a", 1]], [[1e6, 0]], [[float("nan"), 0]], [[1, 2, 3]], [[[1]], 2]]
)
def test_points_that_are_none_are_refused(points: object) -> None:
    with pytest.raises(
        ValueError, match=r"^a\.json: it points must be pairs of numbers, none beyond 100000, got"
    ):
        ring(points, "a.json: it")


def test_a_polygon_may_repeat_its_first_point() -> None:
    closed = [*SQUARE, SQUARE[0]]
    assert (drawn(closed) == drawn(SQUARE)).all()
    line = polygon(closed, "cell")
    assert line is not None
    assert line.tolist() == [list(point) for point in closed]
    for pair in ([(1, 1), (2, 2)], [(1, 1), (2, 2), (1, 1)]):
        assert polygon(pair, "cell") is None
    assert polygon([], "cell") is None


@pytest.mark.parametrize("angle", [float("nan"), float("inf")])
def test_angles_that_are_none_are_refused(angle: float) -> None:
    with pytest.raises(ValueError, match="its angle"):
        rectangle(0, 0, 1, 1, angle, where="it")
