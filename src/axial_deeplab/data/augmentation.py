"""Random changes of a training crop beyond scale, flip and color: turns, warps, intensity.

Everything is off by default and draws nothing then, so that a recipe without it stays what it was.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from axial_deeplab.panoptic.map import PanopticMap

Image = NDArray[np.uint8]
_WHITE = 255.0
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True)
class Warp:
    """Rotation by any angle, and an elastic warp, of a crop of an image and of its map.

    Both are one resampling: bilinear of the image, the nearest pixel of the map.

    Args:
        rotation: largest angle, degrees to either side.
        elastic: standard deviation of the shift of a control point along each axis, pixels.
        elastic_spacing: pixels between control points; the shifts between them are interpolated.

    Raises:
        ValueError: an argument is out of range.
    """

    rotation: float = 0.0
    elastic: float = 0.0
    elastic_spacing: int = 48

    def __post_init__(self) -> None:
        _require("rotation", 0 <= self.rotation <= 180, "0 to 180 degrees", self.rotation)
        _require("elastic", self.elastic >= 0, "0 pixels or more", self.elastic)
        _require("elastic_spacing", self.elastic_spacing >= 2, "2 pixels or more", self.elastic_spacing)

    @property
    def is_on(self) -> bool:
        """Whether anything changes."""
        return self.rotation > 0 or self.elastic > 0

    def draw_angle(self, generator: np.random.Generator) -> float:
        """Return an angle in radians."""
        return math.radians(float(generator.uniform(-self.rotation, self.rotation)))

    def source_size(self, crop_size: tuple[int, int], angle: float) -> tuple[int, int]:
        """Return the height and width of the crop to warp, so that the turned crop lies inside it."""
        margin = 2 * math.ceil(3 * self.elastic)
        cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
        height, width = crop_size
        # The difference to the crop is even, so that both have their center in the same place.
        grown = (height * cosine + width * sine, height * sine + width * cosine)
        return tuple(  # type: ignore[return-value]
            size + 2 * max(0, math.ceil((wanted - size) / 2)) + margin
            for size, wanted in zip(crop_size, grown, strict=True)
        )

    def __call__(
        self,
        image: Image,
        panoptic: PanopticMap,
        crop_size: tuple[int, int],
        angle: float,
        generator: np.random.Generator,
    ) -> tuple[Image, PanopticMap]:
        """Return the middle of an image and of its map, turned and warped.

        Shapes:
            image (H, W, C), panoptic (H, W), of `source_size`; the results are of `crop_size`.

        Args:
            image: pixels.
            panoptic: their map.
            crop_size: height and width of the results, pixels.
            angle: what `draw_angle` returned.
            generator: source of the shifts.
        """
        (height, width), (source_height, source_width) = crop_size, panoptic.shape
        y = np.arange(height)[:, None] - (height - 1) / 2
        x = np.arange(width)[None] - (width - 1) / 2
        cosine, sine = math.cos(angle), math.sin(angle)
        source_y = cosine * y + sine * x + (source_height - 1) / 2
        source_x = cosine * x - sine * y + (source_width - 1) / 2
        if self.elastic:
            shift = self._shifts(crop_size, generator)
            source_y, source_x = source_y + shift[0], source_x + shift[1]
        source_y = source_y.clip(0, source_height - 1)
        source_x = source_x.clip(0, source_width - 1)
        warped = _sample(image, source_y, source_x)
        return warped, panoptic[np.rint(source_y).astype(np.intp), np.rint(source_x).astype(np.intp)]

    def _shifts(self, size: tuple[int, int], generator: np.random.Generator) -> NDArray[np.float32]:
        points = [max(2, round(side / self.elastic_spacing) + 1) for side in size]
        drawn = generator.normal(0, self.elastic, (2, *points)).clip(-3 * self.elastic, 3 * self.elastic)
        grid = torch.from_numpy(drawn.astype(np.float32))[None]
        shifts: NDArray[np.float32] = F.interpolate(grid, size, mode="bicubic", align_corners=True)[0].numpy()
        return shifts


@dataclass(frozen=True)
class Intensity:
    """Changes of the values of an image that leave its shapes: light, stain, focus, noise.

    Each is drawn for each image, evenly up to its limit; 0 turns it off.

    Args:
        inversion: share of the images that become their negatives.
        stretch: share of the images whose values are stretched so that black and white are reached, but for
            the 1 percent of the pixels at the dark and the 0.2 percent at the bright end.
        brightness: all values are multiplied by a factor from 1 / (1 + brightness) to 1 + brightness; those
            of the negative where an image is brighter than middle grey, as for contrast, gamma and haze.
        contrast: so are their differences to the mean.
        gamma: exponents go from 1 / (1 + gamma) to 1 + gamma.
        stain: each channel has a further exponent of its own, from 1 / (1 + stain) to 1 + stain: its
            optical density times a factor.
        hue: largest turn of the hue, as a part of the circle; for RGB alone.
        haze: largest value, of 255, that is added everywhere.
        blur: largest standard deviation of a Gaussian blur, pixels; every second image has none.
        noise: largest standard deviation of Gaussian noise, of 255, the same in all channels of a grey image.

    Raises:
        ValueError: an argument is out of range.
    """

    inversion: float = 0.0
    stretch: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    stain: float = 0.0
    hue: float = 0.0
    haze: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("inversion", "stretch"):
            _require(name, 0 <= getattr(self, name) <= 1, "0 to 1", getattr(self, name))
        for name in ("brightness", "contrast", "gamma", "stain", "blur"):
            _require(name, getattr(self, name) >= 0, "0 or more", getattr(self, name))
        _require("hue", 0 <= self.hue <= 0.5, "0 to 0.5 of the circle", self.hue)
        for name in ("haze", "noise"):
            _require(name, 0 <= getattr(self, name) <= _WHITE, "0 to 255", getattr(self, name))

    @property
    def is_on(self) -> bool:
        """Whether anything changes."""
        return self != Intensity()

    def __call__(self, image: Image, generator: np.random.Generator) -> Image:
        """Return the changed image.

        Shapes: (H, W, C), uint8, as the result.
        """
        # Always the same draws in the same order: what one setting draws never depends on another.
        inverts, stretches, blurs, blur, haze, noise = generator.random(6)
        factors = generator.uniform(-1, 1, 3 + image.shape[2]).astype(np.float32)
        turn = float(generator.uniform(-self.hue, self.hue))
        x = image.astype(np.float32) / _WHITE
        if stretches < self.stretch:
            x = stretched(x)
        if self.stain:
            x **= (1 + self.stain) ** factors[3:]
        if self.hue:
            x = turned_hue(x, turn)
        # Of bright pictures the negative is changed: what is large and bright would be lost in white.
        is_bright = bool(x.mean() > 0.5)
        x = 1 - x if is_bright else x
        if self.gamma:
            x **= (1 + self.gamma) ** factors[0]
        factor, slope = (1 + self.brightness) ** factors[1], (1 + self.contrast) ** factors[2]
        mean = x.mean()
        x = ((x - mean) * slope + mean) * factor + np.float32(haze * self.haze / _WHITE)
        x = 1 - x if is_bright != (inverts < self.inversion) else x
        if self.blur and blurs < 0.5:
            x = blurred(x, float(blur) * self.blur)
        if self.noise:
            x = x + _noise(image, generator) * np.float32(noise * self.noise / _WHITE)
        return np.rint(x.clip(0, 1) * _WHITE).astype(np.uint8)


def stretched(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretch values so that 1 percent of them are 0 and 0.2 percent 1; an even image stays.

    Shapes: (H, W, C), as the result.
    """
    low, high = np.percentile(x, (1, 99.8))
    return ((x - low) / (high - low)).clip(0, 1).astype(np.float32) if high > low else x


