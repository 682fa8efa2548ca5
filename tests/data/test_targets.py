"""Targets drawn by hand, and against deeplab2's and detectron2's."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from axial_deeplab.data.targets import PanopticTargets, gaussian_window, number_segments
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, Segment

Golden = Callable[[str], Path]
Map = npt.NDArray[np.int32]

# Train ids of the maps below: 0 stuff, 1 and 2 things.
STUFF = 1 * LABEL_DIVISOR
A, B, C = 2 * LABEL_DIVISOR + 1, 2 * LABEL_DIVISOR + 2, 3 * LABEL_DIVISOR + 1
LETTERS = {".": 0, "s": STUFF, "a": A, "b": B, "c": C}


def draw(*lines: str) -> Map:
    return np.array([[LETTERS[letter] for letter in line] for line in lines], np.int32)


def segments_of(panoptic: Map, crowd: Sequence[int] = ()) -> tuple[Segment, ...]:
    ids, areas = np.unique(panoptic[panoptic > 0], return_counts=True)
    return tuple(
        Segment(id=int(i), train_id=int(i) // LABEL_DIVISOR - 1, is_crowd=int(i) in crowd, area=int(area))
        for i, area in zip(ids, areas, strict=True)
    )


def targets_of(panoptic: Map, crowd: Sequence[int] = (), **arguments: object) -> dict[str, torch.Tensor]:
    arguments = {"sigma": 1, "small_instance_area": 3, **arguments}
    return PanopticTargets({1, 2}, **arguments)(Panoptic(panoptic, segments_of(panoptic, crowd)))


def test_a_map_by_hand() -> None:
    panoptic = draw(
        "..ss",
        "aass",
        "aabs",
        "aasc",
    )
    targets = targets_of(panoptic)
    assert targets["semantic_target"].tolist() == [
        [255, 255, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 2],
    ]
    assert targets["semantic_weight"].tolist() == [
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [1, 1, 3, 1],
        [1, 1, 1, 3],
    ]
    assert targets["center_weight"][0].tolist() == [[0, 0, 1, 1], [1] * 4, [1] * 4, [1] * 4]
    assert targets["offset_weight"][0].tolist() == [
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 1],
    ]
    # a: mean (2, 0.5), rounded half to even (2, 0); b: (2, 2); c: (3, 3).
    assert targets["offset_target"][0].tolist() == [
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [-1, -1, 0, 0],
    ]
    assert targets["offset_target"][1].tolist() == [
        [0, 0, 0, 0],
        [0, -1, 0, 0],
        [0, -1, 0, 0],
        [0, -1, 0, 0],
    ]
    y, x = np.mgrid[:4, :4]
    drawn = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2) for cy, cx in ((2, 0), (2, 2), (3, 3))]
    np.testing.assert_allclose(targets["center_target"][0], np.max(drawn, axis=0), rtol=1e-6)
    assert (targets["center_target"] == 1).sum() == 3


def test_types_and_shapes() -> None:
    targets = targets_of(draw("as.", "bbs"))
    assert {key: (value.dtype, tuple(value.shape)) for key, value in targets.items()} == {
        "semantic_target": (torch.int64, (2, 3)),
        "semantic_weight": (torch.float32, (2, 3)),
        "center_target": (torch.float32, (1, 2, 3)),
        "center_weight": (torch.float32, (1, 2, 3)),
        "offset_target": (torch.float32, (2, 2, 3)),
        "offset_weight": (torch.float32, (1, 2, 3)),
    }


@pytest.mark.parametrize(
    ("first", "last", "center"),
    [((0, 0), (1, 1), 0), ((1, 1), (2, 2), 2), ((2, 2), (3, 3), 2), ((3, 3), (4, 4), 4), ((1, 1), (3, 3), 2)],
)
def test_half_coordinates_round_to_even(first: tuple[int, int], last: tuple[int, int], center: int) -> None:
    panoptic = np.zeros((6, 6), np.int32)
    panoptic[first[0] : last[0] + 1, first[1] : last[1] + 1] = A
    targets = targets_of(panoptic)
    assert (targets["center_target"][0] == 1).nonzero().tolist() == [[center, center]]
    assert targets["offset_target"][:, first[0], first[1]].tolist() == [center - first[0], center - first[1]]


@pytest.mark.parametrize("corner", [(0, 0), (0, 9), (6, 0), (6, 9)])
def test_single_pixel_in_a_corner_keeps_its_part_of_the_gaussian(corner: tuple[int, int]) -> None:
    panoptic = np.full((7, 10), STUFF, np.int32)
    panoptic[corner] = A
    targets = targets_of(panoptic)
    y, x = np.mgrid[:7, :10]
    distance = np.maximum(abs(y - corner[0]), abs(x - corner[1]))
    expected = np.exp(-((y - corner[0]) ** 2 + (x - corner[1]) ** 2) / 2) * (distance <= 4)
    np.testing.assert_allclose(targets["center_target"][0], expected, rtol=1e-6)
    assert targets["offset_target"].abs().max() == 0
    assert targets["offset_weight"].sum() == 1


def test_one_pixel_image() -> None:
    targets = targets_of(draw("a"))
    assert targets["center_target"].item() == 1
    assert targets["offset_target"].tolist() == [[[0]], [[0]]]


def test_gaussian_window_has_6_sigma_plus_3_pixels_and_peak_1() -> None:
    window = gaussian_window(8)
    assert window.shape == (51, 51)
    assert window[25, 25] == 1
    assert window[25, 33] == pytest.approx(np.exp(-0.5), rel=1e-7)
    assert (window == 1).sum() == 1


def test_crowd_trains_semantics_only_and_draws_no_center() -> None:
    panoptic = draw(
        "aaasss",
        "aaasss",
        "ssssss",
        "ssssbb",
        "ssssbb",
    )
    targets = targets_of(panoptic, crowd=[A], small_instance_area=10)
    is_crowd = torch.from_numpy(panoptic == A)
    assert (targets["semantic_target"][is_crowd] == 1).all()
    assert (targets["semantic_weight"][is_crowd] == 1).all()
    assert (targets["semantic_weight"][torch.from_numpy(panoptic == B)] == 3).all()
    assert (targets["center_weight"][0][is_crowd] == 0).all()
    assert (targets["center_weight"][0][~is_crowd] == 1).all()
    assert (targets["offset_weight"][0] == torch.from_numpy(panoptic == B)).all()
    assert (targets["offset_target"][:, is_crowd] == 0).all()
    # Not even outside of the crowd, where a Gaussian would leak to: the heatmap is b's alone.
    without = targets_of(np.where(panoptic == A, STUFF, panoptic).astype(np.int32))
    assert torch.equal(targets["center_target"], without["center_target"])


def test_crowd_can_be_ignored_in_the_semantic_loss() -> None:
    targets = targets_of(draw("aabs"), crowd=[A], ignore_crowd_in_semantic=True)
    assert targets["semantic_target"].tolist() == [[255, 255, 1, 0]]


def test_stuff_crowd_is_no_instance() -> None:
    targets = targets_of(draw("ss.a"), crowd=[STUFF])
    assert targets["semantic_target"].tolist() == [[0, 0, 255, 1]]
    assert targets["center_weight"].tolist() == [[[0, 0, 0, 1]]]
    assert targets["offset_weight"].tolist() == [[[0, 0, 0, 1]]]


def test_fully_cropped_instance_vanishes_and_the_visible_part_has_its_own_center() -> None:
    panoptic = draw(
        "aaaabbbb",
        "aaaabbbb",
        "aaaacccc",
    )
    segments = segments_of(panoptic)
    crop = np.ascontiguousarray(panoptic[:, :2])
    targets = PanopticTargets({1, 2}, sigma=1)(Panoptic(crop, segments))  # the segments of the whole image
    assert (targets["center_target"][0] == 1).nonzero().tolist() == [[1, 0]]  # mean (1, 0.5), not (1, 1.5)
    expected = PanopticTargets({1, 2}, sigma=1)(Panoptic(crop, segments_of(crop)))
    assert all(torch.equal(targets[key], expected[key]) for key in expected)


def test_void_and_stuff_alone_have_no_centers() -> None:
    for panoptic in (draw("....", "...."), draw("ss..", "ssss")):
        targets = targets_of(panoptic)
        assert targets["center_target"].abs().max() == 0
        assert targets["offset_target"].abs().max() == 0
        assert targets["offset_weight"].max() == 0
        assert (targets["center_weight"][0] == torch.from_numpy(panoptic > 0)).all()


def test_small_means_fewer_visible_pixels_than_the_limit() -> None:
    targets = targets_of(draw("aaabb"), small_instance_area=3)
    assert targets["semantic_weight"].tolist() == [[1, 1, 1, 3, 3]]
    targets = targets_of(draw("aaabb"), small_instance_area=4, small_instance_weight=2)
    assert targets["semantic_weight"].tolist() == [[2, 2, 2, 2, 2]]


def test_flipped_map_has_flipped_targets_with_negated_x_offset() -> None:
    # Instances of odd width and height: a half coordinate would round to the other side after the flip.
    generator = np.random.default_rng(0)
    panoptic = np.full((30, 41), STUFF, np.int32)
    panoptic[:4, :9] = 0
    for i in range(6):
        y, x = generator.integers(0, 25), generator.integers(0, 36)
        panoptic[y : y + 5, x : x + 5] = A + i
    visible = [i for i in np.unique(panoptic) if i >= A and (panoptic == i).sum() == 25]
    panoptic[(panoptic >= A) & ~np.isin(panoptic, visible)] = STUFF
    assert len(visible) >= 3
    targets, flipped = targets_of(panoptic), targets_of(np.ascontiguousarray(panoptic[:, ::-1]))
    for key, value in targets.items():
        value = value.flip(-1)
        if key == "offset_target":
            value[1] = -value[1]
        assert torch.equal(flipped[key], value), key


def test_many_instances_and_large_ids() -> None:
    panoptic = (2 * LABEL_DIVISOR + np.arange(1, 1501, dtype=np.int32)).reshape(30, 50)
    targets = targets_of(panoptic)
    assert (targets["center_target"] == 1).all()
    assert (targets["offset_target"] == 0).all()
    assert (targets["semantic_target"] == 1).all()


def from_deeplab2(label: Map, z_config: dict) -> tuple[Map, tuple[Segment, ...], list[int]]:
    """deeplab2's class * divisor + instance, instance 0 of a thing being crowd, as our map and segments."""
    data = z_config["dataset_info"]
    divisor, things = data["panoptic_label_divisor"], data["class_has_instances_list"]
    panoptic, segments = np.zeros_like(label), []
    for value in np.unique(label).tolist():
        train_id, instance = divmod(value, divisor)
        if train_id == data["ignore_label"]:
            continue
        crowd = train_id in things and instance == 0
        ours = (train_id + 1) * LABEL_DIVISOR + (9_999 if crowd else instance)
        panoptic[label == value] = ours
        segments.append(Segment(id=ours, train_id=train_id, is_crowd=crowd, area=int((label == value).sum())))
    return panoptic, tuple(segments), things


