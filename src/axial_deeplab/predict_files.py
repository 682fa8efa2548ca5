"""Predicting many image files, and writing what was found."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from axial_deeplab.files import atomic_path
from axial_deeplab.image_files import find_images, numbers_of_names
from axial_deeplab.inference import Predictor
from axial_deeplab.panoptic_format import PanopticWriter


@dataclass(frozen=True)
class PredictedFiles:
    """What `predict_files` wrote.

    Args:
        json_path: the COCO panoptic JSON.
        num_images: images with a prediction.
        network_ms: mean time of the network, milliseconds an image.
        post_processing_ms: mean time of the post-processing, milliseconds an image.
    """

    json_path: Path
    num_images: int
    network_ms: float
    post_processing_ms: float

    def __str__(self) -> str:
        return (
            f"{self.num_images} images, predictions in {self.json_path.parent}; "
            f"network {self.network_ms:.0f} ms, post-processing {self.post_processing_ms:.0f} ms an image"
        )


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overlay: bool = True,
    legend: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict image files and write what was found.

    The output folder gets `panoptic.json` and `panoptic/*.png` in COCO panoptic format, and `overlay/*.jpg`.
    Names follow the files; files of folders keep their place below the folder. Image ids are the numbers in
    the names, as in COCO (000000000139.jpg is 139), if every name is another number; otherwise 1, 2, ...

    Args:
        predictor: makes the predictions.
        inputs: image files, and folders of images, with their subfolders.
        output: folder; made if it is missing, files of the same names are replaced.
        overlay: draw the overlay pictures, at the size of the image.
        legend: append a legend to them, which makes them higher.
        progress: show a progress bar.

    Raises:
        ValueError: there is no image, or some could not be read (the others are written nevertheless).
        OSError: an input does not exist, or the output cannot be written.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"output must be a folder, got the file {output}; give another path")
    files = find_images(inputs, exclude=output)
    image_ids = numbers_of_names(files)
    json_path = output / "panoptic.json"
    failures: list[str] = []
    network_ms = post_processing_ms = 0.0
    with PanopticWriter(output / "panoptic", json_path, predictor.categories) as writer:
        bar = tqdm(files.items(), desc="predict", unit="image", disable=not progress)
        for (name, path), image_id in zip(bar, image_ids, strict=True):
            try:
                prediction = predictor(path)
            except (ValueError, OSError) as error:
                message = str(error)
                failures.append(message if str(path) in message else f"{path}: {message}")
                continue
            network_ms += prediction.network_ms
            post_processing_ms += prediction.post_processing_ms
            annotation = writer.add(
                prediction.panoptic, prediction.segments, image_file_name=name, image_id=image_id
            )
            if overlay:
                target = (output / "overlay" / annotation["file_name"]).with_suffix(".jpg")
                with atomic_path(target) as temporary:
                    prediction.draw(legend=legend).save(temporary, quality=92)
        if len(failures) == len(files):
            raise ValueError(f"inputs must be readable images, got none: {_listed(failures)}")
    if failures:
        raise ValueError(
            f"inputs must be readable images, got {len(failures)} of {len(files)} that are not "
            f"(the others are written): {_listed(failures)}"
        )
    num = len(files)
    return PredictedFiles(json_path, num, network_ms / num, post_processing_ms / num)


def _listed(failures: Sequence[str], limit: int = 5) -> str:
    more = [f"and {len(failures) - limit} more"] if len(failures) > limit else []
    return "; ".join([*failures[:limit], *more])
