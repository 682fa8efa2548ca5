"""The accuracies that the paper prints, beside those of reports that this package wrote.

A report belongs to a row where all of this agrees: the network's name and arguments (but for those that
change no result, `NEUTRAL`), the classes with those of the row's data set, the scales and mirror images of
testing, and whether the training began with weights from Mapillary Vistas.
"""

import csv
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import yaml

from axial_deeplab.accounting.published import ACCURACIES, CITYSCAPES, COCO, IMAGENET, MAPILLARY, PublishedRow
from axial_deeplab.data.labels import cityscapes, coco
from axial_deeplab.models.registry import ENTRIES, SegmentationEntry
from axial_deeplab.util.text import markdown_table, shortened
from axial_deeplab.weights.file import read_metadata

NEUTRAL = frozenset(
    (
        *("name", "num_classes", "in_channels", "features_only"),
        *("impl", "checkpoint", "recompute", "rows_per_chunk"),
    )
)
"""Arguments of networks that leave the paper's network what it is."""

# A report of 1000 classes has about 0.2 MB; what is larger are annotations, or predictions.
LARGEST_REPORT = 2**24
# Names of Mapillary Vistas are not in this package; with 65 classes this one is enough.
OF_MAPILLARY = "Lane Marking - Crosswalk"


class DataSet(NamedTuple):
    """A data set of the paper, and the images of its validation set."""

    name: str
    num_images: int


DATA_SETS = {
    IMAGENET: DataSet("ImageNet", 50_000),
    COCO: DataSet("COCO", 5_000),
    CITYSCAPES: DataSet("Cityscapes", 500),
    MAPILLARY: DataSet("Mapillary Vistas", 2_000),
}


@dataclass(frozen=True)
class Report:
    """What a file of a folder says about the accuracy of a network.

    Args:
        path: the file.
        scores: accuracies by measure, percent.
        classes: names of the classes; none for a classifier.
        network: arguments of `create_model` and its `name`; None is not known.
        scales: magnifications of testing.
        flip: whether the images were seen mirrored, too.
        num_images: images that were measured; None is not known.
        start: weights that the training started from; None is not known.
    """

    path: Path
    scores: Mapping[str, float]
    classes: tuple[str, ...] = ()
    network: Mapping[str, Any] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    num_images: int | None = None
    start: str | None = None

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Return the input size of the rows of its data set; None for a data set that is not the paper's."""
        names = set(self.classes)
        if "top-1" in self.scores:
            return IMAGENET if (self.network or {}).get("num_classes") == 1000 else None
        if names == set(coco.CATEGORIES.names):
            return COCO
        if names == set(cityscapes.CATEGORIES.names):
            return CITYSCAPES
        return MAPILLARY if len(names) == 65 and OF_MAPILLARY in names else None

    def belongs_to(self, row: PublishedRow) -> bool:
        """Return whether this is the accuracy of a published row."""
        if self.network is None or self.network.get("name") != row.name:
            return False
        scales, flip = (row.scales, True) if row.scales else ((1.0,), False)
        return (
            self.input_size == row.input_size
            and _own_arguments(self.network) == _own_arguments({"name": row.name, **row.overrides})
            and (tuple(sorted(self.scales)), self.flip) == (scales, flip)
            and ("mapillary" in (self.start or "").lower()) == (row.pretraining != "ImageNet")
        )

    def describe(self) -> str:
        """Return what it measured, in a few words."""
        if self.network is None:
            return "names no network, and no weights.safetensors of a training lies beside or above it"
        arguments = {
            key: value
            for key, value in self.network.items()
            if key not in NEUTRAL and value not in (None, False)
        }
        words = [str(self.network.get("name")), *(f"{key}={value}" for key, value in arguments.items())]
        if self.input_size is not None:
            words.append(f"on {DATA_SETS[self.input_size].name}")
        else:
            words.append(f"on {len(self.classes) or self.network.get('num_classes')} classes of other data")
        if (self.scales, self.flip) != ((1.0,), False):
            words.append(f"scales {', '.join(map(str, self.scales))}" + (", mirrored" if self.flip else ""))
        return " ".join(words)


