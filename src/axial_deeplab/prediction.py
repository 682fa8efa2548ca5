"""Predict image files: an overlay picture and a panoptic PNG for each, and one COCO panoptic JSON for all."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image
from tqdm import tqdm

from axial_deeplab.files import atomic_path
from axial_deeplab.inference import Predictor
from axial_deeplab.panoptic_format import PanopticWriter


def predict_files(
    images: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    predictor: Predictor,
    *,
    progress: bool = False,
) -> int:
    """Predict images and write overlays/*.jpg, panoptic/*.png and panoptic.json.

    An image that cannot be read does not stop the others: the error comes when all else is written.

    Args:
        images: files, and folders whose images are taken with those of their subfolders, in the order of their names.
        output: folder of the results.
        predictor: the network.
        progress: show a progress bar.

    Returns:
        How many images were predicted.

    Raises:
        ValueError: a folder without images, a damaged image.
        OSError: a file that does not exist or cannot be written.
    """
    folder = Path(output)
    named = list(_with_unique_names(_find_images(images)))
    errors: list[Exception] = []
    with PanopticWriter(folder / "panoptic", folder / "panoptic.json", predictor.categories) as writer:
        for path, name in tqdm(named, disable=not progress, desc="predict"):
            try:
                prediction = predictor(path)
            except (ValueError, OSError) as error:
                errors.append(error)
                continue
            annotation = writer.add(prediction.panoptic, prediction.segments, image_file_name=name)
            # The name of the PNG is unique also where a.jpg stands beside a.png.
            picture = PurePosixPath(annotation["file_name"]).with_suffix(".jpg")
            with atomic_path(folder / "overlays" / picture) as overlay:
                prediction.draw().save(overlay, format="JPEG", quality=92)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ValueError(f"{len(errors)} of {len(named)} images could not be predicted, the first: {errors[0]}")
    return len(named)


def _find_images(paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[Path, str]]:
    """Yield each image with its name: the path below the folder that was given."""
    known = set(Image.registered_extensions())
    for given in map(Path, paths):
        if not given.is_dir():
            if not given.exists():
                raise FileNotFoundError(f"images must be files or folders that exist, got {given}; correct the path")
            yield given, given.name
            continue
        found = sorted(path for path in given.rglob("*") if path.suffix.lower() in known and path.is_file())
        if not found:
            raise ValueError(f"images must be files or folders with images, got {given} without any; correct the path")
        for path in found:
            yield path, path.relative_to(given).as_posix()


def _with_unique_names(images: Iterator[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """Number names that occur again: a/x.jpg and b/x.jpg become x.jpg and x-2.jpg."""
    taken: set[str] = set()
    for path, name in images:
        unique, number = PurePosixPath(name), 1
        while unique.as_posix() in taken:
            number += 1
            unique = PurePosixPath(name).with_stem(f"{PurePosixPath(name).stem}-{number}")
        taken.add(unique.as_posix())
        yield path, unique.as_posix()
