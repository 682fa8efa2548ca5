"""Pictures: sizes, colors, void, boundaries; names that do not touch each other at any size."""

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment, measure_segments
from axial_deeplab.visualization import draw_overlay, legend_entries, side_by_side
from axial_deeplab.visualization.labels import LARGEST_FONT, SMALLEST_FONT, draw_labels, font_size
from axial_deeplab.visualization.legend import LegendEntry, append_legend, draw_legend
from axial_deeplab.visualization.overlay import instance_color

CATEGORIES = Categories(
    [
        Category(1, "sky", False, (90, 160, 230)),
        Category(2, "car", True, (220, 20, 60)),
        Category(3, "cat", True),
    ]
)
SKY, CAR_1, CAR_2 = 10_000, 20_001, 20_002


def segments_of(panoptic, score=None):
    values, areas, _ = measure_segments(panoptic)
    return [
        Segment(id=v, train_id=v // 10_000 - 1, area=a, score=score)
        for v, a in zip(values.tolist(), areas.tolist(), strict=True)
        if v
    ]


def scene(height=60, width=80):
    panoptic = np.full((height, width), SKY, dtype=np.int32)
    panoptic[height // 2 :, : width // 2] = CAR_1
    panoptic[height // 2 :, width // 2 :] = CAR_2
    panoptic[: height // 6] = 0
    return np.full((height, width, 3), 128, dtype=np.uint8), panoptic


def test_colors_inside_segments():
    image, panoptic = scene(600, 800)
    picture = np.asarray(
        draw_overlay(image, Panoptic(panoptic, segments_of(panoptic)), CATEGORIES, opacity=1, labels=False)
    )
    assert picture.shape == image.shape
    assert picture[200, 100].tolist() == pytest.approx([90, 160, 230], abs=1)
    assert picture[500, 100].tolist() == pytest.approx([220, 20, 60], abs=1)
    assert picture[500, 700].tolist() == pytest.approx(instance_color((220, 20, 60), 2), abs=1)
    assert picture[400, 398:400].min() > 200  # the boundary between the cars


def test_opacity_zero_shows_the_image():
    image, panoptic = scene(600, 800)
    image[:] = np.random.default_rng(0).integers(0, 256, image.shape)
    picture = np.asarray(
        draw_overlay(image, Panoptic(panoptic, segments_of(panoptic)), CATEGORIES, opacity=0, labels=False)
    )
    np.testing.assert_array_equal(picture[120:280], image[120:280])


def test_void_is_dark_and_hatched():
    image, panoptic = scene(600, 800)
    image[:] = 255
    picture = np.asarray(draw_overlay(image, Panoptic(panoptic, segments_of(panoptic)), CATEGORIES))
    void = picture[:90, :, 0]
    assert void.max() < 140
    assert len(np.unique(void[50, 100:700])) == 2


def test_void_alone_and_nothing_void():
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    for panoptic in (np.zeros((20, 30), dtype=np.int32), np.full((20, 30), SKY, dtype=np.int32)):
        assert draw_overlay(image, Panoptic(panoptic, segments_of(panoptic)), CATEGORIES).size == (30, 20)


def test_instances_of_a_class_differ():
    colors = [instance_color((200, 60, 30), number) for number in range(1, 8)]
    assert instance_color((200, 60, 30), 0) == colors[0] == (200, 60, 30)
    assert len(set(colors)) == 7
    hues = [colorsys.rgb_to_hls(*(c / 255 for c in color))[0] for color in colors]
    assert max((abs(hue - hues[0]) + 0.5) % 1 - 0.5 for hue in hues) < 0.06


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (64, 48), (1000, 20)])
def test_any_size(size):
    image, panoptic = scene(*size)
    for legend in (False, True):
        picture = draw_overlay(
            image, Panoptic(panoptic, segments_of(panoptic, 0.5)), CATEGORIES, legend=legend
        )
        assert picture.width >= size[1]
        assert picture.height >= size[0]
        assert legend or picture.size == size[::-1]


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 64), SMALLEST_FONT), ((640, 480), 13), ((4000, 3000), LARGEST_FONT)]
)
def test_font_grows_with_the_picture(size, expected):
    assert font_size(*size) == expected


