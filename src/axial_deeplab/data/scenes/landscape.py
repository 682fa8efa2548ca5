"""Sky, mountains, hills, water and trees."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.scenes.canvas import SUPERSAMPLING, Canvas, Owner, Pen, Point, smooth
from axial_deeplab.data.scenes.drawings import pick
from axial_deeplab.data.scenes.light import Color, hsv, mix, shade, vary
from axial_deeplab.data.scenes.noise import fractal


def sky(canvas: Canvas) -> None:
    """Paint the whole picture as sky: a gradient, the glow around the sun, and clouds."""
    rng = canvas.rng
    light, height, width = canvas.light, canvas.height, canvas.width
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    ramp = np.clip(rows * height / max(canvas.camera.horizon, 1.0), 0, 1) ** 1.2
    picture = (1 - ramp) * np.array(light.zenith, np.float32) + ramp * np.array(light.skyline, np.float32)
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    glow = (
        np.exp(-((columns - 0.75 * light.sun) ** 2) * 2.2)
        * (0.25 + 0.75 * ramp)
        * (0.34 if light.name == "dusk" else 0.18)
    )
    picture = picture + glow * (np.array((255, 236, 200), np.float32) - picture)
    if light.clouds > 0.03:
        field = fractal(rng, height, width, height / 4.5, 5, stretch=2.4, gain=0.55)
        density = np.clip((field + 3.0 * light.clouds - 1.9) * 1.1, 0, 1)[..., None]
        # A cloud is bright where it thins out toward the sun and gray at its base.
        below = np.roll(field, -max(height // 40, 1), axis=0)[..., None]
        body = np.clip(0.78 + 0.22 * (field[..., None] - below) * 2.0, 0.62, 1.0)
        cover = density * (0.45 + 0.5 * (1 - ramp))
        picture = picture + cover * (np.array(light.cloud, np.float32) * body - picture)
    small = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    canvas.picture.paste(small.resize(canvas.picture.size, Image.Resampling.BILINEAR))
    number = canvas.own(Owner("sky", fine=0.006, medium=0.0))
    canvas.owner_map.paste(number, (0, 0, *canvas.owner_map.size))


def ridge(
    rng: np.random.Generator,
    width: int,
    base: float,
    rise: float,
    wave: float,
    octaves: int,
    gain: float = 0.5,
) -> NDArray[np.float32]:
    """Return the rows of a ridge line, one a column, at most `rise` pixels above `base`."""
    line = (
        fractal(rng, 1, width, 1.0, octaves, stretch=wave, gain=gain)
        if octaves == 1
        else _line(rng, width, wave, octaves, gain)
    )
    low, high = float(line.min()), float(line.max())
    return np.float32(base) - np.float32(rise) * (line - low) / max(high - low, 1e-3)


def _line(
    rng: np.random.Generator, width: int, wave: float, octaves: int, gain: float
) -> NDArray[np.float32]:
    total, weight = np.zeros(width, np.float32), 1.0
    for _ in range(octaves):
        knots = rng.standard_normal(int(width / wave) + 3)
        total += np.float32(weight) * np.interp(
            np.arange(width) / wave + rng.random(), np.arange(len(knots)), knots
        ).astype(np.float32)
        weight, wave = weight * gain, max(wave / 2, 2.0)
    return total


def outline_of(line: NDArray[np.float32], bottom: float) -> list[Point]:
    """Return the polygon between a ridge line and a row."""
    points = [(x + 0.5, float(y)) for x, y in enumerate(line)]
    return [
        (-2.0, points[0][1]),
        *points,
        (len(line) + 2.0, points[-1][1]),
        (len(line) + 2.0, bottom),
        (-2.0, bottom),
    ]


def mountains(canvas: Canvas, base: float, rise: float) -> None:
    """Draw one or two mountain ranges whose relief is lit from the side, some with snow."""
    rng = canvas.rng
    light, width = canvas.light, canvas.width
    rock = pick(rng, "rocks", 0.06)
    snowy = rng.random() < 0.5
    ranges = 2 if rng.random() < 0.65 else 1
    for k in range(ranges):
        near = k == ranges - 1
        haze = light.haze(1400.0 if near else 3200.0, 0.5 if near else 0.68)
        height = rise * (0.75 if near and ranges == 2 else 1.0)
        line = ridge(rng, width, base, height, width * rng.uniform(0.22, 0.4), 6, 0.52)
        top, bottom = max(int(line.min()) - 1, 0), min(int(base) + 1, canvas.height)
        if bottom - top < 4:
            continue
        relief = fractal(rng, bottom - top, width, max(rise * 0.5, 4.0), 5, gain=0.62)
        slope = np.gradient(line)[None, :] * 0.35 + np.gradient(relief, axis=1) * 2.6
        face = np.clip(0.92 + 0.24 * np.sign(light.sun) * np.clip(slope, -1.6, 1.6), 0.5, 1.35)[..., None]
        color = np.broadcast_to(np.array(rock, np.float32), (bottom - top, width, 3))
        if snowy:
            below = (np.arange(top, bottom)[:, None] - line[None, :]) / rise + 0.07 * relief
            above = (base - np.arange(top, bottom)[:, None]) / rise
            snow = np.clip((above - 0.52 - 0.5 * below) * 14, 0, 1)[..., None]
            color = color + snow * (np.array((240, 243, 250), np.float32) - color)
        foot = np.clip((np.arange(top, bottom)[:, None, None] - base) / rise + 0.42, 0, 1)
        color = color + foot * (np.array((92, 110, 84), np.float32) - color)
        # The foot of a mountain stands in more haze than its top.
        veil = np.clip(haze + 0.35 * foot * (1 - haze), 0, 0.85)
        shown = (
            color * face * np.array(light.tint, np.float32) * (1 - veil)
            + np.array(light.skyline, np.float32) * veil
        )
        picture = Image.new("RGB", (width, canvas.height))
        picture.paste(Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)), (0, top))
        number = canvas.own(Owner("mountain", fine=0.02, medium=0.02))
        canvas.fill(
            number, outline_of(line, base + 1), picture.resize(canvas.picture.size, Image.Resampling.BILINEAR)
        )


def hills(canvas: Canvas, base: float, rise: float, color: Color, depth: float) -> None:
    """Draw a rounded hill ridge of grass behind the plain, with fields and hedges on it."""
    rng = canvas.rng
    light = canvas.light
    line = ridge(rng, canvas.width, base, rise, canvas.width * 0.45, 2, 0.3)
    color = vary(rng, color, 0.08)
    low = light.lit(shade(color, 0.94), light.haze(depth, 0.6))
    high = light.lit(shade(color, 1.1), light.haze(depth, 0.6))
    number = canvas.own(Owner("grass", fine=0.03, medium=0.05))
    canvas.fill(number, outline_of(line, base + 1), canvas.row_gradient([(base - rise, high), (base, low)]))
    for _ in range(rng.integers(2, 6)):
        x0 = rng.uniform(0, canvas.width)
        wide, column = rng.uniform(0.06, 0.2) * canvas.width, int(min(max(x0, 0), canvas.width - 1))
        last = int(min(x0 + wide, canvas.width - 1))
        y0, y1 = float(line[column]) + 0.25 * rise, float(line[last]) + 0.25 * rise
        patch = [
            (x0, y0),
            (x0 + wide, y1),
            (x0 + wide * 0.9, y1 + 0.3 * rise),
            (x0 - wide * 0.1, y0 + 0.3 * rise),
        ]
        if max(y0, y1) + 0.3 * rise < base:
            canvas.mark(smooth(patch, 1), vary(rng, color, 0.16), light.haze(depth, 0.6))


def water(canvas: Canvas, outline: list[Point], near: Color, top: float, bottom: float) -> None:
    """Draw water that mirrors the sky far off and shows its own color nearby, with ripples."""
    rng = canvas.rng
    light = canvas.light
    mirror = mix(light.skyline, light.zenith, 0.25)
    shown = light.lit(near)
    stops = [
        (top, mix(mirror, shown, 0.25)),
        (top + 0.3 * (bottom - top), mix(mirror, shown, 0.6)),
        (bottom, mix(mirror, shown, 0.88)),
    ]
    number = canvas.own(Owner("water", fine=0.0, medium=0.0, ground=0.0, is_ground=True))
    surface = canvas.row_gradient(stops)
    rows, columns = canvas.height, canvas.width
    first, last = max(int(top), 0), min(math.ceil(bottom) + 1, rows)
    if last - first >= 2:
        band = _ripples(rng, canvas, first, last)
        shown_band = np.asarray(
            surface.crop((0, first * SUPERSAMPLING, columns * SUPERSAMPLING, last * SUPERSAMPLING)).reduce(
                SUPERSAMPLING
            ),
            np.float32,
        )
        glint = np.clip(band - 1.25, 0, 1)[..., None] * (0.8 if light.name in ("day", "dusk") else 0.35)
        shown_band = shown_band * (1 + 0.09 * band[..., None])
        shown_band += glint * (np.array((255, 244, 220), np.float32) - shown_band)
        patch = Image.fromarray(np.clip(shown_band, 0, 255).astype(np.uint8))
        surface.paste(
            patch.resize(
                (columns * SUPERSAMPLING, (last - first) * SUPERSAMPLING), Image.Resampling.BILINEAR
            ),
            (0, first * SUPERSAMPLING),
        )
    canvas.fill(number, outline, surface)


def _ripples(rng: np.random.Generator, canvas: Canvas, first: int, last: int) -> NDArray[np.float32]:
    """Return waves, longer along x, that shrink toward the horizon."""
    # Waves are even in 1/distance^0.5 rather than in rows, which makes them grow toward the viewer.
    count = max(24, (last - first))
    flat = fractal(rng, count, canvas.width, max(count / 14, 2.0), 3, stretch=6.0, gain=0.7)
    rows = np.linspace(0, 1, last - first) ** 0.55 * (count - 1)
    return flat[rows.astype(np.int64)]


def broadleaf(pen: Pen, rng: np.random.Generator, color: Color) -> None:
    """Draw a broad-leaved tree of height 1 (in the pen's unit)."""
    bark = vary(rng, (92, 72, 56), 0.12)
    crown_v, ru, rv = (rng.uniform(0.6, 0.66), rng.uniform(0.26, 0.38), rng.uniform(0.28, 0.36))
    pen.polygon([(-0.045, 0.0), (-0.026, 0.5), (0.026, 0.5), (0.045, 0.0)], bark)
    pen.line([(0.0, 0.3), (0.12, 0.48)], 0.03, bark)
    pen.line([(0.0, 0.34), (-0.11, 0.5)], 0.026, shade(bark, 0.85))
    count = 20
    for layer, (tone, shrink) in enumerate(((0.62, 1.0), (0.8, 0.92), (0.98, 0.76), (1.16, 0.5))):
        for k in range(count - 4 * layer):
            turn = 2 * math.pi * (k + rng.random()) / (count - 4 * layer)
            reach = math.sqrt(rng.uniform(0.25 if layer == 0 else 0.0, 1.0)) * shrink
            shift = 0.05 * layer
            u = ru * (reach * math.cos(turn) + shift * pen.sun)
            v = crown_v + rv * (reach * math.sin(turn) * 0.9 + 0.06 * layer)
            radius = rng.uniform(0.07, 0.11) * (1.0 - 0.15 * layer)
            pen.ellipse(u, v, radius, radius * 0.85, shade(color, tone * rng.uniform(0.93, 1.07)))


def conifer(pen: Pen, rng: np.random.Generator, color: Color) -> None:
    """Draw a spruce or fir of height 1."""
    pen.box(-0.02, 0.0, 0.02, 0.2, (84, 64, 50))
    wide, tiers = rng.uniform(0.17, 0.25), rng.integers(5, 8)
    for k in range(tiers):
        low, high = 0.1 + 0.76 * k / tiers, min(0.1 + 0.76 * k / tiers + 0.32, 1.0)
        reach = wide * (1 - 0.82 * k / tiers)
        teeth = [
            (reach * t, low + (0.035 if j % 2 else 0.0) - 0.03 * (1 - abs(t)) + 0.02 * rng.random())
            for j, t in enumerate(np.linspace(-1, 1, 9))
        ]
        pen.polygon([*teeth, (0.0, high)], shade(color, 0.72 + 0.3 * k / tiers))
        half = teeth[5:] if pen.sun > 0 else teeth[:4]
        pen.polygon([*half, (0.0, high)], shade(color, 0.9 + 0.36 * k / tiers))


def poplar(pen: Pen, rng: np.random.Generator, color: Color) -> None:
    """Draw a slender poplar or cypress of height 1."""
    pen.box(-0.018, 0.0, 0.018, 0.16, (90, 72, 58))
    for tone, shrink, count in ((0.66, 1.0, 16), (0.88, 0.85, 12), (1.1, 0.6, 9)):
        for _ in range(count):
            v = rng.uniform(0.12, 0.94)
            reach = 0.105 * math.sin(math.pi * min((v - 0.04) / 1.0, 1.0) ** 0.7) * shrink
            pen.ellipse(
                rng.uniform(-1, 1) * reach + 0.02 * pen.sun * (1 - shrink), v, 0.035, 0.07, shade(color, tone)
            )


def palm(pen: Pen, rng: np.random.Generator, color: Color) -> None:
    """Draw a palm of height 1."""
    bend = rng.uniform(-0.12, 0.12)
    trunk = [(bend * t * t, 0.78 * t) for t in np.linspace(0, 1, 7)]
    pen.line(trunk, 0.05, (134, 106, 78))
    for tone in (0.7, 1.0):
        for k in range(6):
            turn = math.pi * (k + rng.random()) / 6
            reach, droop = rng.uniform(0.3, 0.4), rng.uniform(0.12, 0.26)
            cu, su = math.cos(turn), math.sin(turn)
            tip = (bend + reach * cu, 0.78 + 0.25 * su - droop)
            bow = (bend + 0.55 * reach * cu, 0.84 + 0.22 * su)
            pen.polygon(
                smooth([(bend, 0.76), (bow[0], bow[1] + 0.035), tip, (bow[0], bow[1] - 0.05)]),
                shade(color, tone * rng.uniform(0.9, 1.1)),
            )


def bush(pen: Pen, rng: np.random.Generator, color: Color) -> None:
    """Draw a bush of height 1."""
    for tone, shift, count in ((0.68, 0.0, 9), (0.92, 0.08, 7), (1.12, 0.16, 5)):
        for _ in range(count):
            u, radius = rng.uniform(-0.6, 0.6) * (1 - shift), rng.uniform(0.22, 0.34)
            v = radius + (0.75 - 0.9 * abs(u)) * rng.uniform(0.0, 0.6) + shift
            pen.ellipse(
                u + 0.1 * shift * pen.sun,
                v,
                radius,
                radius * 0.9,
                shade(color, tone * rng.uniform(0.94, 1.06)),
            )


TREES = {"broadleaf": broadleaf, "conifer": conifer, "poplar": poplar, "palm": palm, "bush": bush}


def foliage(rng: np.random.Generator, autumn: bool) -> Color:
    """Draw the color of a tree's leaves."""
    return pick(rng, "autumn_leaves" if autumn and rng.random() < 0.75 else "leaves", 0.1)


def tree(canvas: Canvas, kind: str, x: float, row: float, tall: float, color: Color, haze: float) -> None:
    """Draw a tree `tall` pixels high, and the shadow at its foot."""
    rng = canvas.rng
    number = canvas.own(Owner("tree", fine=0.1, medium=0.06))
    canvas.shadow(x - 0.12 * canvas.light.sun * tall, row, 0.3 * tall, 0.05 * tall)
    TREES[kind](Pen(canvas, number, x, row, tall, flip=rng.random() < 0.5, haze=haze), rng, color)


def forest(
    canvas: Canvas,
    base: float,
    tall: float,
    autumn: bool,
    depth: float,
    *,
    left: float = 0.0,
    right: float = 1.0,
) -> None:
    """Draw a band of far trees between two columns (shares of the width)."""
    rng = canvas.rng
    number = canvas.own(Owner("tree", fine=0.1, medium=0.08))
    haze = canvas.light.haze(depth, 0.6)
    pointed = rng.random() < 0.4
    step = tall * (0.32 if pointed else 0.42)
    start, stop = left * canvas.width, right * canvas.width
    if left > 0:
        start += step
    for tone, lift in ((0.72, 1.0), (0.92, 0.74), (1.06, 0.48)):
        x = start
        while x < stop:
            color = shade(foliage(rng, autumn), tone)
            size = tall * lift * rng.uniform(0.75, 1.1)
            pen = Pen(canvas, number, x, base, size, haze=haze)
            if pointed:
                pen.polygon(
                    [(-0.26, 0.0), (-0.2, 0.3), (0.0, 1.0), (0.2, 0.3), (0.26, 0.0)], shade(color, 0.85)
                )
                pen.polygon([(0.0, 0.1), (0.0, 0.98), (0.2 * math.copysign(1, pen.sun), 0.3)], color)
            else:
                pen.box(-0.42, 0.0, 0.42, 0.6, shade(color, 0.85))
                pen.ellipse(0.0, 0.6, 0.42, 0.4, shade(color, 0.88))
                pen.ellipse(0.08 * pen.sun, 0.68, 0.3, 0.28, color)
            x += step * rng.uniform(0.7, 1.3)


def meadow_color(rng: np.random.Generator, autumn: bool) -> Color:
    """Draw the color of grass."""
    return (
        hsv(rng.uniform(0.17, 0.2), 0.48, 0.62)
        if autumn
        else hsv(rng.uniform(0.22, 0.29), rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.64))
    )
