"""Mapillary Vistas 1.2 and 2.0, straight from the folders of their archives."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.data.panoptic_dataset import ImageRecord, PanopticDataset, check_limit
from axial_deeplab.panoptic.categories import Categories, Category, Color
from axial_deeplab.panoptic.coco_json import PanopticJson
from axial_deeplab.panoptic.json_entries import load_json, refusing
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, relabel
from axial_deeplab.panoptic.png import from_coco_annotation, read_panoptic_png
from axial_deeplab.util.file_names import NamedFiles
from axial_deeplab.util.text import shortened

PANOPTIC_JSON = {"v1.2": "panoptic_2018.json", "v2.0": "panoptic_2020.json"}


@dataclass(frozen=True)
class MapillaryLabel:
    """A label of the config: its place in the list is the value in `labels`, one more is its category id."""

    name: str
    is_thing: bool
    is_evaluated: bool
    color: Color


class MapillaryDataset(PanopticDataset):
    """The images of a split of Mapillary Vistas in the order of its JSON, with their panoptic maps.

    Reads `config*.json` (labels), `{split}/images` and `{split}/{version}/panoptic` (PNG and JSON), or
    `{split}/panoptic` as in archives of version 1.2 alone. Labels that the config does not evaluate are void.

    Args:
        root: folder that has the config.
        split: training, validation or testing. testing has no ground truth.
        annotations: v1.2 or v2.0; None takes v1.2, the version of the paper.
        images_only: read the images without their ground truth.
        limit: only the first so many images; None takes all.
        label_divisor: see `axial_deeplab.panoptic.map.panoptic_id`.
        problems: see `PanopticDataset`.

    Raises:
        ValueError: the config or the panoptic JSON is not valid, or `annotations` is neither version.
        OSError: a folder or a file is missing; an image has no annotation or an annotation no image.
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
        version = "v1.2" if annotations is None else annotations
        if version not in PANOPTIC_JSON:
            raise ValueError(f"annotations must be v1.2 or v2.0, got {version}; the paper uses v1.2")
        root = Path(root)
        labels = _read_labels(_config_path(root, version))
        images = _images_by_stem(root, split)
        self._void_ids: frozenset[int] = frozenset()
        if images_only or split == "testing":
            categories = Categories(
                Category(place + 1, label.name, label.is_thing, label.color)
                for place, label in enumerate(labels)
                if label.is_evaluated
            )
            records = [ImageRecord(stem, path.name, path, None) for stem, path in images.items()]
        else:
            path = _panoptic_json(root / split, version)
            document = PanopticJson.read(path, problems=problems)
            void_names = {label.name for label in labels if not label.is_evaluated}
            categories = Categories(c for c in document.categories if c.name not in void_names)
            self._void_ids = frozenset(document.categories.ids) - frozenset(categories.ids)
            records = _annotated_images(document, images, problems=problems)
            self.annotations = [document.annotations[record.image_id] for record in records][:limit]
        super().__init__(records, categories, label_divisor=label_divisor, limit=limit, problems=problems)

    def read_ground_truth(self, index: int) -> Panoptic:
        """Read the panoptic PNG of an image; see `PanopticDataset`."""
        record, annotation = self.records[index], self.annotations[index]
        path = record.ground_truth
        assert path is not None
        ids = read_panoptic_png(path)
        kept = [s for s in annotation.segments if s.category_id not in self._void_ids]
        if len(kept) < len(annotation.segments):
            void = {s.id for s in annotation.segments if s.category_id in self._void_ids}
            ids = relabel(ids, {value: value for value in set(np.unique(ids).tolist()) - void})
            annotation = annotation._replace(segments=tuple(kept))
        return from_coco_annotation(
            ids, annotation, self.categories, size=record.size, label_divisor=self.label_divisor, source=path
        )


def _config_path(root: Path, version: str) -> Path:
    """Return the config of a version: archives of version 1.2 alone call it config.json."""
    names = (f"config_{version}.json", *(["config.json"] if version == "v1.2" else []))
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(
        f"root must have {' or '.join(names)} of Mapillary Vistas, got none in {root}; "
        "unpack the archive there or correct the path"
    )


def _read_labels(path: Path) -> list[MapillaryLabel]:
    try:
        document: Any = load_json(path)
        return [
            MapillaryLabel(
                str(label["readable"]),
                bool(label["instances"]),
                bool(label.get("evaluate", True)),
                (int(label["color"][0]), int(label["color"][1]), int(label["color"][2])),
            )
            for label in document["labels"]
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be the config of Mapillary Vistas (labels with readable, instances, color), "
            f"got {type(error).__name__}: {error}; unpack it again"
        ) from None


def _images_by_stem(root: Path, split: str) -> dict[str, Path]:
    folder = root / split / "images"
    images = {path.stem: path for path in list_files(folder, SUFFIXES)}
    if not images:
        raise FileNotFoundError(
            f"root must have images in {split}/images, got none in {folder}; "
            "unpack the archive there or correct root and split"
        )
    return images


def _panoptic_json(folder: Path, version: str) -> Path:
    places = [folder / version / "panoptic", *([folder / "panoptic"] if version == "v1.2" else [])]
    for place in places:
        if (place / PANOPTIC_JSON[version]).is_file():
            return place / PANOPTIC_JSON[version]
    raise FileNotFoundError(
        f"root must have the annotations of {version}, got no {places[0] / PANOPTIC_JSON[version]}; "
        "unpack the archive there or give annotations (v1.2, v2.0)"
    )


def _annotated_images(
    document: PanopticJson, images: dict[str, Path], *, problems: list[str] | None
) -> list[ImageRecord]:
    """Pair annotations and images by the stem of their names."""
    records = []
    files = NamedFiles(document.path.parent)
    folder = next(iter(images.values())).parent
    for annotation in document.annotations.values():
        with refusing(problems):
            png = files.path(annotation.file_name)
            image = images.get(png.stem, folder / f"{png.stem}.jpg")
            size = document.image_size(annotation.image_id)
            records.append(ImageRecord(annotation.image_id, image.name, image, png, size))
    if not records:
        raise ValueError(f"{document.path} must have annotations, got none; unpack the archive again")
    lost = sorted(images.keys() - {record.image.stem for record in records})
    with refusing(problems):
        if lost:
            raise FileNotFoundError(
                f"{document.path} must have an annotation of every image, got none of "
                f"{shortened([images[stem] for stem in lost], 1)}; "
                "remove the images or unpack the annotations again"
            )
    return records
