"""Predicting a video frame by frame, and drawing what was found into another one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from axial_deeplab.prediction.batch import ImageArray
from axial_deeplab.prediction.frame_list import FrameList, SeenFrame
from axial_deeplab.prediction.image_job import see_frame
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.video_files import (
    DamagedVideoError,
    Frame,
    VideoReader,
    VideoWriter,
    require_pyav,
)
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.in_order import in_order
from axial_deeplab.visualization.overlay import draw_overlay
from axial_deeplab.visualization.stable_instances import StableInstances


@dataclass
class PredictedVideo:
    """What `predict_video` has done.

    Args:
        path: the video with the overlays.
        num_frames: its frames.
        network_ms: time of the network, milliseconds, of all frames together.
        post_processing_ms: time of the post-processing, milliseconds, of all frames together.
        num_left_out: centers of objects beyond `top_k`, in the frame that has most.
    """

    path: Path
    num_frames: int = 0
    network_ms: float = 0.0
    post_processing_ms: float = 0.0
    num_left_out: int = 0


def predict_video(
    predictor: Predictor,
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    frames: FrameList | None = None,
    submit: Callable[[ImageArray], Callable[[], SeenFrame]] | None = None,
    ahead: int = 1,
    progress: bool = False,
) -> PredictedVideo:
    """Segment each frame of a video and write a video with overlays, upright and without sound.

    Every frame keeps its time, so that size and frame rate, also a variable one, are those of the input.
    Classes have their colors in all frames; instances keep theirs as `StableInstances` says. `ahead` frames
    are in memory at a time.

    Args:
        predictor: makes the predictions.
        path: video file.
        output: MP4 file to write; it appears when it is complete.
        frames: list of what is found, so that a run that was stopped goes on; None keeps none.
        submit: gives a frame to whoever segments it, returns what waits for the result; None does it here.
        ahead: frames to give away before the first is needed.
        progress: show a progress bar.

    Raises:
        DamagedVideoError: the video cannot be read, or not to its end; the frames before are written.
        ValueError: PyAV is missing, or a frame does not fit into memory.
        OSError: the file cannot be opened, or the output not written.
    """
    require_pyav()
    stable = StableInstances(predictor.categories)
    done = PredictedVideo(Path(output))
    goes_on = frames is not None

    def begin(frame: Frame) -> Callable[[], tuple[SeenFrame, bool]]:
        nonlocal goes_on
        kept = frames.read() if frames is not None and goes_on else None
        goes_on = kept is not None
        if kept is not None:
            return lambda: (kept, True)
        wait = partial(see_frame, predictor, frame.pixels) if submit is None else submit(frame.pixels)
        return lambda: (wait(), False)

    with VideoReader(path) as reader:
        bar = tqdm(reader, total=reader.num_frames, desc=Path(path).name, unit="frame", disable=not progress)
        with atomic_path(output) as temporary, _writer_like(reader, temporary) as writer:
            for frame, pending in in_order(begin, bar, ahead):
                found, is_kept = pending()
                if frames is not None and not is_kept:
                    frames.add(found)
                panoptic = stable(found.result)
                # Scores change with every frame: text that flickers cannot be read.
                overlay = draw_overlay(frame.pixels, panoptic, predictor.categories, scores=False)
                writer.write(frame._replace(pixels=np.asarray(overlay)))
                done.num_frames += 1
                done.network_ms += found.network_ms
                done.post_processing_ms += found.post_processing_ms
                done.num_left_out = max(done.num_left_out, found.num_left_out)
    if reader.damage is not None:
        raise DamagedVideoError(f"{reader.damage}; {output} has the {done.num_frames} frames before")
    return done


def _writer_like(reader: VideoReader, path: Path) -> VideoWriter:
    return VideoWriter(
        path,
        reader.size,
        frame_rate=reader.frame_rate,
        time_base=reader.time_base,
        pixel_aspect=reader.pixel_aspect,
    )
