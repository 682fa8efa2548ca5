"""Predicting many image and video files, and writing what was found."""

import errno
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from axial_deeplab.data.image_files import SUFFIXES, find_images, numbers_of_names
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.post_processing import CentersLeftOutWarning, warn_of_left_out
from axial_deeplab.prediction.cityscapes_files import CityscapesWriter
from axial_deeplab.prediction.predictor import Prediction, Predictor
from axial_deeplab.prediction.video import PredictedVideo, predict_video
from axial_deeplab.prediction.video_files import VIDEO_SUFFIXES, is_video, require_pyav
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.freed_memory import return_freed_memory
from axial_deeplab.util.text import shortened

# Pictures of the kind that they were trained on get 0.88 to 1.0 from the shipped weights, others 0.4 to 0.8.
LOW_SCORE = 0.8
# Errors of a name that the output cannot have, which another image may.
_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


@dataclass(frozen=True)
class PredictedFiles:
    """What `predict_files` wrote.

    Args:
        output: the folder of the predictions.
        num_images: images with a prediction.
        network_ms: mean time of the network, milliseconds an image or frame.
        post_processing_ms: mean time of the post-processing, milliseconds an image or frame.
        num_videos: videos with overlays.
        num_frames: their frames, together.
        num_resumed: images whose prediction was there from a run of the same options that had been stopped.
    """

    output: Path
    num_images: int
    network_ms: float
    post_processing_ms: float
    num_videos: int = 0
    num_frames: int = 0
    num_resumed: int = 0

    def __str__(self) -> str:
        counts = [_count(self.num_images, "image")] if self.num_images or not self.num_videos else []
        if self.num_resumed:
            counts[0] += f" ({self.num_resumed} of them from a run that was stopped)"
        if self.num_videos:
            counts.append(f"{_count(self.num_videos, 'video')} of {_count(self.num_frames, 'frame')}")
        unit = (
            "an image" if not self.num_videos else "a frame" if not self.num_images else "an image or frame"
        )
        return (
            f"{', '.join(counts)}, predictions in {self.output}; "
            f"network {self.network_ms:.0f} ms, post-processing {self.post_processing_ms:.0f} ms {unit}"
        )


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overlay: bool = True,
    legend: bool = False,
    cityscapes: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict image and video files and write what was found.

    The output folder gets, of images, `panoptic.json` and `panoptic/*.png` in COCO panoptic format and
    `overlay/*.jpg`; of videos, `overlay/*.mp4` (`predict_video`). Names follow the files; files of folders
    keep their place below the folder. Image ids are the numbers in the names, as in COCO (000000000139.jpg is
    139), if every name is another number; otherwise 1, 2, ... Runs of the same weights and options into one
    folder add up, and one that was stopped is continued (see `PanopticWriter`).

    Args:
        predictor: makes the predictions.
        inputs: image and video files, and folders of them, with their subfolders.
        output: folder; made if it is missing, files of the same names are replaced.
        overlay: draw the overlay pictures, at the size of the image; videos always have theirs.
        legend: append a legend to the pictures, which makes them higher.
        cityscapes: write the files of the Cityscapes server, too, into the folder `cityscapes`
            (`CityscapesWriter`).
        progress: show a progress bar.

    Raises:
        ValueError: there is no image or video, some could not be read (the others are written nevertheless),
            or PyAV is missing and there is a video.
        OSError: an input does not exist, or the output cannot be written.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"output must be a folder, got the file {output}; give another path")
    files = find_images(inputs, exclude=output, suffixes=(*SUFFIXES, *VIDEO_SUFFIXES))
    videos = {name: path for name, path in files.items() if is_video(path)}
    images = {name: path for name, path in files.items() if name not in videos}
    if videos:
        require_pyav()
    labels = CityscapesWriter(output / "cityscapes", predictor.categories) if cityscapes else None
    predictor.warm_up()
    totals = Totals()

    def write_pictures(prediction: Prediction, name: str, png_name: str) -> None:
        if labels is not None:
            labels.add(prediction, name)
        if overlay:
            with atomic_path((output / "overlay" / png_name).with_suffix(".jpg")) as temporary:
                prediction.draw(legend=legend).save(temporary, quality=92)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CentersLeftOutWarning)  # told once, below
        if images:
            settings = f"{predictor.settings} overlay {overlay} legend {legend} cityscapes {cityscapes}"
            writer = PanopticWriter(
                output / "panoptic", output / "panoptic.json", predictor.categories, settings=settings
            )
            _predict_images(predictor, images, writer, totals, write_pictures, progress=progress)
        _predict_videos(predictor, videos, output, totals, progress=progress)
    warn_of_left_out(totals.left_out, predictor.post_processing.top_k)
    if totals.failures:
        none = totals.num_predictions + totals.num_resumed == 0
        which = "none" if none else f"{len(totals.failures)} of {len(files)} that are not"
        rest = "" if none else " (the others are written)"
        kind = "readable images" if not videos else "readable images or videos"
        raise ValueError(f"inputs must be {kind}, got {which}{rest}: {_listed(totals.failures)}")
    score = float(np.mean(totals.scores or [1.0]))
    if score < LOW_SCORE:
        warnings.warn(
            f"scores are low, {score:.2f} on average: the pictures may be of another kind than the weights "
            f"were trained for, which know {shortened(predictor.categories.names)}; give other weights",
            stacklevel=2,
        )
    return totals.report(output, num_images=len(images), num_videos=len(videos))