def read_reports(folder: str | os.PathLike[str]) -> list[Report]:
    """Read the reports in a folder and in those below it, in the order of their names.

    Reports are the JSON files of `evaluate` and `pq`, and the last validation of `metrics.csv`, which `train`
    writes. One that names no network belongs to the training whose weights.safetensors lies beside it or in
    the nearest folder above, within `folder`. Broken ones are passed over with a warning.

    Raises:
        ValueError: there is no such folder, or no report in it.
    """
    top = Path(folder)
    if not top.is_dir():
        raise ValueError(f"results must be a folder of reports, got {top}, which is none; correct the path")
    reports: list[Report] = []
    broken: list[str] = []
    for directory, folders, names in os.walk(top):
        folders.sort()
        place = Path(directory)
        for name in sorted(names):
            path = place / name
            if name.startswith(".") or path.suffix not in (".json", ".csv") or not path.is_file():
                continue
            if name == "metrics.csv":
                reports += _of_training(path, top, broken)
            elif path.suffix == ".json" and path.stat().st_size <= LARGEST_REPORT:
                reports += _of_measurement(path, top, broken)
    if not reports:
        causes = f" ({shortened(broken, 3)})" if broken else ""
        raise ValueError(
            "results must hold reports of `evaluate --json-out`, `pq --json` or `train` (metrics.csv with a "
            f"validation), got none in {top}{causes}; write one there, or give their folder"
        )
    for cause in broken:
        warnings.warn(f"{cause}; the report is passed over, write it again", stacklevel=2)
    return reports


def accuracy_tables(reports: Sequence[Report] = (), folder: str | os.PathLike[str] = ".") -> str:
    """Return the published accuracies as Markdown, and beside them those of the reports that belong to them.

    Args:
        reports: what `read_reports` found.
        folder: folder that the names of the reports are relative to.
    """
    parts = []
    for title, rows in ACCURACIES.items():
        measures = list(rows[0].scores)
        own = [name for measure in measures for name in (f"{measure} here", "diff")]
        header = ["network", "name", *measures, *([*own, "report"] if reports else [])]
        lines = []
        for row in rows:
            published = [row.label, f"`{row.name}`", *(f"{row.scores[each]:.1f}" for each in measures)]
            matching = [report for report in reports if report.belongs_to(row)]
            for report in matching:
                lines.append([*published, *_own_cells(row, report, Path(folder))])
            if not matching:
                lines.append([*published, *[""] * (len(header) - len(published))])
        parts.append(f"### {title.rsplit(', ', 1)[0]}\n\n{markdown_table(header, lines, texts=2)}\n")
    if reports:
        parts.append(_summary(reports, Path(folder)))
    return "\n".join(parts)


def _own_cells(row: PublishedRow, report: Report, folder: Path) -> list[str]:
    cells = []
    for measure, published in row.scores.items():
        own = report.scores.get(measure)
        cells += ["", ""] if own is None else [f"{own:.1f}", f"{own - published:+.1f}"]
    whole = DATA_SETS[row.input_size].num_images
    part = report.num_images is not None and report.num_images != whole
    note = f", {report.num_images} of {whole} images" if part else ""
    return [*cells, f"{report.path.relative_to(folder)}{note}"]


def _summary(reports: Sequence[Report], folder: Path) -> str:
    rows = [row for table in ACCURACIES.values() for row in table]
    left = [report for report in reports if not any(report.belongs_to(row) for row in rows)]
    shown = len(reports) - len(left)
    lines = [
        f"{shown or 'None'} of {len(reports)} reports in {folder} belong to a row above: network, arguments, "
        f"classes, scales and mirroring must agree{'; without a row:' if left else '.'}",
        *(f"* {report.path.relative_to(folder)}: {report.describe()}" for report in left),
    ]
    return "\n".join(lines) + "\n"


