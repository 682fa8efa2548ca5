"""Images and the maps or masks of the same names, in folders of their own."""

import os
import unicodedata
import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path, PurePosixPath

from axial_deeplab.data.convert.id_maps import MAP_SUFFIXES, read_id_map
from axial_deeplab.data.convert.instance_maps import OTHER_PAGE, InstanceReading, look_for_background
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_maps, panoptic_from_masks
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.image_files import SUFFIXES, find_images, list_files, list_subfolders
from axial_deeplab.data.images import naming_damage, picture_size
from axial_deeplab.data.tiff import has_pages
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.util.text import shortened

Folder = str | os.PathLike[str]


def maps_to_convert(
    images: Folder,
    categories: Categories,
    *,
    semantic: Folder | None = None,
    instances: Folder | None = None,
    void_label: int | None = 255,
    reading: InstanceReading | None = None,
) -> list[UnwrittenImage]:
    """Pair images with maps of the same name, whose values are category ids or instance numbers.

    Maps have one of `MAP_SUFFIXES` in small or capital letters. If all have the same ending behind the names
    of their images, as tools add it (`a_cp_masks.png`), it is taken off, with a warning.

    Args:
        images: folder of the images, and of subfolders with images.
        categories: the label space.
        semantic: folder of the maps of categories; see `panoptic_from_maps` for None.
        instances: folder of the maps of instances; see `panoptic_from_maps` for None.
        void_label: see `panoptic_from_maps`.
        reading: how the maps of instances are read.

    Raises:
        ValueError: there are no images, two have one name, or neither kind of maps.
        FileNotFoundError: an image has no map, or a map no image.
    """
    if semantic is None and instances is None:
        raise ValueError("semantic or instances must be a folder of maps, got neither; give at least one")
    files = find_images([images])
    maps = {
        kind: _paired(files, Path(folder), kind)
        for kind, folder in (("semantic", semantic), ("instances", instances))
        if folder is not None
    }

    reading = reading or InstanceReading()
    if "instances" in maps:
        reading.warn_of_pieces(list(maps["instances"].values()))

    def annotate(name: str) -> Panoptic:
        read = {
            kind: reading.read(paths[name])
            if kind == "instances"
            else read_id_map(paths[name], page=reading.page, remedy=OTHER_PAGE)
            for kind, paths in maps.items()
        }
        if "semantic" not in maps:  # where stuff may have any number
            look_for_background(read["instances"], maps["instances"][name])
        height, width = next(iter(read.values())).shape
        picture_size(
            files[name], size=(height, width), page=page_of(files[name], reading)
        )  # Refuses other sizes.
        return panoptic_from_maps(
            read.get("semantic"),
            read.get("instances"),
            categories,
            void_label=void_label,
            source=next(iter(maps.values()))[name],
        )

    return [
        UnwrittenImage(path, name, partial(annotate, name), page=page_of(path, reading))
        for name, path in files.items()
    ]


def masks_to_convert(
    images: Folder, masks: Folder, categories: Categories, *, reading: InstanceReading | None = None
) -> list[UnwrittenImage]:
    """Pair images with folders of masks: one file for each instance, its pixels not zero.

    The masks of an image a.png are `masks/a/*.png` or `masks/a/masks/*.png`, or others of `MAP_SUFFIXES`.
    So the layout of the Data Science Bowl 2018 (`a/images/a.png`, `a/masks/*.png`) is read by giving its
    folder as both.

    Args:
        images: folder of the images, and of subfolders with images.
        masks: folder of the folders of masks.
        categories: one thing, and at most one stuff for the pixels without mask.
        reading: how the masks are read.

    Raises:
        ValueError: there are no images, two have one name, a mask is a JPEG or the like, or the
            categories are others.
        FileNotFoundError: an image has no folder of masks, or a folder of masks no image.
    """
    if len(categories.thing_ids) != 1 or len(categories.stuff_ids) > 1:
        raise ValueError(
            f"categories must be one thing and at most one stuff for masks, got {categories}; "
            "give maps of categories and instances instead"
        )
    (thing,), background = categories.thing_ids, next(iter(categories.stuff_ids), None)
    files = {
        name: path
        for name, path in find_images([images]).items()
        if not (path.parent.name == "masks" and path.is_relative_to(masks))
    }

    def annotate(path: Path) -> Panoptic:
        folder = _folder_of_masks(Path(masks), path)
        size = picture_size(path, page=page_of(path, reading))
        found = [
            Mask(pixels, thing)
            for mask in list_files(folder, MAP_SUFFIXES)
            for pixels in (reading or InstanceReading()).read_masks(mask)
        ]
        return panoptic_from_masks(found, size, background=background, source=folder)

    image_of_folder: dict[Path, Path] = {}
    for path in files.values():
        other = image_of_folder.setdefault(_folder_of_masks(Path(masks), path), path)
        if other != path:
            raise ValueError(
                f"images must have different names to have masks of their own, got {other} and {path}; "
                "rename one and its masks"
            )
    _refuse_lost_masks(Path(masks), Path(images), set(image_of_folder))
    return [
        UnwrittenImage(path, name, partial(annotate, path), page=page_of(path, reading))
        for name, path in files.items()
    ]


