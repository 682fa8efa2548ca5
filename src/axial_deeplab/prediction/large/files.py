"""Large images among many files: which of them are seen in tiles, and which a run before has seen."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axial_deeplab.prediction.large.predict import check_tiles, fits_into_memory, predict_large
from axial_deeplab.prediction.large.results import ZARR_SUFFIX, LargePrediction, read_head
from axial_deeplab.prediction.large.sources import image_size
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import opened

if TYPE_CHECKING:
    from axial_deeplab.prediction.cluster import Cluster


@dataclass(frozen=True)
class LargeFiles:
    """Segments the images that are to be seen in tiles.

    Args:
        predictor: makes the predictions.
        output: folder; labels, classes and segments go to its folder `large`.
        tile: side of the tiles in pixels; None takes the default, for those that do not fit into memory.
        overlap: pixels that tiles share; None takes the default.
        settings: text that differs where weights or options do.
        progress: show progress bars.

    Raises:
        ValueError: tile or overlap is out of its range, or an option of the predictor needs whole images.
    """

    predictor: Predictor
    output: Path
    tile: int | None = None
    overlap: int | None = None
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
        self, path: Path, name: str, png_name: str, mark: str, cluster: "Cluster | None" = None
    ) -> LargePrediction:
        """Segment an image and write labels and segments, unless a run before has: then these are read.

        Args:
            path: image file or OME-Zarr folder.
            name: its name, or path below its folder.
            png_name: the same as the name of a PNG.
            mark: text that differs where the image does.
            cluster: workers that see the tiles; None sees them here.

        Raises:
            ValueError: the image cannot be read.
            OSError: a file cannot be written.
        """
        done = {"file_name": name, "settings": self.settings, "mark": mark}
        earlier = find_done(self.output, png_name, done) if mark else None
        if earlier is not None:
            return earlier
        suffix = ZARR_SUFFIX if path.is_dir() else ".tif"
        labels = (self.output / "large" / png_name).with_suffix(suffix)
        labels.with_suffix(".json").unlink(missing_ok=True)
        prediction = predict_large(
            self.predictor,
            path,
            labels,
            tile=self.tile,
            overlap=self.overlap,
            progress=self.progress,
            cluster=cluster,
        )
        prediction.write_json(done)
        return prediction


def find_done(output: Path, png_name: str, done: Mapping[str, Any]) -> LargePrediction | None:
    """Return what runs have found in tiles of an image, None if there is nothing of the kind.

    Args:
        output: folder of the results.
        png_name: name of the PNG of the image.
        done: what the file of the segments must say.
    """
    path = (output / "large" / png_name).with_suffix(".json")
    with suppress(OSError, ValueError, LookupError):
        with opened(path) as file:
            head = read_head(file)
        if path.with_name(head["labels"]).exists() and all(head[key] == value for key, value in done.items()):
            return LargePrediction.read(path)
    return None
