"""What the files of labeling tools come down to: pictures, and the shapes that were drawn on each.

A reader of one kind of files (`kinds/`) makes `LabeledImage`s; `shapes_to_convert` draws them by one rule
(`outlines.py`), whatever the tool.
"""

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.convert import UnwrittenImage
from axial_deeplab.data.convert.instance_maps import InstanceReading
from axial_deeplab.data.convert.outlines import Ring, fill
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_masks
from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.data.images import naming_damage, picture_size
from axial_deeplab.data.tiff import has_pages
from axial_deeplab.panoptic.categories import Categories, Category, warn_of_names
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.util.files import bytes_of
from axial_deeplab.util.text import shortened, spelled_alike

# Folders of parts that are to stay apart, and what those are called in what is written.
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# What Label Studio writes in front of the names of uploads.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
# Files of a folder that tell its kind.
_LOOKED_AT = 8

ToConvert = tuple[list[UnwrittenImage], Categories]


@dataclass(frozen=True)
class ReadOptions:
    """What the files of a tool do not say.

    Args:
        images: folder of the pictures; None looks beside the annotations.
        categories: the label space; None takes the classes that the files name.
        thing: class of shapes that have none.
        background: stuff where nothing is drawn, a class of the files or a new one; None makes that void.
        stuff: classes of the files that are stuff; all others are things.
        things: classes of the files that are things, all others are stuff; instead of `stuff`.
        crowds_are_objects: take what the files mark as crowds for single objects.
        inner_outlines_are_holes: in COCO's polygons, an outline within another of its object is a hole.
        void_label: class of a two-channel map that means void.
        attribute: which attribute of a shape is its class, where a tool leaves that open.
        reading: how maps of instances are read, and which page of pictures that have several.
        scratch: folder for what the files hold packed, which lives as long as the images are needed; None
            refuses archives, and pictures inside of annotations.

    Raises:
        ValueError: categories are given in two ways, or thing and background are one.
    """

    images: Path | None = None
    categories: Categories | None = None
    thing: str | None = None
    background: str | None = None
    stuff: Sequence[str] = ()
    things: Sequence[str] = ()
    crowds_are_objects: bool = False
    inner_outlines_are_holes: bool = False
    void_label: int = 0
    attribute: str | None = None
    reading: InstanceReading = InstanceReading()  # noqa: RUF009  # frozen
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if self.background is not None and self.thing == self.background:
            raise ValueError(
                f"--thing and --background must be different, got {self.thing!r} for both; rename it"
            )
        if self.categories is not None and (self.stuff or self.things):
            raise ValueError(
                f"--{'stuff' if self.stuff else 'things'} must not be given with --categories, which say "
                "what is stuff; leave it out"
            )
        if self.stuff and self.things:
            raise ValueError("--stuff must not be given with --things, whose rest is stuff; leave one out")

    @property
    def thing_or_object(self) -> str:
        """The class of shapes that have none.

        Raises:
            ValueError: it is the background.
        """
        return str(replace(self, thing=self.thing or "object").thing)

    def label_space(self, names: Iterable[str], source: Path) -> Categories:
        """Return the categories 1, 2, ... of names in this order, a background that is none of them in front.

        Args:
            names: classes of the files.
            source: what messages call the files.

        Raises:
            ValueError: the files name no class, or not one that is asked for.
        """
        names = list(dict.fromkeys(names))
        if self.categories is not None:
            known = set(self.categories.names)
            for name in (*names, *filter(None, [self.background])):
                if name not in known:
                    raise ValueError(
                        f"{source} must have only classes of the categories, got {name!r}; add it to them"
                    )
            return self.categories
        if not names:
            raise ValueError(
                f"{source} must have a shape with a class, got none; draw some, or give --categories"
            )
        stuff = {*self.stuff_among(names, source), self.background}
        if self.background is not None and self.background not in names:
            names.insert(0, self.background)
        warn_of_names(names, source)
        return Categories([Category(number, name, name not in stuff) for number, name in enumerate(names, 1)])

    def stuff_among(self, names: Sequence[str], source: Path) -> set[str]:
        """Return the stuff among the classes of the files.

        Raises:
            ValueError: a class that is asked for is none of them.
        """
        for name in (*self.stuff, *self.things):
            if name not in names:
                raise ValueError(
                    f"--{'stuff' if self.stuff else 'things'} must be a class of {source} "
                    f"({shortened(names)}), got {name!r}; correct it"
                )
        return set(names) - set(self.things) if self.things else set(self.stuff)

    def refuse(self, title: str, *names: str) -> None:
        """Refuse options that a kind of files has no use for, since they say it themselves.

        Raises:
            ValueError: one is given.
        """
        for name in names:
            if getattr(self, name) not in (None, [], ()):
                raise ValueError(f"--{name} must not be given for {title}, which has its own; leave it out")

    def with_background(self, categories: Categories) -> Categories:
        """Return categories of maps and a background that is none of them, behind them."""
        if self.background is None or self.background in categories.names:
            return categories
        return Categories([*categories, Category(max(categories.ids) + 1, self.background, False)])

    def background_of(self, categories: Categories) -> int | None:
        """Return the train id of the stuff where nothing is drawn, None for void.

        Raises:
            ValueError: it is a thing.
        """
        if self.background is None:
            return None
        train_id = categories.names.index(self.background)
        if categories[train_id].is_thing:
            raise ValueError(
                f"--background must be stuff, got the thing {self.background!r}; name another class"
            )
        return train_id


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

    def draw(self, size: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
        """Return (top, left) of a window in an image of this (height, width), and the pixels (h, w) in it.

        Raises:
            ValueError: the mask of the file is damaged.
        """
        if self.mask is None:
            scale = np.array([size[1], size[0]]) if self.is_relative else 1
            return fill([line * scale for line in self.rings], size)
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
    unwritten = [
        UnwrittenImage(i.path, i.file_name, partial(draw, i), page=page, part=i.part) for i in images
    ]
    return unwritten, categories


def _draw(
    image: LabeledImage,
    *,
    categories: Categories,
    background: int | None,
    in_order: bool,
    page: int | None,
) -> Panoptic:
    size = picture_size(image.path, size=image.size, page=page)  # Refuses other sizes.
    masks = []
    for shape in image.shapes:
        corner, inside = shape.draw(size)
        train_id = None if shape.name is None else categories.names.index(shape.name)
        masks.append(Mask(inside, train_id, shape.is_crowd, corner, shape.part_of))
    own = image.source.stem == image.path.stem  # other files have the shapes of many pictures
    source = image.source if own else f"{image.source} ({image.file_name})"
    return panoptic_from_masks(
        masks, size, background=background, stuff=categories.stuff_ids, in_order=in_order, source=source
    )


class Photos:
    """The pictures in a folder, found by what files of annotations call them.

    Those files name paths of the machine that wrote them. Only pictures that are listed in the folder are
    found, so that no name leads out of it: the one whose path ends with the same folders and file as the
    name.

    Args:
        folder: folder of the pictures and of subfolders with pictures.
        exclude: subfolders that have none, such as those of masks.
        endings: what names of files end with that are none, without their suffix.
    """

    def __init__(self, folder: Path, *, exclude: Collection[str] = (), endings: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._used: set[Path] = set()
        self._whole: set[str] = set()
        self._by_name: dict[str, list[Path]] = {}
        for path in list_files(folder, SUFFIXES, recursive=True):
            inside = path.relative_to(folder).parts[:-1]
            if not set(exclude) & set(inside) and not path.stem.endswith(endings):
                for name in (path.name, path.stem + "/"):  # "/" is in no name of a file
                    self._by_name.setdefault(spelled_alike(name), []).append(path)

    def find(self, name: str, where: str) -> Path:
        """Return the picture of a name.

        Raises:
            FileNotFoundError: there is none, or several are as likely.
        """
        return self._found(name, where, lambda path: path.name)

    def expect(self, names: Iterable[str]) -> None:
        """Say all names that will be asked for: the picture of one with its suffix is not that of its stem.

        Of a.png and a.tif, `predict --save` calls the files of the second a.tif.zip and so on.

        Args:
            names: paths of annotations below their folder, without the suffix of these.
        """
        parts = [_parts(spelled_alike(name)) for name in names]
        self._whole = {"/".join(each[place:]) for each in parts for place in range(len(each))}

    def find_stem(self, name: str, where: str) -> Path:
        """Return the picture of a name without its suffix, or with it, where two have one stem.

        Raises:
            FileNotFoundError: there is none, or several are as likely.
        """
        if self.knows(name):
            return self.find(name, where)
        return self._found(name, where, lambda path: path.stem, "/")

    def file_name(self, path: Path) -> str:
        """Return the name of a picture in the data set that is written: its path below the folder."""
        return path.relative_to(self.folder).as_posix()

    def knows(self, name: str) -> bool:
        """Return whether a picture of this name, without its folders, is there."""
        last = spelled_alike(_parts(name)[-1])
        return last in self._by_name or _UPLOADED.sub("", last) in self._by_name

    def knows_stem(self, name: str) -> bool:
        """Return whether a picture of this name without its suffix is there."""
        return spelled_alike(_parts(name)[-1]) + "/" in self._by_name

    def only(self) -> Path:
        """Return the only picture.

        Raises:
            FileNotFoundError: there are others, or none.
        """
        paths = {path for paths in self._by_name.values() for path in paths}
        if len(paths) != 1:
            raise FileNotFoundError(
                f"{self.folder} must have the one picture of the file, got {len(paths)}; name the file as it"
            )
        self._used |= paths
        return paths.pop()

    def warn_of_others(self, source: Path) -> None:
        """Warn of pictures in the folder that no annotation names."""
        others = sorted({path for paths in self._by_name.values() for path in paths} - self._used)
        if others:
            warnings.warn(
                f"{source}: {len(others)} pictures have no annotation ({shortened(others, 1)}); left out",
                stacklevel=3,
            )

    def _found(self, name: str, where: str, kind: Callable[[Path], str], ending: str = "") -> Path:
        parts = [spelled_alike(part) for part in _parts(name)]
        if parts[-1] + ending not in self._by_name:
            parts[-1] = _UPLOADED.sub("", parts[-1])
        candidates = self._by_name.get(parts[-1] + ending, [])

        def alike(path: Path) -> int:
            own = [*map(spelled_alike, path.relative_to(self.folder).parts[:-1]), spelled_alike(kind(path))]
            pairs = zip(reversed(own), reversed(parts), strict=False)
            return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(own), len(parts)))

        most = max(map(alike, candidates), default=0)
        best = [path for path in candidates if alike(path) == most]
        if len(best) > 1:
            best = [path for path in best if spelled_alike(self.file_name(path)) not in self._whole] or best
        if len(best) > 1:  # "a.png" itself rather than "more/a.png"
            best = [path for path in best if len(path.relative_to(self.folder).parts) == most] or best
        if len(best) != 1:
            got = f"{shortened(best, 2)} as likely" if best else "none"
            raise FileNotFoundError(
                f"{where}: its picture {name!r} must be in {self.folder}, got {got}; add it, or give "
                "--images DIR"
            )
        self._used.add(best[0])
        return best[0]


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)


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