@dataclass
class Totals:
    """What adds up over images and frames."""

    num_predictions: int = 0
    network_ms: float = 0.0
    post_processing_ms: float = 0.0
    num_resumed: int = 0
    left_out: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, done: Prediction | PredictedVideo, num_predictions: int) -> None:
        self.num_predictions += num_predictions
        self.network_ms += done.network_ms
        self.post_processing_ms += done.post_processing_ms
        self.left_out.append(done.num_left_out)

    def report(self, output: Path, *, num_images: int, num_videos: int = 0) -> PredictedFiles:
        num = max(self.num_predictions, 1)
        return PredictedFiles(
            output,
            num_images,
            self.network_ms / num,
            self.post_processing_ms / num,
            num_videos,
            self.num_predictions + self.num_resumed - num_images,
            self.num_resumed,
        )

    def add_failure(self, path: Path, error: Exception) -> None:
        message = str(error)
        self.failures.append(message if str(path) in message else f"{path}: {message}")


def _predict_images(
    predictor: Predictor,
    files: Mapping[str, Path],
    writer: PanopticWriter,
    totals: Totals,
    write_pictures: Callable[[Prediction, str, str], None],
    *,
    progress: bool,
) -> None:
    bar = tqdm(files.items(), desc="predict", unit="image", disable=not progress)
    for (name, path), image_id in zip(bar, numbers_of_names(files), strict=True):
        try:
            mark = mark_of_file(path)
            if writer.resume(name, image_id, mark):
                totals.num_resumed += 1
                continue
            prediction = predictor(path)
        except (ValueError, OSError) as error:
            totals.add_failure(path, error)
            continue
        try:
            write_pictures(prediction, name, writer.png_name(name))
            writer.add(prediction.result, image_file_name=name, image_id=image_id, mark=mark)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _OF_ONE_NAME:
                raise
            totals.add_failure(path, error)
            continue
        totals.add(prediction, 1)
        totals.scores.append(prediction.mean_score)
        # Images of many sizes leave gaps in the heap that no later map fits into.
        return_freed_memory()
    if writer.images:
        writer.close()


def mark_of_file(path: Path) -> str:
    """Return a text that differs where a file is another one or has changed."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _predict_videos(
    predictor: Predictor, files: Mapping[str, Path], output: Path, totals: Totals, *, progress: bool
) -> None:
    targets: set[Path] = set()
    for name, path in files.items():
        target = (output / "overlay" / name).with_suffix(".mp4")
        if target in targets:  # a.mov and a.mp4 are two videos
            target = output / "overlay" / f"{name}.mp4"
        targets.add(target)
        try:
            done = predict_video(predictor, path, target, progress=progress)
        except (ValueError, OSError) as error:
            totals.add_failure(path, error)
            continue
        totals.add(done, done.num_frames)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(failures: Sequence[str], limit: int = 5) -> str:
    more = [f"and {len(failures) - limit} more"] if len(failures) > limit else []
    return "; ".join([*failures[:limit], *more])
