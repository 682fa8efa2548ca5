"""One scene: the picture that the camera's sensor delivers and its panoptic annotation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.scenes.canvas import Canvas, Owner
from axial_deeplab.data.scenes.countryside import country_road, meadow, seaside
from axial_deeplab.data.scenes.light import draw_light
from axial_deeplab.data.scenes.noise import grain
from axial_deeplab.data.scenes.setting import open_stage
from axial_deeplab.data.scenes.stage import Stage
from axial_deeplab.data.scenes.towns import avenue, park, street

# Pixels below which a segment is left unlabeled: instances, groups, and stuff (of a picture of 256 x 384).
LEAST_THING, LEAST_CROWD, LEAST_STUFF = 28, 120, 160

CATEGORIES: tuple[tuple[int, str, bool, tuple[int, int, int]], ...] = (
    (1, "person", True, (220, 20, 60)),
    (3, "car", True, (0, 70, 200)),
    (6, "bus", True, (0, 150, 190)),
    (9, "boat", True, (165, 42, 120)),
    (13, "sign", True, (250, 170, 30)),
    (16, "bird", True, (255, 77, 255)),
    (18, "dog", True, (190, 110, 40)),
    (20, "sheep", True, (255, 220, 180)),
    (38, "balloon", True, (150, 60, 255)),
    (101, "sky", False, (110, 170, 220)),
    (103, "building", False, (110, 90, 90)),
    (104, "road", False, (128, 64, 128)),
    (107, "pavement", False, (244, 160, 200)),
    (110, "grass", False, (130, 210, 80)),
    (112, "tree", False, (40, 120, 45)),
    (115, "mountain", False, (150, 130, 170)),
    (118, "water", False, (40, 130, 180)),
    (121, "sand", False, (230, 210, 140)),
)
CATEGORY_IDS = {name: number for number, name, _, _ in CATEGORIES}
COLORS = {name: color for _, name, _, color in CATEGORIES}


class Layout(NamedTuple):
    """A place: how to draw it, how often, and between what horizon (share of the height) and eye (m) lie."""

    draw: Callable[[Stage], None]
    share: float
    horizon: tuple[float, float]
    eye: tuple[float, float]


LAYOUTS = {
    "street": Layout(street, 0.2, (0.44, 0.55), (1.8, 2.8)),
    "avenue": Layout(avenue, 0.17, (0.4, 0.54), (1.7, 3.6)),
    "country_road": Layout(country_road, 0.15, (0.36, 0.5), (1.5, 3.0)),
    "meadow": Layout(meadow, 0.17, (0.34, 0.5), (1.6, 3.2)),
    "seaside": Layout(seaside, 0.18, (0.28, 0.46), (2.2, 4.2)),
    "park": Layout(park, 0.13, (0.34, 0.48), (1.6, 2.8)),
}


@dataclass(frozen=True)
class SceneSegment:
    """One segment: its id in the PNG, category, area, and box (left, top, width, height)."""

    id: int
    category_id: int
    area: int
    bbox: tuple[int, int, int, int]
    is_crowd: bool


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3), the segment id of each pixel (H, W) with 0 = void, and the segments."""

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    segments: tuple[SceneSegment, ...]
    layout: str


