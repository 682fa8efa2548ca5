"""Crops for classification: what they show, and that they repeat."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.classification_transforms import (
    CentralCrop,
    ClassificationTrainingSet,
    ClassificationValidationSet,
    RandomResizedCrop,
)
from axial_deeplab.data.image_folder import ImageFolder


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red value is the row and whose green value is the column."""
    y, x = np.mgrid[:height, :width]
    return np.stack((y, x, np.zeros_like(x)), axis=2).astype(np.uint8)


def test_random_crop_covers_the_area_and_aspect_that_it_should() -> None:
    crop = RandomResizedCrop((32, 32), (0.25, 0.5), (0.8, 1.25), flip=False)
    for seed in range(50):
        result = crop(coordinates(120, 200), np.random.default_rng(seed)).astype(float)
        # The middle of a pixel of the crop moves by the size of the part over 32.
        rows, columns = (np.diff(result[4:-4, 4:-4, c].mean(axis=1 - c)).mean() * 32 for c in (0, 1))
        assert 0.25 * 0.97 <= rows * columns / (120 * 200) <= 0.5 * 1.03
        assert 0.8 * 0.95 <= columns / rows <= 1.25 * 1.05


def test_a_whole_image_is_only_resized_and_mirrored_half_of_the_time() -> None:
    image = coordinates(40, 40)
    crop = RandomResizedCrop((40, 40), (1.0, 1.0), (1.0, 1.0))
    results = [crop(image, np.random.default_rng(seed)) for seed in range(40)]
    as_is = sum(np.array_equal(result, image) for result in results)
    mirrored = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    assert as_is + mirrored == 40
    assert 10 <= mirrored <= 30


def test_a_part_that_does_not_fit_is_cut_to_the_image() -> None:
    crop = RandomResizedCrop((8, 8), (1.0, 1.0), (1.0, 1.0), flip=False)
    result = crop(coordinates(20, 80), np.random.default_rng(0))  # a square of 40 x 40 pixels
    assert result.shape == (8, 8, 3)
    assert result[..., 0].max() >= 17
    assert np.ptp(result[..., 1].astype(int)) <= 40


def test_color_jitter_leaves_the_place() -> None:
    image = coordinates(64, 64)
    plain = RandomResizedCrop((16, 16), flip=False)(image, np.random.default_rng(3)).astype(int)
    bright = RandomResizedCrop((16, 16), flip=False, color_jitter=0.5)(image, np.random.default_rng(3))
    assert not np.array_equal(plain, bright)
    assert (np.diff(bright.astype(int)[..., 0].mean(axis=1)) >= 0).all(), "rows still rise"


def test_central_crop_by_hand() -> None:
    image = coordinates(64, 128)
    assert np.array_equal(CentralCrop((32, 48), 64)(image), image[16:48, 40:88])
    half = CentralCrop((16, 16), 32)(image).astype(float)
    assert half[0, 0, 0] == pytest.approx(16.5, abs=1)  # rows 16 to 48, every second
    assert half[-1, -1, 1] == pytest.approx(78.5, abs=1)  # columns 48 to 80


def test_data_sets_repeat_by_seed_epoch_and_index(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(coordinates(50, 60)).save(tmp_path / name / "0.png")
    folder = ImageFolder(tmp_path)
    items = ClassificationTrainingSet(folder, RandomResizedCrop((16, 16)), seed=1)
    assert len(items) == 2
    assert items[0, 1]["label"] == 1
    assert items[0, 1]["image"].shape == (3, 16, 16)
    assert items[0, 1]["image"].equal(items[0, 1]["image"])
    assert not items[0, 1]["image"].equal(items[1, 1]["image"])
    other_seed = ClassificationTrainingSet(folder, RandomResizedCrop((16, 16)), seed=2)
    assert not items[0, 1]["image"].equal(other_seed[0, 1]["image"])
    image, label = ClassificationValidationSet(folder, CentralCrop((16, 16), 20))[1]
    assert (image.shape, label) == ((3, 16, 16), 1)


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"area_range must be two numbers in \(0, 1\] in rising order, got"):
        RandomResizedCrop((8, 8), (0.0, 1.0))
    with pytest.raises(ValueError, match="aspect_range must be two positive numbers in rising order, got"):
        RandomResizedCrop((8, 8), aspect_range=(2.0, 1.0))
    with pytest.raises(ValueError, match=r"shorter_side must be at least the crop \(8, 9\), got 8 pixels"):
        CentralCrop((8, 9), 8)
