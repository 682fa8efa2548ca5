"""Data sets for classification, such as ImageNet: a folder of images for each class."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from axial_deeplab.data.image_files import SUFFIXES, is_hidden, list_files
from axial_deeplab.data.images import read_image
from axial_deeplab.data.panoptic_dataset import check_limit
from axial_deeplab.data.value_range import FULL
from axial_deeplab.panoptic.categories import Categories, Category, warn_of_names
from axial_deeplab.util.text import shortened


@dataclass(frozen=True, slots=True)
class ClassificationSample:
    """An image and its class.

    Args:
        image: RGB, uint8 (H, W, 3).
        class_index: number of its class, an index into `ImageFolder.classes`.
        file_name: path of the image, relative to the folder of the data set.
    """

    image: NDArray[np.uint8]
    class_index: int
    file_name: str


class ImageFolder(Dataset[ClassificationSample]):
    """Images sorted into one folder for each class, as ImageNet's `train/n01440764/*.JPEG`.

    Classes are numbered in the order of their names. `categories` has them for `save_weights`, so that the
    numbers travel with the weights; give them back as `classes` when other images are read.

    Args:
        root: folder of the class folders.
        classes: names in the order of their numbers; None takes the folders, sorted. A class without folder
            has no images; a folder of no class is refused.
        limit: only the first so many images, in the order of classes and names; None takes all.

    Raises:
        ValueError: no class folder, one without images or with folders inside, images beside the class
            folders, or a folder that is no class.
        OSError: the folder is missing.
    """

    # Which values are black and white in images of more than 8 bits.
    value_range = FULL
    # Which page of image files that have several; None takes the first.
    page: int | None = None

    def __init__(
        self, root: str | os.PathLike[str], *, classes: Sequence[str] | None = None, limit: int | None = None
    ) -> None:
        check_limit(limit)
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"root must be a folder of class folders, got {self.root}, which is none; correct the path"
            )
        folders = _class_folders(self.root)
        self.classes = tuple(folders) if classes is None else tuple(classes)
        warn_of_names(self.classes, self.root)
        strange = [name for name in folders if name not in self.classes]
        if strange:
            raise ValueError(
                f"{self.root / strange[0]} must be the folder of a class, got a name that is none of the "
                f"{len(self.classes)} classes; move or rename it"
            )
        self.files: list[tuple[Path, int]] = []
        others: list[Path] = []
        for index, name in enumerate(self.classes):
            if name in folders:
                images, rest = _images_of_class(folders[name])
                self.files += [(path, index) for path in images]
                others += rest
        if others:
            warnings.warn(f"{shortened(others, 1)}: no image by the suffix; left out", stacklevel=2)
        self.files = self.files[:limit]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> ClassificationSample:
        """Read one image.

        Raises:
            ValueError: the file is damaged.
            OSError: the file cannot be opened.
        """
        path, class_index = self.files[index]
        return ClassificationSample(
            read_image(path, **self.reading), class_index, path.relative_to(self.root).as_posix()
        )

    @property
    def reading(self) -> dict[str, Any]:
        """How images are read: arguments of `read_image`."""
        return {"value_range": self.value_range, "page": self.page}

    @property
    def image_files(self) -> list[Path]:
        """The files of the images."""
        return [path for path, _ in self.files]

    @property
    def categories(self) -> Categories:
        """The classes as categories: the id is the number of the class."""
        return Categories(Category(index, name, True) for index, name in enumerate(self.classes))


def _class_folders(root: Path) -> dict[str, Path]:
    loose = list_files(root, SUFFIXES)
    if loose:
        raise ValueError(
            f"{root} must have images inside of class folders, got {len(loose)} beside them, such as "
            f"{loose[0].name}; sort them into a folder for each class"
        )
    folders = {path.name: path for path in _subfolders(root)}
    if not folders:
        raise ValueError(
            f"{root} must have a folder of images for each class, got none; "
            "give the folder that has the class folders, such as train"
        )
    return folders


def _images_of_class(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images of a class folder, and the files that are none."""
    inside = _subfolders(folder)
    if inside:
        raise ValueError(
            f"{folder} must have only images, got the folder {inside[0].name}; "
            "give the folder whose folders are the classes"
        )
    images = list_files(folder, SUFFIXES)
    if not images:
        raise ValueError(
            f"{folder} must have images ({', '.join(SUFFIXES)}), got none; add them or remove the folder"
        )
    return images, [path for path in list_files(folder) if path.suffix.lower() not in SUFFIXES]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