class TestLabels:
    def labels(self, index, texts, stuff=None):
        picture = Image.new("RGB", index.shape[::-1], (90, 90, 90))
        colors = [(200, 60, 30)] * len(texts)
        before = np.asarray(picture).copy()
        labels = draw_labels(picture, index, texts, colors, stuff or [False] * len(texts))
        changed = (np.asarray(picture) != before).any(axis=2)
        for label in labels:
            left, top, right, bottom = label.box
            assert changed[top:bottom, left:right].mean() > 0.8
            changed[top:bottom, left:right] = False
        assert not changed.any()
        return labels

    def test_is_placed_inside_its_segment(self):
        index = np.zeros((300, 400), dtype=np.int32)
        index[200:280, 250:390] = 1
        (label,) = self.labels(index, ["car"])
        left, top, right, bottom = label.box
        assert (index[top:bottom, left:right] == 1).all()

    def test_finds_the_wide_part(self):
        index = np.zeros((300, 400), dtype=np.int32)
        index[10:290, 20:24] = 1  # a pole
        index[30:70, 20:200] = 1  # its sign
        (label,) = self.labels(index, ["sign"])
        assert (index[label.box[1] : label.box[3], label.box[0] : label.box[2]] == 1).all()

    def test_stands_beside_a_thing_that_it_would_hide(self):
        index = np.zeros((100, 200), dtype=np.int32)
        index[40:56, 80:110] = 1
        (label,) = self.labels(index, ["person"])
        assert label.box[3] <= 40
        index[20:38, 60:130] = 2  # another thing is above: below is free
        assert [each.box[1] >= 56 for each in self.labels(index, ["person", "bus"])] == [False, True]

    def test_a_crowd_is_not_hidden_by_its_names(self):
        index = np.zeros((300, 300), dtype=np.int32)
        for number in range(100):
            y, x = divmod(number, 10)
            index[30 * y + 4 : 30 * y + 26, 30 * x + 4 : 30 * x + 26] = number + 1
        boxes = [label.box for label in self.labels(index, ["cell"] * 100)]
        hidden = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
        assert 0.08 < hidden / index.size <= 0.12

    def test_small_segments_have_none(self):
        index = np.zeros((300, 400), dtype=np.int32)
        index[100:103, 100:103] = 1
        index[200:203] = 2
        assert [label.text for label in self.labels(index, ["speck", "x" * 200])] == []

    def test_things_come_first(self):
        index = np.ones((60, 90), dtype=np.int32)
        index[20:40, 30:60] = 2
        assert self.labels(index, ["sky", "bird"], [True, False])[0].text == "bird"

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6), height=st.integers(16, 500), width=st.integers(16, 500))
    def test_never_touch_each_other_and_stay_inside(self, seed, height, width):
        generator = np.random.default_rng(seed)
        index = np.zeros((height, width), dtype=np.int32)
        num = int(generator.integers(1, 25))
        for segment in range(1, num + 1):
            y, x = generator.integers(0, height), generator.integers(0, width)
            h, w = generator.integers(1, height + 1), generator.integers(1, width + 1)
            index[y : y + h, x : x + w] = segment
        boxes = [label.box for label in self.labels(index, [f"name {s}" for s in range(num)])]
        cover = np.zeros((height, width), dtype=int)
        for left, top, right, bottom in boxes:
            assert left >= 0
            assert top >= 0
            assert right <= width
            assert bottom <= height
            cover[top:bottom, left:right] += 1
        assert cover.max() <= 1


