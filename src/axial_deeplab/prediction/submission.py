"""Predictions of a whole test set, packed as the COCO evaluation server wants them."""

import os
import zipfile
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.labels.coco import CATEGORIES
from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.files import told_once
from axial_deeplab.prediction.image_job import mark_of_file
from axial_deeplab.prediction.predicted_files import PredictedFiles
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path

# image_info_test-dev2017.json, panoptic_val2017.json, ...: the rest is the name of the set.
_PREFIXES = ("image_info_", "panoptic_image_info_", "panoptic_", "instances_")


def predict_listed(
    predictor: Predictor,
    images: str | os.PathLike[str],
    json: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    submission: str | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> PredictedFiles:
    """Predict the images that a COCO JSON lists, under its ids; annotations are neither needed nor read.

    The output folder gets `panoptic.json` and `panoptic/*.png`. With `submission` they have the names that
    the server asks for, `panoptic_{set}_{submission}_results`, and are packed into a zip file of this name;
    the set is the end of the name of the JSON, as test-dev2017 of image_info_test-dev2017.json.

    A run that was stopped is continued.

    Args:
        predictor: makes the predictions.
        images: folder of the images.
        json: lists them, such as image_info_test-dev2017.json; its categories are not used.
        output: folder; made if it is missing, files of the same names are replaced.
        submission: name of the method, for the server; None packs nothing.
        limit: only the first so many images; None takes all.
        progress: show a progress bar.

    Raises:
        ValueError: the JSON is not valid, an image is damaged, `submission` is no word, or the weights have
            other categories than COCO's while it is given.
        OSError: an image is missing, or the output cannot be written.

    Source:
        The names are those of cocodataset.org, "upload", panoptic segmentation.
    """
    output, name = Path(output), "panoptic"
    if submission is not None:
        if not submission or set(submission) & set("/\\ "):
            raise ValueError(f"submission must be one word, got {submission!r}; it is part of file names")
        predictor.categories.require_same_classes(CATEGORIES, "weights", "COCO")
        name = f"panoptic_{_name_of_set(Path(json))}_{submission}_results"
    dataset = CocoPanopticDataset(images, None, json, categories=predictor.categories, limit=limit)
    view = predictor.view
    dataset.value_range, dataset.page = ValueRange(view.value_range), view.page
    dataset.channels = view.channels
    done = PredictedFiles(output)
    # An image that was predicted for another list would be one too many for the server.
    settings = f"{predictor.settings} {mark_of_file(Path(json))} {limit}"
    writer = PanopticWriter(output / name, output / f"{name}.json", predictor.categories, settings=settings)
    with ExitStack() as stack:
        stack.enter_context(told_once())
        stack.callback(writer.release)
        records = tqdm(dataset.records, desc="predict", unit="image", disable=not progress)
        for index, record in enumerate(records):
            mark = mark_of_file(record.image)
            if writer.resume(record.file_name, record.image_id, mark):
                done.add_resumed()
                continue
            prediction = predictor(dataset[index].image)
            done.add(prediction)
            writer.add(
                prediction.result, image_file_name=record.file_name, image_id=record.image_id, mark=mark
            )
        writer.close()
        if submission is not None:
            _pack(output, name, [each.annotation["file_name"] for each in writer.written()])
    done.warn(predictor)
    return done


def _name_of_set(json: Path) -> str:
    for prefix in _PREFIXES:
        if json.stem.startswith(prefix):
            return json.stem.removeprefix(prefix)
    return json.stem


def _pack(output: Path, name: str, png_names: list[str]) -> None:
    """Write the JSON and its PNG files, and nothing else that may lie in the folder, as a zip file."""
    with (
        atomic_path(output / f"{name}.zip") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.write(output / f"{name}.json", f"{name}.json")
        for png in png_names:
            # PNG files are compressed already.
            archive.write(output / name / png, f"{name}/{png}", zipfile.ZIP_STORED)
