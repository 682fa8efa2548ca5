"""Turns, warps and changes of intensity: what is off changes nothing, image and map move together."""

import math

import numpy as np
import pytest
import torch

from axial_deeplab.data.augmentation import Intensity, Warp, blurred, stretched, turned_hue
from axial_deeplab.data.coco import Sample
from axial_deeplab.data.targets import PanopticTargets, near_two_instances
from axial_deeplab.data.transforms import TrainTransform
from axial_deeplab.panoptic.map import Panoptic, Segment

STUFF, A, B = 10_000, 20_001, 20_002
COLORS = {STUFF: (40, 90, 200), A: (250, 10, 60), B: (20, 240, 90)}


def sample(height: int = 60, width: int = 60) -> Sample:
    panoptic = np.full((height, width), STUFF, np.int32)
    panoptic[10:30, 12:24] = A
    panoptic[35:50, 30:55] = B
    image = np.zeros((height, width, 3), np.uint8)
    for value, color in COLORS.items():
        image[panoptic == value] = color
    segments = [Segment(id=value, train_id=value // 10_000 - 1, area=1) for value in COLORS]
    return Sample(image, Panoptic(panoptic, segments).measured(), 1, "a.png", panoptic.shape)


def transformed(seed: int = 0, **settings: object) -> Sample:
    transform = TrainTransform((41, 41), **settings)  # type: ignore[arg-type]
    return transform(sample(), np.random.default_rng(seed))


def test_what_is_off_draws_nothing() -> None:
    # The state of the generator tells that nothing more was drawn than ever: four numbers, three factors.
    generator, expected = np.random.default_rng(3), np.random.default_rng(3)
    TrainTransform((41, 41))(sample(), generator)
    expected.random(4)
    expected.uniform(-1, 1, size=3)
    assert generator.bit_generator.state == expected.bit_generator.state


@pytest.mark.parametrize("settings", [{"rotation": 45.0}, {"elastic": 2.0}, {"right_angles": True}])
def test_image_and_map_move_together(settings: dict[str, object]) -> None:
    changed = 0
    for seed in range(8):
        result = transformed(seed, scale_range=(1, 1), **settings)
        assert result.panoptic is not None
        assert result.image.shape == (41, 41, 3)
        for value, color in COLORS.items():
            of_color = np.abs(result.image.astype(int) - color).sum(axis=2) == 0
            assert (result.panoptic[of_color] == value).all()
        changed += not np.array_equal(result.panoptic, transformed(seed, scale_range=(1, 1)).panoptic)
        assert {s.id for s in result.segments} == set(np.unique(result.panoptic)) - {0}
    assert changed >= 5


def test_a_turn_of_90_degrees_is_exact() -> None:
    warp = Warp(rotation=90)
    image, panoptic = sample().image, sample().panoptic
    assert panoptic is not None
    turned = warp(image, panoptic, (60, 60), math.pi / 2, np.random.default_rng(0))
    np.testing.assert_array_equal(turned[1], np.rot90(panoptic))
    np.testing.assert_array_equal(turned[0], np.rot90(image))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 137])
def test_the_turned_crop_lies_inside_its_source(degrees: float) -> None:
    height, width = Warp(rotation=180).source_size((40, 61), math.radians(degrees))
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    assert height >= 40 * cosine + 61 * sine - 1e-9
    assert width >= 40 * sine + 61 * cosine - 1e-9
    assert ((height - 40) % 2, (width - 61) % 2) == (0, 0)


def test_magnifications_spread_evenly_on_a_logarithm() -> None:
    halved = 0
    for seed in range(40):
        result = transformed(seed, scale_range=(0.25, 4), scale_distribution="log_uniform")
        assert result.panoptic is not None
        halved += bool((result.panoptic == 0).any())  # below 41 / 60 there is padding
    assert 8 <= halved <= 22  # expected 40 x log(0.68 / 0.25) / log(16) = 14.5; evenly, it would be 5


def test_intensity_off_changes_nothing() -> None:
    image = sample().image
    np.testing.assert_array_equal(Intensity()(image, np.random.default_rng(0)), image)
    assert not Intensity().is_on


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "stain", "hue", "haze", "blur", "noise"])
def test_each_change_changes_and_repeats(name: str) -> None:
    image = sample().image
    setting = Intensity(**{name: 0.4 if name in ("hue", "stain") else 1.0})
    results = [setting(image, np.random.default_rng(seed)) for seed in range(6)]
    assert any((result != image).any() for result in results)
    np.testing.assert_array_equal(results[2], setting(image, np.random.default_rng(2)))


