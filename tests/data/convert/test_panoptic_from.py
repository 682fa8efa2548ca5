"""Panoptic maps made of maps and masks, by hand."""

import numpy as np
import pytest

from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_maps, panoptic_from_masks
from axial_deeplab.panoptic.categories import Categories, Category

# Train ids: sky 0, car 1, dog 2.
CATEGORIES = Categories([Category(3, "sky", False), Category(7, "car", True), Category(9, "dog", True)])
NUCLEI = Categories([Category(1, "nucleus", True), Category(2, "background", False)])


def test_maps_are_joined() -> None:
    semantic = np.array([[3, 3, 7, 7, 255], [7, 7, 9, 9, 3]])
    instances = np.array([[0, 6, 1, 2, 0], [0, 0, 1, 1, 0]])
    panoptic, segments = panoptic_from_maps(semantic, instances, CATEGORIES, source="a")
    # Stuff ignores its number; the car without number is the first, a crowd; dog 1 is not car 1.
    assert panoptic.tolist() == [
        [10_000, 10_000, 20_002, 20_003, 0],
        [20_001, 20_001, 30_001, 30_001, 10_000],
    ]
    assert [(s.id, s.train_id, s.area, s.is_crowd) for s in segments] == [
        (10_000, 0, 3, False),
        (20_001, 1, 2, True),
        (20_002, 1, 1, False),
        (20_003, 1, 1, False),
        (30_001, 2, 2, False),
    ]


def test_instances_alone() -> None:
    instances = np.array([[0, 70_000, 4]], np.int32)
    panoptic, _ = panoptic_from_maps(None, instances, NUCLEI, source="a")
    assert panoptic.tolist() == [[20_000, 10_002, 10_001]]
    only = Categories([Category(1, "nucleus", True)])
    assert panoptic_from_maps(None, instances, only, source="a").map.tolist() == [[0, 10_002, 10_001]]


def test_semantic_alone() -> None:
    stuff = Categories([Category(0, "sea", False), Category(255, "land", False)])
    panoptic, _ = panoptic_from_maps(np.array([[0, 255]]), None, stuff, source="a")
    assert panoptic.tolist() == [[10_000, 20_000]]


def test_void_label_can_be_another_or_none() -> None:
    semantic, instances = np.array([[3, 0]]), np.array([[0, 0]])
    panoptic, _ = panoptic_from_maps(semantic, instances, CATEGORIES, void_label=0, source="a")
    assert panoptic.tolist() == [[10_000, 0]]
    for void_label in (255, None):
        with pytest.raises(
            ValueError, match="a must have only ids of the categories, got 0; add the category"
        ):
            panoptic_from_maps(semantic, instances, CATEGORIES, void_label=void_label, source="a")


def test_ids_of_categories_of_63_bits() -> None:
    sky, car = 5, 2**32 + 5
    wide = Categories(
        [Category(sky, "sky", False), Category(car, "car", True), Category(2**63 - 1, "dog", True)]
    )
    semantic = np.array([[sky, car, 2**63 - 1, 255]])
    panoptic, _ = panoptic_from_maps(semantic, np.array([[0, 1, 1, 0]]), wide, source="a")
    assert panoptic.tolist() == [[10_000, 20_001, 30_001, 0]]


def test_maps_that_do_not_fit_are_refused() -> None:
    ids = np.array([[3, 3]])
    with pytest.raises(ValueError, match=r"a \(instances\) must be 1 x 2 pixels .* got 2 x 1"):
        panoptic_from_maps(ids, ids.T, CATEGORIES, source="a")
    with pytest.raises(ValueError, match="instances must be given since car is a thing, got None; give"):
        panoptic_from_maps(ids, None, CATEGORIES, source="a")
    with pytest.raises(
        ValueError, match=r"semantic must be given unless instances are, .* got None with .*2 things"
    ):
        panoptic_from_maps(None, ids, CATEGORIES, source="a")
    many = np.arange(1, 141_601).reshape(354, 400)
    with pytest.raises(ValueError, match="a: instance_id must be from 0 to 141071, got 141072"):
        panoptic_from_maps(None, many, NUCLEI, source="a")


def mask(text: str, train_id: int = 1, *, is_crowd: bool = False) -> Mask:
    return Mask(np.array([[character == "x" for character in text]]), train_id, is_crowd)


def test_smaller_masks_lie_on_larger_and_crowds_below() -> None:
    masks = [mask("..xx.."), mask("xxxx.."), mask("...xx.", is_crowd=True), mask("x.....", 2)]
    panoptic, segments = panoptic_from_masks(masks, (1, 6), background=0, source="a")
    assert panoptic.tolist() == [[30_001, 20_002, 20_001, 20_001, 20_003, 10_000]]
    assert [(s.id, s.train_id, s.is_crowd, s.area) for s in segments] == [
        (10_000, 0, False, 1),
        (20_001, 1, False, 2),
        (20_002, 1, False, 1),
        (20_003, 1, True, 1),
        (30_001, 2, False, 1),
    ]
    assert panoptic_from_masks([], (1, 2), source="a").map.tolist() == [[0, 0]]


def test_hidden_masks_are_told() -> None:
    masks = [mask("xx"), mask("x."), mask(".x"), mask("..")]
    with pytest.warns(UserWarning, match="a has 2 masks that are empty or hidden by smaller ones; left out"):
        panoptic, _ = panoptic_from_masks(masks, (1, 2), source="a")
    assert panoptic.tolist() == [[20_002, 20_003]]


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a \(mask 1\) must be 1 x 3 pixels .* got 1 x 2"):
        panoptic_from_masks([mask("xx")], (1, 3), source="a")