def draw_scene(seed: tuple[int, int] | np.random.SeedSequence, height: int = 256, width: int = 384) -> Scene:
    """Draw one scene of a data set.

    *Shapes*: H height, W width.

    Args:
        seed: (seed of the data set, index of the image), or a seed sequence.
        height: rows, at least 32.
        width: columns, at least 32.

    Returns:
        The scene; the same for the same seed and size.

    Raises:
        ValueError: the size is too small, or a seed is negative.
    """
    for name, value in (("height", height), ("width", width)):
        if value < 32:
            raise ValueError(f"{name} must be at least 32 pixels, got {value}; draw larger scenes")
    if isinstance(seed, tuple) and min(seed) < 0:
        raise ValueError(f"seed must be at least 0, got {min(seed)}; choose a natural number")
    rng = np.random.default_rng(seed)
    layout = str(rng.choice(list(LAYOUTS), p=[each.share for each in LAYOUTS.values()]))
    draw, _, horizon, eye = LAYOUTS[layout]
    stage = open_stage(height, width, draw_light(rng), rng, horizon, eye)
    draw(stage)
    stage.finish()
    canvas = stage.canvas
    picture, owners = canvas.finish()
    image, owners = _photograph(picture, owners, canvas, rng)
    ids, segments = _annotate(owners, canvas.owners)
    return Scene(image, ids, segments, layout)


def _photograph(
    picture: NDArray[np.uint8], owners: NDArray[np.uint8], canvas: Canvas, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Add what a camera does: vignette, exposure, white balance, noise, now and then a dark frame."""
    height, width = owners.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    vignette = 1.0 - np.float32(rng.uniform(0.0, 0.09)) * (x * x + y * y)
    balance = np.float32(rng.uniform(0.94, 1.06) * (1.0 + 0.025 * rng.standard_normal(3)))
    shot = picture.astype(np.float32) * vignette[..., None] * balance
    sigma = rng.uniform(1.0, 4.0) * (1.7 if canvas.light.lamps else 1.0)
    shot += (sigma * grain(rng, height, width, 1.0, 1))[..., None]
    shot += 0.7 * sigma * rng.standard_normal((height, width, 3), np.float32)
    if rng.random() < 0.04:
        rim = max(2, round(height * 0.012))
        frame = np.ones((height, width), bool)
        frame[rim:-rim, rim:-rim] = False
        shot[frame] = 18.0
        owners = np.where(frame, np.uint8(0), owners)
    return np.clip(shot, 0, 255).astype(np.uint8), owners


def _annotate(
    owners: NDArray[np.uint8], surfaces: list[Owner]
) -> tuple[NDArray[np.int32], tuple[SceneSegment, ...]]:
    """Turn the owners of the pixels into segments: stuff joined by category, scraps left unlabeled."""
    joined: dict[str, int] = {}
    first_owner: list[Owner] = [Owner(None)]
    table = np.zeros(256, np.int32)
    for number, owner in enumerate(surfaces):
        if owner.category is None:
            continue
        if owner.is_instance or owner.category not in joined:
            first_owner.append(owner)
            table[number] = len(first_owner) - 1
            if not owner.is_instance:
                joined[owner.category] = len(first_owner) - 1
        else:
            table[number] = joined[owner.category]
    labels = table[owners]
    areas = np.bincount(labels.ravel(), minlength=len(first_owner))
    stuff_least = max(LEAST_STUFF * labels.size / (256 * 384), 24)
    ids = np.zeros(len(first_owner), np.int32)
    segments: list[SceneSegment] = []
    for label in range(1, len(first_owner)):
        owner, area = first_owner[label], int(areas[label])
        least = (LEAST_CROWD if owner.is_crowd else LEAST_THING) if owner.is_instance else stuff_least
        if area < least:
            continue
        assert owner.category is not None
        ids[label] = _free_id(owner.category, {segment.id for segment in segments})
        category_id = CATEGORY_IDS[owner.category]
        segments.append(
            SceneSegment(int(ids[label]), category_id, area, _box(labels == label), owner.is_crowd)
        )
    return ids[labels], tuple(segments)


def _free_id(category: str, used: set[int]) -> int:
    """Return an unused id whose color is close to the category's, so that the PNG can be looked at."""
    red, green, blue = COLORS[category]
    step = 0
    while True:
        shades = ((red + 23 * step) % 256, (green + 41 * step) % 256, (blue + 11 * step) % 256)
        number = shades[0] + 256 * shades[1] + 65536 * shades[2]
        if number and number not in used:
            return number
        step += 1


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
