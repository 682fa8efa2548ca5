"""The six places: street, avenue, meadow, country road, seaside and park."""

from collections.abc import Callable

import numpy as np

from axial_deeplab.data.scenes import buildings
from axial_deeplab.data.scenes.canvas import Camera, Canvas, Owner, Point, smooth
from axial_deeplab.data.scenes.landscape import forest, hills, meadow_color, mountains, sky, water
from axial_deeplab.data.scenes.light import Color, Light, mix, shade, vary
from axial_deeplab.data.scenes.stage import Stage


def _open(
    height: int,
    width: int,
    light: Light,
    rng: np.random.Generator,
    horizon: tuple[float, float],
    eye: tuple[float, float],
) -> tuple[Canvas, Stage]:
    """Set up the camera and paint the sky."""
    camera = Camera(
        float(rng.uniform(*horizon)) * height,
        float(rng.uniform(0.36, 0.64)) * width,
        0.9 * max(width, 1.2 * height),
        float(rng.uniform(*eye)),
    )
    canvas = Canvas(height, width, camera, light, rng)
    sky(canvas, rng)
    return canvas, Stage(canvas, rng, autumn=bool(rng.random() < 0.22))


def _plain(canvas: Canvas, category: str, color: Color, far: Color | None = None) -> None:
    """Fill everything below the horizon with one kind of ground."""
    contrast = {"grass": 0.17, "sand": 0.075, "road": 0.06, "pavement": 0.06}[category]
    number = canvas.own(
        Owner(
            category,
            fine=0.04 if category == "grass" else 0.025,
            medium=0.03,
            ground=contrast,
            is_ground=True,
        )
    )
    top, bottom, width = canvas.camera.horizon, canvas.height + 2.0, canvas.width + 2.0
    surface = canvas.ground_surface(color, shade(color, 1.06) if far is None else far)
    canvas.fill(number, [(-2.0, top), (width, top), (width, bottom), (-2.0, bottom)], surface)


def _patch(canvas: Canvas, category: str, color: Color, outline: list[Point]) -> None:
    """Lay a piece of ground on the ground."""
    contrast = {"grass": 0.17, "sand": 0.075, "road": 0.06, "pavement": 0.06}[category]
    number = canvas.own(
        Owner(
            category,
            fine=0.04 if category == "grass" else 0.025,
            medium=0.03,
            ground=contrast,
            is_ground=True,
        )
    )
    canvas.fill(number, outline, canvas.ground_surface(color, shade(color, 1.06)))


def _asphalt(rng: np.random.Generator) -> Color:
    return vary(rng, [(96, 98, 104), (112, 110, 110), (82, 86, 94)][rng.integers(3)], 0.05)


def _slabs(rng: np.random.Generator) -> Color:
    return vary(rng, [(178, 168, 154), (164, 164, 164), (186, 160, 140)][rng.integers(3)], 0.05)


def _sand(rng: np.random.Generator) -> Color:
    return vary(rng, [(226, 204, 160), (216, 186, 136), (232, 214, 180)][rng.integers(3)], 0.04)


def _backdrop(canvas: Canvas, stage: Stage, rng: np.random.Generator, chance: dict[str, float]) -> None:
    """Draw what closes the view at the horizon."""
    base, tall = canvas.camera.horizon + 1.0, canvas.height
    if rng.random() < chance.get("mountains", 0.0):
        mountains(canvas, rng, base, tall * float(rng.uniform(0.16, 0.32)))
    if rng.random() < chance.get("hills", 0.0):
        hills(
            canvas, rng, base, tall * float(rng.uniform(0.06, 0.13)), meadow_color(rng, stage.autumn), 500.0
        )
    if rng.random() < chance.get("skyline", 0.0):
        left = float(rng.uniform(-0.1, 0.4)) * canvas.width
        buildings.skyline(
            canvas,
            rng,
            base,
            tall * float(rng.uniform(0.16, 0.3)),
            250.0,
            left,
            left + float(rng.uniform(0.4, 0.9)) * canvas.width,
        )
    if rng.random() < chance.get("forest", 0.0):
        left = 0.0 if rng.random() < 0.6 else float(rng.uniform(0.1, 0.5))
        right = 1.05 if rng.random() < 0.6 else float(rng.uniform(left + 0.35, 1.05))
        forest(
            canvas,
            rng,
            base + 0.5,
            tall * float(rng.uniform(0.06, 0.12)),
            stage.autumn,
            160.0,
            left=left,
            right=right,
        )


