"""Predicting many image and video files, and writing what was found."""

import dataclasses
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from axial_deeplab.data.image_files import SUFFIXES, find_images, is_zarr, numbers_of_names
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.panoptic.writer import PanopticWriter, refuse_data_set
from axial_deeplab.post_processing import CentersLeftOutWarning
from axial_deeplab.prediction.batch import ImageArray
from axial_deeplab.prediction.cityscapes_files import CityscapesWriter
from axial_deeplab.prediction.frame_list import LIST_SUFFIX, FrameList, SeenFrame
from axial_deeplab.prediction.image_job import (
    DoneImage,
    FailedImage,
    ImageJob,
    ImageToDo,
    failure_of,
    mark_of_file,
)
from axial_deeplab.prediction.large.files import LargeFiles
from axial_deeplab.prediction.predicted_files import PredictedFiles
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.save.kinds import COCO, Saver
from axial_deeplab.prediction.shards import JSON, UNFINISHED, check_shard, digest_of_names, refuse_shards
from axial_deeplab.prediction.video import PredictedVideo, predict_video
from axial_deeplab.prediction.video_files import (
    VIDEO_SUFFIXES,
    DamagedVideoError,
    VideoReader,
    is_video,
    require_pyav,
)
from axial_deeplab.util.files import atomic_path, naming_full_disk, remove_leftovers_below
from axial_deeplab.util.in_order import in_order
from axial_deeplab.util.packages import require_package
from axial_deeplab.visualization.contact_sheet import contact_sheets

# Images that are worked on at a time, at most: each takes memory.
_MOST_THREADS = 4


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
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
) -> PredictedFiles:
    """Predict image and video files and write what was found.

    The output folder gets, of images, `panoptic.json` and `panoptic/*.png` in COCO panoptic format, or what
    `save` names in its place, and `overlay/*.jpg`; of videos, `overlay/*.mp4` (`predict_video`). Names follow
    the files; files of folders keep their place below the folder. Image ids are the numbers in the names, as
    in COCO (000000000139.jpg is 139), if every name is another number; otherwise 1, 2, ... Runs of the same
    weights and options into one folder add up where `save` has `coco`, and one that was stopped is continued
    (see `PanopticWriter`), in the middle of a video, too. Several images or frames are worked on at a time,
    in threads.

    Large images are seen in tiles: `large/` gets their labels and segments (see `LargePrediction`). Those of
    more than 2^25 pixels have no overlay.

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
        shard: (i, n) predicts every n-th file, from the i-th on, and leaves files of all images together to
            `merge_shards`, once all shards are there.
        workers: processes of this machine that share out images, frames and the tiles of large images; None
            works in threads.
        scheduler: address of a Dask scheduler whose workers do; they must see inputs and output.
        progress: show a progress bar.

    Raises:
        ValueError: a kind of `save` is not possible, there is no image or video, some could not be read (the
            others are written nevertheless), PyAV is missing and there is a video, or tile or overlap is out
            of its range.
        OSError: an input does not exist, or the output cannot be written.
    """
    output = Path(output)
    for each in map(Path, inputs):
        if each.is_dir() and not is_zarr(each) and each.resolve().is_relative_to(output.resolve()):
            raise ValueError(
                f"output must be a folder that has no input, got {output} with {each}; give another"
            )
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
    if check_workers(workers, scheduler):  # which may work in another folder
        output, files = output.absolute(), {name: path.absolute() for name, path in files.items()}
    videos = {name: path for name, path in files.items() if is_video(path)}
    images = {name: path for name, path in files.items() if name not in videos}
    if videos:
        require_pyav()
    saver = Saver(save, output, predictor.categories)
    settings = f"{predictor.settings} overlay {overlay} legend {legend} cityscapes {cityscapes}"
    settings += "".join(f" {kind}" for kind in saver.kinds if kind != COCO)
    drawing = drawing or {}
    settings += "".join(f" {name} {value}" for name, value in sorted(drawing.items()))
    if tile is not None or overlap is not None:
        settings += f" tile {tile} overlap {overlap}"
    # Without COCO's files the list of what is written needs a place, until all is.
    place = output if COCO in saver.kinds else output / UNFINISHED
    head = None
    if shard is None:
        refuse_shards(place)
        if not any((place / f"{JSON}{suffix}").exists() for suffix in ("", ".part")):
            _warn_of_earlier_files(output, saver)
    else:
        check_shard(shard, place)
        head = {
            "num_shards": shard[1],
            "num_files": len(files),
            "names": digest_of_names(files),
            "numbered": None not in numbers_of_names(images),
            "categories": predictor.categories.to_json(),
            "save": list(saver.kinds),
            "contact_sheet": contact_sheet and overlay,
        }
    refuse_data_set(place / JSON)
    writer = PanopticWriter(
        place / "panoptic", place / JSON, predictor.categories, settings=settings, shard=shard, head=head
    )
    job = ImageJob(
        predictor,
        output,
        writer.folder,
        saver,
        None if cityscapes else LargeFiles(predictor, output, tile, overlap, progress),
        CityscapesWriter(output / "cityscapes", predictor.categories) if cityscapes else None,
        overlay,
        {"legend": legend, **drawing},
        writer.begin,
        _num_threads(predictor),
    )
    predictor.warm_up()
    done = PredictedFiles(output, wanted="readable images or videos" if videos else "readable images")
    with ExitStack() as stack:
        stack.enter_context(told_once())
        stack.enter_context(naming_full_disk(output))
        stack.callback(writer.release)
        if workers is not None or scheduler is not None:
            from axial_deeplab.prediction.cluster import open_cluster

            stack.callback(remove_leftovers_below, output)  # of workers that were lost
            on_worker = dataclasses.replace(job, before_writing=_written_by_others, threads=1)
            job.cluster = stack.enter_context(open_cluster(on_worker, workers, scheduler))
        _predict_images(job, _images_to_do(images, writer, done, shard), writer, done, progress=progress)
        if writer.has_begun and shard is None:
            writer.close()
            write_of_all(writer, saver, contact_sheet=contact_sheet and overlay)
            if place != output:
                shutil.rmtree(place)
        _predict_videos(job, videos, done, shard, progress=progress)
        if shard is not None:
            writer.finish(done.report())
    done.warn(predictor)
    is_given = tile is not None or overlap is not None
    are_all_whole = done.num_images and not done.num_tiled + done.num_resumed + len(done.failures)
    if shard is None and is_given and are_all_whole:
        what = "no --tile is given" if tile is None else f"tile is {tile} pixels, and no image is larger"
        warnings.warn(f"{what}: each was seen whole; give a smaller --tile", stacklevel=2)
    done.raise_failures(len(files))
    return done


