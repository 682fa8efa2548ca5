"""What the instance branch of the network says: the heatmap of centers and the field of offsets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# From black over red and yellow to white, as heated iron: readable in print and by the color-blind.
_HEAT_STOPS = (0.0, 0.35, 0.7, 1.0)
_HEAT_COLORS = ((0, 0, 0), (180, 20, 30), (255, 190, 40), (255, 255, 255))
_CENTER_COLOR = (60, 220, 255)


def draw_center_heatmap(
    image: NDArray[np.uint8], center_heatmap: NDArray[np.floating], centers: Sequence[tuple[int, int]] = ()
) -> Image.Image:
    """Draw the heatmap of centers over the darkened grey image.

    Shapes:
        image (H, W, 3); center_heatmap (H, W).

    Args:
        image: RGB, uint8.
        center_heatmap: confidence that a pixel is a center; below 0 counts as 0, above 1 as 1.
        centers: rows and columns to mark with a cross, those that were found or are true.

    Raises:
        ValueError: image and heatmap differ in size.
    """
    if image.shape != (*center_heatmap.shape, 3):
        raise ValueError(
            f"center_heatmap must be {image.shape[:2]} like the image, got {center_heatmap.shape}; "
            "give that of this image"
        )
    heat = np.nan_to_num(center_heatmap.astype(np.float32)).clip(0, 1)[..., None]
    channels = [np.interp(heat[..., 0], _HEAT_STOPS, values) for values in zip(*_HEAT_COLORS, strict=True)]
    grey = image.mean(axis=2, keepdims=True) * 0.35
    picture = (grey * (1 - heat) + np.stack(channels, axis=-1)).clip(0, 255).astype(np.uint8)
    for y, x in centers:
        _draw_cross(picture, y, x)
    return Image.fromarray(picture)


def draw_offsets(
    offsets: NDArray[np.floating], mask: NDArray[np.bool_] | None = None, *, longest: float | None = None
) -> Image.Image:
    """Draw a field of offsets: the hue is the direction to the center, the brightness the distance.

    Shapes:
        offsets (2, H, W); mask (H, W).

    Args:
        offsets: way to the center of each pixel's instance, in the order (y, x), pixels.
        mask: where offsets mean something, such as the pixels of things; elsewhere the picture is black.
        longest: length that is drawn brightest, pixels; None takes the 99th percentile of the field.

    Raises:
        ValueError: the field is not (2, H, W), or the mask differs from it in size.
    """
    if offsets.ndim != 3 or len(offsets) != 2:
        raise ValueError(f"offsets must be (2, H, W), got {offsets.shape}; give those of one image")
    y, x = np.nan_to_num(offsets.astype(np.float32))
    if mask is None:
        mask = np.ones(y.shape, dtype=bool)
    elif mask.shape != y.shape:
        raise ValueError(f"mask must be {y.shape} like the offsets, got {mask.shape}; give that of the image")
    length = np.hypot(y, x)
    if longest is None:
        longest = float(np.percentile(length[mask], 99)) if mask.any() else 1.0
    # Right is red; the angle runs against the clock, as on paper.
    hue = np.arctan2(-y, x) / (2 * np.pi) % 1
    value = np.where(mask, 0.25 + 0.75 * (length / max(longest, 1e-6)).clip(0, 1), 0)
    hsv = np.stack([hue, np.full_like(hue, 0.85), value], axis=-1)
    return Image.fromarray((hsv * 255).round().astype(np.uint8), "HSV").convert("RGB")


def _draw_cross(picture: NDArray[np.uint8], y: int, x: int) -> None:
    length = float(np.sqrt(picture.shape[0] * picture.shape[1]))
    arm, half = max(2, round(length / 80)), round(length / 1000)
    for down, across in ((arm, half), (half, arm)):
        picture[max(0, y - down) : y + down + 1, max(0, x - across) : x + across + 1] = _CENTER_COLOR