def page_of_stack(photo: Path, options: ReadOptions) -> int | None:
    """Return the page that is shown of a picture that has several; None if it has one.

    Raises:
        ValueError: the picture is damaged.
        OSError: it cannot be opened.
    """
    with naming_damage(photo):
        return (options.reading.page or 1) if has_pages(photo) else None


def page_of_place(photo: Path, page: int | None, places: Mapping[str, int]) -> int:
    """Return the page of a stack, from 1 on, that a place in it is; that which is shown if it may be.

    Args:
        photo: the picture.
        page: what `page_of_stack` gives of it.
        places: number of the channel C, of the depth Z and of the time T, from 1 on; 0 stands for any.
    """
    if page is None or not any(places.values()):
        return 0
    import tifffile

    with naming_damage(photo), tifffile.TiffFile(photo) as tiff:
        series = tiff.series[0]
        sizes = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS"}
    if not set(sizes) & set(places):  # of pages that nobody names, depths and times are taken for each
        return 1 + sum(place - 1 for place in places.values() if place)
    if page > math.prod(sizes.values()):
        return 0
    shown = np.unravel_index(page - 1, tuple(sizes.values()))
    wanted = [places.get(axis) or 1 + int(place) for axis, place in zip(sizes, shown, strict=True)]
    if any(place > size for place, size in zip(wanted, sizes.values(), strict=True)):
        return page + 1
    return 1 + int(np.ravel_multi_index([place - 1 for place in wanted], tuple(sizes.values())))


def text_of(path: Path) -> str:
    """Return the text of a file, in UTF-8 with a byte order mark or without.

    Raises:
        ValueError: it is no text.
        OSError: it cannot be opened.
    """
    try:
        return bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text in UTF-8, got other bytes; export it again") from None


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """Return the files of some suffixes, in lower case: the source itself, or those in it."""
    if source.is_file():
        return [source] if source.suffix.lower() in suffixes else []
    return list_files(source, suffixes, recursive=True)


def folder_of(source: Path) -> Path:
    """Return a source that is a folder, or the folder of a file."""
    return source if source.is_dir() else source.parent


def any_json(source: Path, is_kind: Callable[[Any], bool]) -> bool:
    """Tell whether one of the JSON files of a source is of a kind; of many, the smallest are looked at."""
    files = sorted(files_of(source, ".json"), key=lambda path: path.stat().st_size)
    return any(is_kind(_json_or_none(path, path.stat().st_mtime_ns)) for path in files[:_LOOKED_AT])


@lru_cache(maxsize=_LOOKED_AT)
def _json_or_none(path: Path, changed: int) -> Any:
    """Return what a JSON file has, None if it is none: each kind looks at it."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


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
