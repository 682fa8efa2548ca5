"""Predictions as the Cityscapes server takes them: label ids of pixels, masks and scores of instances."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from axial_deeplab.data.labels.cityscapes import CATEGORIES
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.util.file_names import path_in_folder
from axial_deeplab.util.files import atomic_path, write_text


class CityscapesWriter:
    """Write the files of two benchmarks of Cityscapes, image by image.

    `pixels/*.png` are greyscale images of label ids (7 is road; no train ids, no void). `instances/*.txt`
    has a line for each instance: path of its mask, relative to the text file, label id and score, with spaces
    between; `instances/masks/*.png` are these masks, 255 inside.

    Args:
        folder: for both; made if it is missing.
        categories: label space of the predictions.

    Raises:
        ValueError: it is not that of Cityscapes.

    Source:
        cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py and
        evaluation/evalInstanceLevelSemanticLabeling.py, which find the files by the beginning of their names,
        `{city}_{sequence}_{frame}`.
    """

    def __init__(self, folder: str | os.PathLike[str], categories: Categories) -> None:
        categories.require_same_classes(CATEGORIES, "weights", "Cityscapes")
        self.folder = Path(folder)

    def add(self, prediction: Prediction, name: str) -> None:
        """Write the files of an image.

        Args:
            prediction: what was found in it.
            name: its file name, or path below its folder.

        Raises:
            ValueError: the name has a space, which ends the path of a mask, or leaves the folder.
            OSError: a file cannot be written.
        """
        if any(letter.isspace() for letter in name):
            raise ValueError(f"image names must have no spaces for Cityscapes, got {name!r}; rename it")
        stem = PurePosixPath(name).with_suffix("").as_posix()
        _write_png(path_in_folder(self.folder / "pixels", f"{stem}.png"), prediction.semantic)
        lines: list[str] = []
        list_path = path_in_folder(self.folder / "instances", f"{stem}.txt")
        for info in (info for info in prediction.segments_info if info["isthing"]):
            mask = f"masks/{list_path.stem}_{len(lines):04d}.png"
            _write_png(list_path.parent / mask, 255 * (prediction.segmentation == info["id"]))
            lines.append(f"{mask} {info['category_id']} {info['score']:.6f}\n")
        write_text(list_path, "".join(lines))  # after the masks that it names


def _write_png(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(values.astype(np.uint8)).save(temporary, format="PNG")
