"""Predicting many image and video files, and writing what was found."""

import errno
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from axial_deeplab.data.image_files import SUFFIXES, find_images, numbers_of_names
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.post_processing import CentersLeftOutWarning, warn_of_left_out
from axial_deeplab.prediction.cityscapes_files import CityscapesWriter
from axial_deeplab.prediction.large.files import LargeFiles
from axial_deeplab.prediction.large.results import LargePrediction
from axial_deeplab.prediction.large.sources import is_zarr, read_whole
from axial_deeplab.prediction.predictor import Prediction, Predictor
from axial_deeplab.prediction.save.kinds import COCO, Saver
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.prediction.video import PredictedVideo, predict_video
from axial_deeplab.prediction.video_files import VIDEO_SUFFIXES, is_video, require_pyav
from axial_deeplab.util.files import atomic_path, temporary_directory
from axial_deeplab.util.freed_memory import return_freed_memory
from axial_deeplab.util.text import shortened
from axial_deeplab.visualization.contact_sheet import contact_sheets
from axial_deeplab.visualization.overlay import draw_overlay

# Mean scores of pixels and of things. From the shipped weights, pictures of the kind that they are for
# get 0.88 to 1.0 and 0.6 to 0.9 in most cases, others 0.4 to 0.9 and 0.2 to 0.45.
_LOW_SCORES = 0.8, 0.45
# Errors of a name that the output cannot have, which another image may.
_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


