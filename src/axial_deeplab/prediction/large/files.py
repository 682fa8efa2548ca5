"""Large images among many files: which of them are seen in tiles, and which a run before has seen."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
        progress: show progress bars.

    Raises:
        ValueError: tile or overlap is out of its range, or an option of the predictor needs whole images.
    """

    predictor: Predictor
    output: Path
    tile: int | None = None
    overlap: int | None = None
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
        suffix = ZARR_SUFFIX if path.is_dir() else ".tif"
        labels = (self.output / "large" / png_name).with_suffix(suffix)
        done = self.description(name, mark)
        earlier = _find_done(labels, done) if mark else None
        if earlier is not None:
            return earlier
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

    def description(self, name: str, mark: str) -> dict[str, str]:
        """Return what the file of the segments says of how they were found.

        Args:
            name: name of the image, or path below its folder.
            mark: text that differs where the image does.
        """
        settings = f"{self.predictor.settings} tile {self.tile} overlap {self.overlap}"
        return {"file_name": name, "settings": settings, "mark": mark}


def _find_done(labels: Path, done: Mapping[str, str]) -> LargePrediction | None:
    """Return what a run of the same image and settings has written, None if there is none."""
    path = labels.with_suffix(".json")
    with suppress(OSError, ValueError, LookupError):
        with opened(path) as file:
            head = read_head(file)
        if labels.exists() and all(head[key] == value for key, value in done.items()):
            return LargePrediction.read(path)
    return None
