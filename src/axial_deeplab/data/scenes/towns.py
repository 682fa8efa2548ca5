"""Layouts with houses: a street from across, an avenue, a park."""

import numpy as np

from axial_deeplab.data.scenes import buildings
from axial_deeplab.data.scenes.canvas import Canvas, Point, rectangle
from axial_deeplab.data.scenes.landscape import meadow_color
from axial_deeplab.data.scenes.light import either_side
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
    send_up,
    slab_color,
    strip,
)
from axial_deeplab.data.scenes.stage import Stage


def street(stage: Stage) -> None:
    """A street seen from across: a row of fronts, pavement, road, and the near pavement or a park's edge."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    height, width = canvas.height, canvas.width
    draw_backdrop(stage, {"forest": 0.6, "hills": 0.3})
    foot = camera.horizon + rng.uniform(0.11, 0.17) * height
    scale, depth = camera.scale_at(foot), camera.depth_at(foot)
    near_kerb = camera.row_at(depth * rng.uniform(0.42, 0.52))
    far_kerb = camera.row_at(depth * rng.uniform(0.83, 0.9))
    lay_plain(canvas, "pavement", slab_color(rng))
    _row_of_fronts(stage, foot, scale)
    asphalt = asphalt_color(rng)
    wide = width + 2.0
    lay_patch(canvas, "road", asphalt, rectangle(-2.0, far_kerb, wide, near_kerb))
    for kerb in (far_kerb, near_kerb):
        canvas.mark(rectangle(-2.0, kerb - 0.8, wide, kerb + 0.6), (206, 202, 194))
    middle = camera.row_at(0.5 * (camera.depth_at(far_kerb) + camera.depth_at(near_kerb)))
    dash = 2.2 * camera.scale_at(middle)
    x = -rng.uniform(0, dash)
    while x < width:
        canvas.mark(rectangle(x, middle - 0.7, x + dash, middle + 0.9), (232, 230, 220))
        x += 2 * dash
    if rng.random() < 0.4:
        lawn = near_kerb + 0.35 * (height - near_kerb)
        lay_patch(canvas, "grass", meadow_color(rng, stage.autumn), rectangle(-2.0, lawn, wide, height + 2.0))
    if rng.random() < 0.55:
        for k in range(rng.integers(1, 4)):
            stage.put_tree(
                "broadleaf" if rng.random() < 0.7 else "poplar",
                (k + rng.random()) * width / 3,
                far_kerb - 1.5,
                rng.uniform(4.5, 7.5),
            )
    put_close_up(stage, ["person", "dog", "standing_bird", "car_side"], 0.15)
    _street_things(stage, foot, far_kerb, near_kerb)
    send_up(stage, 0.3 * height, balloons=0.12, birds=0.3)


def _row_of_fronts(stage: Stage, foot: float, scale: float) -> None:
    canvas, rng = stage.canvas, stage.rng
    haze = canvas.light.haze(canvas.camera.depth_at(foot), 0.55)
    x = -rng.uniform(0, 6) * scale
    while x < canvas.width:
        long = rng.uniform(6.0, 12.0)
        if rng.random() < 0.14:  # a gap with a garden
            stage.put_tree("broadleaf", x + 0.3 * long * scale, foot + 0.5, rng.uniform(5, 8))
            x += 0.6 * long * scale
            continue
        left = x

        def plane(u: float, v: float, left: float = left) -> Point:
            return left + u * scale, foot - v * scale

        floors = int(rng.choice([2, 3, 4], p=[0.45, 0.4, 0.15]))
        buildings.street_front(
            canvas,
            plane,
            long,
            floors,
            haze=haze,
            dim=rng.uniform(0.9, 1.0),
            detail=scale,
            gable=rng.random() < 0.6,
        )
        x += long * scale
    canvas.shadow(canvas.width / 2, foot, canvas.width, 0.4 * scale)


def _street_things(stage: Stage, foot: float, far_kerb: float, near_kerb: float) -> None:
    canvas, rng = stage.canvas, stage.rng
    width, height = canvas.width, canvas.height
    drive_left = rng.random() < 0.5
    lanes = [
        (far_kerb + 0.3 * (near_kerb - far_kerb), drive_left),
        (far_kerb + 0.88 * (near_kerb - far_kerb), not drive_left),
    ]
    for lane, (row, flip) in enumerate(lanes):
        for _ in range(rng.integers(0, 3) + (lane == 0)):
            name = "bus_side" if rng.random() < 0.25 else "car_side"
            stage.put(
                name, rng.uniform(0.05, 0.95) * width, row + rng.uniform(-0.02, 0.02) * height, flip=flip
            )
    if rng.random() < 0.55:
        row = far_kerb - 1.0 if rng.random() < 0.4 else near_kerb + 2.0
        stage.put("sign", rng.uniform(0.05, 0.95) * width, row)
    if rng.random() < 0.18:
        stage.put_crowd(
            "person", rng.uniform(0.2, 0.8) * width, foot + 0.5 * (far_kerb - foot), int(rng.integers(8, 14))
        )

    def spot(name: str) -> tuple[float, float]:
        near = name in ("dog", "standing_bird") or rng.random() < 0.55
        row = (
            rng.uniform(near_kerb + 0.03 * height, 0.97 * height)
            if near
            else rng.uniform(foot + 2, max(far_kerb - 1, foot + 2))
        )
        return rng.uniform(0.03, 0.97) * width, float(row)

    stage.put_some(["person", "dog", "standing_bird"], [0.68, 0.18, 0.14], spot, int(rng.integers(2, 6)))
    if rng.random() < 0.3:
        stage.put_odd_object(
            rng.uniform(0.1, 0.9) * width, near_kerb + rng.uniform(0.1, 0.6) * (height - near_kerb)
        )


def avenue(stage: Stage) -> None:
    """A street that runs to its vanishing point between two rows of fronts."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    height = canvas.height
    draw_backdrop(stage, {"mountains": 0.35, "forest": 0.8, "skyline": 0.3})
    road, walk = rng.uniform(3.2, 4.4), rng.uniform(2.6, 4.2)
    lay_plain(canvas, "pavement", slab_color(rng))
    nearest = camera.depth_at(float(height)) * 0.7
    for side in (-1, 1):
        if rng.random() < 0.82:
            _side_of_fronts(canvas, side * (road + walk), nearest)
        else:
            lay_patch(
                canvas,
                "grass",
                meadow_color(rng, stage.autumn),
                strip(camera, side * (road + walk), side * 200.0, nearest),
            )
            for _ in range(rng.integers(3, 7)):
                plant_beside(stage, side * rng.uniform(road + walk + 1, road + walk + 9), 9.0, 50.0)
    lay_patch(canvas, "road", asphalt_color(rng), strip(camera, -road, road, nearest))
    mark_lanes(canvas, road, nearest)
    if rng.random() < 0.5:
        for depth in np.arange(rng.uniform(9, 14), 45, rng.uniform(9, 14)):
            for side in (-1, 1):
                if rng.random() < 0.7:
                    x, row = camera.project(side * (road + 0.7), 0.0, float(depth))
                    stage.put_tree("broadleaf", x, row, rng.uniform(4.0, 6.0))
    put_close_up(stage, ["person", "dog", "car_end", "standing_bird"], 0.13)
    put_traffic(stage, road, int(rng.integers(2, 6)))

    def beside(_: str) -> tuple[float, float]:
        depth = rng.uniform(6, 26)
        return camera.project(either_side(rng) * (road + rng.uniform(0.8, walk - 0.5)), 0.0, depth)

    stage.put_some(
        ["person", "dog", "sign", "standing_bird"], [0.62, 0.12, 0.18, 0.08], beside, int(rng.integers(2, 6))
    )
    if rng.random() < 0.15:
        x, row = camera.project((road + walk / 2) * either_side(rng), 0.0, rng.uniform(20, 30))
        stage.put_crowd("person", x, row, int(rng.integers(6, 9)))
    send_up(stage, 0.3 * height, balloons=0.15, birds=0.3)


