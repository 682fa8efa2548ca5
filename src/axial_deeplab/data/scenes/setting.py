"""What the layouts share: the camera, the ground, the view to the horizon, roads, and what flies above."""

from collections.abc import Callable

import numpy as np

from axial_deeplab.data.scenes import buildings
from axial_deeplab.data.scenes.canvas import Camera, Canvas, Owner, Point, rectangle
from axial_deeplab.data.scenes.drawings import pick
from axial_deeplab.data.scenes.landscape import forest, hills, meadow_color, mountains, sky
from axial_deeplab.data.scenes.light import Color, Light, either_side, shade
from axial_deeplab.data.scenes.stage import Stage


def open_stage(
    height: int,
    width: int,
    light: Light,
    rng: np.random.Generator,
    horizon: tuple[float, float],
    eye: tuple[float, float],
) -> Stage:
    """Set up the camera and paint the sky."""
    camera = Camera(
        rng.uniform(*horizon) * height,
        rng.uniform(0.36, 0.64) * width,
        0.9 * max(width, 1.2 * height),
        rng.uniform(*eye),
    )
    canvas = Canvas(height, width, camera, light, rng)
    sky(canvas)
    return Stage(canvas, autumn=rng.random() < 0.22)


def lay_plain(canvas: Canvas, category: str, color: Color) -> None:
    """Fill everything below the horizon with one kind of ground."""
    lay_patch(
        canvas,
        category,
        color,
        rectangle(-2.0, canvas.camera.horizon, canvas.width + 2.0, canvas.height + 2.0),
    )


def lay_patch(canvas: Canvas, category: str, color: Color, outline: list[Point]) -> None:
    """Lay a piece of ground on the ground."""
    contrast = {"grass": 0.17, "sand": 0.075, "road": 0.06, "pavement": 0.06}[category]
    fine = 0.04 if category == "grass" else 0.025
    number = canvas.own(Owner(category, fine=fine, medium=0.03, ground=contrast, is_ground=True))
    canvas.fill(number, outline, canvas.ground_surface(color, shade(color, 1.06)))


def asphalt_color(rng: np.random.Generator) -> Color:
    """Draw the color of a road."""
    return pick(rng, "asphalt", 0.05)


def slab_color(rng: np.random.Generator) -> Color:
    """Draw the color of a pavement."""
    return pick(rng, "slabs", 0.05)


def sand_color(rng: np.random.Generator) -> Color:
    """Draw the color of sand."""
    return pick(rng, "sand", 0.04)


def draw_backdrop(stage: Stage, chance: dict[str, float]) -> None:
    """Draw what closes the view at the horizon."""
    canvas, rng = stage.canvas, stage.rng
    base, tall = canvas.camera.horizon + 1.0, canvas.height
    if rng.random() < chance.get("mountains", 0.0):
        mountains(canvas, base, tall * rng.uniform(0.16, 0.32))
    if rng.random() < chance.get("hills", 0.0):
        hills(canvas, base, tall * rng.uniform(0.06, 0.13), meadow_color(rng, stage.autumn), 500.0)
    if rng.random() < chance.get("skyline", 0.0):
        left = rng.uniform(-0.1, 0.4) * canvas.width
        buildings.skyline(
            canvas,
            base,
            tall * rng.uniform(0.16, 0.3),
            250.0,
            left,
            left + rng.uniform(0.4, 0.9) * canvas.width,
        )
    if rng.random() < chance.get("forest", 0.0):
        left = 0.0 if rng.random() < 0.6 else rng.uniform(0.1, 0.5)
        right = 1.05 if rng.random() < 0.6 else rng.uniform(left + 0.35, 1.05)
        forest(
            canvas, base + 0.5, tall * rng.uniform(0.06, 0.12), stage.autumn, 160.0, left=left, right=right
        )


def ground_spot(canvas: Canvas, nearest: float, farthest: float) -> Callable[[str], tuple[float, float]]:
    """Return a chooser of spots between two rows (shares of the way from horizon to bottom)."""
    rng = canvas.rng
    camera = canvas.camera
    span = canvas.height - camera.horizon

    def spot(_: str) -> tuple[float, float]:
        share = farthest + (nearest - farthest) * rng.random() ** 1.3
        return rng.uniform(0.02, 0.98) * canvas.width, camera.horizon + share * span

    return spot


