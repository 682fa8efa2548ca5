"""What the files of labeling tools come down to: pictures, and the shapes that were drawn on each.

A reader of one kind of files (`kinds/`) makes `LabeledImage`s; `shapes_to_convert` draws them by one rule
(`outlines.py`), whatever the tool.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.odd_outlines import is_outside, require_pixels, warn_of_boxes, warn_of_outside
from axial_deeplab.data.convert.outlines import Ring, fill, polygon
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_masks
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.images import picture_size
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.util.text import shortened


@dataclass(frozen=True)
class Shape:
    """What was drawn once: closed lines that are filled together, or a mask.

    Args:
        name: its class; None for pixels that are void.
        where: file and shape, for messages.
        rings: lines (N, 2) of x and y in pixels; see `outlines.fill`.
        mask: gives the pixels (h, w), if it is a mask.
        corner: (top, left) of the mask in the image.
        part_of: what shapes of one class share that are one object; None for an object of its own.
        is_crowd: whether it is many objects that nobody told apart.
        is_relative: whether the lines are parts of width and height, from 0 to 1.
    """

    name: str | None
    where: str
    rings: tuple[Ring, ...] = ()
    mask: Callable[[], NDArray[np.bool_]] | None = None
    corner: tuple[int, int] = (0, 0)
    part_of: Hashable = None
    is_crowd: bool = False
    is_relative: bool = False

    def rings_in(self, size: tuple[int, int]) -> list[Ring]:
        """Return its lines in the pixels of an image of this (height, width)."""
        scale = np.array([size[1], size[0]]) if self.is_relative else 1
        return [line * scale for line in self.rings]

    def draw(self, size: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
        """Return (top, left) of a window in an image of this (height, width), and the pixels (h, w) in it.

        Raises:
            ValueError: the mask of the file is damaged.
        """
        if self.mask is None:
            return fill(self.rings_in(size), size)
        pixels, (top, left) = self.mask(), self.corner
        pixels = pixels[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
        return (max(0, top), max(0, left)), pixels


class LabeledImage(NamedTuple):
    """A picture and what was drawn on it, from below to above where the tool has an order.

    Args:
        path: image file.
        file_name: path of the image in the data set that is written.
        shapes: what was drawn.
        source: the file that says so.
        size: (height, width) in pixels as that file says.
        part: see `UnwrittenImage`.
    """

    path: Path
    file_name: str
    shapes: Sequence[Shape]
    source: Path
    size: tuple[int, int] | None = None
    part: str = ""


def shapes_to_convert(
    images: Sequence[LabeledImage],
    options: ReadOptions,
    source: Path,
    *,
    names: Iterable[str] | None = None,
    in_order: bool = False,
) -> ToConvert:
    """Return images with shapes as images to convert.

    Args:
        images: what a reader found.
        options: what the files do not say.
        source: what messages call the files.
        names: the classes in the tool's order; None takes those of the shapes, sorted.
        in_order: whether later shapes lie on top of earlier ones; otherwise the smaller lie on top.

    Raises:
        ValueError: there is no image or no class, or a class is not in the categories.
    """
    if not images:
        raise ValueError(f"{source} must have an annotated image, got none; annotate some")
    used = {shape.name for image in images for shape in image.shapes if shape.name is not None}
    categories = options.label_space(
        sorted(used) if names is None else [*names, *sorted(used - set(names))], source
    )
    background = options.background_of(categories)
    page = options.reading.page
    draw = partial(_draw, categories=categories, background=background, in_order=in_order, page=page)
    seen: dict[tuple[str, str], LabeledImage] = {}
    for image in images:
        other = seen.setdefault((image.part, image.file_name), image)
        if other is not image:
            raise ValueError(
                f"{image.source} must be the only annotation of {image.path}, got {other.source}, "
                "too; remove one"
            )
    require_pixels((each.rings for i in images for each in i.shapes if not each.is_relative), source)
    warn_of_boxes((each.rings for image in images for each in image.shapes), source)
    unwritten = [
        UnwrittenImage(i.path, i.file_name, partial(draw, i), page=page, part=i.part) for i in images
    ]
    return unwritten, categories


def _draw(
    image: LabeledImage, *, categories: Categories, background: int | None, in_order: bool, page: int | None
) -> Panoptic:
    size = picture_size(image.path, size=image.size, page=page)  # Refuses other sizes.
    masks = []
    for shape in image.shapes:
        corner, inside = shape.draw(size)
        train_id = None if shape.name is None else categories.names.index(shape.name)
        masks.append(Mask(inside, train_id, shape.is_crowd, corner, shape.part_of))
    own = image.source.stem == image.path.stem  # other files have the shapes of many pictures
    source = image.source if own else f"{image.source} ({image.file_name})"
    outside = [each.where for each in image.shapes if each.rings and is_outside(each.rings_in(size), size)]
    warn_of_outside(outside, size, source)
    return panoptic_from_masks(
        masks, size, background=background, stuff=categories.stuff_ids, in_order=in_order, source=source
    )


def warn_of_repeated(names: Iterable[str], source: Path) -> None:
    """Warn of classes that a tool lists several times under one name.

    Args:
        names: classes as the tool lists them.
        source: what messages call the file.
    """
    for name, times in Counter(names).items():
        if times > 1:
            warnings.warn(
                f"{source}: {times} classes have the name {name!r} and become one; if they are several, "
                "rename them",
                stacklevel=3,
            )


@dataclass
class LeftOut:
    """Counts what is left out of the files, for one warning.

    Args:
        source: what the warning calls the files.
    """

    source: Path
    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, where: str) -> None:
        """Note one thing that is left out, by the kind of things that it is, in the plural."""
        self.found.setdefault(what, []).append(where)

    def polygon(self, points: Any, where: str) -> Ring | None:
        """Return what `outlines.polygon` does, and note one of too few points, as stray clicks leave it."""
        line = polygon(points, where)
        if line is None:
            self.add("polygons of fewer than three points", where)
        return line

    def is_of_other_page(self, number: int, page: int | None, where: str) -> bool:
        """Tell whether a shape is of another page than that which is shown, and note it if so.

        Args:
            number: its page, from 1 on; 0 where nobody says.
            page: what `page_of_stack` gives.
            where: file and shape.
        """
        is_other = page is not None and number not in (0, page)
        if is_other:
            self.add(f"shapes of other pages than {page} (give another with --page)", where)
        return is_other

    def warn(self) -> None:
        """Warn once of each kind."""
        for what, places in self.found.items():
            warnings.warn(
                f"{self.source}: {len(places)} {what} left out ({shortened(places, 2)})", stacklevel=3
            )