def _ground_spot(
    canvas: Canvas, rng: np.random.Generator, nearest: float, farthest: float
) -> Callable[[str], tuple[float, float]]:
    """Return a chooser of spots between two rows (shares of the way from the horizon to the bottom), denser far away."""
    camera = canvas.camera
    span = canvas.height - camera.horizon

    def spot(_: str) -> tuple[float, float]:
        share = farthest + (nearest - farthest) * float(rng.random()) ** 1.3
        return float(rng.uniform(0.02, 0.98)) * canvas.width, camera.horizon + share * span

    return spot


def _fly(
    canvas: Canvas, stage: Stage, rng: np.random.Generator, ceiling: float, *, balloons: float, birds: float
) -> None:
    """Send up balloons and birds above a row."""
    height, width = canvas.height, canvas.width
    if rng.random() < balloons:
        for _ in range(int(rng.integers(1, 4))):
            tall = height * float(rng.uniform(0.1, 0.34))
            stage.put_balloon(
                float(rng.uniform(0.05, 0.95)) * width,
                float(rng.uniform(0.4 * ceiling, 0.95 * ceiling)),
                tall,
            )
    if rng.random() < birds:
        for _ in range(int(rng.integers(1, 4))):
            wide = height * float(rng.uniform(0.07, 0.15))
            stage.put_bird(
                float(rng.uniform(0.05, 0.95)) * width, float(rng.uniform(0.1, 0.9)) * ceiling, wide
            )


def _close_up(
    canvas: Canvas, stage: Stage, rng: np.random.Generator, names: list[str], chance: float
) -> None:
    """Now and then put something that fills most of the picture's height."""
    if rng.random() >= chance:
        return
    name = names[int(rng.integers(len(names)))]
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
    tall = float(rng.uniform(*share)) * canvas.height
    x = float(rng.uniform(0.2, 0.8)) * canvas.width
    if name == "balloon":
        stage.put_balloon(x, float(rng.uniform(0.75, 0.95)) * canvas.height, tall)
        return
    stage.put(
        name,
        x,
        canvas.height * float(rng.uniform(0.94, 1.04)),
        scale=tall / meters,
        order=2.0 * canvas.height,
    )