def turned_hue(x: NDArray[np.float32], turn: float) -> NDArray[np.float32]:
    """Turn the hue of an image by a part of the circle; greys stay, values may leave [0, 1].

    Shapes: (H, W, 3) in RGB, as the result.

    Source: rotation of the color plane of YIQ.
    """
    cosine, sine = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return (x @ (_YIQ_TO_RGB @ rotation @ _RGB_TO_YIQ).T.astype(np.float32)).clip(0, 1)


def blurred(x: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur an image with a Gaussian; its border is repeated outwards.

    Shapes: (H, W, C), as the result.

    Args:
        x: the image.
        sigma: standard deviation, pixels; below a tenth of a pixel nothing changes.
    """
    if sigma < 0.1:
        return x
    radius = math.ceil(3 * sigma)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = torch.from_numpy((weights / weights.sum()).astype(np.float32))
    planes = torch.from_numpy(x).permute(2, 0, 1)[:, None]
    planes = F.conv2d(F.pad(planes, (radius,) * 4, mode="replicate"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1))
    return planes[:, 0].permute(1, 2, 0).numpy()


def _noise(image: Image, generator: np.random.Generator) -> NDArray[np.float32]:
    is_grey = bool((image[..., :1] == image).all())
    return generator.standard_normal((*image.shape[:2], 1 if is_grey else image.shape[2]), dtype=np.float32)


def _sample(image: Image, y: NDArray[np.float64], x: NDArray[np.float64]) -> Image:
    """Return the values at coordinates within the image, bilinear."""
    height, width = image.shape[:2]
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    grid = np.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], axis=-1)
    sampled = F.grid_sample(
        planes, torch.from_numpy(grid.astype(np.float32))[None], align_corners=True, padding_mode="border"
    )
    return sampled[0].permute(1, 2, 0).round_().to(torch.uint8).numpy()


def _require(name: str, valid: bool, rule: str, value: float) -> None:
    if not valid:
        raise ValueError(f"{name} must be {rule}, got {value}; 0 turns it off")
