"""Telling whether there is so little to predict that compiled code takes longer to load than it saves."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from axial_deeplab.data.image_files import SUFFIXES
from axial_deeplab.prediction.video_files import is_video
from axial_deeplab.weights.loaded import LoadedWeights

# Parameters times pixels that the references compute while the compiled code would be loaded, about half a
# second of a processor; compiling it takes fifteen times as long.
_LITTLE_WORK = 1e12


def is_little_work(
    weights: LoadedWeights,
    inputs: Sequence[str | os.PathLike[str]],
    *,
    scales: Sequence[float] | None = None,
    flip: bool = False,
    **options: Any,
) -> bool:
    """Return whether there is one small image alone, which needs no compiled code.

    Args:
        weights: the network.
        inputs: image and video files, or folders of them.
        scales: see `Predictor`.
        flip: see `Predictor`.
        options: other settings of a `Predictor`; those that resize images count as much work.
    """
    stored = weights.metadata.get("view") or {}
    resized = any(settings.get("long_side") for settings in (stored, options))
    is_image = len(inputs) == 1 and Path(inputs[0]).suffix.lower() in SUFFIXES and not is_video(inputs[0])
    if resized or not is_image:
        return False
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(inputs[0]) as image:
            pixels = image.width * image.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    views = (1 + flip) * sum(scale**2 for scale in scales or stored.get("scales") or (1.0,))
    return pixels * views * sum(map(Tensor.numel, weights.model.parameters())) <= _LITTLE_WORK
