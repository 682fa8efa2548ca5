"""Cars, buses, boats, hot-air balloons and traffic signs, drawn in meters from the point where they stand."""

import math
from itertools import pairwise

import numpy as np

from axial_deeplab.data.scenes.canvas import Pen, Point, smooth
from axial_deeplab.data.scenes.light import Color, hsv, mix, shade, vary

GLASS: Color = (92, 116, 134)
TYRE: Color = (36, 36, 40)

# Outline and windows of the bodies from the side, front to the right.
BODIES: dict[str, tuple[list[Point], list[list[Point]], float]] = {
    "sedan": (
        [
            (-2.1, 0.3),
            (-2.14, 0.78),
            (-1.95, 0.95),
            (-1.3, 1.0),
            (-0.75, 1.43),
            (0.4, 1.45),
            (1.05, 1.0),
            (1.9, 0.9),
            (2.14, 0.72),
            (2.12, 0.3),
        ],
        [
            [(-1.05, 1.02), (-0.66, 1.35), (-0.2, 1.37), (-0.2, 1.0)],
            [(-0.1, 1.0), (-0.1, 1.37), (0.35, 1.36), (0.86, 1.0)],
        ],
        1.32,
    ),
    "hatchback": (
        [
            (-1.8, 0.3),
            (-1.88, 0.82),
            (-1.78, 1.08),
            (-1.35, 1.47),
            (0.3, 1.5),
            (0.98, 1.02),
            (1.68, 0.9),
            (1.9, 0.7),
            (1.88, 0.3),
        ],
        [
            [(-1.5, 1.06), (-1.2, 1.38), (-0.35, 1.41), (-0.35, 1.03)],
            [(-0.25, 1.03), (-0.25, 1.41), (0.26, 1.41), (0.78, 1.02)],
        ],
        1.2,
    ),
    "suv": (
        [
            (-2.1, 0.38),
            (-2.18, 0.98),
            (-2.05, 1.25),
            (-1.8, 1.72),
            (0.45, 1.75),
            (1.05, 1.2),
            (1.95, 1.08),
            (2.2, 0.84),
            (2.18, 0.38),
        ],
        [
            [(-1.85, 1.22), (-1.68, 1.6), (-0.9, 1.63), (-0.9, 1.2)],
            [(-0.8, 1.2), (-0.8, 1.63), (-0.1, 1.64), (-0.1, 1.2)],
            [(0.0, 1.2), (0.0, 1.64), (0.4, 1.63), (0.84, 1.2)],
        ],
        1.32,
    ),
    "van": (
        [
            (-2.3, 0.36),
            (-2.36, 1.85),
            (-2.2, 2.02),
            (0.95, 2.02),
            (1.6, 1.3),
            (2.2, 1.1),
            (2.38, 0.8),
            (2.36, 0.36),
        ],
        [[(-0.1, 1.25), (-0.1, 1.8), (0.85, 1.8), (1.34, 1.25)]],
        1.42,
    ),
    "pickup": (
        [
            (-2.45, 0.42),
            (-2.48, 1.02),
            (-0.72, 1.04),
            (-0.6, 1.66),
            (0.55, 1.68),
            (1.12, 1.1),
            (2.15, 1.0),
            (2.42, 0.8),
            (2.4, 0.42),
        ],
        [
            [(-0.5, 1.08), (-0.45, 1.56), (0.05, 1.57), (0.05, 1.08)],
            [(0.14, 1.08), (0.14, 1.57), (0.5, 1.56), (0.9, 1.08)],
        ],
        1.42,
    ),
}


def paint(rng: np.random.Generator) -> Color:
    """Draw the color of a car's paint."""
    if rng.random() < 0.4:
        return vary(
            rng, [(232, 232, 230), (176, 180, 184), (70, 72, 78), (38, 38, 42)][rng.integers(4)], 0.04
        )
    return hsv(rng.random(), rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.9))


def _wheel(pen: Pen, u: float, radius: float) -> None:
    pen.ellipse(u, radius, radius, radius, TYRE)
    pen.ellipse(u, radius, radius * 0.58, radius * 0.58, (176, 178, 184))
    pen.ellipse(u, radius, radius * 0.2, radius * 0.2, (88, 90, 96))


