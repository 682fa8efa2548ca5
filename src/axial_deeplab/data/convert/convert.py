"""Writing COCO panoptic data from the files of other annotations."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from axial_deeplab.data.cityscapes import CityscapesDataset, cityscapes_annotation
from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.convert.instance_maps import InstanceReading
from axial_deeplab.data.convert.panoptic_from import Mask, panoptic_from_maps, panoptic_from_masks
from axial_deeplab.data.image_files import SUFFIXES, find_images
from axial_deeplab.data.images import read_image
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import ImageId
from axial_deeplab.panoptic.map import Panoptic, measure_segments
from axial_deeplab.panoptic.png import write_panoptic_png
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.util.files import atomic_directory

Folder = str | os.PathLike[str]


class UnwrittenImage(NamedTuple):
    """An image to convert.

    Args:
        path: image file.
        file_name: path of the image in the data set that is written.
        annotate: makes its panoptic map.
        image_id: None numbers the images 1, 2, ...
    """

    path: Path
    file_name: str
    annotate: Callable[[], Panoptic]
    image_id: ImageId | None = None


def write_panoptic(
    images: Sequence[UnwrittenImage],
    categories: Categories,
    output: Folder,
    *,
    copy_images: bool = False,
    hold_out: int | None = None,
    progress: bool = False,
) -> None:
    """Write images as `panoptic/` and `panoptic.json` in COCO panoptic format.

    Args:
        images: what to write, in this order.
        categories: the label space.
        output: a new folder, which appears when all is written.
        copy_images: copy the images to `images/`, so that the folder is a data set by itself.
        hold_out: about one image in so many goes to `val/`, the others to `train/`, which a hash of its name
            decides: more images or another order move none. None makes one data set.
        progress: show a progress bar.

    Raises:
        ValueError: the output is not empty, there are too few images, or an annotation is not valid.
        OSError: a file cannot be read or written.
    """
    if not categories.stuff_ids:
        warnings.warn(
            "no category is stuff, so that void pixels teach nothing and a network sees things everywhere; "
            "give --background NAME unless every pixel has an instance",
            stacklevel=2,
        )
    parts = _parts(images, hold_out)
    with (
        atomic_directory(output) as folder,
        tqdm(None, "convert", len(images), unit="image", disable=not progress) as bar,
    ):
        for name, part in parts.items():
            with PanopticWriter(
                folder / name / "panoptic", folder / name / "panoptic.json", categories
            ) as writer:
                for image in part:
                    writer.add(image.annotate(), image_file_name=image.file_name, image_id=image.image_id)
                    if copy_images:
                        _copy(image.path, folder / name / "images" / image.file_name)
                    bar.update()


def maps_to_convert(
    images: Folder,
    categories: Categories,
    *,
    semantic: Folder | None = None,
    instances: Folder | None = None,
    void_label: int | None = 255,
    reading: InstanceReading | None = None,
) -> list[UnwrittenImage]:
    """Pair images with maps of the same name: PNG files whose values are category ids or instance numbers.

    Args:
        images: folder of the images, and of subfolders with images.
        categories: the label space.
        semantic: folder of the maps of categories; see `panoptic_from_maps` for None.
        instances: folder of the maps of instances; see `panoptic_from_maps` for None.
        void_label: see `panoptic_from_maps`.
        reading: how the maps of instances are read.

    Raises:
        ValueError: there are no images, or neither kind of maps.
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
        read_image(files[name], size=(height, width))  # Refuses other sizes.
        return panoptic_from_maps(
            read.get("semantic"),
            read.get("instances"),
            categories,
            void_label=void_label,
            source=next(iter(maps.values()))[name],
        )

    return [UnwrittenImage(path, name, partial(annotate, name)) for name, path in files.items()]


