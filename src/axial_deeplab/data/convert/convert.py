"""Writing COCO panoptic data from the files of other annotations."""

import hashlib
import os
import shutil
import unicodedata
import warnings
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from axial_deeplab.data.check.report import ImageFindings, SegmentFindings, notes_of_things
from axial_deeplab.data.cityscapes import CityscapesDataset, cityscapes_annotation
from axial_deeplab.data.convert.id_maps import MAP_SUFFIXES, read_id_map
from axial_deeplab.data.convert.instance_maps import InstanceReading
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_maps, panoptic_from_masks
from axial_deeplab.data.image_files import SUFFIXES, find_images, list_files
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.data.images import naming_damage, picture_size
from axial_deeplab.data.tiff import has_pages, save_page
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import Panoptic, measure_segments
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.util.file_names import require_text
from axial_deeplab.util.files import atomic_directory
from axial_deeplab.util.text import shortened

Folder = str | os.PathLike[str]


class UnwrittenImage(NamedTuple):
    """An image to convert.

    Args:
        path: image file.
        file_name: path of the image in the data set that is written.
        annotate: makes its panoptic map.
        image_id: None numbers the images 1, 2, ...
        page: page of the file, from 1 on; None takes the first.
        part: `train`, `val` ... where the source has parts that are to stay apart.
        annotation: map of this image that lies beside it; None if there is none.
    """

    path: Path
    file_name: str
    annotate: Callable[[], Panoptic]
    image_id: ImageId | None = None
    page: int | None = None
    part: str = ""
    annotation: Path | None = None


def write_panoptic(
    images: Sequence[UnwrittenImage],
    categories: Categories,
    output: Folder,
    *,
    copy_images: bool = False,
    hold_out: int | None = None,
    skip_empty: bool = False,
    background: str | None = None,
    progress: bool = False,
) -> int:
    """Write images as `panoptic/` and `panoptic.json` in COCO panoptic format.

    Args:
        images: what to write, in this order.
        categories: the label space.
        output: a new folder, which appears when all is written.
        copy_images: copy the images to `images/`, so that the folder is a data set by itself.
        hold_out: about one image in so many goes to `val/`, the others to `train/`, which a hash of its name
            decides: more images or another order move none, unless a side would be empty. None makes one data
            set.
        skip_empty: leave out images on which nothing is drawn but the background, with a warning.
        background: name of the stuff where nothing is drawn.
        progress: show a progress bar.

    Returns:
        How many images are written.

    Raises:
        ValueError: the output is not empty, there are too few images, or an annotation is not valid.
        OSError: a file cannot be read or written.
    """
    for image in images:
        require_text(image.file_name)
        if image.page not in (None, 1) and not copy_images:
            raise ValueError(
                f"{image.path} must have one page to stay where it is, for training reads the first, got "
                f"page {image.page}; give --copy-images, which copies that page alone, or leave out --page "
                "and give data.page in training"
            )
    _refuse_repeated(images)
    parts = _parts(images, hold_out)
    if not categories.stuff_ids:
        warnings.warn(
            "no category is stuff, so that void pixels teach nothing and a network sees things everywhere; "
            "give --background NAME unless every pixel has an instance",
            stacklevel=2,
        )
    empty: list[str] = []
    findings: list[ImageFindings] = []
    with (
        told_together(),
        atomic_directory(output) as folder,
        tqdm(None, "convert", len(images), unit="image", disable=not progress) as bar,
    ):
        for name, part in parts.items():
            empty_before = len(empty)
            with PanopticWriter(
                folder / name / "panoptic", folder / name / "panoptic.json", categories
            ) as writer:
                for image in part:
                    bar.update()
                    panoptic = image.annotate()
                    drawn = {categories[each.train_id].name for each in panoptic.segments}
                    if skip_empty and drawn <= {background}:
                        empty.append(image.file_name)
                        continue
                    segments = tuple(map(SegmentFindings.of, panoptic.segments))
                    findings.append(ImageFindings(str(image.path), segments=segments))
                    writer.add(panoptic, image_file_name=image.file_name, image_id=image.image_id)
                    if copy_images:
                        _copy(image, folder / name / "images" / image.file_name)
            if len(empty) - empty_before == len(part):
                raise ValueError(
                    f"--skip-empty must leave images{f' in {name}' if name else ''}, got {len(part)} on "
                    "which nothing is drawn; leave it out, or look for the annotations"
                )
    if empty:
        warnings.warn(
            f"nothing is drawn on {len(empty)} images ({shortened(empty, 1)}); left out", stacklevel=2
        )
    for note in notes_of_things(categories, findings):
        warnings.warn(note, stacklevel=2)
    return len(findings)


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
            else read_id_map(paths[name], page=reading.page)
            for kind, paths in maps.items()
        }
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


