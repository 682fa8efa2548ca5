"""Two networks side by side on the same pictures (figure 6 of the paper)."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from axial_deeplab.data.image_files import find_images
from axial_deeplab.experiments.plots import names_of, require_suffix
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path
from axial_deeplab.visualization import legend_entries, side_by_side
from axial_deeplab.visualization.legend import LegendEntry
from axial_deeplab.visualization.side_by_side import scaled_to_width

# More rows make a picture that no viewer shows as a whole.
MOST_PICTURES = 24
SUFFIXES = (".png", ".jpg", ".jpeg")


def compare_networks(
    weights: Sequence[str | os.PathLike[str]],
    pictures: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    **options: Any,
) -> str:
    """Draw each picture, and the segments that each of the networks finds in it, in a row.

    Args:
        weights: files or names of the weights, two or more.
        pictures: image files, or folders of them.
        output: the drawing, PNG or JPEG.
        names: what to call the networks; None takes the names of the files.
        options: arguments of `Predictor`, for all of them.

    Returns:
        How many segments each network found, by picture.

    Raises:
        ValueError: an argument, the weights or a picture are not valid.
        OSError: a file is missing or cannot be written.
    """
    if len(weights) < 2:
        raise ValueError(f"weights must be two or more to compare, got {len(weights)}; name another one")
    names = names_of(weights, names)
    require_suffix(output, SUFFIXES)
    files = list(find_images(pictures).values())
    if Path(output).exists() and any(file.samefile(output) for file in files):
        raise ValueError(f"output must be none of the pictures, got {output}, which is one; name another")
    if len(files) > MOST_PICTURES:
        raise ValueError(f"pictures must be at most {MOST_PICTURES}, got {len(files)}; name those to compare")
    predictors = [Predictor(each, **options) for each in weights]
    classes = {predictor.categories.names for predictor in predictors}
    if len(classes) > 1:
        warnings.warn(
            "weights have different classes: a color may mean another class in each column; read the names, "
            "or compare weights of one data set",
            stacklevel=2,
        )
    rows: list[list[Image.Image]] = []
    entries: dict[LegendEntry, None] = {}
    lines = []
    for file in files:
        predictions = [predictor(file) for predictor in predictors]
        drawn = [Image.fromarray(predictions[0].image), *(each.draw() for each in predictions)]
        # Small at once: two dozen large photographs would fill the memory.
        rows.append([scaled_to_width(each) for each in drawn])
        for prediction in predictions:
            entries |= dict.fromkeys(legend_entries(prediction.result, prediction.categories))
        counts = (
            f"{name} {len(prediction.segments)}" for name, prediction in zip(names, predictions, strict=True)
        )
        lines.append(f"{file}: segments of {', '.join(counts)}")
    table = side_by_side(rows, ["input", *names], legend=list(entries))
    with atomic_path(output) as temporary:
        table.save(temporary)
    return "\n".join([*lines, f"picture: {output}"])