def _warn_of_earlier_files(output: Path, saver: Saver) -> None:
    """Tell of results whose weights nobody knows any more: COCO's files alone say by which they were made."""
    earlier = saver.earlier_files()
    if earlier:
        warnings.warn(
            f"{output} has {', '.join(earlier)} of an earlier run, perhaps of other weights: files of other "
            "pictures stay, of the same pictures those that people correct are kept (a.json as a.json.~1~), "
            "files of all pictures together are of this run alone; give each run an output folder of its own",
            stacklevel=3,
        )


def write_of_all(writer: PanopticWriter, saver: Saver, *, contact_sheet: bool) -> None:
    """Write what is of all images together, beside the COCO JSON.

    Args:
        writer: has written their panoptic segmentations.
        saver: knows the kinds of files, and the folder.
        contact_sheet: write pages with all overlays, too.

    Raises:
        OSError: a file cannot be written.
    """
    if writer.num_images:
        saver.close(writer)
    if contact_sheet:
        _write_contact_sheets(saver.output, writer)


def _write_contact_sheets(output: Path, writer: PanopticWriter) -> None:
    def overlays() -> Iterator[tuple[str, Image.Image]]:
        for image, annotation, _, _ in writer.written():
            path = (output / "overlay" / annotation["file_name"]).with_suffix(".jpg")
            if path.is_file():
                with Image.open(path) as picture:
                    yield image["file_name"], picture

    folder = output / "contact_sheet"
    for old in folder.glob("*.jpg"):
        old.unlink()
    for number, page in enumerate(contact_sheets(overlays()), start=1):
        with atomic_path(folder / f"{number:03d}.jpg") as temporary:
            page.save(temporary, quality=92)


@contextmanager
def told_once() -> Iterator[None]:
    """Keep predictors from warning of each image: what is odd in the files is told together at the end."""
    with told_together(), warnings.catch_warnings():
        warnings.simplefilter("ignore", CentersLeftOutWarning)
        yield


def _images_to_do(
    files: Mapping[str, Path], writer: PanopticWriter, done: PredictedFiles, shard: tuple[int, int] | None
) -> list[ImageToDo]:
    """Return the images of a shard, whose numbers and names do not depend on it."""
    number, total = shard or (1, 1)
    images = []
    for place, (image_id, (name, path)) in enumerate(
        zip(numbers_of_names(files), files.items(), strict=True)
    ):
        is_own = place % total == number - 1
        try:
            png_name = writer.png_name(name)
        except ValueError as error:
            if is_own:
                done.failures.append(failure_of(path, error).message)
            continue
        if is_own:
            images.append(ImageToDo(path, name, png_name, image_id, place))
    return images


