"""The canvas: a picture and its owner map, drawn together at twice the size.

Every stroke goes to both, so the annotation is exactly what the picture shows: the picture is averaged
down, and a pixel belongs to whoever owns most of its four quarters.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from axial_deeplab.data.scenes.drawings import drawings
from axial_deeplab.data.scenes.light import WHITE, Color, Light, mix, shade
from axial_deeplab.data.scenes.noise import grain, ground_grain

SUPERSAMPLING = 2
MAX_OWNERS = 255
Point = tuple[float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the street.

    Args:
        horizon: row of the horizon.
        center: column of the vanishing point.
        focal: focal length in pixels.
        height: meters of the camera above the ground.
    """

    horizon: float
    center: float
    focal: float
    height: float

    def project(self, lateral: float, up: float, depth: float) -> Point:
        """Return the pixel (x, y) of a point: meters to the side, above the ground, from the camera."""
        return self.center + self.focal * lateral / depth, self.horizon + self.focal * (
            self.height - up
        ) / depth

    def scale_at(self, row: float) -> float:
        """Return the pixels per meter of what stands on the ground at a row."""
        return (row - self.horizon) / self.height

    def depth_at(self, row: float) -> float:
        """Return the meters from the camera to the ground at a row."""
        return self.focal * self.height / max(row - self.horizon, 0.5)

    def row_at(self, depth: float) -> float:
        """Return the row of the ground at a depth in meters."""
        return self.horizon + self.focal * self.height / depth


@dataclass
class Owner:
    """Who a pixel belongs to, and the surface that it has there.

    Args:
        category: name of the category, None for void.
        is_instance: whether the owner is a segment of its own; otherwise it joins the stuff of its category.
        is_crowd: whether the owner is a group.
        fine: contrast of the pixel-sized grain.
        medium: contrast of the blotches.
        ground: contrast of the noise that lies on the ground and shrinks with distance.
        is_ground: whether shadows fall on it.
    """

    category: str | None
    is_instance: bool = False
    is_crowd: bool = False
    fine: float = 0.03
    medium: float = 0.03
    ground: float = 0.0
    is_ground: bool = False