def targets_like(config: dict, things: Sequence[int], **arguments: object) -> PanopticTargets:
    return PanopticTargets(
        things,
        sigma=config["sigma"],
        ignore_label=config["dataset_info"]["ignore_label"],
        small_instance_area=config["focus_small_instances"]["threshold"],
        small_instance_weight=config["focus_small_instances"]["weight"],
        **arguments,
    )


@pytest.mark.parametrize(
    ("name", "scenes"),
    [
        ("targets_sigma8_div1000", 4),
        ("targets_sigma10_div256_void0", 3),
        ("targets_eval_pad", 1),
        ("targets_eval_resize", 1),
    ],
)
def test_equals_deeplab2(golden: Golden, name: str, scenes: int) -> None:
    z = np.load(golden(f"{name}.npz"))
    config = json.loads(str(z["config"]))
    arrays = {
        key: z[key] if name.startswith("targets_sigma") else z[key][None]
        for key in z.files
        if key != "config"
    }
    # The evaluation files resize and pad before: their map is output/panoptic_gt.
    labels = arrays["input/panoptic_label" if name.startswith("targets_sigma") else "output/panoptic_gt"]
    assert len(labels) == scenes
    for scene, label in enumerate(labels):
        panoptic, segments, things = from_deeplab2(label, config)
        targets = targets_like(config, things)(Panoptic(panoptic, segments))

        def expected(key: str, scene: int = scene) -> npt.NDArray:
            return arrays[f"output/{key}"][scene]

        np.testing.assert_array_equal(targets["semantic_target"], expected("semantic_gt"))
        np.testing.assert_array_equal(targets["semantic_weight"], expected("semantic_loss_weight"))
        np.testing.assert_array_equal(targets["center_weight"][0], expected("center_loss_weight"))
        np.testing.assert_array_equal(targets["offset_weight"][0], expected("regression_loss_weight"))
        np.testing.assert_array_equal(
            targets["offset_target"].permute(1, 2, 0), expected("instance_regression_gt")
        )
        np.testing.assert_allclose(
            targets["center_target"][0], expected("instance_center_gt"), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("name", ["sigma8_div1000", "sigma10_div256_void0"])
def test_equals_detectron2(golden: Golden, name: str) -> None:
    inputs, z = np.load(golden(f"targets_{name}.npz")), np.load(golden(f"targets_pt_{name}.npz"))
    config = json.loads(str(inputs["config"]))
    for scene, label in enumerate(inputs["input/panoptic_label"]):
        panoptic, segments, things = from_deeplab2(label, config)
        targets = targets_like(config, things, convention="detectron2")(Panoptic(panoptic, segments))
        np.testing.assert_array_equal(targets["semantic_target"], z["output_d2/sem_seg"][scene])
        np.testing.assert_array_equal(targets["semantic_weight"], z["output_d2/sem_seg_weights"][scene])
        np.testing.assert_array_equal(targets["center_weight"], z["output_d2/center_weights"][scene])
        np.testing.assert_array_equal(targets["offset_weight"], z["output_d2/offset_weights"][scene])
        np.testing.assert_allclose(targets["offset_target"], z["output_d2/offset"][scene], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            targets["center_target"][0], z["output_d2/center"][scene], rtol=1e-6, atol=0
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0}, "sigma must be a whole number of pixels >= 1, got 0"),
        ({"sigma": 2.5}, "sigma must be a whole number of pixels >= 1, got 2.5"),
        ({"small_instance_area": -1}, "small_instance_area must be >= 0 pixels, got -1"),
        ({"small_instance_weight": 0}, "small_instance_weight must be > 0, got 0"),
        ({"convention": "keras"}, "convention must be one of deeplab2, detectron2, got 'keras'"),
    ],
)
def test_refuses_settings(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticTargets({1}, **arguments)


def test_refuses_maps_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=f"panoptic map must hold ids of its segments, got {B}"):
        PanopticTargets({1})(Panoptic(draw("aab"), segments_of(draw("aa"))))
    with pytest.raises(ValueError, match="panoptic map must hold ids of its segments, got -7"):
        PanopticTargets({1})(Panoptic(np.array([[-7]], np.int32), ()))
    with pytest.raises(ValueError, match="ignore_label must be no class, got 1"):
        PanopticTargets({1}, ignore_label=1)(Panoptic(draw("aa"), segments_of(draw("aa"))))


