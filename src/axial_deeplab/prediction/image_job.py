"""Segmenting an image file and writing all that is to be written of it, wherever that is done."""

import errno
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from axial_deeplab.panoptic.map import VOID
from axial_deeplab.panoptic.png import coco_segments, write_panoptic_rows
from axial_deeplab.prediction.batch import ImageArray
from axial_deeplab.prediction.cityscapes_files import CityscapesWriter
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.frame_list import SeenFrame
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.large.files import LargeFiles
from axial_deeplab.prediction.large.results import LargePrediction
from axial_deeplab.prediction.large.sources import fits_as_a_whole, read_whole
from axial_deeplab.prediction.prediction import Prediction, void_without_data
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.save.kinds import Saver
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.util.file_names import path_in_folder
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.freed_memory import return_freed_memory
from axial_deeplab.visualization.overlay import draw_overlay

if TYPE_CHECKING:
    from axial_deeplab.prediction.cluster import Cluster

# Errors of a name that the output cannot have, which another image may.
_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)
# Pixels of an image up to which threads segment several at a time, each with its part of the processors: a
# larger one keeps all of them busy, and has its memory for itself.
_PIXELS_OF_ONE_THREAD = 2**21
_LARGEST_JPEG = 65_500  # pixels a side
_ALONE = threading.Lock()


class ImageToDo(NamedTuple):
    """An image file that is to be segmented.

    Args:
        path: image file or OME-Zarr folder.
        name: its name, or path below its folder.
        png_name: name of its PNG, which no other image has.
        image_id: number of the image; None counts.
        place: its place among all files, from 0 on.
        mark: text that differs where the file does.
    """

    path: Path
    name: str
    png_name: str
    image_id: int | None
    place: int
    mark: str = ""


class DoneImage(NamedTuple):
    """An image that was segmented and whose files are written.

    Args:
        annotation: entry of the COCO JSON, whose `image_id` is still to be set; its segments are an iterator
            where the image was seen in tiles.
        size: (height, width) in pixels.
        network_ms: time of the network, milliseconds.
        post_processing_ms: time of the post-processing, milliseconds.
        num_left_out: centers of objects beyond `top_k`.
        certainty: `Prediction.certainty`.
        labels: file of the labels of an image that was seen in tiles, below the output; None of others.
    """

    annotation: dict[str, Any]
    size: tuple[int, int]
    network_ms: float
    post_processing_ms: float
    num_left_out: int
    certainty: Certainty
    labels: str | None


class FailedImage(NamedTuple):
    """An image without a prediction, and what is wrong with it."""

    message: str


def failure_of(path: Path, error: Exception) -> FailedImage:
    """Return what is wrong with a file, which the message names."""
    message = str(error)
    return FailedImage(message if str(path) in message else f"{path}: {message}")


