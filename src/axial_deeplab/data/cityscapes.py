"""Cityscapes, straight from the folders of its zip files."""

import os
from pathlib import Path

import numpy as np

from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.image_files import list_files
from axial_deeplab.data.labels.cityscapes import CATEGORIES, LABEL_OF_ID
from axial_deeplab.data.panoptic_dataset import ImageRecord, PanopticDataset, check_limit
from axial_deeplab.panoptic.coco_json import AnnotationEntry, SegmentEntry
from axial_deeplab.panoptic.json_entries import ImageId, refusing
from axial_deeplab.panoptic.map import (
    LABEL_DIVISOR,
    VOID,
    IntArray,
    Panoptic,
    PanopticMap,
    measure_segments,
    relabel,
)
from axial_deeplab.panoptic.png import from_coco_annotation
from axial_deeplab.util.text import shortened

IMAGE_SUFFIX = "_leftImg8bit.png"
# Values of an instanceIds file from here on are label id x 1000 + number of the instance.
FIRST_INSTANCE = 1000


class CityscapesDataset(PanopticDataset):
    """The images of a split of Cityscapes in the order of their names, with their panoptic maps.

    Reads `leftImg8bit/{split}/{city}/*_leftImg8bit.png` and `{annotations}/{split}/{city}/*_instanceIds.png`,
    and gives what cityscapesScripts' `createPanopticImgs` makes of them.

    Args:
        root: folder that has `leftImg8bit`.
        split: train, val, test, or train_extra (coarse annotations alone). test has no ground truth.
        annotations: gtFine or gtCoarse; None takes gtFine, but gtCoarse for train_extra.
        images_only: read the images without their ground truth.
        limit: only the first so many images; None takes all.
        label_divisor: see `axial_deeplab.panoptic.map.panoptic_id`.
        problems: see `PanopticDataset`.

    Raises:
        ValueError: `annotations` is neither.
        FileNotFoundError: there are no images, an image has no annotation or an annotation no image.

    Source:
        cityscapesScripts, preparation/createPanopticImgs.py.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        *,
        annotations: str | None = None,
        images_only: bool = False,
        limit: int | None = None,
        label_divisor: int = LABEL_DIVISOR,
        problems: list[str] | None = None,
    ) -> None:
        check_limit(limit)
        if annotations is None:
            annotations = "gtCoarse" if split == "train_extra" else "gtFine"
        if annotations not in ("gtFine", "gtCoarse"):
            raise ValueError(f"annotations must be gtFine or gtCoarse, got {annotations}; gtFine is usual")
        images = Path(root) / "leftImg8bit" / split
        # The files of test hold nothing but the regions that are never evaluated.
        truth = None if images_only or split == "test" else Path(root) / annotations / split
        paths = _files_of_cities(images, IMAGE_SUFFIX)
        if not paths:
            raise FileNotFoundError(
                f"root must have images like leftImg8bit/{split}/CITY/*{IMAGE_SUFFIX}, got none in {images}; "
                "unpack leftImg8bit_trainvaltest.zip there or correct root and split"
            )
        records = []
        for path in paths:
            image_id = path.name.removesuffix(IMAGE_SUFFIX)
            png = None
            if truth is not None:
                png = truth / path.parent.name / f"{image_id}_{annotations}_instanceIds.png"
            records.append(ImageRecord(image_id, path.relative_to(images).as_posix(), path, png))
        if truth is not None:
            with refusing(problems):
                _refuse_without_image(truth, records)
        super().__init__(records, CATEGORIES, label_divisor=label_divisor, limit=limit, problems=problems)

    def read_ground_truth(self, index: int) -> Panoptic:
        """Read the instance ids of an image; see `PanopticDataset`."""
        record = self.records[index]
        path = record.ground_truth
        assert path is not None
        ids, annotation = cityscapes_annotation(
            read_id_map(path), image_id=record.image_id, file_name=path.name, source=path
        )
        return from_coco_annotation(
            ids, annotation, self.categories, label_divisor=self.label_divisor, source=path
        )


def cityscapes_annotation(
    instance_ids: IntArray, *, image_id: ImageId, file_name: str, source: str | os.PathLike[str]
) -> tuple[PanopticMap, AnnotationEntry]:
    """Turn the values of an `instanceIds` file into the ids and the annotation of a COCO panoptic PNG.

    Labels that are not evaluated become void. A region of a thing without instances is a crowd (Cityscapes
    says group). Ids are the values of the file, categories the label ids of Cityscapes.

    Args:
        instance_ids: (H, W): label id, or label id x 1000 + number of the instance.
        image_id: number or name of the image in the annotation.
        file_name: name of its PNG.
        source: what error messages call the file.

    Returns:
        The ids (H, W) with void as 0, and the annotation, its segments in the order of their ids.

    Raises:
        ValueError: a value is not of Cityscapes.

    Source:
        cityscapesScripts, preparation/createPanopticImgs.py.
    """
    segments, void = [], set()
    values, areas, _ = measure_segments(instance_ids)
    for value, area in zip(values.tolist(), areas.tolist(), strict=True):
        is_instance = value >= FIRST_INSTANCE
        label = LABEL_OF_ID.get(value // FIRST_INSTANCE if is_instance else value)
        if label is None:
            raise ValueError(
                f"{source} must have only ids of Cityscapes (0 to 33, or that x 1000 + number), got {value}; "
                "give the *_instanceIds.png of the data set"
            )
        if not label.is_evaluated:
            void.add(value)
            continue
        is_crowd = label.has_instances and not is_instance
        segments.append(SegmentEntry(value, label.id, is_crowd, area))
    ids = np.asarray(instance_ids, dtype=np.int32)
    if void - {VOID}:
        ids = relabel(ids, {segment.id: segment.id for segment in segments})
    return ids, AnnotationEntry(image_id, file_name, tuple(segments))


def _files_of_cities(folder: Path, ending: str) -> list[Path]:
    files = list_files(folder, [".png"], recursive=True)
    return [path for path in files if path.parent.parent == folder and path.name.endswith(ending)]


def _refuse_without_image(truth: Path, records: list[ImageRecord]) -> None:
    """Refuse annotations that nobody would see because their image is missing."""
    known = {record.ground_truth for record in records}
    lost = [path for path in _files_of_cities(truth, "_instanceIds.png") if path not in known]
    if lost:
        raise FileNotFoundError(
            f"leftImg8bit must have the image of every annotation, got none for {shortened(lost, 1)}; "
            "add the images or remove the annotations"
        )
