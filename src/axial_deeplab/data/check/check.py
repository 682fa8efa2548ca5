"""Examining every file of a data set before training: what is in it, and what is wrong with it."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from axial_deeplab.config.schema import DataConfig
from axial_deeplab.data.check.report import (
    ClassFolderReport,
    DatasetReport,
    ImageFindings,
    PanopticReport,
    SegmentFindings,
)
from axial_deeplab.data.datasets import open_dataset, open_image_folder
from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.panoptic_dataset import PanopticDataset
from axial_deeplab.util.files import bytes_of
from axial_deeplab.visualization.overlay import draw_overlay, in_color
from axial_deeplab.visualization.side_by_side import side_by_side

S = TypeVar("S")


def check_dataset(
    data: DataConfig | PanopticDataset, name: str, *, num_workers: int = 0, progress: bool = False
) -> DatasetReport:
    """Read every image and every annotation of a data set, and tell what is there and what is wrong.

    Args:
        data: the settings that open it, as the part val; or the data set itself.
        name: what the report calls it.
        num_workers: processes that read; 0 reads in this one.
        progress: show a progress bar.

    Returns:
        The report; its `problems` are what training would stop at.

    Raises:
        ValueError: the data set cannot be opened at all, for one reason; several stand in a report.
        OSError: a folder or the JSON is missing.
    """
    if num_workers < 0:
        raise ValueError(f"num_workers must be at least 0, got {num_workers}; 0 reads in this process")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if isinstance(data, DataConfig) and data.format == "image_folder":
            folder = open_image_folder(data, "val")
            findings = _examined(
                partial(_examine_classified, folder), len(folder), num_workers, progress, name
            )
            notes = (*(str(each.message) for each in caught), *_same_content(findings))
            return ClassFolderReport(name, findings, (), notes, folder.classes)
        problems: list[str] = []
        try:
            dataset = (
                open_dataset(data, "val", images_only=_gives_images_alone(data), problems=problems)
                if isinstance(data, DataConfig)
                else data
            )
        except (ValueError, OSError) as error:
            if not problems:
                raise
            return DatasetReport(name, (), (*problems, str(error)), ())
    findings = _examined(partial(_examine, dataset), len(dataset), num_workers, progress, name)
    problems += _repeated_files(dataset)
    notes = (*(str(each.message) for each in caught), *_unlisted_files(dataset), *_same_content(findings))
    return PanopticReport(
        name, findings, tuple(problems), notes, dataset.categories, is_annotated=dataset.has_ground_truth
    )


def shared_images(reports: Sequence[DatasetReport]) -> list[str]:
    """Return a note for each two data sets with images of the same content: one cannot test the other."""
    notes = []
    for place, first in enumerate(reports):
        files = {finding.digest: finding.path for finding in first.findings if finding.digest}
        for second in reports[place + 1 :]:
            pairs = [(files[f.digest], f.path) for f in second.findings if f.digest in files]
            # The same files may well have several kinds of annotations.
            pairs = [pair for pair in pairs if pair[0] != pair[1]]
            if pairs:
                notes.append(
                    f"{first.name} and {second.name} have {len(pairs)} images of the same content, such as "
                    f"{pairs[0][0]} and {pairs[0][1]}; keep them in one of the two"
                )
    return notes


def differing_classes(reports: Sequence[DatasetReport]) -> tuple[list[str], list[str]]:
    """Compare the classes of data sets, which those of one training and its evaluation must share.

    Returns:
        Problems, for two data sets of which one has all the names of the other, so that they are parts of
        one; and notes, for two that share some names, and may be parts or not.
    """
    problems: list[str] = []
    notes: list[str] = []
    spaces = [report for report in reports if report.classes]
    for place, first in enumerate(spaces):
        for second in spaces[place + 1 :]:
            names, others = ({entry[1] for entry in each.classes} for each in (first, second))
            if first.classes == second.classes or not names & others or type(first) is not type(second):
                continue
            if isinstance(first, ClassFolderReport) and (names <= others or others <= names):
                continue  # Those of the training serve the rest, which may lack some.
            odd = next(
                entry for entry in (*second.classes, *first.classes)
                 if entry not in first.classes or entry not in second.classes
            )  # fmt: skip
            text = (
                f"{second.name} must have the categories of {first.name} if both are parts of one data set, "
                f"got {len(second.classes)} for {len(first.classes)}; they differ in {odd[1]} (id {odd[0]}): "
                "number and name them alike"
            )
            (problems if names <= others or others <= names else notes).append(text)
    return problems, notes


def draw_samples(data: DataConfig | PanopticDataset, *, num_images: int = 4) -> Image.Image:
    """Draw images, evenly spaced over the data set, beside their ground truth.

    Args:
        data: the settings that open it, as the part val; or the data set itself.
        num_images: how many.

    Raises:
        ValueError: there is no image with ground truth that can be read.
        OSError: a folder or the JSON is missing.
    """
    dataset = open_dataset(data, "val", problems=[]) if isinstance(data, DataConfig) else data
    rows = []
    for place in np.linspace(0, len(dataset) - 1, min(num_images, len(dataset))).round().astype(int).tolist():
        try:
            sample = dataset[place]
        except (ValueError, OSError):
            continue  # The report names it.
        if sample.truth is not None:
            overlay = draw_overlay(sample.image, sample.truth, dataset.categories, legend=True)
            rows.append([Image.fromarray(in_color(sample.image)), overlay])
    if not rows:
        raise ValueError(
            "picture must show images with ground truth, got none that can be read; leave the picture out"
        )
    return side_by_side(rows, ["image", "ground truth"])


def _gives_images_alone(data: DataConfig) -> bool:
    return data.format == "coco" and data.val.root is None and data.val.panoptic is None


def _examined(
    examine: Callable[[int], ImageFindings], number: int, num_workers: int, progress: bool, name: str
) -> tuple[ImageFindings, ...]:
    # The places of the images are the data set, so that the loader spreads the work over processes.
    places: Any = range(number)
    collate: Any = examine
    loader = DataLoader(places, batch_size=None, num_workers=num_workers, collate_fn=collate)
    return tuple(tqdm(loader, name, number, unit="image", disable=not progress))


def _examine(dataset: PanopticDataset, index: int) -> ImageFindings:
    """Read an image and its ground truth as training does."""
    record = dataset.records[index]
    read = _read(dataset, index, record.image)
    if isinstance(read, ImageFindings):
        return read
    digest, sample, notes = read
    if dataset.annotations:
        entries = dataset.annotations[index].segments
        claimed = Counter(s.area for s in entries if s.area and dataset.categories.has_id(s.category_id))
        wrong = claimed - Counter(segment.area for segment in sample.segments)
        if wrong:
            text = (
                f"has {wrong.total()} areas in the JSON that are not those of the PNG, such as {min(wrong)} "
                "pixels; ours are counted, other programs may believe them"
            )
            notes.append(ImageWarning(record.ground_truth or record.image, text, "areas"))
    segments = tuple(map(SegmentFindings.of, sample.segments))
    void = 0 if sample.panoptic is None else int(np.count_nonzero(sample.panoptic == 0))
    return ImageFindings(str(record.image), digest, sample.size, void, segments, tuple(notes))


def _examine_classified(folder: ImageFolder, index: int) -> ImageFindings:
    path = folder.files[index][0]
    read = _read(folder, index, path)
    if isinstance(read, ImageFindings):
        return read
    digest, sample, notes = read
    size = (sample.image.shape[0], sample.image.shape[1])
    whole = SegmentFindings(sample.class_index, size[0] * size[1], is_crowd=False)
    return ImageFindings(str(path), digest, size, 0, (whole,), tuple(notes))


def _read(
    dataset: Dataset[S], index: int, path: Path
) -> tuple[bytes, S, list[str | ImageWarning]] | ImageFindings:
    """Return the digest of an image file, what training gets of it, and the warnings; or why it does not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            digest = hashlib.blake2b(bytes_of(path), digest_size=16).digest()
            sample = dataset[index]
        except (ValueError, OSError) as error:
            return ImageFindings(str(path), problem=_problem(error))
    messages = [each.message for each in caught]
    return digest, sample, [m if isinstance(m, ImageWarning) else str(m) for m in messages]