@dataclass
class PredictedFiles:
    """What `predict_files` wrote.

    Args:
        output: the folder of the predictions.
        num_images: images with a prediction.
        num_videos: videos with overlays.
        num_frames: their frames, together.
        num_tiled: images that were seen in tiles.
        num_resumed: images whose prediction was there from a run of the same options that had been stopped.
        times_ms: times of the network and of the post-processing of all others together, milliseconds.
        num_left_out: centers of objects beyond `top_k`, of each image and video.
        scores: `Prediction.mean_scores` of each image.
        failures: what is wrong with the files that have no prediction.
    """

    output: Path
    num_images: int = 0
    num_videos: int = 0
    num_frames: int = 0
    num_tiled: int = 0
    num_resumed: int = 0
    times_ms: tuple[float, float] = (0.0, 0.0)
    num_left_out: list[int] = field(default_factory=list)
    scores: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def network_ms(self) -> float:
        """Mean time of the network, milliseconds an image or frame."""
        return self.times_ms[0] / max(1, self.num_images - self.num_resumed + self.num_frames)

    @property
    def post_processing_ms(self) -> float:
        """Mean time of the post-processing, milliseconds an image or frame."""
        return self.times_ms[1] / max(1, self.num_images - self.num_resumed + self.num_frames)

    def add(self, done: Prediction | LargePrediction | PredictedVideo) -> None:
        """Count an image or a video."""
        network_ms, post_processing_ms = self.times_ms
        self.times_ms = network_ms + done.network_ms, post_processing_ms + done.post_processing_ms
        self.num_left_out.append(done.num_left_out)
        if isinstance(done, Prediction | LargePrediction):
            self.num_images += 1
            self.num_tiled += isinstance(done, LargePrediction)
            self.scores.append(done.mean_scores)
        else:
            self.num_videos += 1
            self.num_frames += done.num_frames

    def add_resumed(self) -> None:
        """Count an image that a run before has written."""
        self.num_images += 1
        self.num_resumed += 1

    def add_failure(self, path: Path, error: Exception) -> None:
        """Remember what is wrong with a file."""
        message = str(error)
        self.failures.append(message if str(path) in message else f"{path}: {message}")

    def warn(self, predictor: Predictor) -> None:
        """Tell what is doubtful in the predictions; of low scores where nothing worse is to be told."""
        knobs = predictor.post_processing
        warn_of_left_out(self.num_left_out, knobs.top_k, knobs.top_k_area, stacklevel=3)
        doubt = doubt_of_scores(self.scores)
        if doubt and not self.failures:
            names = shortened(predictor.categories.names)
            warnings.warn(f"{doubt}, with {names}; give other weights", stacklevel=3)

    def __str__(self) -> str:
        counts = [_count(self.num_images, "image")] if self.num_images or not self.num_videos else []
        if self.num_tiled:
            counts[0] += f" ({self.num_tiled} of them in tiles, see large/)"
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
    tile: int | None = None,
    overlap: int | None = None,
    save: Sequence[str] = (COCO,),
    drawing: Mapping[str, Any] | None = None,
    contact_sheet: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict image and video files and write what was found.

    The output folder gets, of images, `panoptic.json` and `panoptic/*.png` in COCO panoptic format, or what
    `save` names in its place, and `overlay/*.jpg`; of videos, `overlay/*.mp4` (`predict_video`). Names follow
    the files; files of folders keep their place below the folder. Image ids are the numbers in the names, as
    in COCO (000000000139.jpg is 139), if every name is another number; otherwise 1, 2, ... Runs of the same
    weights and options into one folder add up, and one that was stopped is continued (see `PanopticWriter`);
    both need `coco` in `save`.

    Large images are seen in tiles: `large/` gets their labels and segments (see `LargePrediction`). Those of
    more than 2^25 pixels have neither PNG nor overlay.

    Args:
        predictor: makes the predictions.
        inputs: image and video files, and folders of them, with their subfolders.
        output: folder; made if it is missing, files of the same names are replaced.
        overlay: draw the overlay pictures, at the size of the image; videos always have theirs.
        legend: append a legend to the pictures, which makes them higher.
        cityscapes: write the files of the Cityscapes server, too, into the folder `cityscapes`
            (`CityscapesWriter`); images are then seen whole.
        tile: images with a longer side are seen in tiles of so many pixels; None sees those in tiles that may
            not fit into memory, and OME-Zarr folders.
        overlap: pixels that tiles share, see `Predictor.predict_large`.
        save: kinds of files, among `axial_deeplab.prediction.save.kinds.KINDS`; see docs/results.md.
        drawing: further arguments of `draw_overlay` for the overlays of images, such as `outlines`.
        contact_sheet: write pages with all overlays of images, small, into the folder `contact_sheet`.
        progress: show a progress bar.

    Raises:
        ValueError: a kind of `save` is not possible, there is no image or video, some could not be read (the
            others are written nevertheless), PyAV is missing and there is a video, or tile or overlap is out
            of its range.
        OSError: an input does not exist, or the output cannot be written.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"output must be a folder, got the file {output}; give another path")
    folders = {Path(each).name: Path(each) for each in inputs if is_zarr(Path(each))}
    others = [each for each in inputs if not is_zarr(Path(each))]
    suffixes = (*SUFFIXES, *VIDEO_SUFFIXES)
    if cityscapes and (tile is not None or overlap is not None):
        raise ValueError("cityscapes must be False with tiles, got True; leave out --cityscapes or --tile")
    files = folders | (
        find_images(others, exclude=output, suffixes=suffixes) if others or not folders else {}
    )
    videos = {name: path for name, path in files.items() if is_video(path)}
    images = {name: path for name, path in files.items() if name not in videos}
    if videos:
        require_pyav()
    labels = CityscapesWriter(output / "cityscapes", predictor.categories) if cityscapes else None
    drawing = drawing or {}
    saver = Saver(save, output, predictor.categories)
    settings = f"{predictor.settings} overlay {overlay} legend {legend} cityscapes {cityscapes}"
    settings += "".join(f" {kind}" for kind in saver.kinds if kind != COCO)
    settings += "".join(f" {name} {value}" for name, value in sorted(drawing.items()))
    if tile is not None or overlap is not None:
        settings += f" tile {tile} overlap {overlap}"
    large = None if cityscapes else LargeFiles(predictor, output, tile, overlap, settings, progress)
    predictor.warm_up()
    done = PredictedFiles(output)

    def write_pictures(
        prediction: Prediction | LargePrediction, name: str, path: Path, png_name: str
    ) -> Panoptic | None:
        """Write all but COCO's files; return what these are to hold, None of an image too large for them."""
        if isinstance(prediction, Prediction):
            result, pixels = prediction.result, prediction.image
            if labels is not None:
                labels.add(prediction, name)
        elif prediction.has_pictures:
            result = prediction.panoptic()
            pixels = read_whole(path, **predictor.view.reading)
        else:
            if set(saver.kinds) != {COCO}:
                warnings.warn(
                    f"{path}: the image is too large for {', '.join(saver.kinds)}; its labels are "
                    f"{prediction.path}, its segments {prediction.json_path.name} beside them",
                    stacklevel=2,
                )
            return None
        saver.add(
            Picture(path, name, result, predictor.categories, predictor.view.page, predictor.view.channels),
            png_name.removesuffix(".png"),
        )
        if overlay:
            drawn = draw_overlay(pixels, result, predictor.categories, legend=legend, **drawing)
            with atomic_path((output / "overlay" / png_name).with_suffix(".jpg")) as temporary:
                drawn.save(temporary, quality=92)
        return result

    with ExitStack() as stack:
        stack.enter_context(told_once())
        if images:
            place = output
            if COCO not in saver.kinds:  # made all the same: it gives names and numbers to the others
                output.mkdir(parents=True, exist_ok=True)
                place = stack.enter_context(temporary_directory(output, ".axial-deeplab-coco-"))
            writer = PanopticWriter(
                place / "panoptic", place / "panoptic.json", predictor.categories, settings=settings
            )
            _predict_images(predictor, images, writer, done, write_pictures, large, progress=progress)
            if writer.images:
                saver.close(writer)
            if contact_sheet and overlay:
                _write_contact_sheets(output, writer)
        _predict_videos(predictor, videos, output, done, progress=progress)
    done.warn(predictor)
    if tile is not None and done.num_images and not done.num_tiled + done.num_resumed:
        warnings.warn(
            f"tile is {tile} pixels, and no image is larger: each was seen whole; give a smaller --tile",
            stacklevel=2,
        )
    if done.failures:
        none = done.num_images + done.num_videos == 0
        which = "none" if none else f"{len(done.failures)} of {len(files)} that are not"
        rest = "" if none else " (the others are written)"
        kind = "readable images" if not videos else "readable images or videos"
        raise ValueError(f"inputs must be {kind}, got {which}{rest}: {_listed(done.failures)}")
    return done