def plain_targets(
    truth: Panoptic,
    *,
    sigma: int,
    detectron2: bool,
    ignore_crowd: bool,
    small_area: int,
    small_weight: float,
    distance: int,
    semantic_factor: float,
    offset_factor: float,
) -> dict[str, npt.NDArray]:
    """The targets of things 1 and 2, one segment and one pixel after the other."""
    height, width = truth.map.shape
    targets = {
        "semantic_target": np.full((height, width), 255, np.int64),
        "semantic_weight": np.ones((height, width), np.float32),
        "center_target": np.zeros((1, height, width), np.float32),
        "center_weight": np.zeros((1, height, width), np.float32),
        "offset_target": np.zeros((2, height, width), np.float32),
        "offset_weight": np.zeros((1, height, width), np.float32),
    }
    instances = np.zeros((height, width), np.int64)
    for number, segment in enumerate(truth.segments, 1):
        mask = truth.map == segment.id
        if not mask.any():
            continue
        is_instance = segment.train_id in (1, 2) and not segment.is_crowd
        targets["semantic_target"][mask] = 255 if segment.is_crowd and ignore_crowd else segment.train_id
        targets["center_weight"][0, mask] = not segment.is_crowd
        if is_instance:
            targets["offset_weight"][0, mask] = 1
            instances[mask] = number
        if is_instance or (detectron2 and segment.train_id in (1, 2)):
            if mask.sum() < small_area:
                targets["semantic_weight"][mask] = small_weight
            pixels = np.argwhere(mask)
            mean = pixels.mean(axis=0)
            center = np.rint(mean)
            end = mean if detectron2 else center
            targets["offset_target"][:, mask] = end.astype(np.float32)[:, None] - pixels.T.astype(np.float32)
            for y, x in np.ndindex(height, width):
                steps = np.array([y, x]) - center
                if np.abs(steps).max() <= 3 * sigma + 1:
                    value = np.float32(np.exp(-(steps**2).sum() / (2.0 * sigma**2)))
                    targets["center_target"][0, y, x] = max(targets["center_target"][0, y, x], value)
    for y, x in np.ndindex(height, width):
        near = instances[max(y - distance, 0) : y + distance + 1, max(x - distance, 0) : x + distance + 1]
        if len(set(near[near > 0].tolist())) > 1:
            targets["semantic_weight"][y, x] *= np.float32(semantic_factor)
            targets["offset_weight"][0, y, x] *= np.float32(offset_factor)
    return targets