def test_label_texts(monkeypatch):
    image, panoptic = scene()
    texts = []
    monkeypatch.setattr("axial_deeplab.visualization.overlay.draw_labels", lambda *a: texts.append(a[2]))
    crowd = Segment(id=CAR_1, train_id=1, area=1, is_crowd=True)
    predicted = [
        Segment(id=SKY, train_id=0, area=1, score=0.9),
        Segment(id=CAR_2, train_id=1, area=1, score=0.917),
    ]
    draw_overlay(image, Panoptic(panoptic, [crowd, *predicted]), CATEGORIES)
    draw_overlay(image, Panoptic(panoptic, [crowd, *predicted]), CATEGORIES, scores=False)
    draw_overlay(image, Panoptic(panoptic, [crowd, *predicted]), CATEGORIES, labels=False)
    assert texts == [["sky", "car (crowd)", "car 92%"], ["sky", "car (crowd)", "car"]]


def test_refuses():
    image, panoptic = scene()
    with pytest.raises(ValueError, match=r"image must be \(60, 80, 3\) for this map, got \(60, 79, 3\)"):
        draw_overlay(image[:, 1:], Panoptic(panoptic, segments_of(panoptic)), CATEGORIES)
    with pytest.raises(ValueError, match=r"opacity must be between 0 and 1, got 2"):
        draw_overlay(image, Panoptic(panoptic, segments_of(panoptic)), CATEGORIES, opacity=2)


class TestLegend:
    def test_entries(self):
        _, panoptic = scene()
        entries = legend_entries(Panoptic(panoptic, segments_of(panoptic)), CATEGORIES)
        assert [entry.name for entry in entries] == ["sky", "car", "void"]
        assert [entry.color for entry in entries[:2]] == [(90, 160, 230), (220, 20, 60)]
        assert entries[2].stripe is not None
        panoptic[panoptic == 0] = SKY
        assert [e.name for e in legend_entries(Panoptic(panoptic, segments_of(panoptic)), CATEGORIES)] == [
            "sky",
            "car",
        ]

    def test_wraps_lines(self):
        entries = [LegendEntry(f"category {number}", (number, 0, 0)) for number in range(12)]
        wide, narrow = draw_legend(entries, 3000, 12), draw_legend(entries, 300, 12)
        assert narrow.height > 3 * wide.height
        for strip in (wide, narrow):
            reds = {color[0] for _, color in strip.getcolors(10**6) if color[1:] == (0, 0)}
            assert reds >= set(range(12))

    def test_long_names_get_wider_paper(self):
        picture = append_legend(Image.new("RGB", (40, 30)), [LegendEntry("a very long name", (9, 0, 0))])
        ink = np.flatnonzero((np.asarray(picture)[30:] < 128).any(axis=(0, 2)))
        assert picture.width > 100
        assert ink[-1] < picture.width - 2

    def test_without_entries(self):
        assert append_legend(Image.new("RGB", (40, 30)), []).size == (40, 30)

    def test_letters_of_other_languages(self):
        def drawn(name):
            return np.asarray(draw_legend([LegendEntry(name, (9, 0, 0))], 300, 12))

        pytest.importorskip("matplotlib")  # its font has them
        names = ("Straße", "Straae", "Straøe", "Straжe", "Straλe")
        pictures = [drawn(name).tobytes() for name in names]
        assert len(set(pictures)) == len(names)
        np.testing.assert_array_equal(drawn("cafe\u0301"), drawn("café"))

    def test_letters_that_no_font_has(self):
        with pytest.warns(UserWarning, match="letters \ue123 are drawn as question marks, .* install one"):
            strange = draw_legend([LegendEntry("a\ue123b", (9, 0, 0))], 300, 12)
        asked = draw_legend([LegendEntry("a?b", (9, 0, 0))], 300, 12)
        assert strange.size[0] == asked.size[0]