def _write_contact_sheets(output: Path, writer: PanopticWriter) -> None:
    def overlays() -> Iterator[tuple[str, Image.Image]]:
        for annotation in writer.annotations:
            name = writer.images[annotation["image_id"]]["file_name"]
            path = (output / "overlay" / annotation["file_name"]).with_suffix(".jpg")
            if path.is_file():
                with Image.open(path) as picture:
                    yield name, picture

    folder = output / "contact_sheet"
    for old in folder.glob("*.jpg"):
        old.unlink()
    for number, page in enumerate(contact_sheets(overlays()), start=1):
        with atomic_path(folder / f"{number:03d}.jpg") as temporary:
            page.save(temporary, quality=92)


def doubt_of_scores(scores: Sequence[tuple[float, float]]) -> str:
    """Return what is to be told of low scores of images, nothing if they are high.

    Args:
        scores: `Prediction.mean_scores` of each image.
    """
    means = []
    for column in zip(*scores, strict=True):
        numbers = [score for score in column if not math.isnan(score)]
        means.append(sum(numbers) / len(numbers) if numbers else math.nan)
    if not any(mean < low for mean, low in zip(means, _LOW_SCORES, strict=False)):
        return ""
    what = f"{means[0]:.2f} on average over the pixels"
    if not math.isnan(means[1]):
        what += f" and {means[1]:.2f} over the things"
    return f"scores are low, {what}: the weights may be for pictures of another kind"


@contextmanager
def told_once() -> Iterator[None]:
    """Keep predictors from warning of each image: what is odd in the files is told together at the end."""
    with told_together(), warnings.catch_warnings():
        warnings.simplefilter("ignore", CentersLeftOutWarning)
        yield


def _predict_images(
    predictor: Predictor,
    files: Mapping[str, Path],
    writer: PanopticWriter,
    done: PredictedFiles,
    write_pictures: Callable[[Prediction | LargePrediction, str, Path, str], Panoptic | None],
    large: LargeFiles | None,
    *,
    progress: bool,
) -> None:
    bar = tqdm(files.items(), desc="predict", unit="image", disable=not progress)
    for (name, path), image_id in zip(bar, numbers_of_names(files), strict=True):
        mark = mark_of_file(path)
        if writer.resume(name, image_id, mark):
            done.add_resumed()
            continue
        prediction: Prediction | LargePrediction | None
        try:
            prediction = None if large is not None and large.takes(path) else predictor(path)
        except (ValueError, OSError) as error:
            done.add_failure(path, error)
            continue
        try:
            if prediction is None and large is not None:
                prediction = large.add(path, name, writer.png_name(name), mark)
            if prediction is not None:
                result = write_pictures(prediction, name, path, writer.png_name(name))
                if result is not None:
                    writer.add(result, image_file_name=name, image_id=image_id, mark=mark)
        except (ValueError, OSError) as error:
            # Where there is no folder of the output, it cannot be made for any image.
            folder = writer.folder.parent
            if isinstance(error, OSError) and not (error.errno in _OF_ONE_NAME and folder.is_dir()):
                raise
            done.add_failure(path, error)
            continue
        if prediction is None:
            done.add_resumed()
            continue
        done.add(prediction)
        # Images of many sizes leave gaps in the heap that no later map fits into.
        return_freed_memory()
    if writer.images:
        writer.close()


def mark_of_file(path: Path) -> str:
    """Return a text that differs where a file is another one or has changed; empty if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _predict_videos(
    predictor: Predictor, files: Mapping[str, Path], output: Path, done: PredictedFiles, *, progress: bool
) -> None:
    targets: set[Path] = set()
    for name, path in files.items():
        target = (output / "overlay" / name).with_suffix(".mp4")
        if target in targets:  # a.mov and a.mp4 are two videos
            target = output / "overlay" / f"{name}.mp4"
        targets.add(target)
        try:
            done.add(predict_video(predictor, path, target, progress=progress))
        except (ValueError, OSError) as error:
            done.add_failure(path, error)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(failures: Sequence[str], limit: int = 5) -> str:
    more = [f"and {len(failures) - limit} more"] if len(failures) > limit else []
    return "; ".join([*failures[:limit], *more])