class Canvas:
    """Picture and owner map of one scene.

    Args:
        height: rows of the finished picture.
        width: columns of the finished picture.
        camera: where the ground lies.
        light: what colors look like.
        rng: the source of chance.
    """

    def __init__(
        self, height: int, width: int, camera: Camera, light: Light, rng: np.random.Generator
    ) -> None:
        self.height, self.width = height, width
        self.camera, self.light, self.rng = camera, light, rng
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.picture = Image.new("RGB", size)
        self.owner_map = Image.new("L", size)
        self.picture_draw = ImageDraw.Draw(self.picture)
        self.owner_draw = ImageDraw.Draw(self.owner_map)
        self.shadow_map = Image.new("L", (width, height))
        self.shadow_draw = ImageDraw.Draw(self.shadow_map)
        self.owners = [Owner(None)]

    def own(self, owner: Owner) -> int:
        """Register an owner and return its number in the owner map."""
        assert len(self.owners) <= MAX_OWNERS
        self.owners.append(owner)
        return len(self.owners) - 1

    def fill(
        self, number: int, outline: Sequence[Point], surface: Image.Image | Color, haze: float = 0.0
    ) -> None:
        """Fill a polygon (finished pixels) with a color or with a picture of the canvas's size."""
        points = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in outline]
        self.owner_draw.polygon(points, fill=number)
        if isinstance(surface, Image.Image):
            mask = Image.new("1", self.picture.size)
            ImageDraw.Draw(mask).polygon(points, fill=1)
            self.picture.paste(surface, mask=mask)
        else:
            self.picture_draw.polygon(points, fill=self.light.lit(surface, haze))

    def mark(self, outline: Sequence[Point], color: Color, haze: float = 0.0) -> None:
        """Paint a polygon on the picture alone: markings on a surface that keeps its owner."""
        points = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in outline]
        self.picture_draw.polygon(points, fill=self.light.lit(color, haze))

    def row_gradient(self, colors: Sequence[tuple[float, Color]]) -> Image.Image:
        """Return a picture of the canvas's size whose color depends on the row: stops (row, color)."""
        rows = (np.arange(self.picture.height) + 0.5) / SUPERSAMPLING
        stops = [row for row, _ in colors]
        column = np.stack([np.interp(rows, stops, [color[c] for _, color in colors]) for c in range(3)], -1)
        strip = Image.fromarray(np.clip(column, 0, 255).astype(np.uint8)[:, None])
        return strip.resize(self.picture.size, Image.Resampling.NEAREST)

    def ground_surface(self, near: Color, far: Color) -> Image.Image:
        """Return the gradient of a ground that fades into the haze at the horizon."""
        horizon, bottom = self.camera.horizon, float(self.height)
        stops = []
        for row in np.linspace(horizon + 0.5, bottom, 12):
            depth = self.camera.depth_at(float(row))
            color = mix(near, far, min(depth / 60.0, 1.0))
            stops.append((float(row), self.light.lit(color, self.light.haze(depth, 0.85))))
        return self.row_gradient(stops)

    def shadow(self, x: float, y: float, radius_x: float, radius_y: float) -> None:
        """Lay an elliptic shadow on the ground."""
        self.shadow_draw.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=255)

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the picture (H, W, 3), textured and shadowed, and the owner map (H, W)."""
        return self._textured(owners := self._owners_by_majority()), owners

    def _owners_by_majority(self) -> NDArray[np.uint8]:
        """Give each pixel to whoever owns most of its four quarters; a tie goes to the one drawn last."""
        fine = np.asarray(self.owner_map)
        quarters = [fine[0::2, 0::2], fine[0::2, 1::2], fine[1::2, 0::2], fine[1::2, 1::2]]
        # A sorting network of five exchanges: after sorting, equal owners are neighbors.
        for i, j in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
            quarters[i], quarters[j] = (
                np.minimum(quarters[i], quarters[j]),
                np.maximum(quarters[i], quarters[j]),
            )
        first, second, third, fourth = quarters
        lone_pair_below = (first == second) & (third != fourth)
        return np.where(second == third, second, np.where(lone_pair_below, first, fourth))

    def _ground_coordinates(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = np.arange(self.height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(self.width, dtype=np.float32)[None, :] + 0.5
        drop = np.maximum(rows - self.camera.horizon, 1.0)
        depth = self.camera.focal * self.camera.height / drop
        lateral = (columns - self.camera.center) * (self.camera.height / drop)
        return np.broadcast_to(depth, (self.height, self.width)), lateral

    def _textured(self, owners: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width, rng = self.height, self.width, self.rng
        table = np.array([(o.fine, o.medium, o.ground, o.is_ground) for o in self.owners], np.float32)
        depth, lateral = self._ground_coordinates()
        gain = table[:, 0][owners] * grain(rng, height, width, 2.0, 2)
        gain += table[:, 1][owners] * grain(rng, height, width, 12.0, 3)
        # Far away a pixel covers many meters of ground, over which the noise averages out.
        ground = 0.7 * ground_grain(rng, depth, lateral, 40.0) * np.minimum(6.0 / depth, 1.0)
        ground += 0.8 * ground_grain(rng, depth * 0.6, lateral, 4.0) * np.minimum(50.0 / depth, 1.0)
        gain += table[:, 2][owners] * ground
        np.clip(gain, -0.45, 0.6, out=gain)
        gain += 1.0
        blurred = self.shadow_map.filter(ImageFilter.GaussianBlur(max(height, width) / 250))
        gain *= 1.0 - (self.light.shadow / 255.0) * np.asarray(blurred, np.float32) * table[:, 3][owners]
        picture = np.asarray(self.picture.reduce(SUPERSAMPLING), np.float32) * gain[..., None]
        return np.clip(picture, 0, 255).astype(np.uint8)


class Pen:
    """Draws one owner's parts in meters: u to the right, v upward, from where it touches the ground.

    Args:
        canvas: the canvas.
        number: the owner's number.
        x: column of the origin.
        y: row of the origin.
        scale: pixels per meter.
        flip: whether u runs to the left.
        haze: share of the color that is lost in the haze, 0..1.
    """

    def __init__(
        self,
        canvas: Canvas,
        number: int,
        x: float,
        y: float,
        scale: float,
        *,
        flip: bool = False,
        haze: float = 0.0,
    ) -> None:
        self.canvas, self.number, self.haze = canvas, number, haze
        self.x, self.y = x * SUPERSAMPLING, y * SUPERSAMPLING
        self.scale = scale * SUPERSAMPLING
        self.side = -self.scale if flip else self.scale
        # +1 where the sun shines on the right side of what is drawn, in its own direction of u.
        self.sun = -canvas.light.sun if flip else canvas.light.sun
        self.lamps = canvas.light.lamps

    def moved(self, u: float, v: float) -> "Pen":
        """Return a pen of the same owner with another origin."""
        pen = copy.copy(self)
        pen.x, pen.y = self._at(u, v)
        return pen

    def _at(self, u: float, v: float) -> Point:
        return self.x + self.side * u, self.y - self.scale * v

    def _color(self, color: Color, glow: bool) -> tuple[int, int, int]:
        if glow:
            return round(color[0]), round(color[1]), round(color[2])
        return self.canvas.light.lit(color, self.haze)

    def polygon(self, points: Iterable[Point], color: Color, *, glow: bool = False) -> None:
        """Fill a polygon; a glowing color is not changed by the light."""
        outline = [self._at(u, v) for u, v in points]
        self.canvas.picture_draw.polygon(outline, fill=self._color(color, glow))
        self.canvas.owner_draw.polygon(outline, fill=self.number)

    def box(self, u0: float, v0: float, u1: float, v1: float, color: Color, *, glow: bool = False) -> None:
        """Fill an upright rectangle between two corners."""
        self.polygon(rectangle(u0, v0, u1, v1), color, glow=glow)

    def ellipse(self, u: float, v: float, ru: float, rv: float, color: Color, *, glow: bool = False) -> None:
        """Fill an ellipse given by its center and radii."""
        x, y = self._at(u, v)
        rx, ry = ru * self.scale, rv * self.scale
        box = (x - rx, y - ry, x + rx, y + ry)
        self.canvas.picture_draw.ellipse(box, fill=self._color(color, glow))
        self.canvas.owner_draw.ellipse(box, fill=self.number)

    def line(self, points: Sequence[Point], thickness: float, color: Color) -> None:
        """Draw a line with round ends; `thickness` in meters, at least one pixel of the finished picture."""
        outline = [self._at(u, v) for u, v in points]
        width = max(round(thickness * self.scale), SUPERSAMPLING)
        ink = self._color(color, False)
        self.canvas.picture_draw.line(outline, fill=ink, width=width, joint="curve")
        self.canvas.owner_draw.line(outline, fill=self.number, width=width, joint="curve")
        if width > 3:
            radius = width / 2
            for x, y in (outline[0], outline[-1]):
                box = (x - radius, y - radius, x + radius, y + radius)
                self.canvas.picture_draw.ellipse(box, fill=ink)
                self.canvas.owner_draw.ellipse(box, fill=self.number)

    def draw(self, figure: str, **colors: Color) -> None:
        """Draw a figure of drawings.yaml, whose colors are those given here and those of the file."""
        named = drawings()["colors"] | colors
        for part in drawings()["figures"][figure]:
            color = part["color"]
            color = shade(named[color] if isinstance(color, str) else color, part.get("tone", 1.0))
            color = mix(color, WHITE, part["white"]) if "white" in part else color
            glow = {"always": True, "lamps": self.lamps}.get(part.get("glow", ""), False)
            for side in (-1, 1) if part.get("mirrored") else (1,):
                self._draw_part(part, side, color, glow)

    def _draw_part(self, part: dict[str, Any], side: int, color: Color, glow: bool) -> None:
        if "box" in part:
            u0, v0, u1, v1 = part["box"]
            self.box(side * u0, v0, side * u1, v1, color, glow=glow)
        elif "ellipse" in part:
            u, v, ru, rv = part["ellipse"]
            self.ellipse(side * u, v, ru, rv, color, glow=glow)
        elif "line" in part:
            self.line([(side * u, v) for u, v in part["line"]], part["width"], color)
        elif "regular" in part:
            u, v, radius, sides = part["regular"]
            turns = [2 * math.pi * (part.get("turned", 0.0) + k) / sides for k in range(sides)]
            self.polygon([(u + radius * math.sin(t), v + radius * math.cos(t)) for t in turns], color)
        else:
            self.polygon(smooth(part["polygon"], part.get("smooth", 0)), color)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return the corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def symmetric(left_half: Sequence[Point]) -> list[Point]:
    """Return an outline that is mirrored at u = 0, given its left half from one end to the other."""
    return [*left_half, *((-u, v) for u, v in reversed(left_half))]


def smooth(points: Sequence[Point], rounds: int = 2) -> list[Point]:
    """Round the corners of a closed polygon by cutting each at a quarter of its sides (Chaikin)."""
    corners = list(points)
    for _ in range(rounds):
        cut: list[Point] = []
        for (u0, v0), (u1, v1) in zip(corners, corners[1:] + corners[:1], strict=True):
            cut.append((0.75 * u0 + 0.25 * u1, 0.75 * v0 + 0.25 * v1))
            cut.append((0.25 * u0 + 0.75 * u1, 0.25 * v0 + 0.75 * v1))
        corners = cut
    return corners