def send_up(stage: Stage, ceiling: float, *, balloons: float, birds: float) -> None:
    """Send up balloons and birds above a row."""
    canvas, rng = stage.canvas, stage.rng
    height, width = canvas.height, canvas.width
    if rng.random() < balloons:
        for _ in range(rng.integers(1, 4)):
            tall = height * rng.uniform(0.1, 0.34)
            stage.put_balloon(
                rng.uniform(0.05, 0.95) * width, rng.uniform(0.4 * ceiling, 0.95 * ceiling), tall
            )
    if rng.random() < birds:
        for _ in range(rng.integers(1, 4)):
            wide = height * rng.uniform(0.07, 0.15)
            stage.put_bird(rng.uniform(0.05, 0.95) * width, rng.uniform(0.1, 0.9) * ceiling, wide)


def put_close_up(stage: Stage, names: list[str], chance: float) -> None:
    """Now and then put something that fills most of the picture's height."""
    canvas, rng = stage.canvas, stage.rng
    if rng.random() >= chance:
        return
    name = names[rng.integers(len(names))]
    share = {"person": (0.55, 1.0), "dog": (0.35, 0.6), "sheep": (0.35, 0.6), "balloon": (0.6, 0.95)}.get(
        name, (0.3, 0.5)
    )
    meters = {
        "person": 1.75,
        "dog": 0.85,
        "sheep": 1.0,
        "balloon": 20.0,
        "car_side": 1.5,
        "car_end": 1.5,
        "standing_bird": 0.6,
    }[name]
    tall = rng.uniform(*share) * canvas.height
    x = rng.uniform(0.2, 0.8) * canvas.width
    if name == "balloon":
        stage.put_balloon(x, rng.uniform(0.75, 0.95) * canvas.height, tall)
        return
    stage.put(
        name, x, canvas.height * rng.uniform(0.94, 1.04), scale=tall / meters, order=2.0 * canvas.height
    )


def strip(camera: Camera, left: float, right: float, nearest: float, farthest: float = 900.0) -> list[Point]:
    """Return the outline of a strip of ground between two lines (meters to the side) and two depths."""
    corners = ((left, nearest), (left, farthest), (right, farthest), (right, nearest))
    return [camera.project(lateral, 0.0, depth) for lateral, depth in corners]


def mark_lanes(canvas: Canvas, half: float, nearest: float) -> None:
    """Paint the edge lines and the dashed middle line of a road; `half` is half its width in meters."""
    camera, white = canvas.camera, (234, 232, 222)
    for edge in (-half + 0.25, half - 0.25):
        canvas.mark(strip(camera, edge - 0.07, edge + 0.07, nearest), white, 0.1)
    depth = nearest
    while depth < 70:
        canvas.mark(strip(camera, -0.08, 0.08, depth, depth + 2.5), white, canvas.light.haze(depth, 0.7))
        depth += 6.0


def put_traffic(stage: Stage, half: float, count: int) -> None:
    """Put cars and buses on the two lanes of a road that runs to the horizon."""
    canvas, rng = stage.canvas, stage.rng
    camera = canvas.camera

    def lane(_: str) -> tuple[float, float]:
        depth = rng.uniform(6.5, 40.0)
        return camera.project(either_side(rng) * half * rng.uniform(0.45, 0.55), 0.0, depth)

    stage.put_some(["car_end", "bus_end"], [0.76, 0.24], lane, count)


def plant_beside(stage: Stage, lateral: float, nearest: float, farthest: float) -> None:
    """Plant a tree or bush at a side (meters) and a random depth."""
    rng = stage.rng
    x, row = stage.canvas.camera.project(lateral, 0.0, rng.uniform(nearest, farthest))
    kind = str(rng.choice(["broadleaf", "conifer", "poplar", "bush"], p=[0.45, 0.3, 0.1, 0.15]))
    meters = rng.uniform(1.0, 1.8) if kind == "bush" else rng.uniform(4.5, 9.0)
    stage.put_tree(kind, x, row, meters)
