"""Predicting a video frame by frame, and drawing what was found into another one."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.video_files import DamagedVideoError, VideoReader, VideoWriter, require_pyav
from axial_deeplab.util.files import atomic_path
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
    progress: bool = False,
) -> PredictedVideo:
    """Segment each frame of a video and write a video with overlays, upright and without sound.

    Every frame keeps its time, so that size and frame rate, also a variable one, are those of the input.
    Classes have their colors in all frames; instances keep theirs as `StableInstances` says. One frame is in
    memory at a time.

    Args:
        predictor: makes the predictions.
        path: video file.
        output: MP4 file to write; it appears when it is complete.
        progress: show a progress bar.

    Raises:
        DamagedVideoError: the video cannot be read, or not to its end; the frames before are written.
        ValueError: PyAV is missing, or a frame does not fit into memory.
        OSError: the file cannot be opened, or the output not written.
    """
    require_pyav()
    stable = StableInstances(predictor.categories)
    done = PredictedVideo(Path(output))
    with VideoReader(path) as reader:
        bar = tqdm(reader, total=reader.num_frames, desc=Path(path).name, unit="frame", disable=not progress)
        with atomic_path(output) as temporary, _writer_like(reader, temporary) as writer:
            for frame in bar:
                prediction = predictor(frame.pixels)
                panoptic = stable(prediction.result)
                # Scores change with every frame: text that flickers cannot be read.
                overlay = draw_overlay(frame.pixels, panoptic, predictor.categories, scores=False)
                writer.write(frame._replace(pixels=np.asarray(overlay)))
                done.num_frames += 1
                done.network_ms += prediction.network_ms
                done.post_processing_ms += prediction.post_processing_ms
                done.num_left_out = max(done.num_left_out, prediction.num_left_out)
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