def street(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """A street seen from across: a row of fronts, pavement, road, and the near pavement or a park's edge."""
    canvas, stage = _open(height, width, light, rng, (0.44, 0.55), (1.8, 2.8))
    camera = canvas.camera
    _backdrop(canvas, stage, rng, {"forest": 0.6, "hills": 0.3})
    foot = camera.horizon + float(rng.uniform(0.11, 0.17)) * height
    scale, depth = camera.scale_at(foot), camera.depth_at(foot)
    near_kerb = camera.row_at(depth * float(rng.uniform(0.42, 0.52)))
    far_kerb = camera.row_at(depth * float(rng.uniform(0.83, 0.9)))
    _plain(canvas, "pavement", _slabs(rng))
    _row_of_fronts(canvas, stage, rng, foot, scale)
    asphalt = _asphalt(rng)
    wide = width + 2.0
    _patch(
        canvas, "road", asphalt, [(-2.0, far_kerb), (wide, far_kerb), (wide, near_kerb), (-2.0, near_kerb)]
    )
    for kerb in (far_kerb, near_kerb):
        canvas.mark(
            [(-2.0, kerb - 0.8), (wide, kerb - 0.8), (wide, kerb + 0.6), (-2.0, kerb + 0.6)], (206, 202, 194)
        )
    middle = camera.row_at(0.5 * (camera.depth_at(far_kerb) + camera.depth_at(near_kerb)))
    dash = 2.2 * camera.scale_at(middle)
    x = -float(rng.uniform(0, dash))
    while x < width:
        canvas.mark(
            [(x, middle - 0.7), (x + dash, middle - 0.7), (x + dash, middle + 0.9), (x, middle + 0.9)],
            (232, 230, 220),
        )
        x += 2 * dash
    if rng.random() < 0.4:
        lawn = near_kerb + 0.35 * (height - near_kerb)
        _patch(
            canvas,
            "grass",
            meadow_color(rng, stage.autumn),
            [(-2.0, lawn), (wide, lawn), (wide, height + 2.0), (-2.0, height + 2.0)],
        )
    if rng.random() < 0.55:
        for k in range(int(rng.integers(1, 4))):
            stage.put_tree(
                "broadleaf" if rng.random() < 0.7 else "poplar",
                (k + float(rng.random())) * width / 3,
                far_kerb - 1.5,
                float(rng.uniform(4.5, 7.5)),
            )
    _close_up(canvas, stage, rng, ["person", "dog", "standing_bird", "car_side"], 0.15)
    _street_things(canvas, stage, rng, foot, far_kerb, near_kerb)
    _fly(canvas, stage, rng, 0.3 * height, balloons=0.12, birds=0.3)
    stage.finish()
    return canvas


def _row_of_fronts(canvas: Canvas, stage: Stage, rng: np.random.Generator, foot: float, scale: float) -> None:
    haze = canvas.light.haze(canvas.camera.depth_at(foot), 0.55)
    x = -float(rng.uniform(0, 6)) * scale
    while x < canvas.width:
        long = float(rng.uniform(6.0, 12.0))
        if rng.random() < 0.14:  # a gap with a garden
            stage.put_tree("broadleaf", x + 0.3 * long * scale, foot + 0.5, float(rng.uniform(5, 8)))
            x += 0.6 * long * scale
            continue
        left = x

        def plane(u: float, v: float, left: float = left) -> Point:
            return left + u * scale, foot - v * scale

        floors = int(rng.choice([2, 3, 4], p=[0.45, 0.4, 0.15]))
        buildings.street_front(
            canvas,
            rng,
            plane,
            long,
            floors,
            haze=haze,
            dim=float(rng.uniform(0.9, 1.0)),
            detail=scale,
            gable=bool(rng.random() < 0.6),
        )
        x += long * scale
    canvas.shadow(canvas.width / 2, foot, canvas.width, 0.4 * scale)


def _street_things(
    canvas: Canvas, stage: Stage, rng: np.random.Generator, foot: float, far_kerb: float, near_kerb: float
) -> None:
    width, height = canvas.width, canvas.height
    drive_left = bool(rng.random() < 0.5)
    lanes = [
        (far_kerb + 0.3 * (near_kerb - far_kerb), drive_left),
        (far_kerb + 0.88 * (near_kerb - far_kerb), not drive_left),
    ]
    for lane, (row, flip) in enumerate(lanes):
        for _ in range(int(rng.integers(0, 3)) + (lane == 0)):
            name = "bus_side" if rng.random() < 0.25 else "car_side"
            stage.put(
                name,
                float(rng.uniform(0.05, 0.95)) * width,
                row + float(rng.uniform(-0.02, 0.02)) * height,
                flip=flip,
            )
    if rng.random() < 0.55:
        row = far_kerb - 1.0 if rng.random() < 0.4 else near_kerb + 2.0
        stage.put("sign", float(rng.uniform(0.05, 0.95)) * width, row)
    if rng.random() < 0.18:
        stage.put_crowd(
            "person",
            float(rng.uniform(0.2, 0.8)) * width,
            foot + 0.5 * (far_kerb - foot),
            int(rng.integers(8, 14)),
        )

    def spot(name: str) -> tuple[float, float]:
        near = name in ("dog", "standing_bird") or rng.random() < 0.55
        row = (
            rng.uniform(near_kerb + 0.03 * height, 0.97 * height)
            if near
            else rng.uniform(foot + 2, far_kerb - 1)
        )
        return float(rng.uniform(0.03, 0.97)) * width, float(row)

    stage.put_some(["person", "dog", "standing_bird"], [0.68, 0.18, 0.14], spot, int(rng.integers(2, 6)))
    if rng.random() < 0.3:
        stage.put_odd_object(
            float(rng.uniform(0.1, 0.9)) * width,
            near_kerb + float(rng.uniform(0.1, 0.6)) * (height - near_kerb),
        )


def avenue(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """A street that runs to its vanishing point between two rows of fronts."""
    canvas, stage = _open(height, width, light, rng, (0.4, 0.54), (1.7, 3.6))
    camera = canvas.camera
    _backdrop(canvas, stage, rng, {"mountains": 0.35, "forest": 0.8, "skyline": 0.3})
    road, walk = float(rng.uniform(3.2, 4.4)), float(rng.uniform(2.6, 4.2))
    _plain(canvas, "pavement", _slabs(rng))
    nearest = camera.depth_at(float(height)) * 0.7
    for side in (-1, 1):
        if rng.random() < 0.82:
            _side_of_fronts(canvas, rng, side * (road + walk), nearest)
        else:
            _patch(
                canvas,
                "grass",
                meadow_color(rng, stage.autumn),
                _strip(camera, side * (road + walk), side * 200.0, nearest),
            )
            for _ in range(int(rng.integers(3, 7))):
                _plant_beside(
                    stage, rng, side * float(rng.uniform(road + walk + 1, road + walk + 9)), 9.0, 50.0
                )
    _patch(canvas, "road", _asphalt(rng), _strip(camera, -road, road, nearest))
    _lane_marks(canvas, road, nearest)
    if rng.random() < 0.5:
        for depth in np.arange(float(rng.uniform(9, 14)), 45, float(rng.uniform(9, 14))):
            for side in (-1, 1):
                if rng.random() < 0.7:
                    x, row = camera.project(side * (road + 0.7), 0.0, float(depth))
                    stage.put_tree("broadleaf", x, row, float(rng.uniform(4.0, 6.0)))
    _close_up(canvas, stage, rng, ["person", "dog", "car_end", "standing_bird"], 0.13)
    _traffic(canvas, stage, rng, road, int(rng.integers(2, 6)))

    def beside(_: str) -> tuple[float, float]:
        depth = float(rng.uniform(6, 26))
        return camera.project(
            (1 if rng.random() < 0.5 else -1) * (road + float(rng.uniform(0.8, walk - 0.5))), 0.0, depth
        )

    stage.put_some(
        ["person", "dog", "sign", "standing_bird"], [0.62, 0.12, 0.18, 0.08], beside, int(rng.integers(2, 6))
    )
    if rng.random() < 0.15:
        x, row = camera.project(
            (road + walk / 2) * (1 if rng.random() < 0.5 else -1), 0.0, float(rng.uniform(20, 30))
        )
        stage.put_crowd("person", x, row, int(rng.integers(6, 9)))
    _fly(canvas, stage, rng, 0.3 * height, balloons=0.15, birds=0.3)
    stage.finish()
    return canvas


def _strip(camera: Camera, left: float, right: float, nearest: float) -> list[Point]:
    """Return the outline of a strip of ground between two lines (meters to the side) that run to the horizon."""
    far = 900.0
    return [
        camera.project(left, 0.0, nearest),
        camera.project(left, 0.0, far),
        camera.project(right, 0.0, far),
        camera.project(right, 0.0, nearest),
    ]


def _lane_marks(canvas: Canvas, half: float, nearest: float) -> None:
    camera, white = canvas.camera, (234, 232, 222)
    for edge in (-half + 0.25, half - 0.25):
        canvas.mark(_strip(camera, edge - 0.07, edge + 0.07, nearest), white, 0.1)
    depth = nearest
    while depth < 70:
        ends = (depth, depth + 2.5)
        outline = [
            camera.project(-0.08, 0.0, ends[0]),
            camera.project(-0.08, 0.0, ends[1]),
            camera.project(0.08, 0.0, ends[1]),
            camera.project(0.08, 0.0, ends[0]),
        ]
        canvas.mark(outline, white, canvas.light.haze(depth, 0.7))
        depth += 6.0


def _side_of_fronts(canvas: Canvas, rng: np.random.Generator, lateral: float, nearest: float) -> None:
    camera, light = canvas.camera, canvas.light
    dim = 1.0 if light.sun * lateral < 0 else 0.78
    fronts: list[tuple[float, float]] = []
    depth = nearest * 0.8 + float(rng.uniform(0, 2))
    while depth < 75:
        fronts.append((depth, float(rng.uniform(7, 13))))
        depth += fronts[-1][1] + (float(rng.uniform(1.5, 4)) if rng.random() < 0.2 else 0.0)
    away = 1.0 if lateral > 0 else -1.0
    for start, long in reversed(fronts):

        def plane(u: float, v: float, start: float = start) -> Point:
            return camera.project(lateral, v, max(start + u, 0.5))

        def end(u: float, v: float, start: float = start) -> Point:
            return camera.project(lateral + away * u, v, start)

        floors = int(rng.choice([2, 3, 4, 5], p=[0.3, 0.35, 0.25, 0.1]))
        buildings.street_front(
            canvas,
            rng,
            plane,
            long,
            floors,
            haze=light.haze(start + long / 2, 0.6),
            dim=dim * float(rng.uniform(0.94, 1.0)),
            detail=camera.focal / (start + long / 2),
            end=end,
        )


def _traffic(canvas: Canvas, stage: Stage, rng: np.random.Generator, half: float, count: int) -> None:
    camera = canvas.camera

    def lane(_: str) -> tuple[float, float]:
        depth = float(rng.uniform(6.5, 40.0))
        return camera.project(
            (1 if rng.random() < 0.5 else -1) * half * float(rng.uniform(0.45, 0.55)), 0.0, depth
        )

    stage.put_some(["car_end", "bus_end"], [0.76, 0.24], lane, count)


def _plant_beside(
    stage: Stage, rng: np.random.Generator, lateral: float, nearest: float, farthest: float
) -> None:
    x, row = stage.canvas.camera.project(lateral, 0.0, float(rng.uniform(nearest, farthest)))
    kind = str(rng.choice(["broadleaf", "conifer", "poplar", "bush"], p=[0.45, 0.3, 0.1, 0.15]))
    meters = float(rng.uniform(1.0, 1.8)) if kind == "bush" else float(rng.uniform(4.5, 9.0))
    stage.put_tree(kind, x, row, meters)


def country_road(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """A road through grassland or a desert."""
    canvas, stage = _open(height, width, light, rng, (0.36, 0.5), (1.5, 3.0))
    camera = canvas.camera
    desert = rng.random() < 0.35
    _backdrop(
        canvas,
        stage,
        rng,
        {"mountains": 0.85, "hills": 0.0 if desert else 0.5, "forest": 0.1 if desert else 0.5},
    )
    _plain(canvas, "sand" if desert else "grass", _sand(rng) if desert else meadow_color(rng, stage.autumn))
    nearest = camera.depth_at(float(height)) * 0.7
    road = float(rng.uniform(2.8, 3.8))
    if rng.random() < 0.5:
        shoulder = meadow_color(rng, True) if desert else _sand(rng)
        _patch(
            canvas, "grass" if desert else "sand", shoulder, _strip(camera, -road - 1.6, road + 1.6, nearest)
        )
    _patch(canvas, "road", _asphalt(rng), _strip(camera, -road, road, nearest))
    _lane_marks(canvas, road, nearest)
    for _ in range(int(rng.integers(2, 5)) if desert else int(rng.integers(3, 9))):
        lateral = (1 if rng.random() < 0.5 else -1) * float(rng.uniform(road + 3.5, road + 16))
        if desert:
            x, row = camera.project(lateral, 0.0, float(rng.uniform(10, 40)))
            stage.put_tree(
                "bush" if rng.random() < 0.6 else "palm",
                x,
                row,
                float(rng.uniform(1.0, 1.8)) * (1.0 if rng.random() < 0.6 else 3.0),
            )
        else:
            _plant_beside(stage, rng, lateral, 9.0, 55.0)
    _close_up(canvas, stage, rng, ["car_end", "person", "sheep", "dog", "balloon"], 0.2)
    _traffic(canvas, stage, rng, road, int(rng.integers(2, 5)))

    def beside(name: str) -> tuple[float, float]:
        gap = 1.2 if name == "sign" else float(rng.uniform(1.5, 9.0))
        return camera.project(
            (1 if rng.random() < 0.5 else -1) * (road + gap), 0.0, float(rng.uniform(5.5, 22))
        )

    stage.put_some(
        ["sign", "sheep", "person", "dog"],
        [0.35, 0.1 if desert else 0.35, 0.2, 0.1],
        beside,
        int(rng.integers(1, 5)),
    )
    if rng.random() < 0.3:
        x, row = camera.project(
            (road + float(rng.uniform(4, 12))) * (1 if rng.random() < 0.5 else -1),
            0.0,
            float(rng.uniform(15, 35)),
        )
        buildings_row = row
        stage.later(
            row,
            lambda: buildings.house(
                canvas,
                rng,
                x,
                buildings_row,
                camera.scale_at(buildings_row),
                light.haze(camera.depth_at(buildings_row), 0.6),
            ),
        )
    _fly(canvas, stage, rng, camera.horizon * 0.8, balloons=0.3, birds=0.35)
    stage.finish()
    return canvas


def meadow(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """Hills, meadows, sheep, a farm, perhaps a brook or a track."""
    canvas, stage = _open(height, width, light, rng, (0.34, 0.5), (1.6, 3.2))
    camera = canvas.camera
    _backdrop(canvas, stage, rng, {"mountains": 0.65, "hills": 0.7, "forest": 0.6})
    grass = meadow_color(rng, stage.autumn)
    _plain(canvas, "grass", grass)
    span = height - camera.horizon
    extra = rng.random()
    if extra < 0.3:
        top = camera.horizon + float(rng.uniform(0.16, 0.3)) * span
        tall, x = float(rng.uniform(0.14, 0.22)) * span, float(rng.uniform(0.2, 0.8)) * width
        half = float(rng.uniform(0.22, 0.4)) * width
        pond = smooth(
            [
                (x - half, top + 0.5 * tall),
                (x - 0.6 * half, top),
                (x + 0.4 * half, top + 0.1 * tall),
                (x + half, top + 0.6 * tall),
                (x + 0.3 * half, top + tall),
                (x - 0.5 * half, top + 0.95 * tall),
            ],
            3,
        )
        canvas.fill(
            canvas.own(Owner("grass", is_ground=True)),
            [(px, py + 1.0) for px, py in pond],
            shade(grass, 0.6),
            0.1,
        )
        water(canvas, rng, pond, (62, 104, 118), top, top + tall)
        for _ in range(int(rng.integers(1, 4))):
            stage.put(
                "swimming_bird",
                x + float(rng.uniform(-0.6, 0.6)) * half,
                top + float(rng.uniform(0.4, 0.85)) * tall,
                scale=height * float(rng.uniform(0.05, 0.08)),
            )
    elif extra < 0.6:
        _winding_track(canvas, rng)
    if rng.random() < 0.5:
        row = camera.horizon + float(rng.uniform(0.1, 0.2)) * span
        x = float(rng.uniform(0.1, 0.9)) * width
        stage.later(
            row,
            lambda: buildings.house(
                canvas,
                rng,
                x,
                row,
                max(camera.scale_at(row), 0.028 * height),
                light.haze(camera.depth_at(row), 0.6),
            ),
        )
    for _ in range(int(rng.integers(1, 6))):
        kind = str(rng.choice(["broadleaf", "conifer", "poplar", "bush"], p=[0.5, 0.25, 0.1, 0.15]))
        row = camera.horizon + float(rng.uniform(0.06, 0.45)) * span
        stage.put_tree(
            kind,
            float(rng.uniform(-0.05, 1.05)) * width,
            row,
            float(rng.uniform(1.0, 1.8)) if kind == "bush" else float(rng.uniform(5, 9)),
        )
    _close_up(canvas, stage, rng, ["sheep", "dog", "person", "balloon", "sheep"], 0.22)
    if rng.random() < 0.25:
        stage.put_crowd(
            "sheep",
            float(rng.uniform(0.2, 0.8)) * width,
            camera.horizon + float(rng.uniform(0.16, 0.24)) * span,
            int(rng.integers(7, 13)),
        )
    spot = _ground_spot(canvas, rng, 0.92, 0.2)
    stage.put_some(
        ["sheep", "person", "dog", "standing_bird"], [0.6, 0.18, 0.14, 0.08], spot, int(rng.integers(3, 9))
    )
    if rng.random() < 0.3:
        stage.put_odd_object(*spot(""))
    _fly(canvas, stage, rng, camera.horizon * 0.85, balloons=0.45, birds=0.35)
    stage.finish()
    return canvas


def _winding_track(canvas: Canvas, rng: np.random.Generator) -> None:
    camera = canvas.camera
    lateral, swing, turn = float(rng.uniform(-3, 3)), float(rng.uniform(1.5, 5)), float(rng.uniform(0, 6))
    half = float(rng.uniform(1.1, 1.8))
    depths = camera.depth_at(float(canvas.height)) * 0.7 * 1.16 ** np.arange(20)
    middles = [lateral + swing * np.sin(turn + 3.0 * np.log(depth)) * depth / 14 for depth in depths]
    left = [camera.project(float(m) - half, 0.0, float(d)) for m, d in zip(middles, depths, strict=True)]
    right = [camera.project(float(m) + half, 0.0, float(d)) for m, d in zip(middles, depths, strict=True)]
    category = "sand" if rng.random() < 0.6 else "road"
    _patch(canvas, category, _sand(rng) if category == "sand" else _asphalt(rng), left + right[::-1])


def seaside(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """The sea or a lake with boats, seen from a beach or a green shore."""
    canvas, stage = _open(height, width, light, rng, (0.28, 0.46), (2.2, 4.2))
    camera = canvas.camera
    lake = rng.random() < 0.45
    _backdrop(
        canvas, stage, rng, {"mountains": 0.9, "forest": 0.9} if lake else {"mountains": 0.4, "skyline": 0.2}
    )
    span = height - camera.horizon
    shore = camera.horizon + float(rng.uniform(0.42, 0.68)) * span
    color = vary(rng, [(38, 108, 136), (52, 120, 128), (40, 84, 116), (70, 118, 112)][rng.integers(4)], 0.06)
    wide = width + 2.0
    water(
        canvas,
        rng,
        [(-2.0, camera.horizon), (wide, camera.horizon), (wide, height + 2.0), (-2.0, height + 2.0)],
        color,
        camera.horizon,
        float(height),
    )
    slant, waves, turn = (
        float(rng.uniform(-0.1, 0.1)) * height,
        float(rng.uniform(0.01, 0.025)) * height,
        float(rng.uniform(0, 6)),
    )
    xs = np.linspace(-2, wide, 40)
    line = [
        (
            float(x),
            shore
            + slant * (float(x) / width - 0.5)
            + waves * float(np.sin(turn + 9 * x / width) + 0.5 * np.sin(2 * turn + 21 * x / width)),
        )
        for x in xs
    ]
    green = lake and rng.random() < 0.7
    ground = meadow_color(rng, stage.autumn) if green else _sand(rng)
    if not green:
        canvas.mark([(x, y - 1.6) for x, y in line] + [(x, y + 1.0) for x, y in line[::-1]], (246, 248, 248))
    bottom: list[Point] = [(wide, height + 2.0), (-2.0, height + 2.0)]
    _patch(canvas, "grass" if green else "sand", ground, line + bottom)
    wet = [(x, y) for x, y in line] + [(x, y + 0.035 * height) for x, y in line[::-1]]
    canvas.mark(wet, shade(ground, 0.72), 0.02)
    for _ in range(int(rng.integers(0, 4))):
        kind = ("broadleaf" if rng.random() < 0.5 else "conifer") if green else "palm"
        stage.put_tree(
            kind,
            float(rng.choice([rng.uniform(-0.02, 0.25), rng.uniform(0.75, 1.02)])) * width,
            shore + float(rng.uniform(0.1, 0.35)) * span,
            float(rng.uniform(3.6, 6.5)),
        )
    _close_up(canvas, stage, rng, ["person", "dog", "standing_bird"], 0.16)
    _boats(canvas, stage, rng, shore)

    def on_shore(_: str) -> tuple[float, float]:
        low = shore + abs(slant) / 2 + 2 * waves + 0.05 * height
        return float(rng.uniform(0.03, 0.97)) * width, float(
            rng.uniform(min(low, 0.92 * height), 0.98 * height)
        )

    stage.put_some(["person", "dog", "standing_bird"], [0.6, 0.22, 0.18], on_shore, int(rng.integers(1, 6)))
    if rng.random() < 0.35:
        stage.put_odd_object(*on_shore(""))
    _fly(canvas, stage, rng, camera.horizon * 0.85, balloons=0.2, birds=0.6)
    stage.finish()
    return canvas


def _boats(canvas: Canvas, stage: Stage, rng: np.random.Generator, shore: float) -> None:
    camera = canvas.camera

    def afloat(_: str) -> tuple[float, float]:
        share = 0.1 + 0.7 * float(rng.random()) ** 1.2
        return float(rng.uniform(0.03, 0.97)) * canvas.width, camera.horizon + share * (
            shore - camera.horizon
        )

    stage.put_some(
        ["sailing_boat", "motor_boat", "rowing_boat"], [0.5, 0.3, 0.2], afloat, int(rng.integers(1, 5))
    )
    if rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 4))):
            x, row = afloat("")
            stage.put(
                "swimming_bird",
                x,
                max(row, camera.horizon + 0.6 * (shore - camera.horizon)),
                scale=canvas.height * float(rng.uniform(0.05, 0.09)),
            )


def park(height: int, width: int, light: Light, rng: np.random.Generator) -> Canvas:
    """Lawns, a path, trees, a town behind them."""
    canvas, stage = _open(height, width, light, rng, (0.34, 0.48), (1.6, 2.8))
    camera = canvas.camera
    _backdrop(canvas, stage, rng, {"skyline": 0.85, "forest": 0.8})
    _plain(canvas, "grass", meadow_color(rng, stage.autumn))
    span = height - camera.horizon
    if rng.random() < 0.5:
        nearest, half, lateral = (
            camera.depth_at(float(height)) * 0.7,
            float(rng.uniform(1.2, 2.4)),
            float(rng.uniform(-2, 2)),
        )
        _patch(canvas, "pavement", _slabs(rng), _strip(camera, lateral - half, lateral + half, nearest))
    else:
        top = camera.horizon + float(rng.uniform(0.3, 0.5)) * span
        low, slant = top + float(rng.uniform(0.2, 0.3)) * span, float(rng.uniform(-0.06, 0.06)) * height
        _patch(
            canvas,
            "pavement",
            _slabs(rng),
            [
                (-2.0, top - slant),
                (width + 2.0, top + slant),
                (width + 2.0, low + slant),
                (-2.0, low - slant),
            ],
        )
    for _ in range(int(rng.integers(3, 8))):
        row = camera.horizon + float(rng.uniform(0.08, 0.5)) * span
        kind = str(rng.choice(["broadleaf", "poplar", "bush", "conifer"], p=[0.62, 0.14, 0.14, 0.1]))
        stage.put_tree(
            kind,
            float(rng.uniform(-0.05, 1.05)) * width,
            row,
            float(rng.uniform(1.0, 1.8)) if kind == "bush" else float(rng.uniform(4, 7.5)),
        )
    _close_up(canvas, stage, rng, ["person", "dog", "dog", "standing_bird", "balloon"], 0.25)
    spot = _ground_spot(canvas, rng, 0.95, 0.22)
    if rng.random() < 0.2:
        stage.put_crowd(
            "person",
            float(rng.uniform(0.2, 0.8)) * width,
            camera.horizon + 0.24 * span,
            int(rng.integers(8, 14)),
        )
    stage.put_some(
        ["person", "dog", "standing_bird", "sign"], [0.55, 0.24, 0.14, 0.07], spot, int(rng.integers(3, 8))
    )
    if rng.random() < 0.45:
        stage.put_odd_object(*spot(""))
    _fly(canvas, stage, rng, camera.horizon * 0.8, balloons=0.3, birds=0.35)
    stage.finish()
    return canvas


LAYOUTS: dict[str, Callable[[int, int, Light, np.random.Generator], Canvas]] = {
    "street": street,
    "avenue": avenue,
    "country_road": country_road,
    "meadow": meadow,
    "seaside": seaside,
    "park": park,
}
SHARES = [0.2, 0.17, 0.15, 0.17, 0.18, 0.13]

__all__ = ["LAYOUTS", "SHARES", "mix"]
