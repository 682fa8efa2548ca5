"""Light of a scene and the colors that it makes."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
WHITE: Color = (255, 255, 255)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return the RGB color (0..255) of a hue, saturation and value in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(
        hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    )
    return red * 255, green * 255, blue * 255


def mix(first: Color, second: Color, amount: float) -> Color:
    """Return the color that lies `amount` (0..1) of the way from the first to the second."""
    keep = 1.0 - amount
    return (
        first[0] * keep + second[0] * amount,
        first[1] * keep + second[1] * amount,
        first[2] * keep + second[2] * amount,
    )


def shade(color: Color, factor: float) -> Color:
    """Return the color made darker (factor < 1) or lighter (factor > 1)."""
    return min(color[0] * factor, 255.0), min(color[1] * factor, 255.0), min(color[2] * factor, 255.0)


def vary(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """Return the color with a random change of brightness and tone of about `amount` (0..1)."""
    change = 1.0 + amount * (0.7 * rng.standard_normal() + 0.5 * rng.standard_normal(3))
    red, green, blue = (
        min(max(channel * float(gain), 0.0), 255.0) for channel, gain in zip(color, change, strict=True)
    )
    return red, green, blue


def either_side(rng: np.random.Generator) -> int:
    """Draw 1 or -1."""
    return 1 if rng.random() < 0.5 else -1


@dataclass(frozen=True)
class Light:
    """What the sun and the air do to a scene.

    Args:
        name: day, cloudy, dusk, fog or evening.
        zenith: color of the sky overhead.
        skyline: color of the sky at the horizon, and of what the haze hides.
        cloud: color of the clouds' bright side.
        tint: what every surface color is multiplied with.
        clouds: share of the sky under clouds, 0..1.
        haze_per_meter: extinction of the air.
        sun: side that the sun stands on, from -1 (left) to 1 (right).
        shadow: darkness of shadows on the ground, 0..1.
        lamps: whether windows and lamps are lit.
    """

    name: str
    zenith: Color
    skyline: Color
    cloud: Color
    tint: Color
    clouds: float
    haze_per_meter: float
    sun: float
    shadow: float
    lamps: bool

    def haze(self, depth: float, most: float = 0.8) -> float:
        """Return how much of a surface at a depth (meters) is lost in the haze, at most `most`."""
        return min(1.0 - math.exp(-depth * self.haze_per_meter), most)

    def lit(self, color: Color, haze: float = 0.0) -> tuple[int, int, int]:
        """Return the 8-bit color that the camera sees of a surface color."""
        keep = 1.0 - haze
        red, green, blue = (
            round(min(surface * tint * keep + air * haze, 255.0))
            for surface, tint, air in zip(color, self.tint, self.skyline, strict=True)
        )
        return red, green, blue


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the time of day and the weather."""
    name = str(rng.choice(["day", "cloudy", "dusk", "fog", "evening"], p=[0.44, 0.2, 0.17, 0.09, 0.1]))
    sun = rng.uniform(0.3, 1.0) * either_side(rng)
    lamps = False
    if name == "day":
        hue = rng.uniform(0.54, 0.61)
        zenith = hsv(hue, rng.uniform(0.5, 0.75), rng.uniform(0.75, 0.92))
        skyline, cloud, tint = hsv(hue - 0.02, 0.16, 0.97), (255.0, 253.0, 248.0), (1.0, 0.99, 0.96)
        clouds, haze, shadow = rng.uniform(0.0, 0.55), rng.uniform(0.0003, 0.0012), 0.45
    elif name == "cloudy":
        gray = rng.uniform(0.7, 0.85)
        zenith, skyline = hsv(0.58, 0.14, gray - 0.1), hsv(0.57, 0.05, gray + 0.08)
        cloud, tint = hsv(0.6, 0.03, gray + 0.1), (0.88, 0.9, 0.93)
        clouds, haze, shadow = rng.uniform(0.6, 1.0), rng.uniform(0.0008, 0.003), 0.22
    elif name == "dusk":
        zenith = hsv(rng.uniform(0.58, 0.72), rng.uniform(0.3, 0.5), rng.uniform(0.55, 0.75))
        skyline = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.35, 0.55), 0.98)
        cloud, tint = hsv(rng.uniform(0.0, 0.07), 0.35, 0.98), (1.0, 0.84, 0.7)
        clouds, haze, shadow = rng.uniform(0.1, 0.6), rng.uniform(0.0008, 0.002), 0.4
        lamps = rng.random() < 0.3
    elif name == "fog":
        gray = rng.uniform(0.78, 0.9)
        zenith, skyline = hsv(0.57, 0.06, gray), hsv(0.56, 0.03, gray + 0.04)
        cloud, tint = hsv(0.58, 0.02, gray + 0.06), (0.9, 0.92, 0.94)
        clouds, haze, shadow = 0.5, rng.uniform(0.006, 0.014), 0.12
    else:
        zenith = hsv(rng.uniform(0.6, 0.68), 0.55, rng.uniform(0.32, 0.42))
        skyline = hsv(rng.uniform(0.75, 1.0), rng.uniform(0.18, 0.3), rng.uniform(0.6, 0.72))
        cloud, tint = hsv(0.75, 0.25, 0.6), (0.56, 0.58, 0.74)
        clouds, haze, shadow, lamps = rng.uniform(0.0, 0.6), rng.uniform(0.001, 0.002), 0.15, True
    return Light(name, zenith, skyline, cloud, tint, clouds, haze, sun, shadow, lamps)