def _problem(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} must be readable, got: {error.strerror}; add it or correct the path"
    return str(error)


def _repeated_files(dataset: PanopticDataset) -> list[str]:
    """Return a problem for each file that stands for two images."""
    problems = []
    for what, paths in (
        ("an image", [record.image for record in dataset.records]),
        ("an annotation", [r.ground_truth for r in dataset.records if r.ground_truth is not None]),
    ):
        repeated = [path for path, times in Counter(paths).items() if times > 1]
        problems += [
            f"{path} must be the file of one image, got {what} that is listed twice; remove one entry"
            for path in repeated
        ]
    return problems


def _unlisted_files(dataset: PanopticDataset) -> list[str]:
    """Return a note for each folder that has images which the data set does not list."""
    images = {record.image for record in dataset.records}
    listed = images | {record.ground_truth for record in dataset.records}
    # A tool that writes a_masks.png beside a.png leaves more there, such as a_flows.tif.
    beginnings = tuple(
        f"{beside}_"
        for record in dataset.records
        if str(record.ground_truth).startswith(f"{(beside := record.image.with_suffix(''))}_")
    )
    notes = []
    for folder in sorted({path.parent for path in images}):
        others = [
            path
            for path in list_files(folder, SUFFIXES)
            if path not in listed and not str(path).startswith(beginnings)
        ]
        if others:
            notes.append(f"{folder} has {len(others)} images that are not listed, such as {others[0].name}")
    return notes


def _same_content(findings: Sequence[ImageFindings]) -> list[str]:
    """Return a note for each group of images that are the same to the byte."""
    groups: dict[bytes, list[str]] = {}
    for finding in findings:
        if finding.digest:
            groups.setdefault(finding.digest, []).append(finding.path)
    return [
        f"{len(set(paths))} images have the same content: {paths[0]}, {paths[1]}; remove all but one"
        for paths in groups.values()
        if len(set(paths)) > 1
    ]