def mark_of_file(path: Path) -> str:
    """Return a text that differs where a file is another one or has changed; empty if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def see_frame(predictor: Predictor, pixels: ImageArray) -> SeenFrame:
    """Segment a frame of a video."""
    found = predictor(pixels)
    return SeenFrame(found.result, found.network_ms, found.post_processing_ms, found.num_left_out)


@dataclass(eq=False)
class ImageJob:
    """Segments image files and writes their files; several threads may call it.

    Args:
        predictor: makes the predictions.
        output: folder of the results.
        png_folder: folder of the panoptic PNG files.
        saver: writes the chosen kinds of files.
        large: segments images in tiles; None where all are seen whole.
        cityscapes: writes the files of the Cityscapes server; None where nobody wants them.
        overlay: whether overlays are drawn.
        drawing: arguments of `draw_overlay`.
        before_writing: is called with the name of an image before its first file is written.
        threads: threads that call it at the same time.
        cluster: workers that see tiles; None sees them here.
    """

    predictor: Predictor
    output: Path
    png_folder: Path
    saver: Saver
    large: LargeFiles | None
    cityscapes: CityscapesWriter | None
    overlay: bool
    drawing: Mapping[str, Any]
    before_writing: Callable[[str], None]
    threads: int = 1
    cluster: "Cluster | None" = None

    def __post_init__(self) -> None:
        self._all_threads = torch.get_num_threads()
        self._last_size: tuple[int, int] | None = None

    def __call__(self, image: ImageToDo) -> DoneImage | FailedImage | None:
        """Segment an image and write its files; return None of one that is to be seen in tiles.

        Raises:
            OSError: the output cannot be written.
        """
        try:
            if self.large is not None and self.large.takes(image.path):
                return None
            pixels = self.predictor.read(image.path)
            with self._turn(pixels):
                prediction = self.predictor(pixels)
            prediction = void_without_data(prediction, image.path, self.predictor.view)
        except (ValueError, OSError) as error:
            return failure_of(image.path, error)
        return self.finish(image, prediction)

    def see_frame(self, pixels: ImageArray) -> SeenFrame:
        """Segment a frame of a video.

        Raises:
            ValueError: it does not fit into memory.
        """
        with self._turn(pixels):
            return see_frame(self.predictor, pixels)

    def in_tiles(self, image: ImageToDo) -> DoneImage | FailedImage:
        """Do the same with an image in tiles."""
        assert self.large is not None
        return self._trying(image, self._finish_large)

    def finish(self, image: ImageToDo, prediction: Prediction) -> DoneImage | FailedImage:
        """Write the files of a prediction."""
        done = self._trying(image, lambda image: self._written(image, prediction))
        # Images of many sizes leave gaps in the heap that no later map fits into; those of one fit.
        if prediction.size != self._last_size:
            self._last_size = prediction.size
            return_freed_memory()
        return done

    def _trying(
        self, image: ImageToDo, function: Callable[[ImageToDo], DoneImage]
    ) -> DoneImage | FailedImage:
        try:
            return function(image)
        except (ValueError, OSError) as error:
            # Where there is no folder of the output, it cannot be made for any image.
            is_there = self.png_folder.parent.is_dir()
            if isinstance(error, OSError) and not (error.errno in _OF_ONE_NAME and is_there):
                raise
            return failure_of(image.path, error)

    @contextmanager
    def _turn(self, pixels: ImageArray) -> Iterator[None]:
        """Give the network of this thread its part of the processors, or all of them to a large image."""
        is_large = pixels.shape[0] * pixels.shape[1] > _PIXELS_OF_ONE_THREAD
        is_alone = is_large or self.predictor.device.type != "cpu"
        with _ALONE if is_alone else nullcontext():
            if self.threads > 1:
                torch.set_num_threads(max(1, self._all_threads // (1 if is_alone else self.threads)))
            yield

    def _finish_large(self, image: ImageToDo) -> DoneImage:
        assert self.large is not None
        prediction = self.large.add(image.path, image.name, image.png_name, image.mark, self.cluster)
        return self._written(image, prediction)

    def _written(self, image: ImageToDo, prediction: Prediction | LargePrediction) -> DoneImage:
        """Write all files of an image, last the PNG."""
        if self.cityscapes is not None and isinstance(prediction, Prediction):
            self.cityscapes.add(prediction, image.name)
        self.before_writing(image.name)
        categories, view = self.predictor.categories, self.predictor.view
        if isinstance(prediction, LargePrediction):
            source: AbstractContextManager[Labels] = prediction.labels()
        else:
            source = nullcontext(Labels.of(prediction.result))
        with source as labels:
            picture = Picture(image.path, image.name, labels, categories, view.page, view.channels)
            self.saver.add(picture, image.png_name.removesuffix(".png"))
            if self.overlay:
                self._draw(image, prediction)
            ids = np.fromiter(chain([VOID], (entry["id"] for entry in self._entries(labels))), np.uint32)
            png_path = path_in_folder(self.png_folder, image.png_name)
            write_panoptic_rows(png_path, labels.size, (ids[band] for band in labels.bands()))
        segments: Iterator[dict[str, Any]] | list[dict[str, Any]] = self._entries(labels)
        path = None
        if isinstance(prediction, LargePrediction):
            path = prediction.path.relative_to(self.output).as_posix()
        else:
            segments = list(segments)
        annotation = {"image_id": 0, "file_name": image.png_name, "segments_info": segments}
        return DoneImage(
            annotation,
            prediction.size,
            prediction.network_ms,
            prediction.post_processing_ms,
            prediction.num_left_out,
            prediction.certainty,
            path,
        )

    def _entries(self, labels: Labels) -> Iterator[dict[str, Any]]:
        return coco_segments(labels.table.segments(), self.predictor.categories)

    def _draw(self, image: ImageToDo, prediction: Prediction | LargePrediction) -> None:
        if isinstance(prediction, Prediction):
            pixels, result = prediction.image, prediction.result
        elif fits_as_a_whole(prediction.size):
            pixels, result = read_whole(image.path, **self.predictor.view.reading), prediction.panoptic()
        else:
            return
        drawn = draw_overlay(pixels, result, self.predictor.categories, **self.drawing)
        if max(drawn.size) > _LARGEST_JPEG:
            warnings.warn(
                f"{image.path}: overlay must be of at most {_LARGEST_JPEG} pixels a side, the limit of JPEG, "
                f"got {drawn.height} x {drawn.width} (height x width); all else is written",
                stacklevel=2,
            )
            return
        with atomic_path((self.output / "overlay" / image.png_name).with_suffix(".jpg")) as temporary:
            drawn.save(temporary, quality=92)
