"""Houses and street fronts, on any plane that the camera sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from axial_deeplab.data.scenes.canvas import Canvas, Owner, Point, rectangle
from axial_deeplab.data.scenes.drawings import pick
from axial_deeplab.data.scenes.light import Color, either_side, hsv, mix, shade, vary

Plane = Callable[[float, float], Point]


@dataclass(frozen=True)
class Style:
    """What the windows of one front look like."""

    wall: Color
    frame: Color
    glass: Color
    window_width: float
    window_height: float
    sills: bool


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the look of a front."""
    wall = pick(rng, "walls", 0.08)
    frame = pick(rng, "frames", 0.05)
    glass = pick(rng, "panes", 0.06)
    window_size = rng.uniform(0.42, 0.62), rng.uniform(0.5, 0.68)
    rng.random()  # without use, so that the scenes of a seed stay as they are
    return Style(wall, frame, glass, *window_size, sills=rng.random() < 0.6)


class Front:
    """Draws on a plane given by a function from meters (along, up) to pixels."""

    def __init__(self, canvas: Canvas, number: int, plane: Plane, haze: float, dim: float) -> None:
        self.canvas, self.number, self.plane, self.haze, self.dim = canvas, number, plane, haze, dim

    def polygon(self, points: list[Point], color: Color) -> None:
        """Fill a polygon that may reach beyond the wall."""
        self.canvas.fill(
            self.number, [self.plane(*point) for point in points], shade(color, self.dim), self.haze
        )

    def box(self, u0: float, v0: float, u1: float, v1: float, color: Color, *, glow: bool = False) -> None:
        """Fill a rectangle on the wall."""
        outline = [self.plane(u0, v0), self.plane(u1, v0), self.plane(u1, v1), self.plane(u0, v1)]
        if glow:
            points = [(2 * x, 2 * y) for x, y in outline]
            self.canvas.picture_draw.polygon(points, fill=(round(color[0]), round(color[1]), round(color[2])))
        else:
            self.canvas.mark(outline, shade(color, self.dim), self.haze)


def street_front(
    canvas: Canvas,
    plane: Plane,
    long: float,
    floors: int,
    *,
    haze: float,
    dim: float,
    detail: float,
    gable: bool = False,
    end: Plane | None = None,
) -> None:
    """Draw a street front.

    Args:
        canvas: what it is drawn on.
        plane: map from meters (along the front, up) to pixels.
        long: meters of the front.
        floors: number of floors.
        haze: share of the color lost in the haze.
        dim: brightness of the side that the sun does or does not reach.
        detail: pixels per meter in the middle of the front; small parts are left out where it is low.
        gable: whether a pitched roof stands on the wall.
        end: the plane of the wall around the corner, where the viewer can see it.
    """
    rng = canvas.rng
    style = draw_style(rng)
    tall = 3.9 + 3.1 * (floors - 1)
    number = canvas.own(Owner("building", fine=0.035, medium=0.035))
    front = Front(canvas, number, plane, haze, dim)
    if end is not None:
        corner = Front(canvas, number, end, haze, 1.75 - dim)
        corner.polygon(rectangle(0.0, 0.0, 9.0, tall), style.wall)
    if gable:
        roof, high = pick(rng, "roofs", 0.08), rng.uniform(1.6, 3.0)
        front.polygon(
            [(-0.35, tall), (0.8, tall + high), (long - 0.8, tall + high), (long + 0.35, tall)], roof
        )
        for k in range(int(long / 4.0)):
            u = 1.5 + 4.0 * k + 0.4
            if detail > 4:
                front.polygon(
                    [
                        (u - 0.1, tall + 0.3),
                        (u - 0.1, tall + 1.3),
                        (u + 0.6, tall + 1.8),
                        (u + 1.3, tall + 1.3),
                        (u + 1.3, tall + 0.3),
                    ],
                    style.wall,
                )
                front.box(u + 0.2, tall + 0.4, u + 1.0, tall + 1.2, style.glass)
        chimney = rng.uniform(1.0, max(long - 2.0, 1.1))
        front.polygon(
            rectangle(chimney, tall + high - 0.3, chimney + 0.8, tall + high + 0.9), shade(roof, 0.8)
        )
    front.polygon(rectangle(0.0, 0.0, long, tall + 0.02), style.wall)
    front.box(0.0, 0.0, long, 0.5, shade(style.wall, 0.75))
    front.polygon(rectangle(-0.2, tall - 0.35, long + 0.2, tall + 0.12), shade(style.wall, 1.12))
    front.box(0.0, tall - 0.5, long, tall - 0.35, shade(style.wall, 0.7))
    _windows(front, style, long, floors, detail)
    _ground_floor(front, style, long, detail)


