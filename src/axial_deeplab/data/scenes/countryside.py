"""Layouts under the open sky: a country road, a meadow, the seaside."""

import numpy as np

from axial_deeplab.data.scenes import buildings
from axial_deeplab.data.scenes.canvas import Canvas, Owner, Point, rectangle, smooth
from axial_deeplab.data.scenes.drawings import pick
from axial_deeplab.data.scenes.landscape import meadow_color, water
from axial_deeplab.data.scenes.light import either_side, shade
from axial_deeplab.data.scenes.setting import (
    asphalt_color,
    draw_backdrop,
    ground_spot,
    lay_patch,
    lay_plain,
    mark_lanes,
    plant_beside,
    put_close_up,
    put_traffic,
    sand_color,
    send_up,
    strip,
)
from axial_deeplab.data.scenes.stage import Stage


def country_road(stage: Stage) -> None:
    """A road through grassland or a desert."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    desert = rng.random() < 0.35
    draw_backdrop(
        stage, {"mountains": 0.85, "hills": 0.0 if desert else 0.5, "forest": 0.1 if desert else 0.5}
    )
    lay_plain(
        canvas, "sand" if desert else "grass", sand_color(rng) if desert else meadow_color(rng, stage.autumn)
    )
    nearest = camera.depth_at(float(canvas.height)) * 0.7
    road = rng.uniform(2.8, 3.8)
    if rng.random() < 0.5:
        shoulder = meadow_color(rng, True) if desert else sand_color(rng)
        lay_patch(
            canvas, "grass" if desert else "sand", shoulder, strip(camera, -road - 1.6, road + 1.6, nearest)
        )
    lay_patch(canvas, "road", asphalt_color(rng), strip(camera, -road, road, nearest))
    mark_lanes(canvas, road, nearest)
    for _ in range(rng.integers(2, 5) if desert else int(rng.integers(3, 9))):
        lateral = either_side(rng) * rng.uniform(road + 3.5, road + 16)
        if desert:
            x, row = camera.project(lateral, 0.0, rng.uniform(10, 40))
            stage.put_tree(
                "bush" if rng.random() < 0.6 else "palm",
                x,
                row,
                rng.uniform(1.0, 1.8) * (1.0 if rng.random() < 0.6 else 3.0),
            )
        else:
            plant_beside(stage, lateral, 9.0, 55.0)
    put_close_up(stage, ["car_end", "person", "sheep", "dog", "balloon"], 0.2)
    put_traffic(stage, road, int(rng.integers(2, 5)))

    def beside(name: str) -> tuple[float, float]:
        gap = 1.2 if name == "sign" else rng.uniform(1.5, 9.0)
        return camera.project(either_side(rng) * (road + gap), 0.0, rng.uniform(5.5, 22))

    stage.put_some(
        ["sign", "sheep", "person", "dog"],
        [0.35, 0.1 if desert else 0.35, 0.2, 0.1],
        beside,
        int(rng.integers(1, 5)),
    )
    if rng.random() < 0.3:
        x, row = camera.project((road + rng.uniform(4, 12)) * either_side(rng), 0.0, rng.uniform(15, 35))
        _put_house(stage, row, x)
    send_up(stage, camera.horizon * 0.8, balloons=0.3, birds=0.35)


def meadow(stage: Stage) -> None:
    """Hills, meadows, sheep, a farm, perhaps a brook or a track."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    height, width = canvas.height, canvas.width
    draw_backdrop(stage, {"mountains": 0.65, "hills": 0.7, "forest": 0.6})
    grass = meadow_color(rng, stage.autumn)
    lay_plain(canvas, "grass", grass)
    span = height - camera.horizon
    extra = rng.random()
    if extra < 0.3:
        top = camera.horizon + rng.uniform(0.16, 0.3) * span
        tall, x = rng.uniform(0.14, 0.22) * span, rng.uniform(0.2, 0.8) * width
        half = rng.uniform(0.22, 0.4) * width
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
        water(canvas, pond, (62, 104, 118), top, top + tall)
        for _ in range(rng.integers(1, 4)):
            stage.put(
                "swimming_bird",
                x + rng.uniform(-0.6, 0.6) * half,
                top + rng.uniform(0.4, 0.85) * tall,
                scale=height * rng.uniform(0.05, 0.08),
            )
    elif extra < 0.6:
        _winding_track(canvas)
    if rng.random() < 0.5:
        row, x = camera.horizon + rng.uniform(0.1, 0.2) * span, rng.uniform(0.1, 0.9) * width
        _put_house(stage, row, x, 0.028 * height)
    for _ in range(rng.integers(1, 6)):
        kind = str(rng.choice(["broadleaf", "conifer", "poplar", "bush"], p=[0.5, 0.25, 0.1, 0.15]))
        row = camera.horizon + rng.uniform(0.06, 0.45) * span
        stage.put_tree(
            kind,
            rng.uniform(-0.05, 1.05) * width,
            row,
            rng.uniform(1.0, 1.8) if kind == "bush" else rng.uniform(5, 9),
        )
    put_close_up(stage, ["sheep", "dog", "person", "balloon", "sheep"], 0.22)
    if rng.random() < 0.25:
        stage.put_crowd(
            "sheep",
            rng.uniform(0.2, 0.8) * width,
            camera.horizon + rng.uniform(0.16, 0.24) * span,
            int(rng.integers(7, 13)),
        )
    spot = ground_spot(canvas, 0.92, 0.2)
    stage.put_some(
        ["sheep", "person", "dog", "standing_bird"], [0.6, 0.18, 0.14, 0.08], spot, int(rng.integers(3, 9))
    )
    if rng.random() < 0.3:
        stage.put_odd_object(*spot(""))
    send_up(stage, camera.horizon * 0.85, balloons=0.45, birds=0.35)


