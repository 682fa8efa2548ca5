"""One self-contained HTML page about an evaluation: scores, classes, confusions, examples, time."""

import base64
import io
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.panoptic_dataset import Sample
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.evaluation.quality_table import PanopticQualityResult
from axial_deeplab.evaluation.semantic_iou import SemanticIoUResult
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import resized_map
from axial_deeplab.prediction.batch import PanopticPrediction
from axial_deeplab.util.files import write_text
from axial_deeplab.visualization.error_map import ERROR_COLORS, draw_error_map
from axial_deeplab.visualization.overlay import draw_overlay, in_color

# Longer side of the pictures, pixels: what the page has room for, so that names are drawn to be read there.
PANEL_SIZE = 640
PANELS = ("image", "ground truth", "prediction", "errors")
# With more classes the table of confusions has no room; the commonest mistakes are listed either way.
MOST_CLASSES_OF_CONFUSION = 40
MISTAKES_LISTED = 15


class Example(NamedTuple):
    """An image that is kept for the report, as the JPEG files of its panels."""

    quality: float
    file_name: str
    pictures: tuple[bytes, ...]


class ReportState(NamedTuple):
    """What one process has collected."""

    best: list[Example]
    worst: list[Example]
    network_ms: list[float]
    post_processing_ms: list[float]


class EvaluationReport:
    """Collects what the page shows while images are evaluated; memory does not grow with their number.

    Args:
        categories: categories of the data set.
        examples: how many of the best and of the worst images to show.
    """

    def __init__(self, categories: Categories, *, examples: int = 6) -> None:
        self.categories = categories
        self.examples = examples
        self.state = ReportState([], [], [], [])

    def add(self, sample: Sample, prediction: PanopticPrediction) -> None:
        """Take an image and its prediction into account."""
        assert sample.truth is not None
        self.state.network_ms.append(prediction.network_ms)
        self.state.post_processing_ms.append(prediction.post_processing_ms)
        metric = PanopticQuality(self.categories)
        metric.update(sample.truth, prediction.result)
        quality = metric.compute().all.pq
        # Nothing in the image counts, or better and worse ones are kept already.
        if math.isnan(quality) or not any(self._deserves(quality, kept, sign) for kept, sign in self._kept()):
            return
        pictures = tuple(_jpeg(picture) for picture in self._draw(sample, prediction))
        example = Example(quality, sample.file_name, pictures)
        for kept, _ in self._kept():
            kept.append(example)
        self._keep_few()

    def load_states(self, states: Sequence[ReportState]) -> None:
        """Replace what was collected by what several processes have collected together."""
        self.state = ReportState(
            *([item for part in parts for item in part] for parts in zip(*states, strict=True))
        )
        self._keep_few()

    def _kept(self) -> tuple[tuple[list[Example], int], ...]:
        """Return the lists of examples, and the sign of the quality by which they are chosen."""
        return (self.state.best, 1), (self.state.worst, -1)

    def _deserves(self, quality: float, kept: list[Example], sign: int) -> bool:
        return len(kept) < self.examples or sign * quality > sign * kept[-1].quality

    def _keep_few(self) -> None:
        for kept, sign in self._kept():
            # Names decide between equals, so that sharing images out changes nothing.
            kept.sort(key=lambda example: (-sign * example.quality, example.file_name))
            del kept[self.examples :]

    def write(
        self,
        path: str | os.PathLike[str],
        panoptic: PanopticQualityResult,
        semantic: SemanticIoUResult,
        confusion: NDArray[np.int64],
        *,
        title: str,
    ) -> None:
        """Write the page.

        Args:
            path: HTML file.
            panoptic: panoptic quality of all images.
            semantic: intersection over union of all images.
            confusion: pixels of each true class that were predicted as each class, and as void in the last
                column (classes, classes + 1).
            title: headline, such as the names of the weights and of the data.

        Raises:
            OSError: the file cannot be written.
        """
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters["percent"] = lambda x: "–" if math.isnan(x) else f"{x:.1f}"
        template = environment.from_string(
            files("axial_deeplab.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8")
        )
        page = template.render(
            title=title,
            groups={"all": panoptic.all, "things": panoptic.things, "stuff": panoptic.stuff},
            semantic=semantic,
            classes=list(zip(panoptic.per_class, semantic.per_class, strict=True)),
            mistakes=_commonest_mistakes(confusion, self.categories),
            confusion=_confusion_table(confusion, self.categories),
            examples={"Worst": _shown(self.state.worst), "Best": _shown(self.state.best)},
            panels=PANELS,
            error_colors=ERROR_COLORS,
            times={
                "network": _statistics(self.state.network_ms),
                "post-processing": _statistics(self.state.post_processing_ms),
            },
            num_images=len(self.state.network_ms),
        )
        write_text(path, page)

    def _draw(self, sample: Sample, prediction: PanopticPrediction) -> list[Image.Image]:
        """Draw the panels of an example."""
        assert sample.truth is not None
        matches = PanopticQuality(self.categories).match(sample.truth, prediction.result)
        size = _size_of_panels(*sample.size)
        # Enlarged pictures keep their pixels visible: they show what the network saw.
        method = Image.Resampling.NEAREST if size > sample.size else Image.Resampling.BOX
        image = np.asarray(Image.fromarray(in_color(sample.image)).resize(size[::-1], method))
        truth, predicted = (
            replace(each, map=resized_map(each.map, size)) for each in (sample.truth, prediction.result)
        )
        return [
            Image.fromarray(image),
            draw_overlay(image, truth, self.categories),
            draw_overlay(image, predicted, self.categories),
            draw_error_map(image, truth.map, predicted.map, matches),
        ]


def _size_of_panels(height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the panels: the image's, reduced, or enlarged by a whole number."""
    scale = PANEL_SIZE / max(height, width)
    scale = scale if scale < 1 else int(scale)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shown(examples: list[Example]) -> list[dict[str, Any]]:
    return [
        {**each._asdict(), "pictures": [base64.b64encode(jpeg).decode() for jpeg in each.pictures]}
        for each in examples
    ]


def _commonest_mistakes(confusion: NDArray[np.int64], categories: Categories) -> list[dict[str, Any]]:
    names = [*categories.names, "void"]
    totals = confusion.sum(axis=1)
    wrong = confusion.copy()
    wrong[np.arange(len(wrong)), np.arange(len(wrong))] = 0
    commonest = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES_LISTED]
    mistakes = []
    for true, predicted in zip(*np.unravel_index(commonest, wrong.shape), strict=True):
        pixels = int(wrong[true, predicted])
        if pixels:
            share = 100 * pixels / int(totals[true])
            mistakes.append({"true": names[true], "predicted": names[predicted], "share": share})
    return mistakes


def _confusion_table(confusion: NDArray[np.int64], categories: Categories) -> dict[str, Any] | None:
    """Return shares in percent of each true class; None if there are too many classes to show."""
    if len(categories) > MOST_CLASSES_OF_CONFUSION:
        return None
    totals = confusion.sum(axis=1, keepdims=True)
    shares = 100 * confusion / np.maximum(totals, 1)
    return {
        "columns": [*categories.names, "void"],
        "rows": [
            (name, row.tolist())
            for name, row, total in zip(categories.names, shares, totals[:, 0], strict=True)
            if total
        ],
    }


def _statistics(times_ms: list[float]) -> dict[str, float]:
    if not times_ms:
        return {}
    median, slow = np.percentile(times_ms, [50, 95])
    return {"mean": float(np.mean(times_ms)), "median": float(median), "95th percentile": float(slow)}


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