def write_cityscapes(dataset: CityscapesDataset, output: Folder, *, progress: bool = False) -> None:
    """Write `panoptic/` and `panoptic.json` with the ids and annotations of cityscapesScripts.

    Source:
        cityscapesScripts, preparation/createPanopticImgs.py; file names are those of the images, which are
        other ones there.

    Args:
        dataset: a split with ground truth.
        output: a new folder, which appears when all is written.
        progress: show a progress bar.

    Raises:
        ValueError: the split has no ground truth, the output is not empty, or an annotation is not valid.
        OSError: a file cannot be read or written.
    """
    if not dataset.has_ground_truth:
        raise ValueError(
            "split must have ground truth to convert, got test; choose train, val or train_extra"
        )
    with (
        atomic_directory(output) as folder,
        PanopticWriter(folder / "panoptic", folder / "panoptic.json", dataset.categories) as writer,
    ):
        for record in tqdm(dataset.records, "convert", unit="image", disable=not progress):
            path = record.ground_truth
            assert path is not None
            name = path.name.replace("_instanceIds.png", "_panoptic.png")
            ids, annotation = cityscapes_annotation(
                read_id_map(path), image_id=record.image_id, file_name=name, source=path
            )
            picture_size(record.image, size=(ids.shape[0], ids.shape[1]))  # Refuses other sizes.
            values, _, boxes = measure_segments(ids)
            box_of_id = dict(zip(values.tolist(), boxes.tolist(), strict=True))
            segments = [
                {
                    "id": s.id,
                    "category_id": s.category_id,
                    "iscrowd": int(s.is_crowd),
                    "area": s.area,
                    "bbox": box_of_id[s.id],
                }
                for s in annotation.segments
            ]
            entry = {"image_id": record.image_id, "file_name": name, "segments_info": segments}
            writer.add_entry(entry, ids, image_file_name=record.file_name)


def _parts(images: Sequence[UnwrittenImage], hold_out: int | None) -> dict[str, Sequence[UnwrittenImage]]:
    parts = dict.fromkeys(image.part for image in images)
    if len(parts) > 1 and hold_out is None:
        return {part: [image for image in images if image.part == part] for part in parts}
    if hold_out is None:
        return {"": images}
    if len(parts) > 1:
        raise ValueError(
            f"hold_out must not be given for data that has parts already ({', '.join(parts)}), got "
            f"{hold_out}; "
            "leave it out"
        )
    if hold_out < 2:
        raise ValueError(f"hold_out must be at least 2, got {hold_out}; 5 holds out a fifth of the images")
    is_val = [_hash(image.file_name) % hold_out == 0 for image in images]
    if len(images) < 2:
        raise ValueError(
            f"hold_out must leave images on both sides, got {hold_out} for {len(images)} images; "
            "leave it out, or add images"
        )
    if all(is_val) or not any(is_val):
        # Of few images, chance may send all to one side: that with the smallest hash changes it.
        moved = min(range(len(images)), key=lambda place: _hash(images[place].file_name))
        is_val[moved] = not is_val[moved]
        warnings.warn(
            f"{images[moved].file_name} goes to {'val' if is_val[moved] else 'train'}/, which the hashes of "
            f"{len(images)} names left empty; with more images it may move",
            stacklevel=3,
        )
    return {
        "train": [image for image, val in zip(images, is_val, strict=True) if not val],
        "val": [image for image, val in zip(images, is_val, strict=True) if val],
    }


def _refuse_repeated(images: Sequence[UnwrittenImage]) -> None:
    """Refuse an image that is listed twice: the second map would replace the first."""
    seen: dict[tuple[str, str], UnwrittenImage] = {}
    for image in images:
        other = seen.setdefault((image.part, image.file_name), image)
        if other is not image:
            raise ValueError(
                f"{image.path} must be listed once, got it twice, of which one map would be lost; remove one"
            )


def _hash(file_name: str) -> int:
    """Return a number that depends on the name without its suffix alone, on every machine the same."""
    name = PurePosixPath(file_name).with_suffix("").as_posix()
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def _copy(image: UnwrittenImage, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if image.page is None:
        shutil.copyfile(image.path, target)
        return
    with naming_damage(image.path):
        save_page(image.path, image.page, target)


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
    for folder in sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith(".")):
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
