"""What a run over many files has written, what failed, and what is doubtful in it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axial_deeplab.post_processing import warn_of_left_out
from axial_deeplab.prediction.doubts import doubt_of_scores
from axial_deeplab.prediction.image_job import DoneImage
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.video import PredictedVideo
from axial_deeplab.util.text import shortened


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
        scores: `Prediction.certainty` of each image.
        failures: what is wrong with the files that have no prediction.
        wanted: what the files should be.
    """

    output: Path
    num_images: int = 0
    num_videos: int = 0
    num_frames: int = 0
    num_tiled: int = 0
    num_resumed: int = 0
    times_ms: tuple[float, float] = (0.0, 0.0)
    num_left_out: list[int] = field(default_factory=list)
    scores: list[Sequence[float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wanted: str = "readable images"

    @property
    def network_ms(self) -> float:
        """Mean time of the network, milliseconds an image or frame."""
        return self.times_ms[0] / max(1, self.num_images - self.num_resumed + self.num_frames)

    @property
    def post_processing_ms(self) -> float:
        """Mean time of the post-processing, milliseconds an image or frame."""
        return self.times_ms[1] / max(1, self.num_images - self.num_resumed + self.num_frames)

    def add(self, done: Prediction | DoneImage | PredictedVideo) -> None:
        """Count an image or a video."""
        network_ms, post_processing_ms = self.times_ms
        self.times_ms = network_ms + done.network_ms, post_processing_ms + done.post_processing_ms
        self.num_left_out.append(done.num_left_out)
        if isinstance(done, PredictedVideo):
            self.num_videos += 1
            self.num_frames += done.num_frames
        else:
            self.num_images += 1
            self.num_tiled += isinstance(done, DoneImage) and done.labels is not None
            self.scores.append(done.certainty)

    def add_resumed(self) -> None:
        """Count an image that a run before has written."""
        self.num_images += 1
        self.num_resumed += 1

    def report(self) -> dict[str, Any]:
        """Return what there is to report, for `add_report`."""
        return {name: value for name, value in vars(self).items() if name not in ("output", "wanted")}

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Count what another run has reported."""
        for name, value in report.items():
            own = getattr(self, name)
            is_times = name == "times_ms"
            setattr(self, name, tuple(map(sum, zip(own, value, strict=True))) if is_times else own + value)

    def raise_failures(self, num_files: int) -> None:
        """Raise what is wrong with the files that have no prediction, if any has none.

        Args:
            num_files: files that were to be predicted.
        """
        if not self.failures:
            return
        none = self.num_images + self.num_videos == 0
        which = "none" if none else f"{len(self.failures)} of {num_files} that are not"
        rest = "" if none else " (the others are written)"
        raise ValueError(f"inputs must be {self.wanted}, got {which}{rest}: {_listed(self.failures)}")

    def warn(self, predictor: Predictor) -> None:
        """Tell what is doubtful in the predictions; of the scores where nothing worse is to be told."""
        knobs = predictor.post_processing
        warn_of_left_out(self.num_left_out, knobs.top_k, knobs.top_k_area, stacklevel=3)
        doubt = doubt_of_scores(self.scores, predictor.low_scores)
        if not doubt and predictor.categories.thing_ids and self.scores and self._no_thing_found:
            doubt = (
                f"no thing was found in {_count(len(self.scores), 'image')}: where there are some, the "
                "weights may be for pictures of another kind"
            )
        if doubt and not self.failures:
            names = shortened(predictor.categories.names)
            warnings.warn(f"{doubt}, with {names}; give other weights", stacklevel=3)

    @property
    def _no_thing_found(self) -> bool:
        return all(math.isnan(of_things) for _, of_things, *_ in self.scores)

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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(failures: Sequence[str], limit: int = 5) -> str:
    more = [f"and {len(failures) - limit} more"] if len(failures) > limit else []
    return "; ".join([*failures[:limit], *more])