def _side_of_fronts(canvas: Canvas, lateral: float, nearest: float) -> None:
    rng = canvas.rng
    camera, light = canvas.camera, canvas.light
    dim = 1.0 if light.sun * lateral < 0 else 0.78
    fronts: list[tuple[float, float]] = []
    depth = nearest * 0.8 + rng.uniform(0, 2)
    while depth < 75:
        fronts.append((depth, rng.uniform(7, 13)))
        depth += fronts[-1][1] + (rng.uniform(1.5, 4) if rng.random() < 0.2 else 0.0)
    away = 1.0 if lateral > 0 else -1.0
    for start, long in reversed(fronts):

        def plane(u: float, v: float, start: float = start) -> Point:
            return camera.project(lateral, v, max(start + u, 0.5))

        def end(u: float, v: float, start: float = start) -> Point:
            return camera.project(lateral + away * u, v, start)

        floors = int(rng.choice([2, 3, 4, 5], p=[0.3, 0.35, 0.25, 0.1]))
        buildings.street_front(
            canvas,
            plane,
            long,
            floors,
            haze=light.haze(start + long / 2, 0.6),
            dim=dim * rng.uniform(0.94, 1.0),
            detail=camera.focal / (start + long / 2),
            end=end,
        )


def park(stage: Stage) -> None:
    """Lawns, a path, trees, a town behind them."""
    canvas, camera, rng = stage.canvas, stage.canvas.camera, stage.rng
    height, width = canvas.height, canvas.width
    draw_backdrop(stage, {"skyline": 0.85, "forest": 0.8})
    lay_plain(canvas, "grass", meadow_color(rng, stage.autumn))
    span = height - camera.horizon
    if rng.random() < 0.5:
        nearest = camera.depth_at(float(height)) * 0.7
        half = rng.uniform(1.2, 2.4)
        lateral = rng.uniform(-2, 2)
        lay_patch(canvas, "pavement", slab_color(rng), strip(camera, lateral - half, lateral + half, nearest))
    else:
        top = camera.horizon + rng.uniform(0.3, 0.5) * span
        low, slant = top + rng.uniform(0.2, 0.3) * span, rng.uniform(-0.06, 0.06) * height
        lay_patch(
            canvas,
            "pavement",
            slab_color(rng),
            [
                (-2.0, top - slant),
                (width + 2.0, top + slant),
                (width + 2.0, low + slant),
                (-2.0, low - slant),
            ],
        )
    for _ in range(rng.integers(3, 8)):
        row = camera.horizon + rng.uniform(0.08, 0.5) * span
        kind = str(rng.choice(["broadleaf", "poplar", "bush", "conifer"], p=[0.62, 0.14, 0.14, 0.1]))
        stage.put_tree(
            kind,
            rng.uniform(-0.05, 1.05) * width,
            row,
            rng.uniform(1.0, 1.8) if kind == "bush" else rng.uniform(4, 7.5),
        )
    put_close_up(stage, ["person", "dog", "dog", "standing_bird", "balloon"], 0.25)
    spot = ground_spot(canvas, 0.95, 0.22)
    if rng.random() < 0.2:
        stage.put_crowd(
            "person", rng.uniform(0.2, 0.8) * width, camera.horizon + 0.24 * span, int(rng.integers(8, 14))
        )
    stage.put_some(
        ["person", "dog", "standing_bird", "sign"], [0.55, 0.24, 0.14, 0.07], spot, int(rng.integers(3, 8))
    )
    if rng.random() < 0.45:
        stage.put_odd_object(*spot(""))
    send_up(stage, camera.horizon * 0.8, balloons=0.3, birds=0.35)
