"""From the settings to a data set: one function for every format."""

import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, TypeVar

from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.data.channels import Channels
from axial_deeplab.data.cityscapes import CityscapesDataset
from axial_deeplab.data.coco import ADE20K_PARTS, CocoPanopticDataset
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.mapillary import MapillaryDataset
from axial_deeplab.data.panoptic_dataset import PanopticDataset
from axial_deeplab.data.value_range import ValueRange

Part = Literal["train", "val"]
D = TypeVar("D", PanopticDataset, ImageFolder)


def open_dataset(
    data: DataConfig,
    part: Part,
    *,
    images_only: bool = False,
    limit: int | None = None,
    problems: list[str] | None = None,
) -> PanopticDataset:
    """Open a part of a data set for panoptic segmentation.

    Args:
        data: the settings.
        part: train or val.
        images_only: read the images without their ground truth.
        limit: only the first so many images; None takes as many as the settings say.
        problems: list that gets what is wrong with single images; see `PanopticDataset`.

    Raises:
        ValueError: a setting is missing, the data set is not valid, or it has no ground truth.
        OSError: a file is missing.
    """
    split: SplitConfig = getattr(data, part)
    limit = getattr(data, f"{part}_limit") if limit is None else limit
    name = f"data.{part}"
    if data.format == "coco":
        images, panoptic, json = _coco_paths(split, name, images_only=images_only)
        return read_as(CocoPanopticDataset(images, panoptic, json, limit=limit, problems=problems), data)
    if data.format == "image_folder":
        raise ValueError(
            "data.format must be coco, cityscapes or mapillary for panoptic segmentation, got image_folder; "
            "choose another format, or a classification network as model.name"
        )
    _warn_of_unused(split, name, ("root", "split", "annotations"), f"with {data.format}")
    reader = CityscapesDataset if data.format == "cityscapes" else MapillaryDataset
    dataset = reader(
        _required(split, "root", name),
        _required(split, "split", name),
        annotations=split.annotations,
        images_only=images_only,
        limit=limit,
        problems=problems,
    )
    if not dataset.has_ground_truth and not images_only and problems is None:
        raise ValueError(
            f"{name}.split must have ground truth to train and evaluate on, got {split.split}; choose another"
        )
    return read_as(dataset, data)


def open_image_folder(data: DataConfig, part: Part, *, classes: tuple[str, ...] | None = None) -> ImageFolder:
    """Open a part of a data set for classification: `root`, or the folder `split` in it.

    Args:
        data: the settings.
        part: train or val.
        classes: names of the classes in the order of their numbers; None takes those of the folders.

    Raises:
        ValueError: a setting is missing, or the data set is not valid.
        OSError: a folder is missing.
    """
    if data.format != "image_folder":
        raise ValueError(
            f"data.format must be image_folder for classification, got {data.format}; "
            "choose it, or a panoptic network as model.name"
        )
    if data.channels is not None:
        raise ValueError(
            f"data.channels must be null for classification, got {list(data.channels)}; leave it out"
        )
    split: SplitConfig = getattr(data, part)
    _warn_of_unused(split, f"data.{part}", ("root", "split"), "for classification")
    root = Path(_required(split, "root", f"data.{part}"))
    return read_as(
        ImageFolder(root / (split.split or ""), classes=classes, limit=getattr(data, f"{part}_limit")), data
    )


def read_as(dataset: D, data: DataConfig) -> D:
    """Return a data set whose images are read as the settings say: range of values, page, channels."""
    dataset.value_range, dataset.page = ValueRange(data.value_range), data.page
    if isinstance(dataset, PanopticDataset) and data.channels is not None:
        dataset.channels = Channels(data.channels)
    return dataset


def _coco_paths(split: SplitConfig, name: str, *, images_only: bool) -> tuple[str, str | None, str]:
    """Return folder of images, folder of PNG files and JSON: those given, or where `root` has them."""
    usual: dict[str, str] = {}
    if split.root is not None:
        root = Path(split.root)
        if split.split is None:
            paths = (root / "images", root / "panoptic", root / "panoptic.json")
        elif split.split in ADE20K_PARTS and (path := root / f"ade20k_panoptic_{split.split}.json").is_file():
            paths = (root / "images" / ADE20K_PARTS[split.split], path.with_suffix(""), path)
        else:
            stem = root / "annotations" / f"panoptic_{split.split}"
            paths = (root / split.split, stem, stem.with_name(f"{stem.name}.json"))
        usual = dict(zip(("images", "panoptic", "json"), map(str, paths), strict=True))
    found = {
        key: getattr(split, key) or usual.get(key) or _required(split, key, name)
        for key in ("images", "json", *([] if images_only else ["panoptic"]))
    }
    is_from_root = any(not getattr(split, key) for key in found)
    used = ("images", "panoptic", "json", *(("root", "split") if is_from_root else ()))
    _warn_of_unused(split, name, used, "with coco" if is_from_root else "beside images, panoptic and json")
    return found["images"], found.get("panoptic"), found["json"]


def _warn_of_unused(split: SplitConfig, name: str, used: Sequence[str], where: str) -> None:
    """Tell of what is given and is not read."""
    for field in fields(split):
        if field.name not in used and (value := getattr(split, field.name)):
            warnings.warn(
                f"{name}.{field.name} has no effect {where}, got {value}; leave it out, or set it to null",
                stacklevel=4,
            )


def _required(split: SplitConfig, key: str, name: str) -> str:
    value: str | None = getattr(split, key)
    if not value:
        what = "a name" if key == "split" else "a path"
        raise ValueError(
            f"{name}.{key} must be {what}, got null; set it in the YAML, or give --{name}.{key} to train, "
            f"--{key} to other commands"
        )
    return value