def _own_arguments(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that make a network what it is, those of its name among them."""
    entry = ENTRIES.get(str(network.get("name")))
    named: dict[str, Any] = {}
    if entry is not None:
        of_backbone = entry.backbone.arguments if isinstance(entry, SegmentationEntry) else {}
        named = {**of_backbone, **entry.arguments}
    arguments = {**named, **{key: value for key, value in network.items() if key not in NEUTRAL}}
    # What JSON made of a tuple; what is absent is None or False in every network of the tables but aspp.
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in arguments.items()
        if value is not None and (key != "aspp" or value)
    }


def _of_measurement(path: Path, top: Path, broken: list[str]) -> Iterator[Report]:
    """Yield the report of a JSON file of `evaluate` or `pq`, if it is one; what is wrong goes to `broken`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        broken.append(f"{path}: {error}")
        return
    if not isinstance(content, dict):
        return  # other files may lie there
    scores = {
        measure: _score(content, *keys)
        for measure, keys in {
            "top-1": ("top1",),
            "PQ": ("All", "pq"),
            "PQ things": ("Things", "pq"),
            "PQ stuff": ("Stuff", "pq"),
            "mIoU": ("semantic", "mean_iou"),
            "AP": ("instances", "ap"),
        }.items()
    }
    found = {measure: score for measure, score in scores.items() if score is not None}
    if not found.keys() & {"top-1", "PQ"}:
        if content.keys() & {"top1", "All", "PQ"}:
            broken.append(f"{path}: no number from 0 to 100 as top1, or as pq of All")
        return
    per_class = content.get("per_class")
    entries = per_class.values() if isinstance(per_class, dict) else ()
    classes = tuple(str(entry.get("name")) for entry in entries if isinstance(entry, dict))
    network = content.get("network")
    weights, start = _training_of(path, top)
    yield Report(
        path,
        found,
        classes,
        network if isinstance(network, dict) else weights.get("model"),
        _scales(content),
        content.get("flip") is True,
        content["num_images"] if type(content.get("num_images")) is int else None,
        start,
    )


def _of_training(path: Path, top: Path, broken: list[str]) -> Iterator[Report]:
    """Yield the report of the last validation in a metrics.csv, if there was one; see `_of_measurement`."""
    columns = {
        "top-1": "val/top1",
        "PQ": "val/PQ",
        "PQ things": "val/PQ_things",
        "PQ stuff": "val/PQ_stuff",
        "mIoU": "val/mIoU",
    }
    last: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                given = {measure: line.get(column) for measure, column in columns.items()}
                found = {measure: float(text) for measure, text in given.items() if text}
                last = {measure: score for measure, score in found.items() if 0 <= score <= 100} or last
    except (ValueError, OSError, csv.Error) as error:
        broken.append(f"{path}: {error}")
        return
    if last:
        weights, start = _training_of(path, top)
        categories = weights.get("categories") or []
        names = tuple(str(each.get("name")) for each in categories if isinstance(each, dict))
        yield Report(path, last, names, weights.get("model"), start=start)


def _training_of(path: Path, top: Path) -> tuple[dict[str, Any], str | None]:
    """Return the metadata of the training's weights nearest above a file, and what it began with."""
    for place in path.parents:
        weights, settings = place / "weights.safetensors", place / "config.yaml"
        metadata: dict[str, Any] = {}
        start = None
        if weights.is_file():
            try:
                metadata = read_metadata(weights)
            except (ValueError, OSError, safetensors.SafetensorError):
                metadata = {}
        if settings.is_file():
            try:
                model = (yaml.safe_load(settings.read_text(encoding="utf-8")) or {}).get("model") or {}
                start = model.get("weights")
            except (yaml.YAMLError, ValueError, OSError, AttributeError, RecursionError):
                start = None
        if metadata or start:
            return metadata, None if start is None else str(start)
        if place == top:
            break
    return {}, None


def _score(content: Mapping[str, Any], *keys: str) -> float | None:
    """Return a percentage deep in a report; None for anything else there."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if type(value) in (int, float) and 0 <= value <= 100 else None


def _scales(content: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the magnifications of a report, 1 where it does not tell them."""
    scales = content.get("scales")
    if not isinstance(scales, list) or not scales:
        return (1.0,)
    return tuple(
        float(each) if type(each) in (int, float) and 0 < each < 100 else math.nan for each in scales
    )