def _put_house(stage: Stage, row: float, x: float, least_scale: float = 0.0) -> None:
    canvas = stage.canvas
    scale = max(canvas.camera.scale_at(row), least_scale)
    haze = canvas.light.haze(canvas.camera.depth_at(row), 0.6)
    stage.later(row, lambda: buildings.house(canvas, x, row, scale, haze))


def _winding_track(canvas: Canvas) -> None:
    rng = canvas.rng
    camera = canvas.camera
    lateral, swing, turn = rng.uniform(-3, 3), rng.uniform(1.5, 5), rng.uniform(0, 6)
    half = rng.uniform(1.1, 1.8)
    depths = camera.depth_at(float(canvas.height)) * 0.7 * 1.16 ** np.arange(20)
    middles = [lateral + swing * np.sin(turn + 3.0 * np.log(depth)) * depth / 14 for depth in depths]
    left = [camera.project(float(m) - half, 0.0, float(d)) for m, d in zip(middles, depths, strict=True)]
    right = [camera.project(float(m) + half, 0.0, float(d)) for m, d in zip(middles, depths, strict=True)]
    category = "sand" if rng.random() < 0.6 else "road"
    lay_patch(
        canvas, category, sand_color(rng) if category == "sand" else asphalt_color(rng), left + right[::-1]
    )


def seaside(stage: Stage) -> None:
    """The sea or a lake with boats, seen from a beach or a green shore."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    height, width = canvas.height, canvas.width
    lake = rng.random() < 0.45
    draw_backdrop(stage, {"mountains": 0.9, "forest": 0.9} if lake else {"mountains": 0.4, "skyline": 0.2})
    span = height - camera.horizon
    shore = camera.horizon + rng.uniform(0.42, 0.68) * span
    color = pick(rng, "water", 0.06)
    wide = width + 2.0
    water(canvas, rectangle(-2.0, camera.horizon, wide, height + 2.0), color, camera.horizon, float(height))
    slant = rng.uniform(-0.1, 0.1) * height
    waves = rng.uniform(0.01, 0.025) * height
    turn = rng.uniform(0, 6)
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
    ground = meadow_color(rng, stage.autumn) if green else sand_color(rng)
    if not green:
        canvas.mark([(x, y - 1.6) for x, y in line] + [(x, y + 1.0) for x, y in line[::-1]], (246, 248, 248))
    bottom: list[Point] = [(wide, height + 2.0), (-2.0, height + 2.0)]
    lay_patch(canvas, "grass" if green else "sand", ground, line + bottom)
    wet = [(x, y) for x, y in line] + [(x, y + 0.035 * height) for x, y in line[::-1]]
    canvas.mark(wet, shade(ground, 0.72), 0.02)
    for _ in range(rng.integers(0, 4)):
        kind = ("broadleaf" if rng.random() < 0.5 else "conifer") if green else "palm"
        stage.put_tree(
            kind,
            float(rng.choice([rng.uniform(-0.02, 0.25), rng.uniform(0.75, 1.02)])) * width,
            shore + rng.uniform(0.1, 0.35) * span,
            rng.uniform(3.6, 6.5),
        )
    put_close_up(stage, ["person", "dog", "standing_bird"], 0.16)
    _boats(stage, shore)

    def on_shore(_: str) -> tuple[float, float]:
        low = shore + abs(slant) / 2 + 2 * waves + 0.05 * height
        return rng.uniform(0.03, 0.97) * width, float(rng.uniform(min(low, 0.92 * height), 0.98 * height))

    stage.put_some(["person", "dog", "standing_bird"], [0.6, 0.22, 0.18], on_shore, int(rng.integers(1, 6)))
    if rng.random() < 0.35:
        stage.put_odd_object(*on_shore(""))
    send_up(stage, camera.horizon * 0.85, balloons=0.2, birds=0.6)


def _boats(stage: Stage, shore: float) -> None:
    canvas, rng = stage.canvas, stage.rng
    camera = canvas.camera

    def afloat(_: str) -> tuple[float, float]:
        share = 0.1 + 0.7 * rng.random() ** 1.2
        return rng.uniform(0.03, 0.97) * canvas.width, camera.horizon + share * (shore - camera.horizon)

    stage.put_some(
        ["sailing_boat", "motor_boat", "rowing_boat"], [0.5, 0.3, 0.2], afloat, int(rng.integers(1, 5))
    )
    if rng.random() < 0.35:
        for _ in range(rng.integers(1, 4)):
            x, row = afloat("")
            stage.put(
                "swimming_bird",
                x,
                max(row, camera.horizon + 0.6 * (shore - camera.horizon)),
                scale=canvas.height * rng.uniform(0.05, 0.09),
            )