def test_inversion_is_the_negative() -> None:
    image = sample().image
    np.testing.assert_array_equal(Intensity(inversion=1)(image, np.random.default_rng(0)), 255 - image)


def test_bright_pictures_are_not_lost_in_white() -> None:
    image = np.full((8, 8, 3), 230, np.uint8)
    image[2:4, 2:4] = 200
    for seed in range(20):
        result = Intensity(brightness=1.0)(image, np.random.default_rng(seed))
        assert result[0, 0, 0] > result[2, 2, 0]


def test_padding_keeps_its_color() -> None:
    result = transformed(scale_range=(0.5, 0.5), intensity=Intensity(haze=200.0, brightness=1.0))
    assert result.panoptic is not None
    assert (result.image[result.panoptic == 0] == (124, 116, 104)).all()


def test_grey_images_get_grey_noise() -> None:
    result = Intensity(noise=50.0)(np.full((9, 9, 3), 99, np.uint8), np.random.default_rng(0))
    assert (result[..., :1] == result).all()
    assert result.std() > 1


def test_stretched_reaches_black_and_white() -> None:
    x = np.linspace(0.1, 0.2, 300, dtype=np.float32).reshape(10, 10, 3)
    assert (stretched(x).min(), stretched(x).max()) == (0, 1)
    even = np.full((4, 4, 3), 0.3, np.float32)
    np.testing.assert_array_equal(stretched(even), even)


def test_hue_keeps_greys_and_turns_all_the_way() -> None:
    grey = np.full((2, 2, 3), 0.4, np.float32)
    np.testing.assert_allclose(turned_hue(grey, 0.3), grey, atol=5e-3)
    color = np.array([[[0.5, 0.4, 0.45]]], np.float32)
    np.testing.assert_allclose(turned_hue(color, 1.0), color, atol=1e-6)
    assert np.abs(turned_hue(color, 0.5) - color).max() > 0.05


def test_blur_keeps_the_sum_and_even_images() -> None:
    x = np.zeros((21, 21, 3), np.float32)
    x[10, 10] = 1
    result = blurred(x, 1.5)
    assert result.sum() == pytest.approx(3, rel=1e-4)
    assert result[10, 10, 0] == pytest.approx(1 / (2 * math.pi * 1.5**2), rel=0.02)
    np.testing.assert_allclose(blurred(np.ones((5, 5, 3), np.float32), 2.0), 1, rtol=1e-5)
    assert blurred(x, 0.05) is x


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotation": 200.0}, "rotation must be 0 to 180 degrees"),
        ({"elastic": -1.0}, "elastic must be 0 pixels"),
        ({"elastic": 1.0, "elastic_spacing": 1}, "elastic_spacing must be 2 pixels"),
        ({"scale_distribution": "normal"}, "scale_distribution must be uniform"),
        ({"right_angles": True, "crop_size": (4, 5)}, "crop_size must be square"),
    ],
)
def test_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainTransform(**{"crop_size": (9, 9), **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("inversion", 2), ("stretch", -1), ("gamma", -1), ("hue", 0.6), ("noise", 300)]
)
def test_intensity_refuses(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Intensity(**{name: value})


def test_pixels_near_two_instances() -> None:
    instances = np.array([[1, 1, 0, 0, 2, 2], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]])
    batch = torch.from_numpy(instances)[None]
    near = near_two_instances(batch, 1)
    assert not near.any()
    near = near_two_instances(batch, 2)[0].numpy()
    expected = np.array(
        [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=bool
    )
    np.testing.assert_array_equal(near, expected)


def test_neighbors_weigh_more() -> None:
    close = Panoptic(np.array([[STUFF, A, A, B, B, B, B, STUFF, STUFF]], np.int32), sample().segments)
    plain = PanopticTargets({1}, small_instance_area=0)(close)
    targets = PanopticTargets(
        {1},
        small_instance_area=0,
        neighbor_distance=2,
        neighbor_semantic_weight=2,
        neighbor_offset_weight=3,
    )(close)
    assert targets["semantic_weight"].tolist() == [[1, 2, 2, 2, 2, 1, 1, 1, 1]]
    assert targets["offset_weight"].tolist() == [[[0, 3, 3, 3, 3, 1, 1, 0, 0]]]
    for name in ("semantic_target", "center_target", "center_weight", "offset_target"):
        assert (targets[name] == plain[name]).all()


@pytest.mark.parametrize("name", ["neighbor_distance", "neighbor_semantic_weight", "neighbor_offset_weight"])
def test_neighbor_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        PanopticTargets({1}, **{name: -1})  # type: ignore[arg-type]