def _windows(front: Front, style: Style, long: float, floors: int, detail: float) -> None:
    rng = front.canvas.rng
    bays = max(int(long / rng.uniform(2.1, 3.0)), 1)
    bay = long / bays
    lamps = front.canvas.light.lamps
    warm: Color = (255, 214, 134)
    for floor in range(1, floors):
        base = 3.9 + 3.1 * (floor - 1)
        for k in range(bays):
            wide, high = bay * style.window_width, 3.1 * style.window_height
            u, v = k * bay + 0.5 * (bay - wide), base + 0.55
            lit = lamps and rng.random() < 0.5
            if detail > 5:
                front.box(u - 0.13, v - 0.1, u + wide + 0.13, v + high + 0.13, style.frame)
            front.box(
                u,
                v,
                u + wide,
                v + high,
                mix(warm, (255, 240, 200), rng.random()) if lit else vary(rng, style.glass, 0.08),
                glow=lit,
            )
            if detail > 7 and not lit:
                front.polygon(
                    [
                        (u + 0.1 * wide, v + 0.1),
                        (u + 0.5 * wide, v + high - 0.1),
                        (u + 0.75 * wide, v + high - 0.1),
                        (u + 0.35 * wide, v + 0.1),
                    ],
                    mix(style.glass, (255, 255, 255), 0.22),
                )
            if detail > 6:
                front.box(u + 0.46 * wide, v, u + 0.54 * wide, v + high, style.frame)
                front.box(u, v + 0.6 * high, u + wide, v + 0.66 * high, style.frame)
            if style.sills and detail > 5:
                front.box(u - 0.2, v - 0.25, u + wide + 0.2, v - 0.1, shade(style.wall, 1.2))
        if detail > 5:
            front.box(0.0, base - 0.12, long, base + 0.04, shade(style.wall, 0.84))


def _ground_floor(front: Front, style: Style, long: float, detail: float) -> None:
    rng = front.canvas.rng
    lamps = front.canvas.light.lamps
    shop = rng.random() < 0.5
    door = rng.uniform(0.5, max(long - 1.8, 0.6))
    if shop:
        awning = hsv(rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.9))
        panes = max(int(long / 3.0), 1)
        pane = (long - 0.8) / panes
        for k in range(panes):
            u = 0.4 + k * pane
            front.box(u, 0.55, u + pane - 0.3, 2.7, (252, 226, 168) if lamps else style.glass, glow=lamps)
            if detail > 5:
                front.box(
                    u + 0.15, 0.55, u + 0.15 + 0.3 * pane, 1.2, vary(rng, hsv(rng.random(), 0.4, 0.7), 0.1)
                )
        stripes = max(int(long / 0.8), 1)
        for k in range(stripes):
            u0, u1 = 0.2 + (long - 0.4) * k / stripes, 0.2 + (long - 0.4) * (k + 1) / stripes
            front.box(u0, 2.75, u1, 3.45, awning if k % 2 else mix(awning, (255, 255, 255), 0.75))
    else:
        bays = max(int(long / 2.8), 1)
        for k in range(bays):
            u = (k + 0.25) * long / bays
            front.box(u - 0.1, 1.05, u + 1.3, 2.75, style.frame)
            front.box(
                u,
                1.15,
                u + 1.2,
                2.65,
                (255, 220, 150) if lamps and k % 2 else style.glass,
                glow=lamps and k % 2 == 1,
            )
    front.box(door - 0.12, 0.0, door + 1.22, 2.5, style.frame)
    front.box(door, 0.0, door + 1.1, 2.35, pick(rng, "doors", 0.1))


