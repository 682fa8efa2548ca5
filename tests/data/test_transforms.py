"""Scale, flip and crop move image and map together, and repeat for the same seed, epoch and index."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from axial_deeplab.data.coco import CocoPanopticDataset, Sample
from axial_deeplab.data.targets import PanopticTargets, number_segments
from axial_deeplab.data.transforms import TrainingDataset, TrainTransform, stacked
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, PanopticMap, Segment, measure_segments
from axial_deeplab.panoptic.writer import PanopticWriter

STUFF, A, B = 10_000, 20_001, 20_002
COLORS = {0: (1, 2, 3), STUFF: (40, 90, 200), A: (250, 10, 60), B: (20, 240, 90)}
PAD = (124, 116, 104)


def sample_of(panoptic: PanopticMap) -> Sample:
    """Return a sample whose image shows at each pixel the color of its segment."""
    image = np.zeros((*panoptic.shape, 3), np.uint8)
    for value, color in COLORS.items():
        image[panoptic == value] = color
    values, areas, boxes = measure_segments(panoptic)
    segments = tuple(
        Segment(id=value, train_id=value // 10_000 - 1, area=area, bbox=tuple(box))
        for value, area, box in zip(values.tolist(), areas.tolist(), boxes.tolist(), strict=True)
        if value
    )
    return Sample(image, Panoptic(panoptic, segments), 1, "a.png", panoptic.shape)


def scene(height: int = 12, width: int = 16) -> PanopticMap:
    panoptic = np.full((height, width), STUFF, np.int32)
    panoptic[2:7, 3:8] = A
    panoptic[8:11, 10:15] = B
    panoptic[0, :5] = 0
    return panoptic


class Draws:
    """Stands for a generator: the four draws (scale, mirror, y, x) are given, colors stay."""

    def __init__(self, scale: float = 0.5, mirror: float = 0.9, y: float = 0.0, x: float = 0.0) -> None:
        self.draws = np.array([scale, mirror, y, x])

    def random(self, number: int) -> np.ndarray:
        assert number == 4
        return self.draws

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        return np.full(size, (low + high) / 2)


def apply(sample: Sample, draws: Draws, **arguments: object) -> Sample:
    return TrainTransform(**arguments)(sample, draws)  # type: ignore[arg-type]


def test_nothing_drawn_changes_nothing() -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(), crop_size=(12, 16), scale_range=(1, 1))
    np.testing.assert_array_equal(result.image, sample.image)
    np.testing.assert_array_equal(result.panoptic, sample.panoptic)
    assert result.segments == sample.segments
    assert (result.image_id, result.file_name, result.size) == (1, "a.png", (12, 16))


def test_the_sample_given_stays_as_it_is() -> None:
    sample = sample_of(scene())
    before = sample.image.copy()
    apply(sample, Draws(mirror=0), crop_size=(20, 20), color_jitter=0.5)
    np.testing.assert_array_equal(sample.image, before)
    np.testing.assert_array_equal(sample.panoptic, scene())


@pytest.mark.parametrize(("mirror", "mirrored"), [(0.0, True), (0.499, True), (0.5, False), (0.9, False)])
def test_flip_mirrors_image_and_map(mirror: float, mirrored: bool) -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(mirror=mirror), crop_size=(12, 16), scale_range=(1, 1))
    assert sample.panoptic is not None
    step = -1 if mirrored else 1
    np.testing.assert_array_equal(result.image, sample.image[:, ::step])
    np.testing.assert_array_equal(result.panoptic, sample.panoptic[:, ::step])
    assert result.segments[1].bbox == ((8, 2, 5, 5) if mirrored else (3, 2, 5, 5))
    unflipped = apply(sample, Draws(mirror=mirror), crop_size=(12, 16), scale_range=(1, 1), flip=False)
    np.testing.assert_array_equal(unflipped.image, sample.image)


@pytest.mark.parametrize("crop_size", [(14, 15), (11, 20)])
def test_targets_of_the_flipped_sample_are_the_flipped_targets(crop_size: tuple[int, int]) -> None:
    # a and b have odd widths: half coordinates would round to the other side.
    sample = sample_of(scene())
    targets = PanopticTargets({1}, sigma=2)
    plain, flipped = (
        apply(sample, Draws(mirror=mirror, y=0.4, x=0.3), crop_size=crop_size, scale_range=(1, 1))
        for mirror in (0.9, 0.0)
    )
    assert plain.panoptic is not None
    assert flipped.panoptic is not None
    expected = targets(plain.truth)
    for key, value in targets(flipped.truth).items():
        sign = torch.tensor([1.0, -1.0])[:, None, None] if key == "offset_target" else 1
        assert torch.equal(value, expected[key].flip(-1) * sign), key


@pytest.mark.parametrize(
    ("y", "x", "top", "left"),
    [(0.0, 0.0, 0, 0), (0.999, 0.999, 7, 9), (0.5, 0.25, 4, 2), (0.124, 0.101, 0, 1)],
)
def test_crop_lies_anywhere_in_a_larger_image(y: float, x: float, top: int, left: int) -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(y=y, x=x), crop_size=(5, 7), scale_range=(1, 1))
    assert sample.panoptic is not None
    np.testing.assert_array_equal(result.image, sample.image[top : top + 5, left : left + 7])
    np.testing.assert_array_equal(result.panoptic, sample.panoptic[top : top + 5, left : left + 7])
    assert result.size == (5, 7)


@pytest.mark.parametrize(("y", "x", "top", "left"), [(0, 0, 0, 0), (0.999, 0.999, 3, 4), (0.5, 0.5, 2, 2)])
def test_a_smaller_image_lies_anywhere_in_the_crop(y: float, x: float, top: int, left: int) -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(y=y, x=x), crop_size=(15, 20), scale_range=(1, 1))
    inside = (slice(top, top + 12), slice(left, left + 16))
    np.testing.assert_array_equal(result.image[inside], sample.image)
    np.testing.assert_array_equal(result.panoptic[inside], sample.panoptic)
    outside = np.ones((15, 20), bool)
    outside[inside] = False
    assert (result.image[outside] == PAD).all()
    assert (result.panoptic[outside] == 0).all()
    assert [s.area for s in result.segments] == [s.area for s in sample.segments]


def test_one_axis_is_cropped_and_the_other_padded() -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(), crop_size=(20, 6), scale_range=(1, 1), pad_color=(9, 8, 7))
    np.testing.assert_array_equal(result.image[:12], sample.image[:, :6])
    assert (result.image[12:] == (9, 8, 7)).all()


def test_padding_trains_nothing() -> None:
    result = apply(sample_of(scene()), Draws(), crop_size=(20, 30), scale_range=(1, 1))
    assert result.panoptic is not None
    targets = PanopticTargets({1})(result.truth)
    assert (targets["semantic_target"][12:] == 255).all()
    assert (targets["semantic_target"][:, 16:] == 255).all()
    for key in ("center_weight", "offset_weight"):
        assert (targets[key][0, 12:] == 0).all()
        assert (targets[key][0, :, 16:] == 0).all()


def test_segments_out_of_sight_vanish_and_the_others_are_measured_anew() -> None:
    sample = sample_of(scene())
    result = apply(sample, Draws(), crop_size=(5, 6), scale_range=(1, 1))
    assert [(s.id, s.area, s.bbox) for s in result.segments] == [
        (STUFF, 5 * 6 - 5 - 3 * 3, (0, 0, 6, 5)),
        (A, 9, (3, 2, 3, 3)),
    ]
    targets = PanopticTargets({1}, sigma=1)(result.truth)
    # The visible 3 x 3 pixels of a have their own center.
    assert (targets["center_target"][0] == 1).nonzero().tolist() == [[3, 4]]


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.5), (1 / 3, 1.0), (0.9999999, 2.0)])
def test_scale_is_drawn_uniformly_between_its_limits(draw: float, factor: float) -> None:
    panoptic = np.kron(scene(), np.ones((4, 4), np.int32))
    result = apply(sample_of(panoptic), Draws(scale=draw), crop_size=(200, 200), scale_range=(0.5, 2))
    assert result.panoptic is not None
    rows, columns = np.nonzero(result.panoptic)
    assert (rows.max() + 1, columns.max() + 1) == (48 * factor, 64 * factor)
    np.testing.assert_array_equal(
        result.panoptic[: int(48 * factor), : int(64 * factor)],
        np.kron(scene(), np.ones((int(4 * factor), int(4 * factor)), np.int32)),
    )
    assert {s.id: s.area for s in result.segments} == {
        s.id: s.area * factor**2 for s in sample_of(panoptic).segments
    }


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("scale", [0.4, 0.77, 1.3, 2.6])
def test_scaled_image_and_map_stay_aligned(scale: float, transposed: bool) -> None:
    # One straight edge, black against white: a pixel is brighter than grey where most of it is white.
    panoptic = np.full((61, 61), A, np.int32)
    panoptic[:, 23:] = B
    panoptic = np.ascontiguousarray(panoptic.T) if transposed else panoptic
    white = np.repeat(np.where(panoptic == B, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    sample = replace(sample_of(panoptic), image=white)
    for place in (0.0, 0.37, 0.61):
        draws = Draws(y=place, x=1 - place - 0.01)
        result = apply(sample, draws, crop_size=(24, 24), scale_range=(scale, scale))
        assert result.panoptic is not None
        brightness = result.image[..., 0].astype(int)
        decided = abs(2 * brightness - 255) > 3
        np.testing.assert_array_equal((brightness > 127)[decided], (result.panoptic == B)[decided])


@pytest.mark.parametrize("scale", [0.63, 1.57])
def test_crop_of_the_scaled_image_equals_scaling_all_and_cropping(scale: float) -> None:
    generator = np.random.default_rng(1)
    sample = sample_of(np.kron(scene(), np.ones((5, 5), np.int32)))
    sample = replace(sample, image=generator.integers(0, 256, sample.image.shape, dtype=np.uint8))
    height, width = round(60 * scale), round(80 * scale)
    whole = np.asarray(Image.fromarray(sample.image).resize((width, height), Image.Resampling.BILINEAR))
    result = apply(sample, Draws(y=0.7, x=0.2), crop_size=(31, 33), scale_range=(scale, scale))
    top, left = int(0.7 * (height - 31 + 1)), int(0.2 * (width - 33 + 1))
    difference = result.image.astype(int) - whole[top : top + 31, left : left + 33].astype(int)
    assert abs(difference).max() <= 1  # the rounding of Pillow's fixed-point weights


def test_shrinking_averages_over_the_area() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200
    sample = replace(sample_of(np.full((40, 40), STUFF, np.int32)), image=stripes)
    result = apply(sample, Draws(), crop_size=(10, 10), scale_range=(0.25, 0.25))
    assert abs(result.image[:, 1:-1].astype(int) - 100).max() <= 10


@pytest.mark.parametrize("size", [(6, 8), (4, 5)])
def test_a_scaled_map_keeps_the_pixels_under_the_middles_of_its_own(size: tuple[int, int]) -> None:
    # As Pillow, scikit-image and "nearest-exact" of torch; "nearest" of OpenCV and torch takes others.
    panoptic = 20_001 + np.arange(12 * 16, dtype=np.int32).reshape(12, 16)
    scale = size[1] / 16
    result = apply(sample_of(panoptic), Draws(), crop_size=size, scale_range=(scale, scale))
    expected = Image.fromarray(panoptic).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(result.panoptic, np.asarray(expected))


def test_max_size_shrinks_large_images_only() -> None:
    panoptic = np.kron(scene(), np.ones((4, 4), np.int32))  # 48 x 64
    result = apply(sample_of(panoptic), Draws(), crop_size=(12, 16), scale_range=(1, 1), max_size=16)
    np.testing.assert_array_equal(result.panoptic, scene())
    same = apply(sample_of(panoptic), Draws(), crop_size=(48, 64), scale_range=(1, 1), max_size=100)
    np.testing.assert_array_equal(same.panoptic, panoptic)


def test_long_side_is_reached_by_small_and_large_images() -> None:
    large = np.kron(scene(), np.ones((4, 4), np.int32))  # 48 x 64
    options = {"crop_size": (12, 16), "scale_range": (1, 1), "long_side": 16}
    for panoptic in (scene(), large):
        np.testing.assert_array_equal(apply(sample_of(panoptic), Draws(), **options).panoptic, scene())
    options = {"crop_size": (24, 32), "scale_range": (1, 1), "long_side": 64, "max_size": 32}
    twice = np.kron(scene(), np.ones((2, 2), np.int32))
    np.testing.assert_array_equal(apply(sample_of(scene()), Draws(), **options).panoptic, twice)
    magnified = apply(sample_of(scene()), Draws(), crop_size=(24, 32), scale_range=(2, 2), long_side=16)
    np.testing.assert_array_equal(magnified.panoptic, twice)


def test_image_of_one_pixel_and_very_long_images() -> None:
    one = apply(sample_of(np.full((1, 1), A, np.int32)), Draws(), crop_size=(4, 4), scale_range=(0.1, 0.1))
    assert one.panoptic is not None
    assert (one.panoptic == A).sum() == 1
    long = apply(sample_of(np.full((2, 900), A, np.int32)), Draws(), crop_size=(9, 9), scale_range=(0.1, 0.1))
    assert long.panoptic is not None
    assert (long.panoptic == A).sum() == 9


def test_color_jitter_changes_colors_inside_the_image_alone() -> None:
    sample = sample_of(scene())
    transform = TrainTransform((20, 20), scale_range=(1, 1), flip=False, color_jitter=0.4)
    result = transform(sample, np.random.default_rng(3))
    plain = replace(transform, color_jitter=0.0)(sample, np.random.default_rng(3))
    np.testing.assert_array_equal(result.panoptic, plain.panoptic)
    changed = (result.image != plain.image).any(axis=2)
    assert result.panoptic is not None
    assert changed[result.panoptic > 0].all()
    assert (result.image[(plain.image == PAD).all(axis=2)] == PAD).all()
    still = apply(sample, Draws(), crop_size=(12, 16), scale_range=(1, 1), color_jitter=0.4)
    np.testing.assert_array_equal(still.image, sample.image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": (0, 5)}, r"crop_size must be a height and a width of at least 1 pixel, got \(0, 5\)"),
        ({"crop_size": (5,)}, "crop_size must be a height and a width"),
        ({"scale_range": (0, 1)}, r"scale_range must be two positive numbers in rising order, got \(0, 1\)"),
        ({"scale_range": (2, 1)}, "scale_range must be two positive numbers in rising order"),
        ({"color_jitter": 1.5}, "color_jitter must be from 0 to 1, got 1.5"),
        ({"max_size": 0}, "max_size must be at least 1 pixel, got 0"),
        ({"long_side": 0}, "long_side must be at least 1 pixel, got 0"),
    ],
)
def test_refuses_settings(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainTransform(**{"crop_size": (5, 5), **arguments})


def test_refuses_a_sample_without_map() -> None:
    sample = replace(sample_of(scene()), truth=None)
    with pytest.raises(ValueError, match=r"panoptic must be the ground truth, got None for a\.png"):
        TrainTransform((5, 5))(sample, np.random.default_rng(0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoPanopticDataset:
    folder: Path = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    categories = Categories([Category(1, "grass", False), Category(2, "ball", True)])
    with PanopticWriter(folder / "panoptic", folder / "panoptic.json", categories) as writer:
        for number in range(4):
            sample = sample_of(np.roll(scene(40, 50), number, axis=1))
            Image.fromarray(sample.image).save(folder / "images" / f"{number}.png")
            writer.add(sample.truth, image_file_name=f"{number}.png", image_id=f"id {number}")
    return CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")


MakeTraining = Callable[..., TrainingDataset]


@pytest.fixture
def training(dataset: CocoPanopticDataset) -> MakeTraining:
    def make(**arguments: object) -> TrainingDataset:
        return TrainingDataset(dataset, **{"crop_size": (33, 41), "color_jitter": 0.2, **arguments})

    return make


def same(first: dict, second: dict) -> bool:
    return all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def test_item_holds_image_map_and_id(training: MakeTraining) -> None:
    item = training()[0, 2]
    assert item["image_id"] == "id 2"
    assert {key: (item[key].dtype, tuple(item[key].shape)) for key in ("image", "rows", "segments")} == {
        "image": (torch.uint8, (3, 33, 41)),
        "rows": (torch.int16, (33, 41)),
        "segments": (torch.float32, (len(item["segments"]), 7)),
    }
    assert len(training()) == 4


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_batch_gives_the_targets_of_its_samples(
    dataset: CocoPanopticDataset, training: MakeTraining, num_workers: int
) -> None:
    items = training(scale_range=(0.3, 3))
    (batch,) = DataLoader(items, batch_size=4, num_workers=num_workers, collate_fn=stacked)
    assert batch["image"].shape == (4, 3, 33, 41)
    assert batch["image_id"] == [f"id {index}" for index in range(4)]
    make = PanopticTargets(dataset.categories.thing_ids, sigma=2)
    targets = make.of_batch(batch["rows"], batch["segments"])
    for index in range(4):
        sample = items.transform(dataset[index], np.random.default_rng((0, 0, index)))
        assert sample.truth is not None
        np.testing.assert_array_equal(batch["image"][index].permute(1, 2, 0), sample.image)
        for name, target in make(sample.truth).items():
            assert torch.equal(targets[name][index], target), name


def test_a_batch_takes_numbers_of_16_and_of_32_bits() -> None:
    many = Panoptic(
        np.arange(1, 2**15 + 1, dtype=np.int32)[None],
        tuple(Segment(id=number, train_id=0, area=1) for number in range(1, 2**15 + 1)),
    )
    one = Panoptic(np.ones_like(many.map), many.segments[:1])
    items = []
    for truth in (many, one):
        rows, segments = map(torch.from_numpy, number_segments(truth))
        items.append({"image": torch.zeros(3, 1, 2**15), "rows": rows, "segments": segments})
    assert [item["rows"].dtype for item in items] == [torch.int32, torch.int16]
    for batch in (stacked(items), stacked(items[::-1])):
        targets = PanopticTargets({1}, sigma=1).of_batch(batch["rows"], batch["segments"])
        assert batch["rows"].dtype == torch.int32
        assert (targets["semantic_target"] == 0).all()


def test_items_depend_on_seed_epoch_and_index_alone(training: MakeTraining) -> None:
    first, second = training(seed=3), training(seed=3)
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    items = {key: first[key] for key in keys}
    assert all(same(items[key], second[key]) for key in reversed(keys))
    images = [items[key]["image"] for key in keys]
    assert all(not torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])
    assert not any(same(items[key], training(seed=4)[key]) for key in keys)


def test_items_are_the_same_in_threads(training: MakeTraining) -> None:
    shared = training()
    results: dict[tuple[int, int], dict] = {}

    def work(keys: list[tuple[int, int]]) -> None:
        for key in keys:
            results[key] = shared[key]

    keys = [(epoch, index) for epoch in range(2) for index in range(4)]
    threads = [Thread(target=work, args=(keys[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(results[key], training()[key]) for key in keys)


def test_refuses_a_data_set_without_maps_and_a_negative_seed(
    dataset: CocoPanopticDataset, training: MakeTraining
) -> None:
    alone = CocoPanopticDataset(dataset.images_folder, None, dataset.images_folder.parent / "panoptic.json")
    with pytest.raises(ValueError, match="dataset must have panoptic maps to train on"):
        TrainingDataset(alone, crop_size=(5, 5))
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        training(seed=-1)
