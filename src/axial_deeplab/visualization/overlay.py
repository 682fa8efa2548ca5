"""A panoptic segmentation over its image: class colors, shades of instances, boundaries, names, void."""

import colorsys
import itertools
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Color, palette
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, Segment
from axial_deeplab.visualization.labels import draw_labels
from axial_deeplab.visualization.legend import LegendEntry, append_legend

VOID_COLOR: Color = (40, 40, 40)
VOID_STRIPE: Color = (95, 95, 95)
COLORED_BY = ("class", "instance")
# Hue and lightness of the instances of a class, relative to its color: the first has it, neighbors differ.
_SHADES = ((0.0, 0.0), (0.03, 0.16), (-0.03, -0.14), (0.05, 0.28), (-0.05, -0.24), (0.0, 0.22), (0.04, -0.08))


def in_color(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image of any channels (H, W, C) in RGB (H, W, 3): its first three, one as grey."""
    channels = image.shape[2]
    if channels == 3:
        return image
    shown = np.zeros((*image.shape[:2], 3), np.uint8)
    shown[..., :channels] = image[..., :3]
    return np.repeat(image, 3, axis=2) if channels == 1 else shown


def draw_overlay(
    image: NDArray[np.uint8],
    panoptic: Panoptic,
    categories: Categories,
    *old_categories: Categories,
    opacity: float = 0.55,
    labels: bool = True,
    scores: bool = True,
    legend: bool = False,
    outlines: bool = False,
    color_by: str = "class",
    numbers: bool = False,
    label_divisor: int = LABEL_DIVISOR,
) -> Image.Image:
    """Draw a segmentation, predicted or true, over its image.

    Shapes:
        image (H, W, C); map of panoptic (H, W).

    Args:
        image: RGB, uint8; of other channels the first three are shown as RGB.
        panoptic: the panoptic map of the image and its segments.
        categories: their names and colors.
        old_categories: for one version, map and segments may be given in place of `panoptic`.
        opacity: opacity of the colors, 0 to 1; void is always dark and hatched.
        labels: write names where there is room.
        scores: add the score to the names of things that have one, percent.
        legend: append a strip with the classes of the picture, which makes it higher.
        outlines: leave the image as it is but for a colored line inside the edge of each segment.
        color_by: "class" gives things shades of the color of their class, "instance" each a color of its own.
        numbers: write the numbers of things, 1, 2, ... in the order of their ids, in place of their names;
            the files of `predict --save` have the same numbers.
        label_divisor: divisor of the ids in the panoptic map.

    Returns:
        The picture, of the size of the image but for the legend.

    Raises:
        ValueError: image and map differ in size, or `opacity` or `color_by` is not as above.
    """
    if old_categories:  # called as draw_overlay(image, map, segments, categories)
        message = "draw_overlay takes Panoptic(map, segments) in place of map and segments"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        panoptic, (categories,) = Panoptic(panoptic, categories), old_categories  # type: ignore[arg-type]
    image = in_color(image) if image.ndim == 3 and image.shape[2] else image
    if image.shape != (*panoptic.size, 3):
        raise ValueError(
            f"image must be {(*panoptic.size, 3)} for this map, got {image.shape}; give the image of the map"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be between 0 and 1, got {opacity}; 0.55 is usual")
    if color_by not in COLORED_BY:
        raise ValueError(f"color_by must be one of {', '.join(COLORED_BY)}, got {color_by!r}; choose one")
    ordered = sorted(panoptic.segments, key=lambda segment: segment.id)
    ids = np.array([0, *(segment.id for segment in ordered)], dtype=panoptic.map.dtype)
    index = np.searchsorted(ids, panoptic.map).astype(np.int32)
    colors = [instance_color(categories.colors[s.train_id], s.id % label_divisor) for s in ordered]
    things = [place for place, segment in enumerate(ordered) if categories[segment.train_id].is_thing]
    if color_by == "instance":
        for place, color in zip(things, itertools.islice(palette(), len(things)), strict=True):
            colors[place] = color
    if outlines:
        picture = image.copy()
        _draw_outlines(picture, index, colors)
    else:
        picture = _blend(image, np.array([VOID_COLOR, *colors], dtype=np.uint16)[index], opacity)
        _hatch(picture, image, index == 0)
        draw_boundaries(picture, index)
    result = Image.fromarray(picture)
    if labels:
        texts = [_label(segment, categories, scores=scores) for segment in ordered]
        if numbers:
            for number, place in enumerate(things, start=1):
                texts[place] = str(number)
        draw_labels(result, index, texts, colors, [not categories[s.train_id].is_thing for s in ordered])
    if legend:
        result = append_legend(result, legend_entries(panoptic, categories))
    return result


def legend_entries(panoptic: Panoptic, categories: Categories) -> list[LegendEntry]:
    """Return the classes of a map in the order of their train ids, then void if there is any."""
    present = sorted({segment.train_id for segment in panoptic.segments})
    entries = [LegendEntry(categories.names[train_id], categories.colors[train_id]) for train_id in present]
    if not np.all(panoptic.map):
        entries.append(LegendEntry("void", VOID_COLOR, VOID_STRIPE))
    return entries


def instance_color(color: Color, instance_id: int) -> Color:
    """Return a shade of the class color for an instance; stuff (0) and the first instance have just it."""
    turn, change = _SHADES[max(0, instance_id - 1) % len(_SHADES)]
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in color))
    lightness = min(0.85, max(0.18, lightness + change)) if change else lightness
    red, green, blue = (round(255 * c) for c in colorsys.hls_to_rgb((hue + turn) % 1, lightness, saturation))
    return red, green, blue


def _blend(image: NDArray[np.uint8], colors: NDArray[np.uint16], opacity: float) -> NDArray[np.uint8]:
    weight = round(256 * opacity)
    colors *= np.uint16(weight)
    colors += image.astype(np.uint16) * np.uint16(256 - weight)
    return (colors >> 8).astype(np.uint8)


def _hatch(picture: NDArray[np.uint8], image: NDArray[np.uint8], void: NDArray[np.bool_]) -> None:
    """Darken void and lay diagonal stripes over it."""
    if not void.any():
        return
    height, width = void.shape
    period = max(4, round(_typical_length(void.shape) / 50))
    stripes = (np.arange(height)[:, None] + np.arange(width)) % period < max(1, period // 4)
    for where, color in ((void & ~stripes, VOID_COLOR), (void & stripes, VOID_STRIPE)):
        picture[where] = (image[where] // 5) + np.array(color, dtype=np.uint8) * 4 // 5


def draw_boundaries(picture: NDArray[np.uint8], index: NDArray[np.int32]) -> None:
    """Draw a white line between segments, on a dark one where the picture is large enough for both."""
    length = _typical_length(index.shape)
    edges = _edges(index)
    thickness = _thickness(index)
    if length >= 250:
        halo = _widened(edges, thickness + 2)
        picture[halo] //= 2
    line = _widened(edges, thickness)
    picture[line] = 230 if length >= 250 else picture[line] // 2 + 115


def _draw_outlines(picture: NDArray[np.uint8], index: NDArray[np.int32], colors: list[Color]) -> None:
    """Draw a line inside the edge of each segment, in its color; none in void, none at the frame."""
    # The line of an edge lies on both of its sides, each of which has the color of its segment.
    line = _widened(_edges(index), 2 * _thickness(index)) & (index > 0)
    picture[line] = np.array([VOID_COLOR, *colors], dtype=np.uint8)[index[line]]


def _edges(index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the pixels that differ from their right or lower neighbor."""
    edges = np.zeros(index.shape, dtype=bool)
    edges[:, :-1] |= index[:, :-1] != index[:, 1:]
    edges[:-1] |= index[:-1] != index[1:]
    return edges


def _thickness(index: NDArray[np.int32]) -> int:
    """Return the width of lines that are seen when the picture is looked at as a whole."""
    return max(1, round(_typical_length(index.shape) / 450))


def _widened(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Widen lines of one pixel to `thickness` pixels, first along the rows, then along the columns."""
    for axis in (0, 1):
        lines = np.moveaxis(mask, axis, 0)
        wide = lines.copy()
        for step in range(1, thickness):
            shift = (step + 1) // 2
            if shift >= len(lines):
                break
            if step % 2:
                wide[:-shift] |= lines[shift:]
            else:
                wide[shift:] |= lines[:-shift]
        mask = np.moveaxis(wide, 0, axis)
    return mask


def _typical_length(shape: tuple[int, ...]) -> float:
    return float(np.sqrt(shape[0] * shape[1]))


def _label(segment: Segment, categories: Categories, *, scores: bool) -> str:
    category = categories[segment.train_id]
    name = f"{category.name} (crowd)" if segment.is_crowd else category.name
    if scores and category.is_thing and segment.score is not None:
        return f"{name} {segment.score:.0%}"
    return str(name)