def house(canvas: Canvas, x: float, row: float, scale: float, haze: float) -> None:
    """Draw a free-standing house or barn, seen on a corner."""
    rng = canvas.rng
    style = draw_style(rng)
    number = canvas.own(Owner("building", fine=0.035, medium=0.035))
    long = rng.uniform(6, 10)
    side = rng.uniform(2.5, 4.5)
    tall = float(rng.choice([3.2, 3.4, 5.6]))
    high = rng.uniform(2.0, 3.4)
    turn = either_side(rng)

    def plane(u: float, v: float) -> Point:
        return x + turn * scale * (u - 0.5 * (long - side)), row - scale * v

    lit_long = canvas.light.sun * turn > 0
    front = Front(canvas, number, plane, haze, 1.0 if lit_long else 0.86)
    gable = Front(canvas, number, plane, haze, 0.8 if lit_long else 1.02)
    roof = pick(rng, "roofs", 0.08)
    canvas.shadow(x - canvas.light.sun * 1.6 * scale, row, (0.5 * long + side * 0.5) * scale, 0.5 * scale)
    gable.polygon(
        [(0.0, 0.0), (-side, 0.25), (-side, tall), (-0.5 * side, tall + high), (0.0, tall)], style.wall
    )
    front.polygon(rectangle(0.0, 0.0, long, tall), style.wall)
    front.polygon(
        [
            (0.25, tall - 0.35),
            (-0.5 * side, tall + high),
            (long - 0.5 * side, tall + high),
            (long + 0.3, tall - 0.25),
        ],
        roof,
    )
    front.box(-0.1, tall + 0.2 * high, long - 0.1, tall + 0.24 * high, shade(roof, 0.85))
    front.box(-0.3 * side, tall + 0.6 * high, long - 0.3 * side, tall + 0.64 * high, shade(roof, 0.85))
    chimney = rng.uniform(0.3, 0.7) * (long - side)
    front.polygon(
        rectangle(chimney, tall + 0.8 * high, chimney + 0.7, tall + high + 0.9), shade(style.wall, 0.8)
    )
    lamps = canvas.light.lamps
    for floor in range(2 if tall > 5 else 1):
        for k in range(int(long / 2.2)):
            u, v = 0.7 + 2.2 * k, 1.0 + 2.6 * floor
            if k == 1 and floor == 0:
                front.box(u, 0.0, u + 1.1, 2.3, vary(rng, (110, 66, 44), 0.15))
                continue
            front.box(u - 0.1, v - 0.1, u + 1.2, v + 1.3, style.frame)
            front.box(u, v, u + 1.1, v + 1.2, (255, 216, 140) if lamps else style.glass, glow=lamps)
            front.box(u + 0.5, v, u + 0.6, v + 1.2, style.frame)
        gable.box(-0.65 * side, 1.1 + 2.6 * floor, -0.4 * side, 2.2 + 2.6 * floor, style.glass)


def skyline(canvas: Canvas, base: float, tall: float, depth: float, left: float, right: float) -> None:
    """Draw the blocks of a far town between two columns (pixels)."""
    rng = canvas.rng
    haze = canvas.light.haze(depth, 0.6)
    number = canvas.own(Owner("building", fine=0.02, medium=0.03))
    x = left
    while x < right:
        wide, high = tall * rng.uniform(0.3, 0.8), tall * rng.uniform(0.45, 1.0)
        wall = pick(rng, "walls", 0.08)
        canvas.fill(number, rectangle(x, base, x + wide, base - high), wall, haze)
        canvas.mark(rectangle(x, base, x + 0.25 * wide, base - high), shade(wall, 0.85), haze)
        if rng.random() < 0.35:
            canvas.fill(
                number,
                [(x, base - high), (x + 0.5 * wide, base - high - 0.25 * tall), (x + wide, base - high)],
                pick(rng, "roofs"),
                haze,
            )
        step = max(tall * 0.16, 3.0)
        rows, columns = int(high / step), int(wide / step)
        for i in range(rows):
            for j in range(columns):
                u, v = x + (j + 0.3) * wide / columns, base - high + (i + 0.35) * step
                lit = canvas.light.lamps and rng.random() < 0.4
                canvas.mark(
                    rectangle(u, v, u + 0.45 * step, v + 0.5 * step),
                    (300, 260, 170) if lit else shade(wall, 0.6),
                    haze,
                )
        x += wide * rng.uniform(0.9, 1.15)
