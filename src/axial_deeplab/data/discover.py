"""Finding the data sets in a folder by their usual names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.data.coco import ADE20K_PARTS
from axial_deeplab.data.image_files import SUFFIXES, is_hidden, list_files
from axial_deeplab.data.mapillary import PANOPTIC_JSON


class FoundDataset(NamedTuple):
    """A data set in a folder.

    Args:
        name: what reports call it.
        data: the settings that open it, as the part val.
    """

    name: str
    data: DataConfig


def has_known_layout(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder, or one in it, has a data set that training reads; class folders do not count."""
    places = [Path(folder), *_subfolders(Path(folder))]
    return any(True for place in places for _ in _at(place))


def find_datasets(folder: str | os.PathLike[str]) -> list[FoundDataset]:
    """Return the data sets in a folder, or one level below it.

    Recognizes Cityscapes (`leftImg8bit`), Mapillary Vistas (`config*.json`), COCO panoptic data
    (`panoptic`, `annotations/panoptic_*` or `ade20k_panoptic_*`, each with a JSON), and class folders.

    Args:
        folder: folder of a data set, or of several.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: nothing is recognized.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} must be a folder with a data set, got none; correct the path")
    found = list(_at(folder))
    if not found:
        found = [each for child in _subfolders(folder) for each in _at(child)]
    if not found and _has_images(folder):
        found = [_found(folder, "image_folder")]
    if not found:
        found = [_found(child, "image_folder") for child in _subfolders(folder) if _has_images(child)]
    if not found:
        raise ValueError(
            f"{folder} must have leftImg8bit (Cityscapes), config_v1.2.json (Mapillary Vistas), "
            "panoptic.json or annotations/panoptic_*.json (COCO), or a folder of images for each class, "
            "got none of these; give --images, --panoptic and --json"
        )
    return found


def _at(folder: Path) -> Iterator[FoundDataset]:
    annotations: str | None
    for split in _subfolders(folder / "leftImg8bit"):
        # test has annotations, too, but they say nothing.
        kinds = () if split.name == "test" else ("gtFine", "gtCoarse")
        present = [kind for kind in kinds if (folder / kind / split.name).is_dir()]
        for annotations in present or (None,):
            yield _found(folder, "cityscapes", split=split.name, annotations=annotations)
    # Folders of annotations tell the format even without their JSON, whose absence is then refused.
    versions = {name for split in _subfolders(folder) for name in PANOPTIC_JSON if (split / name).is_dir()}
    configs = ("config.json", *(f"config_{version}.json" for version in PANOPTIC_JSON))
    if versions or any((folder / name).is_file() for name in configs):
        for split in _subfolders(folder):
            if (split / "images").is_dir():
                present = [version for version in PANOPTIC_JSON if (split / version).is_dir()]
                for annotations in present or (None,):
                    yield _found(folder, "mapillary", split=split.name, annotations=annotations)
    if (folder / "panoptic.json").is_file() or (folder / "panoptic").is_dir():
        yield _found(folder, "coco")
    parts = folder.glob("annotations/panoptic_*")
    for name in sorted({path.stem for path in parts if path.is_dir() or path.suffix == ".json"}):
        yield _found(folder, "coco", split=name.removeprefix("panoptic_"))
    for part in ADE20K_PARTS:
        if (folder / f"ade20k_panoptic_{part}.json").is_file():
            yield _found(folder, "coco", split=part)


def _found(folder: Path, name: str, split: str | None = None, annotations: str | None = None) -> FoundDataset:
    val = SplitConfig(root=str(folder), split=split, annotations=annotations)
    words = " ".join(filter(None, (str(folder), split, annotations)))
    return FoundDataset(words, DataConfig(format=name, val=val))  # type: ignore[arg-type]


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _has_images(folder: Path) -> bool:
    """Tell whether the folders in a folder have images."""
    return any(list_files(child, SUFFIXES) for child in _subfolders(folder))
