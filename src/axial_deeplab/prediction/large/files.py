"""Large images among many files: which of them are seen in tiles, and what is written of them."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.panoptic.coco_json import ImageId
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.large.predict import (
    PICTURE_PIXELS,
    check_tiles,
    fits_into_memory,
    predict_large,
)
from axial_deeplab.prediction.large.results import ZARR_SUFFIX, LargePrediction
from axial_deeplab.prediction.large.sources import image_size, read_whole
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path
from axial_deeplab.visualization.overlay import draw_overlay


@dataclass(frozen=True)
class LargeFiles:
    """Writes what is found in images that are seen in tiles.

    Args:
        predictor: makes the predictions.
        output: folder; labels, classes and segments go to its folder `labels`, those of images of at most
            2^25 pixels also to PNG, JSON and overlay, as of all others.
        tile: side of the tiles in pixels; None takes the default, for those that do not fit into memory.
        overlap: pixels that tiles share; None takes the default.
        overlay: draw the overlay of images that are small enough.
        legend: append a legend to it.
        settings: text that differs where weights or options do.
        progress: show progress bars.

    Raises:
        ValueError: tile or overlap is out of its range, or an option of the predictor needs whole images.
    """

    predictor: Predictor
    output: Path
    tile: int | None = None
    overlap: int | None = None
    overlay: bool = True
    legend: bool = False
    settings: str = ""
    progress: bool = False

    def __post_init__(self) -> None:
        if self.tile is not None or self.overlap is not None:
            check_tiles(self.predictor, self.tile, self.overlap)

    def takes(self, path: Path) -> bool:
        """Whether an image is to be seen in tiles; a warning tells of those that were not asked for."""
        if path.is_dir():
            return True
        size = image_size(path)
        if size is None:
            return False
        if self.tile is not None:
            return max(size) > self.tile
        if self.predictor.post_processing.fill_void or fits_into_memory(self.predictor, size):
            return False
        warnings.warn(
            f"{path}: {size[0]} x {size[1]} pixels (height x width) may not fit into memory, so it is seen "
            "in tiles; choose their side by --tile N, or reduce the image by --max-size N",
            stacklevel=2,
        )
        return True

    def add(
        self, path: Path, name: str, writer: PanopticWriter, *, image_id: ImageId | None, mark: str
    ) -> LargePrediction | None:
        """Segment an image and write what was found; None where a run before has.

        Args:
            path: image file or OME-Zarr folder.
            name: its name, or path below its folder.
            writer: PNG and JSON of images that are small enough.
            image_id: see `PanopticWriter.add`.
            mark: text that differs where the image does.

        Raises:
            ValueError: the image cannot be read.
            OSError: a file cannot be written.
        """
        png_name = writer.png_name(name)
        suffix = ZARR_SUFFIX if path.is_dir() else ".tif"
        labels = (self.output / "labels" / png_name).with_suffix(suffix)
        done = {"file_name": name, "settings": self.settings, "mark": mark}
        size = _size_if_done(labels, done) if mark else None
        if size is not None and _is_too_large_for_pictures(size):  # of others, the PNG tells
            return None
        labels.with_suffix(".json").unlink(missing_ok=True)
        prediction = predict_large(
            self.predictor, path, labels, tile=self.tile, overlap=self.overlap, progress=self.progress
        )
        prediction.write_json(done)
        if not _is_too_large_for_pictures(prediction.size):
            panoptic = prediction.panoptic()
            if self.overlay:
                view = self.predictor.view
                pixels = read_whole(path, ValueRange(view.value_range), view.page)
                drawn = draw_overlay(pixels, panoptic, self.predictor.categories, legend=self.legend)
                with atomic_path((self.output / "overlay" / png_name).with_suffix(".jpg")) as temporary:
                    drawn.save(temporary, quality=92)
            writer.add(panoptic, image_file_name=name, image_id=image_id, mark=mark)
        return prediction


def _is_too_large_for_pictures(size: tuple[int, int]) -> bool:
    return size[0] * size[1] > PICTURE_PIXELS


def _size_if_done(labels: Path, done: Mapping[str, str]) -> tuple[int, int] | None:
    """Return (height, width) of an image whose labels a run of the same options has written."""
    with suppress(OSError, ValueError, LookupError):
        with labels.with_suffix(".json").open(encoding="utf-8") as file:
            document = json.loads(file.readline() + "]}")
        if labels.exists() and all(document[key] == value for key, value in done.items()):
            return document["height"], document["width"]
    return None