class TestSideBySide:
    def test_layout(self):
        row = [Image.new("RGB", (100, 50), color) for color in ((255, 0, 0), (0, 255, 0))]
        table = side_by_side(
            [row, row], ["input", "prediction"], panel_width=200, legend=[LegendEntry("sky", (1, 2, 3))]
        )
        counts = {color: count for count, color in table.getcolors(10**6)}
        assert counts[255, 0, 0] == counts[0, 255, 0] == 2 * 200 * 100
        assert (1, 2, 3) in counts
        pixels = np.asarray(table)
        red = np.argwhere((pixels == (255, 0, 0)).all(axis=2))
        green = np.argwhere((pixels == (0, 255, 0)).all(axis=2))
        assert red[:, 1].max() < green[:, 1].min()
        assert red[:, 0].min() == green[:, 0].min() > 12  # the titles are above

    def test_different_heights(self):
        row = [Image.new("RGB", (100, 50)), Image.new("L", (50, 100))]
        assert side_by_side([row], ["a", "b"], panel_width=64).height > 128

    @pytest.mark.parametrize(
        ("rows", "titles"), [([], ["a"]), ([[]], []), ([[Image.new("RGB", (1, 1))]], ["a", "b"])]
    )
    def test_refuses(self, rows, titles):
        with pytest.raises(ValueError, match=r"rows must have one picture for each of \d titles, got \["):
            side_by_side(rows, titles)


def test_real_annotations(shared_data):
    folder = shared_data("coco_panoptic_mini")
    annotations = folder / "annotations"
    dataset = CocoPanopticDataset(
        folder / "val2017", annotations / "panoptic_val2017", annotations / "panoptic_val2017.json", limit=5
    )
    for index in range(5):
        sample = dataset[index]
        assert sample.panoptic is not None
        picture = draw_overlay(sample.image, sample.truth, dataset.categories)
        assert picture.size == sample.size[::-1]
        difference = np.abs(np.asarray(picture).astype(int) - sample.image)
        assert 20 < difference.mean() < 120


def test_outlines_leave_the_image_but_for_lines_in_the_colors_of_segments():
    image, panoptic = scene(600, 800)
    whole = Panoptic(panoptic, segments_of(panoptic))
    picture = np.asarray(draw_overlay(image, whole, CATEGORIES, labels=False, outlines=True))
    changed = (picture != image).any(axis=2)
    assert 0.001 < changed.mean() < 0.02
    assert not changed[:100].any()  # void
    assert not changed[500, 0]  # the frame is no edge
    car = [220, 20, 60]
    assert picture[500, 399].tolist() == pytest.approx(car, abs=1)
    assert picture[500, 400].tolist() == pytest.approx(instance_color(tuple(car), 2), abs=1)


def test_instances_have_colors_of_their_own():
    image, panoptic = scene(600, 800)
    whole = Panoptic(panoptic, segments_of(panoptic))
    options = {"opacity": 1, "labels": False}
    by_class, by_instance = (
        np.asarray(draw_overlay(image, whole, CATEGORIES, color_by=kind, **options))
        for kind in ("class", "instance")
    )
    assert (by_class[200, 100] == by_instance[200, 100]).all()  # stuff keeps its color
    hues = [colorsys.rgb_to_hls(*by_instance[500, x] / 255)[0] for x in (100, 700)]
    assert abs(hues[0] - hues[1]) > 0.2
    with pytest.raises(ValueError, match="color_by must be one of class, instance, got 'area'"):
        draw_overlay(image, whole, CATEGORIES, color_by="area")


def test_numbers_stand_in_place_of_names(monkeypatch):
    written = []
    monkeypatch.setattr(
        "axial_deeplab.visualization.overlay.draw_labels", lambda *arguments: written.extend(arguments[2])
    )
    image, panoptic = scene(600, 800)
    draw_overlay(image, Panoptic(panoptic, segments_of(panoptic, 0.5)), CATEGORIES, numbers=True)
    assert written == ["sky", "1", "2"]