def car_side(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a car of about 4.2 m from the side."""
    outline, windows, axle = BODIES[str(rng.choice(list(BODIES), p=[0.28, 0.28, 0.22, 0.12, 0.1]))]
    body = paint(rng)
    left, right = outline[0][0], outline[-1][0]
    pen.box(left + 0.2, 0.2, right - 0.2, 0.5, (30, 30, 34))
    pen.polygon(smooth(outline), body)
    low = outline[0][1]
    pen.polygon(
        [(left, low), (left - 0.02, low + 0.22), (right + 0.02, low + 0.22), (right, low)], shade(body, 0.72)
    )
    pen.polygon(
        [
            (left + 0.05, low + 0.42),
            (left + 0.05, low + 0.47),
            (right - 0.05, low + 0.45),
            (right - 0.05, low + 0.41),
        ],
        mix(body, (255, 255, 255), 0.35),
    )
    for window in windows:
        pen.polygon(smooth(window, 1), GLASS)
        (u0, v0), (u1, v1) = window[0], window[2]
        middle = 0.5 * (u0 + u1)
        pen.polygon(
            [
                (middle - 0.1, v0 + 0.06),
                (middle + 0.05, v1 - 0.06),
                (middle + 0.2, v1 - 0.06),
                (middle + 0.05, v0 + 0.06),
            ],
            mix(GLASS, (255, 255, 255), 0.4),
        )
        pen.box(u0 + 0.05, v0 - 0.16, u0 + 0.24, v0 - 0.12, shade(body, 0.6))
    lamp: Color = (255, 240, 190)
    pen.ellipse(right - 0.12, low + 0.4, 0.13, 0.09, lamp, glow=pen.lamps)
    pen.box(left - 0.02, low + 0.34, left + 0.16, low + 0.5, (196, 34, 34), glow=pen.lamps)
    radius = 0.37 if low > 0.37 else 0.33
    for u in (-axle, axle):
        pen.ellipse(u, radius, radius * 1.22, radius * 1.22, shade(body, 0.4))
        _wheel(pen, u, radius)


def car_end(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a car of 1.85 m width from the front or from behind."""
    body, tall = paint(rng), float(rng.choice([1.42, 1.5, 1.72]))
    rear = rng.random() < 0.5
    for u in (-0.72, 0.72):
        pen.box(u - 0.13, 0.0, u + 0.13, 0.5, TYRE)
    pen.box(-0.75, 0.18, 0.75, 0.5, (32, 32, 36))
    cabin = [(-0.86, 0.9), (-0.6, tall), (0.6, tall), (0.86, 0.9)]
    pen.polygon(
        smooth([(-0.9, 0.8), (-0.64, tall + 0.06), (0.64, tall + 0.06), (0.9, 0.8)], 2), shade(body, 0.92)
    )
    pen.polygon(smooth([(u * 0.88, v * 0.97 + 0.03) for u, v in cabin], 1), GLASS)
    pen.polygon(
        [(-0.5, 0.98), (-0.34, tall - 0.1), (-0.1, tall - 0.1), (-0.22, 0.98)],
        mix(GLASS, (255, 255, 255), 0.35),
    )
    pen.polygon(
        smooth([(-0.94, 0.3), (-0.96, 0.78), (-0.82, 0.98), (0.82, 0.98), (0.96, 0.78), (0.94, 0.3)]), body
    )
    pen.box(-0.86, 0.3, 0.86, 0.44, shade(body, 0.68))
    for side in (-1, 1):
        if rear:
            pen.box(side * 0.86 - 0.11, 0.62, side * 0.86 + 0.06 * side, 0.84, (204, 36, 36), glow=pen.lamps)
        else:
            pen.ellipse(side * 0.7, 0.7, 0.17, 0.1, (250, 246, 226), glow=pen.lamps)
        pen.ellipse(side * 0.98, 1.0, 0.1, 0.07, shade(body, 0.7))
    if not rear:
        pen.polygon(smooth([(-0.42, 0.5), (-0.46, 0.74), (0.46, 0.74), (0.42, 0.5)], 1), (38, 38, 42))
    pen.box(-0.24, 0.46, 0.24, 0.57, (236, 232, 214))


def bus_side(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a bus of 8 m from the side."""
    body, stripe = (
        vary(rng, hsv(rng.random(), rng.uniform(0.4, 0.85), rng.uniform(0.6, 0.95)), 0.05),
        paint(rng),
    )
    tall = float(rng.choice([3.0, 3.1, 4.2], p=[0.45, 0.35, 0.2]))
    pen.box(-3.8, 0.2, 3.8, 0.5, (34, 34, 38))
    pen.polygon(smooth([(-4.0, 0.36), (-4.0, tall), (3.9, tall), (4.05, 1.4), (4.02, 0.36)], 1), body)
    pen.box(-3.97, 0.4, 4.0, 0.75, shade(body, 0.7))
    pen.box(-3.98, 0.98, 4.0, 1.2, stripe)
    for floor in range(2 if tall > 4 else 1):
        v0 = 1.45 + 1.4 * floor
        pen.box(-3.8, v0, 3.92, v0 + 1.0, shade(GLASS, 0.62))
        for k in range(6):
            u0 = -3.7 + 1.05 * k
            pen.box(
                u0, v0 + 0.08, u0 + 0.93, v0 + 0.92, (250, 226, 160) if pen.lamps else GLASS, glow=pen.lamps
            )
            pen.polygon(
                [(u0 + 0.2, v0 + 0.1), (u0 + 0.45, v0 + 0.9), (u0 + 0.62, v0 + 0.9), (u0 + 0.37, v0 + 0.1)],
                mix(GLASS, (255, 255, 255), 0.32),
            )
    pen.box(2.66, 0.5, 3.5, 2.45, shade(GLASS, 0.6))
    for u in (2.72, 3.1):
        pen.box(u, 0.56, u + 0.33, 2.38, GLASS)
    pen.box(3.88, 0.7, 4.04, 0.95, (255, 240, 190), glow=pen.lamps)
    pen.box(-4.0, 0.75, -3.88, 1.05, (200, 34, 34), glow=pen.lamps)
    for u in (-2.45, 2.1):
        pen.ellipse(u, 0.46, 0.58, 0.58, shade(body, 0.4))
        _wheel(pen, u, 0.48)


def bus_end(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a bus of 2.5 m width from the front."""
    body = vary(rng, hsv(rng.random(), rng.uniform(0.4, 0.85), rng.uniform(0.6, 0.95)), 0.05)
    for u in (-0.95, 0.95):
        pen.box(u - 0.16, 0.0, u + 0.16, 0.5, TYRE)
    pen.polygon(smooth([(-1.25, 0.28), (-1.25, 3.1), (1.25, 3.1), (1.25, 0.28)], 2), body)
    pen.polygon([(-1.24, 0.4), (-1.24, 0.8), (1.24, 0.8), (1.24, 0.4)], shade(body, 0.7))
    pen.polygon(smooth([(-1.14, 1.2), (-1.12, 2.52), (1.12, 2.52), (1.14, 1.2)], 1), GLASS)
    pen.polygon([(-0.75, 1.28), (-0.4, 2.42), (0.0, 2.42), (-0.35, 1.28)], mix(GLASS, (255, 255, 255), 0.32))
    pen.box(-0.03, 1.2, 0.03, 2.5, shade(GLASS, 0.5))
    pen.box(-0.8, 2.62, 0.8, 2.9, (26, 26, 28))
    pen.box(-0.55, 2.68, 0.5, 2.84, (250, 176, 60), glow=True)
    for side in (-1, 1):
        pen.ellipse(side * 0.92, 0.78, 0.17, 0.12, (250, 244, 220), glow=pen.lamps)
        pen.box(side * 1.36 - 0.09, 1.8, side * 1.36 + 0.09, 2.3, (36, 36, 40))
    pen.box(-0.26, 0.5, 0.26, 0.64, (236, 232, 214))


def sailing_boat(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sailing boat with a hull of 6 m and a mast of 8 m."""
    hull = paint(rng)
    sail = vary(rng, [(246, 242, 232), (246, 242, 232), hsv(rng.random(), 0.55, 0.92)][rng.integers(3)], 0.03)
    top = float(rng.uniform(6.6, 8.2))
    pen.line([(0.3, 0.8), (0.3, top)], 0.12, (110, 92, 76))
    pen.polygon([(0.15, 1.5), (0.18, top - 0.15), (-0.9, 4.2), (-2.5, 1.45)], sail)
    pen.polygon(
        [(0.15, 1.5), (0.18, top - 0.15), (-0.5, 4.2), (-1.1, 1.48)],
        shade(sail, 0.92 if pen.sun > 0 else 1.05),
    )
    if rng.random() < 0.4:
        pen.polygon([(0.16, 2.6), (0.16, 3.5), (-1.25, 3.4), (-1.75, 2.55)], hsv(rng.random(), 0.7, 0.85))
    pen.polygon([(0.5, 1.2), (0.42, top - 0.9), (1.5, 3.3), (2.8, 1.15)], shade(sail, 0.86))
    _hull(pen, hull, 3.1, 1.0)


def motor_boat(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a motor or fishing boat of 6 m."""
    cabin = vary(rng, (236, 234, 226), 0.06)
    back = float(rng.uniform(-1.8, -0.6))
    pen.polygon([(back, 0.9), (back + 0.1, 2.3), (back + 1.9, 2.3), (back + 2.5, 0.9)], cabin)
    for k in range(2):
        u0 = back + 0.3 + 0.85 * k
        pen.polygon([(u0, 1.5), (u0, 2.05), (u0 + 0.65, 2.05), (u0 + 0.75, 1.5)], GLASS)
    pen.polygon(
        [(back - 0.15, 2.25), (back - 0.15, 2.45), (back + 2.05, 2.45), (back + 2.2, 2.25)], paint(rng)
    )
    if rng.random() < 0.5:
        pen.line([(back + 0.7, 2.4), (back + 0.7, 3.9)], 0.09, (90, 84, 80))
        pen.polygon([(back + 0.7, 3.9), (back + 0.7, 3.4), (back - 0.1, 3.65)], hsv(rng.random(), 0.8, 0.85))
    _hull(pen, paint(rng), 3.1, 1.15)


def rowing_boat(pen: Pen, rng: np.random.Generator) -> None:
    """Draw an open wooden boat of 5 m."""
    wood = vary(rng, (150, 98, 58), 0.12)
    pen.polygon(smooth([(-2.5, 0.75), (2.6, 0.9), (1.6, 0.55), (-1.7, 0.5)], 2), shade(wood, 0.5))
    for u in (-1.0, 0.6):
        pen.box(u, 0.62, u + 0.4, 0.86, shade(wood, 1.1))
    pen.line([(-0.3, 0.75), (-2.2, 0.15)], 0.1, shade(wood, 1.2))
    _hull(pen, wood if rng.random() < 0.5 else paint(rng), 2.6, 0.8)


def _hull(pen: Pen, color: Color, half: float, rise: float) -> None:
    outline = [
        (-half, rise),
        (-half * 0.92, 0.05),
        (-half * 0.85, -0.08),
        (half * 0.62, -0.08),
        (half * 0.8, 0.2),
        (half * 1.06, rise * 1.15),
        (0.0, rise * 0.88),
    ]
    pen.polygon(outline, color)
    pen.polygon(
        [(-half * 0.95, rise * 0.3), (-half * 0.9, -0.08), (half * 0.62, -0.08), (half * 0.82, rise * 0.3)],
        shade(color, 0.68),
    )
    pen.polygon(
        [
            (-half, rise),
            (-half * 0.99, rise * 0.8),
            (0.0, rise * 0.7),
            (half * 1.0, rise * 0.92),
            (half * 1.06, rise * 1.15),
            (0.0, rise * 0.88),
        ],
        mix(color, (255, 255, 255), 0.6),
    )


def balloon(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a hot-air balloon of 20 m from the basket to the top."""
    base, other, third = rng.random(), hsv(rng.random(), rng.uniform(0.5, 0.85), 0.95), (248, 240, 220)
    palette = [hsv(base, 0.8, 0.88), other, third] if rng.random() < 0.5 else [hsv(base, 0.8, 0.88), third]
    gores, pattern = (
        int(rng.choice([8, 10, 12])),
        str(rng.choice(["gores", "bands", "checks"], p=[0.5, 0.25, 0.25])),
    )
    levels = [
        (5.2, 0.16),
        (7.2, 0.42),
        (9.4, 0.72),
        (11.6, 0.92),
        (13.8, 1.0),
        (16.0, 0.93),
        (18.0, 0.72),
        (19.4, 0.42),
        (20.0, 0.0),
    ]
    for u in (-0.85, 0.85):
        pen.line([(u, 2.2), (u * 1.6, 5.3)], 0.12, (90, 74, 60))
    pen.box(-1.15, 0.0, 1.15, 2.1, (126, 86, 50))
    pen.box(-1.25, 1.75, 1.25, 2.2, (92, 60, 36))
    edges = [7.6 * math.sin(math.pi * (k / gores - 0.5)) for k in range(gores + 1)]
    for row, ((v0, r0), (v1, r1)) in enumerate(pairwise(levels)):
        for k in range(gores):
            index = {"gores": k, "bands": row // 2, "checks": k + row // 2}[pattern]
            middle = (k + 0.5) / gores * 2 - 1
            light = 0.84 + 0.2 * middle * pen.sun - 0.16 * middle**2 + 0.02 * (row - 3)
            pen.polygon(
                [(edges[k] * r0, v0), (edges[k + 1] * r0, v0), (edges[k + 1] * r1, v1), (edges[k] * r1, v1)],
                shade(palette[index % len(palette)], light + 0.12),
            )


def sign(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a traffic sign of 2.7 m on a pole."""
    kind = str(rng.choice(["stop", "warning", "limit", "order", "direction", "priority"]))
    white, red, blue, black = (244, 244, 240), (200, 34, 36), (34, 86, 170), (34, 34, 36)
    pen.box(-0.055, 0.0, 0.055, 2.3, (140, 144, 148))
    u, v = 0.0, 2.15

    def ring(sides: int, radius: float, color: Color, turn: float = 0.0) -> None:
        turns = [turn + 2 * math.pi * k / sides for k in range(sides)]
        pen.polygon([(u + radius * math.sin(t), v + radius * math.cos(t)) for t in turns], color)

    if kind == "stop":
        ring(8, 0.56, white, math.pi / 8)
        ring(8, 0.51, red, math.pi / 8)
        pen.box(-0.34, v - 0.1, 0.34, v + 0.1, white)
    elif kind == "warning":
        ring(3, 0.7, red)
        ring(3, 0.46, white)
        pen.box(-0.05, v - 0.12, 0.05, v + 0.22, black)
    elif kind == "limit":
        pen.ellipse(u, v, 0.54, 0.54, red)
        pen.ellipse(u, v, 0.4, 0.4, white)
        for shift in (-0.15, 0.15):
            pen.box(shift - 0.09, v - 0.19, shift + 0.09, v + 0.19, black)
            pen.box(shift - 0.03, v - 0.11, shift + 0.03, v + 0.11, white)
    elif kind == "order":
        pen.ellipse(u, v, 0.54, 0.54, blue)
        pen.polygon(
            [
                (-0.07, v - 0.34),
                (0.07, v - 0.34),
                (0.07, v + 0.1),
                (0.22, v + 0.1),
                (0.0, v + 0.38),
                (-0.22, v + 0.1),
                (-0.07, v + 0.1),
            ],
            white,
        )
    elif kind == "direction":
        color = [blue, (28, 116, 74), (232, 190, 40)][rng.integers(3)]
        pen.polygon([(-0.85, v - 0.32), (-0.85, v + 0.32), (0.7, v + 0.32), (1.0, v), (0.7, v - 0.32)], white)
        pen.polygon(
            [(-0.79, v - 0.26), (-0.79, v + 0.26), (0.67, v + 0.26), (0.92, v), (0.67, v - 0.26)], color
        )
        pen.box(-0.62, v - 0.06, 0.5, v + 0.07, white)
    else:
        ring(4, 0.62, white)
        ring(4, 0.44, (244, 190, 36))