def masks_to_convert(
    images: Folder, masks: Folder, categories: Categories, *, reading: InstanceReading | None = None
) -> list[UnwrittenImage]:
    """Pair images with folders of masks: one PNG for each instance, its pixels not zero.

    The masks of an image a.png are `masks/a/*.png` or `masks/a/masks/*.png`. So the layout of the Data
    Science Bowl 2018 (`a/images/a.png`, `a/masks/*.png`) is read by giving its folder as both.

    Args:
        images: folder of the images, and of subfolders with images.
        masks: folder of the folders of masks.
        categories: one thing, and at most one stuff for the pixels without mask.
        reading: how the masks are read.

    Raises:
        ValueError: there are no images, two have one name, a mask is no PNG, or the categories are others.
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
        size = read_image(path).shape[:2]
        found = [
            Mask(pixels, thing)
            for mask in sorted(folder.glob("*.png"))
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
    return [UnwrittenImage(path, name, partial(annotate, path)) for name, path in files.items()]


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
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic_directory(output) as folder:
        for record in tqdm(dataset.records, "convert", unit="image", disable=not progress):
            path = record.ground_truth
            assert path is not None
            name = path.name.replace("_instanceIds.png", "_panoptic.png")
            ids, annotation = cityscapes_annotation(
                read_id_map(path), image_id=record.image_id, file_name=name, source=path
            )
            read_image(record.image, size=(ids.shape[0], ids.shape[1]))  # Refuses other sizes.
            write_panoptic_png(folder / "panoptic" / name, ids)
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
            annotations.append({"image_id": record.image_id, "file_name": name, "segments_info": segments})
            height, width = ids.shape
            images.append(
                {"id": record.image_id, "file_name": record.file_name, "height": height, "width": width}
            )
        document = {
            "images": images,
            "annotations": annotations,
            "categories": dataset.categories.to_json(),
        }
        (folder / "panoptic.json").write_text(json.dumps(document), encoding="utf-8")


def _parts(images: Sequence[UnwrittenImage], hold_out: int | None) -> dict[str, Sequence[UnwrittenImage]]:
    if hold_out is None:
        return {"": images}
    if hold_out < 2:
        raise ValueError(f"hold_out must be at least 2, got {hold_out}; 5 holds out a fifth of the images")
    is_val = [_hash(image.file_name) % hold_out == 0 for image in images]
    if all(is_val) or not any(is_val):
        raise ValueError(
            f"hold_out must leave images on both sides, got {hold_out} for {len(images)} images, "
            f"{sum(is_val)} of them for val; take another number"
        )
    return {
        "train": [image for image, val in zip(images, is_val, strict=True) if not val],
        "val": [image for image, val in zip(images, is_val, strict=True) if val],
    }


def _hash(file_name: str) -> int:
    """Return a number that depends on the name without its suffix alone, on every machine the same."""
    name = PurePosixPath(file_name).with_suffix("").as_posix()
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _paired(files: dict[str, Path], folder: Path, kind: str) -> dict[str, Path]:
    """Return the map of each image by the name of the image."""
    maps = {(folder / name).with_suffix(".png"): name for name in files}
    missing = [path for path in maps if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{kind} must have a map of every image, got no {missing[0]} and {len(missing) - 1} more; "
            "add them, under the names of the images"
        )
    lost = sorted(path for path in folder.rglob("*.png") if path not in maps)
    if lost:
        raise FileNotFoundError(
            f"images must have the image of every map, got none for {lost[0]} and {len(lost) - 1} more; "
            "add the images or remove the maps"
        )
    return {name: path for path, name in maps.items()}


def _refuse_lost_masks(masks: Path, images: Path, used: set[Path]) -> None:
    """Refuse masks that nobody would see: of no image, or of another format."""
    for folder in sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if images.resolve().is_relative_to(folder.resolve()) or used & {folder, folder / "masks"}:
            continue
        if any(folder.glob("*.png")) or any((folder / "masks").glob("*.png")):
            raise FileNotFoundError(
                f"images must have the image of every folder of masks, got none for {folder}; "
                "add the image or remove the masks"
            )
    others = [
        path for folder in sorted(used) for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and path.suffix != ".png"
    ]  # fmt: skip
    if others:
        raise ValueError(f"masks must be PNG files, *.png, got {others[0]}; convert or rename it")


def _folder_of_masks(masks: Path, image: Path) -> Path:
    for folder in (masks / image.stem / "masks", masks / image.stem):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"masks must have a folder for every image, got no {masks / image.stem} for {image}; "
        "add it, empty if the image shows no instance"
    )
