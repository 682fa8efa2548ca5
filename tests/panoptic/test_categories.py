from itertools import islice

import pytest

from axial_deeplab.panoptic.categories import Categories, Category, palette


def entry(category_id, **changes):
    return {"id": category_id, "name": f"name {category_id}", "isthing": category_id % 2} | changes


def test_train_ids_follow_the_ids_whatever_the_order_of_the_list():
    categories = Categories.from_json([entry(200), entry(0), entry(93), entry(7)])
    assert categories.ids == (0, 7, 93, 200)
    assert categories.names == ("name 0", "name 7", "name 93", "name 200")
    assert categories.thing_ids == (1, 2)
    assert categories.stuff_ids == (0, 3)
    assert [categories.train_id(category_id) for category_id in categories.ids] == [0, 1, 2, 3]
    assert categories.has_id(93)
    assert not categories.has_id(1)
    assert categories[2].name == "name 93"
    assert len(categories) == 4


def test_more_than_255_categories_keep_their_ids_and_have_distinct_colors():
    categories = Categories.from_json([entry(3 * index) for index in range(1000)])
    assert [categories.train_id(category.id) for category in categories] == list(range(1000))
    assert len(set(categories.colors)) == 1000
    assert (0, 0, 0) not in categories.colors


def test_json_round_trip_keeps_everything():
    categories = Categories.from_json([entry(3, color=[1, 2, 3]), entry(1), entry(2, color=[9, 9, 9])])
    again = Categories.from_json(categories.to_json())
    assert again == categories
    assert hash(again) == hash(categories)
    assert again.colors[2] == (1, 2, 3)
    assert categories != Categories.from_json([entry(1)])
    assert repr(categories) == "Categories(2 things, 1 stuff)"


def test_black_missing_and_repeated_colors_are_replaced_and_the_others_kept():
    categories = Categories.from_json(
        [
            entry(1, color=[0, 0, 0]),
            entry(2, color=[10, 20, 30]),
            entry(3, color=[10, 20, 30]),
            entry(4),
            entry(5, color=list(next(palette()))),
        ]
    )
    assert categories.colors[1] == (10, 20, 30)
    assert categories.colors[4] == next(palette())
    assert len(set(categories.colors)) == 5
    assert (0, 0, 0) not in categories.colors


def test_palette_is_fixed_and_its_first_colors_are_far_apart():
    assert list(islice(palette(), 3)) == list(islice(palette(), 3))
    assert next(palette(2)) == list(islice(palette(), 3))[2]
    colors = list(islice(palette(), 16))
    distances = [
        sum(abs(a - b) for a, b in zip(one, other, strict=True))
        for index, one in enumerate(colors)
        for other in colors[:index]
    ]
    assert min(distances) > 40
    assert min(max(color) for color in colors) > 80


def test_colors_may_be_hexadecimal():
    (category,) = Categories.from_json([entry(1, color="#60a43E")])
    assert category.color == (0x60, 0xA4, 0x3E)


def test_isthing_may_be_a_text():
    categories = Categories.from_json([entry(1, isthing="0"), entry(2, isthing="1")])
    assert [category.is_thing for category in categories] == [False, True]


def test_true_and_false_are_allowed_for_isthing():
    categories = Categories.from_json([entry(1, isthing=False), entry(2, isthing=True)])
    assert categories.thing_ids == (1,)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (None, r"c.json: categories must be a list of id, name and isthing, got NoneType"),
        ([], r"c.json: categories: categories must have at least one entry, got none"),
        (["dog"], r"categories\[0\] must be an object with id, name, isthing, got 'dog'"),
        ([entry(1), entry(-1)], r"categories\[1\] id must be an integer from 0, got -1"),
        ([entry(1) | {"id": "one"}], r"categories\[0\] id must be an integer from 0, got 'one'"),
        ([entry(2**63)], r"categories\[0\] id must be an integer of 63 bits, got 9223372036854775808"),
        ([entry(1) | {"id": True}], r"id must be an integer from 0, got True"),
        ([entry(1, name=None)], r"categories\[0\] \(id 1\) name must be a text, got None"),
        ([entry(1, isthing=None)], r'\(id 1\) "name 1" isthing must be 1 \(thing\) or 0 \(stuff\), got None'),
        ([{"id": 1, "name": "dog"}], r'"dog" isthing must be 1 \(thing\) or 0 \(stuff\), got None'),
        ([entry(1, isthing=[1])], r"isthing must be 1 \(thing\) or 0 \(stuff\), got \[1\]"),
        ([entry(1, color=[1, 2])], r"\(id 1\) color must be three integers 0..255, got \[1, 2\]"),
        ([entry(1, color=[1, 2, 256])], r"color must be three integers 0..255"),
        ([entry(1, color="red")], r"color must be three integers 0..255, got 'red'"),
        ([entry(1, color="#60a43")], r"color must be three integers 0..255, got '#60a43'"),
        (
            [entry(1), entry(2), entry(1)],
            r"c.json: categories: id must occur once .*, got 1 twice",
        ),
        ([entry(1), entry(2, name="name 1")], r"name must occur once in categories, got 'name 1' twice"),
    ],
)
def test_bad_entries_are_refused_by_name(entries, message):
    with pytest.raises(ValueError, match=message):
        Categories.from_json(entries, source="c.json: categories")


def test_an_unknown_id_is_refused_with_the_known_ones():
    categories = Categories(Category(id=index, name=str(index), is_thing=True) for index in range(0, 40, 2))
    with pytest.raises(
        ValueError, match=r"category_id must be one of the 20 ids .*0, 2, .* 14 and 12 more\), got 5"
    ):
        categories.train_id(5)
