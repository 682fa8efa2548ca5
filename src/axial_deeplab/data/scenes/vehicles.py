"""Cars, buses, boats, hot-air balloons and traffic signs, drawn in meters from the point where they stand."""

import math
from itertools import pairwise

import numpy as np

from axial_deeplab.data.scenes.canvas import Pen, smooth
from axial_deeplab.data.scenes.drawings import drawings, pick
from axial_deeplab.data.scenes.light import WHITE, Color, hsv, mix, shade, vary

GLASS: Color = tuple(drawings()["colors"]["glass"])
TIRE: Color = tuple(drawings()["colors"]["tire"])


def paint(rng: np.random.Generator) -> Color:
    """Draw the color of a car's paint."""
    if rng.random() < 0.4:
        return pick(rng, "paints", 0.04)
    return hsv(rng.random(), rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.9))


def _wheel(pen: Pen, u: float, radius: float) -> None:
    pen.ellipse(u, radius, radius, radius, TIRE)
    pen.ellipse(u, radius, radius * 0.58, radius * 0.58, (176, 178, 184))
    pen.ellipse(u, radius, radius * 0.2, radius * 0.2, (88, 90, 96))


def car_side(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a car of about 4.2 m from the side."""
    kind = str(rng.choice(["sedan", "hatchback", "suv", "van", "pickup"], p=[0.28, 0.28, 0.22, 0.12, 0.1]))
    outline, windows, axle = (drawings()["cars"][kind][part] for part in ("outline", "windows", "axle"))
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
        mix(body, WHITE, 0.35),
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
            mix(GLASS, WHITE, 0.4),
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
        pen.box(u - 0.13, 0.0, u + 0.13, 0.5, TIRE)
    pen.box(-0.75, 0.18, 0.75, 0.5, (32, 32, 36))
    cabin = [(-0.86, 0.9), (-0.6, tall), (0.6, tall), (0.86, 0.9)]
    pen.polygon(
        smooth([(-0.9, 0.8), (-0.64, tall + 0.06), (0.64, tall + 0.06), (0.9, 0.8)], 2), shade(body, 0.92)
    )
    pen.polygon(smooth([(u * 0.88, v * 0.97 + 0.03) for u, v in cabin], 1), GLASS)
    pen.polygon(
        [(-0.5, 0.98), (-0.34, tall - 0.1), (-0.1, tall - 0.1), (-0.22, 0.98)], mix(GLASS, WHITE, 0.35)
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
    body, stripe = _bus_paint(rng), paint(rng)
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
                mix(GLASS, WHITE, 0.32),
            )
    pen.draw("bus_doors_and_lamps")
    for u in (-2.45, 2.1):
        pen.ellipse(u, 0.46, 0.58, 0.58, shade(body, 0.4))
        _wheel(pen, u, 0.48)


def bus_end(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a bus of 2.5 m width from the front."""
    pen.draw("bus_front", body=_bus_paint(rng))


def _bus_paint(rng: np.random.Generator) -> Color:
    return vary(rng, hsv(rng.random(), rng.uniform(0.4, 0.85), rng.uniform(0.6, 0.95)), 0.05)


def sailing_boat(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sailing boat with a hull of 6 m and a mast of 8 m."""
    hull = paint(rng)
    sail = vary(rng, [(246, 242, 232), (246, 242, 232), hsv(rng.random(), 0.55, 0.92)][rng.integers(3)], 0.03)
    top = rng.uniform(6.6, 8.2)
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
    back = rng.uniform(-1.8, -0.6)
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
    pen.draw("boat_inside", wood=wood)
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
        mix(color, WHITE, 0.6),
    )


def balloon(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a hot-air balloon of 20 m from the basket to the top."""
    base, other, third = rng.random(), hsv(rng.random(), rng.uniform(0.5, 0.85), 0.95), (248, 240, 220)
    palette = [hsv(base, 0.8, 0.88), other, third] if rng.random() < 0.5 else [hsv(base, 0.8, 0.88), third]
    gores = int(rng.choice([8, 10, 12]))
    pattern = str(rng.choice(["gores", "bands", "checks"], p=[0.5, 0.25, 0.25]))
    pen.draw("balloon_basket")
    edges = [7.6 * math.sin(math.pi * (k / gores - 0.5)) for k in range(gores + 1)]
    for row, ((v0, r0), (v1, r1)) in enumerate(pairwise(drawings()["balloon_levels"])):
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
    pen.draw("sign_pole")
    pen.draw(f"{kind}_sign", sign=pick(rng, "direction_signs") if kind == "direction" else WHITE)