@pytest.mark.parametrize("detectron2", [False, True])
@pytest.mark.parametrize(("ignore_crowd", "distance"), [(False, 2), (True, 0)])
def test_a_batch_has_the_bits_of_plain_targets(detectron2: bool, ignore_crowd: bool, distance: int) -> None:
    generator = np.random.default_rng(4)
    truths = []
    for number_of_segments in (0, 1, 4, 9):
        # Blocks of two sizes, so that centers lie between pixels; one segment has no pixel.
        blocks = generator.integers(0, number_of_segments + 1, (5, 6))
        panoptic = np.repeat(np.repeat(blocks, 3, axis=0), 4, axis=1).astype(np.int32)[:14, :21]
        truths.append(
            Panoptic(
                panoptic,
                tuple(
                    Segment(id=i, train_id=int(generator.integers(3)), area=0, is_crowd=i % 4 == 3)
                    for i in range(1, number_of_segments + 2)
                ),
            )
        )
    numbered = [[torch.from_numpy(array) for array in number_segments(truth)] for truth in truths]
    rows = torch.stack([rows for rows, _ in numbered])
    segments = pad_sequence([segments for _, segments in numbered], batch_first=True)
    make = PanopticTargets(
        {1, 2},
        sigma=2,
        small_instance_area=30,
        small_instance_weight=1.1,
        neighbor_distance=distance,
        neighbor_semantic_weight=2.7,
        neighbor_offset_weight=1.3,
        ignore_crowd_in_semantic=ignore_crowd,
        convention="detectron2" if detectron2 else "deeplab2",
    )
    targets = make.of_batch(rows, segments)
    for index, truth in enumerate(truths):
        expected = plain_targets(
            truth,
            sigma=2,
            detectron2=detectron2,
            ignore_crowd=ignore_crowd,
            small_area=30,
            small_weight=1.1,
            distance=distance,
            semantic_factor=2.7,
            offset_factor=1.3,
        )
        assert set(targets) == set(expected)
        for name, value in expected.items():
            assert targets[name].dtype == torch.from_numpy(value).dtype
            np.testing.assert_array_equal(targets[name][index].numpy(), value, err_msg=f"{index} {name}")


def test_many_centers_are_drawn_as_few_are() -> None:
    # More windows than one pass holds; 21 pixels between centers, so that windows of 51 overlap.
    panoptic = np.zeros((21 * 21, 21 * 21), np.int32)
    panoptic[10::21, 10::21] = np.arange(1, 442).reshape(21, 21)
    segments = tuple(Segment(id=i, train_id=1, area=1) for i in range(1, 442))
    heatmap = PanopticTargets({1}, sigma=8)(Panoptic(panoptic, segments))["center_target"][0].numpy()
    assert (heatmap == 1).sum() == 441
    y, x = np.indices(panoptic.shape)
    nearest = np.exp(-((y % 21 - 10) ** 2 + (x % 21 - 10) ** 2) / 128.0).astype(np.float32)
    np.testing.assert_array_equal(heatmap, nearest)