def check_workers(workers: int | None, scheduler: str | None) -> bool:
    """Return whether workers are asked for; refuse those that cannot be.

    Raises:
        ValueError: there are less than one, a scheduler that has its own, or Dask is missing.
    """
    if workers is None and scheduler is None:
        return False
    if workers is not None and scheduler is not None:
        raise ValueError(
            f"workers must be left out with a scheduler, which has its own, got {workers}; give one of them"
        )
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}; leave it out to work in threads")
    require_package("distributed", "dask", "prediction by workers needs")
    return True


def _written_by_others(name: str) -> None:
    """What a worker does before it writes files of an image: the process that keeps the list has noted it."""


def _num_threads(predictor: Predictor) -> int:
    """Return how many images are worked on at a time: while one is seen, others are read and written."""
    on_cpu = predictor.device.type == "cpu"
    return min(_MOST_THREADS, torch.get_num_threads() if on_cpu else os.cpu_count() or 1)


def _predict_images(
    job: ImageJob,
    images: Sequence[ImageToDo],
    writer: PanopticWriter,
    done: PredictedFiles,
    *,
    progress: bool,
) -> None:
    def submit(image: ImageToDo) -> Callable[[], DoneImage | FailedImage | None]:
        if writer.has(image.name, image.mark):
            return partial(job, image)  # unless it is taken over
        if job.cluster is None:
            return pool.submit(job, image).result
        writer.begin(image.name)
        return job.cluster.segment(image)

    marked = (image._replace(mark=mark_of_file(image.path)) for image in images)
    with _pool(job) as pool:
        given = in_order(submit, marked, _ahead(job))
        for image, pending in tqdm(given, "predict", len(images), unit="image", disable=not progress):
            if writer.resume(image.name, image.image_id, image.mark, image.place):
                done.add_resumed()
                continue
            result = pending()
            if result is None:
                result = job.in_tiles(image)
            if isinstance(result, FailedImage):
                done.failures.append(result.message)
            else:
                done.add(result)
                annotation = {**result.annotation, "image_id": writer.new_id(image.image_id)}
                writer.keep(
                    annotation,
                    result.size,
                    image_file_name=image.name,
                    mark=image.mark,
                    place=image.place,
                    labels=result.labels,
                )


@contextmanager
def _pool(job: ImageJob) -> Iterator[ThreadPoolExecutor]:
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(job.threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a new thread takes what any other has set last


def _ahead(job: ImageJob) -> int:
    """Return how many images or frames to give away before the first is needed."""
    return job.cluster.ahead if job.cluster else 2 * job.threads


def _predict_videos(
    job: ImageJob,
    files: Mapping[str, Path],
    done: PredictedFiles,
    shard: tuple[int, int] | None,
    *,
    progress: bool,
) -> None:
    number, total = shard or (1, 1)
    targets: dict[Path, Path] = {}
    for name, path in files.items():
        target = (job.output / "overlay" / name).with_suffix(".mp4")
        if target in targets:  # a.mov and a.mp4 are two videos
            target = job.output / "overlay" / f"{name}.mp4"
        targets[target] = path
    own = dict(list(targets.items())[number - 1 :: total])
    settings = job.predictor.settings if own else ""
    complete = []
    with _pool(job) as pool:

        def submit(pixels: ImageArray) -> Callable[[], SeenFrame]:
            if job.cluster is None:
                return pool.submit(job.see_frame, pixels).result
            return job.cluster.see_frame(pixels)

        for target, path in own.items():
            list_path = target.with_name(f"{target.name}{LIST_SUFFIX}")
            try:
                with VideoReader(path):
                    pass  # of a file that cannot be read there is not even a folder
                with FrameList(list_path, {"settings": settings, "mark": mark_of_file(path)}) as frames:
                    report = frames.report() if target.exists() else None
                    if report is None:
                        video = predict_video(
                            job.predictor,
                            path,
                            target,
                            frames=frames,
                            submit=submit,
                            ahead=_ahead(job),
                            progress=progress,
                        )
                        report = {name: value for name, value in vars(video).items() if name != "path"}
                        frames.finish(report)
                done.add(PredictedVideo(target, **report))
            except (ValueError, OSError) as error:
                done.failures.append(failure_of(path, error).message)
                if not isinstance(error, DamagedVideoError):
                    continue  # the list may serve another run
            complete.append(list_path)
    # Until here a run that is stopped knows which videos are complete, and shards until they are merged.
    for list_path in complete if shard is None else ():
        list_path.unlink(missing_ok=True)