def page_of(path: Path, reading: InstanceReading | None) -> int | None:
    """Return the page of a photograph that has several, the one of its maps; None if it has one."""
    if reading is None or reading.page is None:
        return None
    with naming_damage(path):
        return reading.page if has_pages(path) else None


def _paired(files: dict[str, Path], folder: Path, kind: str) -> dict[str, Path]:
    """Return the map of each image by the name of the image."""
    maps: dict[str, Path] = {}
    for path in list_files(folder, MAP_SUFFIXES, recursive=True):
        other = maps.setdefault(_stem(path.relative_to(folder).as_posix()), path)
        if other != path:
            raise ValueError(f"{kind} must have one map of each image, got {other} and {path}; remove one")
    images: dict[str, str] = {}
    for name, path in files.items():
        # Of a.png and a.tif, `predict --save` calls the map of the second a.tif.tif.
        whole = unicodedata.normalize("NFC", name)
        other_name = images.setdefault(whole if whole in maps else _stem(name), name)
        if other_name != name:
            raise ValueError(
                f"images must have different names to have maps of their own, got {files[other_name]} and "
                f"{path}; rename one and its map"
            )
    ending = _common_ending(images, maps)
    missing = [folder / f"{stem}.png" for stem in images if f"{stem}{ending}" not in maps]
    if missing:
        raise FileNotFoundError(
            f"{kind} must have a map of every image, got no {shortened(missing, 1)} "
            f"(or {', '.join(MAP_SUFFIXES[1:])}); add them, under the names of the images"
        )
    known = {f"{stem}{ending}" for stem in images}
    lost = [path for stem, path in maps.items() if stem not in known]
    if lost:
        raise FileNotFoundError(
            f"images must have the image of every map, got none for {shortened(lost, 1)}; "
            "add the images or remove the maps"
        )
    if ending:
        warnings.warn(f"{folder}: the maps have {ending} behind the names of their images", stacklevel=3)
    return {name: maps[f"{stem}{ending}"] for stem, name in images.items()}


def _common_ending(images: Collection[str], maps: Collection[str]) -> str:
    """Return what a tool appends to the names of all maps, such as _cp_masks; usually nothing."""
    if not images or any(stem in maps for stem in images):
        return ""
    first = min(images)
    endings = {name.removeprefix(first) for name in maps if name.startswith(first)}
    fitting = [ending for ending in endings if all(f"{stem}{ending}" in maps for stem in images)]
    return fitting[0] if len(fitting) == 1 else ""


def _stem(name: str) -> str:
    """Return a name without its suffix, its letters as one code point each: macOS has two for an accent."""
    return unicodedata.normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())


def _refuse_lost_masks(masks: Path, images: Path, used: set[Path]) -> None:
    """Refuse masks that nobody would see: of no image, or of another format."""
    for folder in list_subfolders(masks):
        if images.resolve().is_relative_to(folder.resolve()) or used & {folder, folder / "masks"}:
            continue
        if any(list_files(place, MAP_SUFFIXES) for place in (folder, folder / "masks")):
            raise FileNotFoundError(
                f"images must have the image of every folder of masks, got none for {folder}; "
                "add the image or remove the masks"
            )
    others = [
        path
        for folder in sorted(used)
        for path in list_files(folder, SUFFIXES)
        if path.suffix.lower() not in MAP_SUFFIXES
    ]
    if others:
        raise ValueError(f"masks must be exact ({', '.join(MAP_SUFFIXES)}), got {others[0]}; save it as PNG")


def _folder_of_masks(masks: Path, image: Path) -> Path:
    for folder in (masks / image.stem / "masks", masks / image.stem):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"masks must have a folder for every image, got no {masks / image.stem} for {image}; "
        "add it, empty if the image shows no instance"
    )
