"""Panoptic quality, mIoU and AP of a network on a data set."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from axial_deeplab.config.schema import DataConfig
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.data.panoptic_dataset import Sample
from axial_deeplab.evaluation.instance_ap import InstanceAPResult, create_instance_ap
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult
from axial_deeplab.evaluation.processes import Processes, join_processes
from axial_deeplab.evaluation.report import EvaluationReport
from axial_deeplab.evaluation.semantic_iou import SemanticIoU, SemanticIoUResult
from axial_deeplab.evaluation.workers import check_num_workers, map_in_order
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic, semantic_map
from axial_deeplab.panoptic.writer import PanopticWriter, refuse_data_set
from axial_deeplab.post_processing import PostProcessing, warn_of_left_out
from axial_deeplab.prediction.batch import PanopticPrediction, View, predict_panoptic
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.predictor import Predictor


@dataclass(frozen=True)
class EvaluationResult:
    """What `PanopticEvaluator` measured.

    Args:
        panoptic: panoptic quality of all, things, stuff and each class, percent.
        semantic: intersection over union of the classes, percent.
        num_images: how many images that is.
        network_ms: mean time of the network for an image, milliseconds.
        post_processing_ms: mean time from its outputs to the segments of an image, milliseconds.
        instances: average precision of the instances, percent, if it was measured.
        measured: what was measured and how: network, scales, flip.
    """

    panoptic: PanopticQualityResult
    semantic: SemanticIoUResult
    num_images: int
    network_ms: float
    post_processing_ms: float
    instances: InstanceAPResult | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Return the numbers that a training logs, percent."""
        quality = self.panoptic
        numbers = {
            "PQ": quality.all.pq,
            "SQ": quality.all.sq,
            "RQ": quality.all.rq,
            "PQ_things": quality.things.pq,
            "PQ_stuff": quality.stuff.pq,
            "mIoU": self.semantic.mean_iou,
        }
        return numbers if self.instances is None else numbers | {"AP": self.instances.ap}

    def to_text(self, *, classwise: bool = False) -> str:
        """Return the table of panoptic quality, then AP, mIoU and the time for an image.

        Args:
            classwise: add a line for each class.
        """
        instances = "" if self.instances is None else f"{self.instances.to_text()}\n"
        return (
            f"{self.panoptic.to_text(classwise=classwise)}\n{instances}"
            f"mIoU {self.semantic.mean_iou:.1f}; {self.num_images} images; all qualities in percent\n"
            f"time for an image: network {self.network_ms:.0f} ms, "
            f"post-processing {self.post_processing_ms:.0f} ms"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, percent and milliseconds; the panoptic keys are panopticapi's."""
        instances = {} if self.instances is None else {"instances": self.instances.to_json()}
        return self.panoptic.to_json() | {
            "semantic": self.semantic.to_json(),
            **instances,
            "num_images": self.num_images,
            "network_ms": self.network_ms,
            "post_processing_ms": self.post_processing_ms,
            **self.measured,
        }


class _Image(NamedTuple):
    """What is kept of the prediction of an image besides its quality."""

    network_ms: float
    post_processing_ms: float
    num_left_out: int
    certainty: Certainty


class EvaluationState(NamedTuple):
    """What adds up over images, and over processes."""

    panoptic: NDArray[np.int64]
    semantic: NDArray[np.int64]
    instances: list[Any]
    images: list[_Image]


class PanopticEvaluator:
    """Predict images one by one and sum up panoptic quality, mIoU and, if asked, AP.

    Args:
        categories: categories of the data set.
        post_processing: what makes segments from the outputs of the network.
        view: how the network sees an image; None is at its size.
        ap: "cityscapes" or "coco", whose average precision of the instances is measured; None for none.

    Raises:
        ValueError: ap is not as above, or pycocotools is missing.
    """

    def __init__(
        self,
        categories: Categories,
        post_processing: PostProcessing,
        view: View | None = None,
        *,
        ap: str | None = None,
    ) -> None:
        self.categories = categories
        self.post_processing = post_processing
        self.view = view
        self.ap = ap
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.panoptic_quality = PanopticQuality(self.categories)
        self.semantic_iou = SemanticIoU(len(self.categories), ignore_label=-1)
        self.instance_ap = None if self.ap is None else create_instance_ap(self.ap, self.categories)
        self.images: list[_Image] = []

    def update(self, model: nn.Module, sample: Sample) -> PanopticPrediction:
        """Predict an image and add its score.

        Args:
            model: the network, in evaluation mode, on its device.
            sample: an image with ground truth.

        Returns:
            The prediction.
        """
        prediction = predict_panoptic(model, sample.image, self.post_processing, self.view)
        self.add(sample, prediction)
        return prediction

    def add(self, sample: Sample, prediction: PanopticPrediction) -> None:
        """Add the score of a prediction for an image with ground truth."""
        assert sample.truth is not None
        self.panoptic_quality.update(sample.truth, prediction.result)
        if self.instance_ap is not None:
            self.instance_ap.update(sample.truth, prediction.result, image_id=sample.image_id)
        self.semantic_iou.update(semantic_map(sample.truth.map, ignore_label=-1), prediction.semantic)
        certainty = Certainty.of(prediction.result.segments, self.categories.thing_ids)
        self.images.append(
            _Image(prediction.network_ms, prediction.post_processing_ms, prediction.num_left_out, certainty)
        )

    def state(self) -> EvaluationState:
        """Return the sums so far, to be added to those of other processes."""
        instances = [] if self.instance_ap is None else self.instance_ap.state
        return EvaluationState(
            self.panoptic_quality.state, self.semantic_iou.confusion, instances, self.images
        )

    def load_states(self, states: Sequence[EvaluationState]) -> None:
        """Replace the sums by those of several processes together."""
        self.reset()
        for state in states:
            self.panoptic_quality.state += state.panoptic
            self.semantic_iou.confusion += state.semantic
            if self.instance_ap is not None:
                self.instance_ap.state += state.instances
            self.images += state.images

    def low_scores(self) -> dict[str, float]:
        """Return which mean scores are low for this network, if all images so far are of its kind."""
        return Certainty.usual_lowest(
            [image.certainty for image in self.images] or [Certainty(nan, nan)]
        ).to_json()

    def compute(self) -> EvaluationResult:
        """Return the quality of all images so far; warn of images with more objects than `top_k`."""
        warn_of_left_out(
            [image.num_left_out for image in self.images],
            self.post_processing.top_k,
            self.post_processing.top_k_area,
        )
        times = [(image.network_ms, image.post_processing_ms) for image in self.images] or [(0.0, 0.0)]
        network_ms, post_processing_ms = np.mean(times, axis=0)
        return EvaluationResult(
            self.panoptic_quality.compute(),
            self.semantic_iou.compute(),
            len(self.images),
            float(network_ms),
            float(post_processing_ms),
            None if self.instance_ap is None else self.instance_ap.compute(),
        )


def evaluate(
    weights: str | os.PathLike[str],
    data: DataConfig,
    *,
    device: str = "auto",
    ap: str | None = None,
    limit: int | None = None,
    num_workers: int | None = None,
    output: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> EvaluationResult:
    """Predict the images of a data set at their size; measure panoptic quality, mIoU and, if asked, AP.

    Started by torchrun, several processes share the images out, and each returns the result of all images: to
    the last bit that of a single process.

    Args:
        weights: file of weights, checkpoint, or name of shipped weights.
        data: the settings of the data set, whose part val it is.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...
        ap: see `PanopticEvaluator`.
        limit: only the first so many images, None for as many as the settings say.
        num_workers: threads that read images ahead; None is one a processor, at most 4.
        output: keep the predictions in this folder, as panoptic/*.png and panoptic.json.
        report: write a page about the result into this folder, report.html.
        progress: show a progress bar.
        options: further arguments of `Predictor`: how the network sees the images (`max_size`, `scales`,
            `flip`, `long_side`, `value_range`, `page`, `channels`), and those of `PostProcessing`.

    Raises:
        ValueError: the weights, the data or an option are not valid, or the classes of the weights are not
            those of the data.
        OSError: a file is missing or cannot be written.
    """
    num_workers = check_num_workers(num_workers)
    with join_processes() as processes:
        predictor = Predictor(weights, processes.device(device), **options)
        view = predictor.view
        data = replace(data, value_range=view.value_range, page=view.page or data.page)
        dataset = open_dataset(data, "val", limit=limit)
        dataset.channels = view.channels
        source = f"json {data.val.json}" if data.val.json else f"root {data.val.root}"
        dataset.categories.require_same_classes(predictor.categories, source, f"weights {weights}")
        evaluator = PanopticEvaluator(dataset.categories, predictor.post_processing, view, ap=ap)
        writer = None
        if output is not None:
            folder = Path(output)
            refuse_data_set(folder / "panoptic.json")
            writer = PanopticWriter(folder / "panoptic", folder / "panoptic.json", dataset.categories)
        summary = None if report is None else EvaluationReport(dataset.categories)
        hidden = not (progress and processes.is_first)
        own = processes.share(len(dataset))
        predictor.warm_up()
        samples = map_in_order(dataset.__getitem__, own, num_workers)
        with told_together():
            for sample in tqdm(samples, total=len(own), disable=hidden, desc="evaluate"):
                prediction = evaluator.update(predictor.model, sample)
                if summary is not None:
                    summary.add(sample, prediction)
                if writer is not None:
                    writer.add(prediction.result, image_file_name=sample.file_name, image_id=sample.image_id)
        evaluator.load_states(processes.gather(evaluator.state()))
        if writer is not None:
            close_writer(writer, processes)
        measured = {"network": predictor.network, "scales": list(view.scales), "flip": view.flip}
        result = replace(evaluator.compute(), measured=measured)
        if report is not None and summary is not None:
            summary.load_states(processes.gather(summary.state))
            if processes.is_first:
                confusion = evaluator.semantic_iou.confusion
                title = f"{Path(weights).name} on {data.val.json or data.val.root}"
                summary.write(
                    Path(report) / "report.html", result.panoptic, result.semantic, confusion, title=title
                )
    return result


def evaluate_system(
    find: Callable[[Sample], Panoptic],
    data: DataConfig,
    *,
    ap: str | None = None,
    limit: int | None = None,
    num_workers: int | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Measure another system on a data set as `evaluate` measures our networks.

    Further arguments are those of `evaluate`.

    Args:
        find: segments a sample's `image` (H, W, 3), uint8, at its size; the functions of
            `evaluation.foreign` make a `Panoptic` of what other packages return.
        ap: needs scores of the segments.

    Returns:
        The qualities; all of the time counts as that of the network.

    Raises:
        ValueError: the data are not valid, or a segmentation is not of its image.
        OSError: a file is missing.
    """
    dataset = open_dataset(data, "val", limit=limit)
    evaluator = PanopticEvaluator(dataset.categories, PostProcessing(dataset.categories.thing_ids), ap=ap)
    samples = map_in_order(dataset.__getitem__, list(range(len(dataset))), check_num_workers(num_workers))
    for sample in tqdm(samples, total=len(dataset), disable=not progress, desc="evaluate"):
        start = time.perf_counter()
        result = find(sample)
        elapsed = 1e3 * (time.perf_counter() - start)
        semantic = semantic_map(result.map, ignore_label=-1)
        evaluator.add(sample, PanopticPrediction(result, semantic, elapsed, 0.0))
    return evaluator.compute()


def close_writer(writer: PanopticWriter, processes: Processes) -> None:
    """Write one JSON of what all processes have written.

    Raises:
        ValueError: two of them wrote a PNG of the same name.
        OSError: the JSON cannot be written.
    """
    written = processes.collect(list(writer.written()))
    names = {each.annotation["file_name"] for each in written}
    if len(names) < len(written):
        raise ValueError(
            "images must have different names, suffixes aside, for several processes to write predictions, "
            f"got {len(names)} names of {len(written)} images; take one process"
        )
    if processes.is_first:
        writer.replace(written)
        writer.close()
