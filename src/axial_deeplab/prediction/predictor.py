"""From an image to its panoptic segmentation: functions for evaluation and prediction, a class for users."""

import dataclasses
import functools
import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import check_working_size, read_image, to_rgb, working_scale
from axial_deeplab.data.value_range import FULL, ValueRange
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.image_channels import match_channels
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.ops.dispatch import is_avoided
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic, PanopticMap, Segment, resized_map
from axial_deeplab.panoptic.png import to_coco_annotation
from axial_deeplab.post_processing import Logits, PostProcessing, refuse_unknown, warn_of_left_out
from axial_deeplab.prediction.doubts import Certainty, agreement
from axial_deeplab.prediction.multi_scale import average_outputs, parse_scales
from axial_deeplab.visualization.overlay import draw_overlay
from axial_deeplab.weights.loaded import LoadedWeights, load_weights

if TYPE_CHECKING:
    from axial_deeplab.prediction.large.results import LargePrediction

ImageArray = NDArray[np.uint8]
ImageLike = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor


class PanopticPrediction(NamedTuple):
    """What the network sees in one image, in our map type.

    Args:
        result: the panoptic map (H, W) and its segments.
        semantic: the most probable class of each pixel (H, W), int32 train ids.
        network_ms: time of the network, milliseconds.
        post_processing_ms: time from its outputs to the segments, milliseconds.
        num_left_out: centers of objects beyond `top_k`.
        agreement: see `doubts.agreement`; nan where it was not asked for.
    """

    result: Panoptic
    semantic: NDArray[np.int32]
    network_ms: float
    post_processing_ms: float
    num_left_out: int = 0
    agreement: float = math.nan


@dataclass(frozen=True, eq=False)
class Prediction:
    """What `Predictor` returns: the panoptic segmentation of one image, at its size.

    Args:
        segmentation: id of the segment of each pixel (H, W), int32, as in the PNG: 0 is void.
        segments_info: for each segment a dictionary, always with the keys `id`, `category_id` (the data
            set's), `name`, `isthing`, `score` (0..1), `area` (pixels) and `bbox` (left, top, width, height in
            pixels).
        semantic: category id of the most probable class of each pixel (H, W), int32 (int64 where an id needs
            it), without void.
        result: the same in our types; its parts are `panoptic`, a map (H, W), int32, and `segments`, one for
            each value of the map but void.
        categories: the label space.
        image: the image (H, W, 3), uint8, or the channels that the network sees (H, W, C).
        network_ms: time of the network, milliseconds.
        post_processing_ms: time from its outputs to the segments, milliseconds.
        num_left_out: centers of objects beyond `top_k`, whose pixels other segments have taken.
        agreement: how well the pixels of each object agree on its center, from 1 down; nan without objects.
    """

    segmentation: NDArray[np.int32]
    segments_info: list[dict[str, Any]]
    semantic: NDArray[np.integer[Any]]
    result: Panoptic
    categories: Categories
    image: ImageArray
    network_ms: float
    post_processing_ms: float
    num_left_out: int = 0
    agreement: float = math.nan

    @property
    def panoptic(self) -> PanopticMap:
        """The panoptic map (H, W), int32."""
        return self.result.map

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.result.size

    @property
    def segments(self) -> Sequence[Segment]:
        """One for each value of `panoptic` but void."""
        return self.result.segments

    @property
    def mean_scores(self) -> tuple[float, float]:
        """The mean score of the segments, each counted with its area, and that of things; nan without any."""
        return self.certainty[:2]

    @property
    def certainty(self) -> Certainty:
        """How sure the network is: `mean_scores` and `agreement`."""
        return Certainty.of(self.segments, self.categories.thing_ids, self.agreement)

    def draw(self, **options: Any) -> Image.Image:
        """Return the image with its segments drawn over it.

        Args:
            options: arguments of `axial_deeplab.visualization.draw_overlay`.
        """
        return draw_overlay(self.image, self.result, self.categories, **options)

    def to_transformers(self) -> dict[str, Any]:
        """Return what `post_process_panoptic_segmentation` of transformers returns for an image.

        Returns:
            `segmentation`, an int32 tensor (H, W) of segment ids 1, 2, ..., 0 being void; `segments_info`,
            for each segment a dictionary with `id`, `label_id` (train id), `was_fused` (stuff, whose regions
            are one segment) and `score`.
        """
        ordered = sorted(self.segments, key=lambda segment: segment.id)
        values = np.array([0, *(segment.id for segment in ordered)])
        ids = np.searchsorted(values, self.panoptic).astype(np.int32)
        infos = [
            {
                "id": number,
                "label_id": segment.train_id,
                "was_fused": not self.categories[segment.train_id].is_thing,
                "score": segment.score,
            }
            for number, segment in enumerate(ordered, start=1)
        ]
        return {"segmentation": torch.from_numpy(ids), "segments_info": infos}

    def to_coco_instances(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Return the things as COCO's results have them: masks as compressed run lengths, and scores.

        pycocotools' `loadRes` takes the list as it is, and adds the boxes.

        Args:
            image_id: number of the image in its data set.

        Raises:
            ValueError: pycocotools is missing (extra `coco`).
        """
        from axial_deeplab.prediction.labels import Labels
        from axial_deeplab.prediction.save.convert import to_coco_instances

        return to_coco_instances(Labels.of(self.result), self.categories, image_id)

    def to_supervision(self) -> Any:
        """Return the things as `supervision.Detections`: boxes, masks, scores; classes are train ids.

        Raises:
            ValueError: the package supervision is missing.
        """
        from axial_deeplab.prediction.labels import Labels
        from axial_deeplab.prediction.save.convert import to_supervision

        return to_supervision(Labels.of(self.result), self.categories)

    def to_fiftyone(self) -> Any:
        """Return the things as `fiftyone.Detections`: names, relative boxes, masks in them, scores.

        Raises:
            ValueError: the package fiftyone is missing.
        """
        from axial_deeplab.prediction.labels import Labels
        from axial_deeplab.prediction.save.convert import to_fiftyone

        return to_fiftyone(Labels.of(self.result), self.categories)


@dataclass(frozen=True)
class View:
    """How a network sees an image.

    Args:
        max_size: a longer side than so many pixels is reduced for the network and the post-processing, and
            the map is enlarged to the image; `stuff_area`, `thing_area` and `top_k_area` still count pixels
            at the size that it would have else. None never reduces.
        scales: magnifications at which the network sees the (resized) image; the outputs are averaged.
        flip: whether it sees each of them mirrored, too.
        long_side: pixels that the longer side gets for the network and the post-processing, whose
            `stuff_area` and `thing_area` count pixels at this size; the map is brought back to the image.
            None keeps it.
        value_range: which values are black and white in images of more than 8 bits, a rule of `ValueRange`.
        page: page of image files that have several, from 1 on; None takes the first, with a warning.
        channels: channels of image files; None takes RGB.

    Raises:
        ValueError: long_side, max_size or a scale is not positive, or there is no such rule.
    """

    max_size: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    long_side: int | None = None
    value_range: str = FULL.rule
    page: int | None = None
    channels: Channels | None = None

    def __post_init__(self) -> None:
        check_working_size(long_side=self.long_side, max_size=self.max_size)
        object.__setattr__(self, "scales", parse_scales(self.scales))
        ValueRange(self.value_range)  # refuses what is none
        if self.page is not None and not (isinstance(self.page, Integral) and self.page >= 1):
            raise ValueError(f"page must be at least 1, got {self.page!r}; correct --page")

    @property
    def num_channels(self) -> int:
        """Channels of the images."""
        return 3 if self.channels is None else len(self.channels.numbers)

    @property
    def reading(self) -> dict[str, Any]:
        """How image files are read: arguments of `read_image`."""
        return {
            "value_range": ValueRange(self.value_range),
            "page": self.page,
            "channels": self.channels,
        }

    def resized(self, image: ImageArray) -> ImageArray:
        """Return the image (H, W, C) at the size that scale 1 is."""
        height, width, channels = image.shape
        scale = working_scale((height, width), long_side=self.long_side, max_size=self.max_size)
        if scale == 1:
            return image
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        planes = [
            Image.fromarray(image[..., c]).resize(size, Image.Resampling.BILINEAR) for c in range(channels)
        ]
        return np.stack([np.asarray(plane) for plane in planes], axis=2)

    def reduction(self, size: tuple[int, int]) -> float:
        """Return which part `max_size` leaves of the sides of an image of (height, width)."""
        wanted = working_scale(size, long_side=self.long_side)
        return working_scale(size, long_side=self.long_side, max_size=self.max_size) / wanted


def predict_panoptic(
    model: nn.Module, image: ImageArray, post_processing: PostProcessing, view: View | None = None
) -> PanopticPrediction:
    """Predict the panoptic segmentation of an image at its size.

    Args:
        model: a segmentation network, on its device; evaluation mode is up to the caller.
        image: (H, W, C), uint8.
        post_processing: what makes segments from the network's outputs.
        view: how the network sees the image; None is at its size.

    Raises:
        ValueError: the image does not fit into memory, or the outputs are not finite.
    """
    return predict_panoptic_batch(model, [image], post_processing, view)[0]


def predict_panoptic_batch(
    model: nn.Module,
    images: Sequence[ImageArray],
    post_processing: PostProcessing,
    view: View | None = None,
    *,
    with_agreement: bool = False,
) -> list[PanopticPrediction]:
    """Predict images together, each as if it were alone.

    Images of one size run through the network at once, others after each other: none is padded to the size
    of another, which attention would see.

    Args:
        model: see `predict_panoptic`.
        images: (H, W, C) each, uint8.
        post_processing: see `predict_panoptic`.
        view: see `predict_panoptic`.
        with_agreement: measure `doubts.agreement`, too.

    Raises:
        ValueError: the images of one size do not fit into memory, or the outputs are not finite.
    """
    view = view or View()
    seen = [view.resized(image) for image in images]
    of_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(seen):
        of_size.setdefault(image.shape, []).append(index)
    predictions: dict[int, PanopticPrediction] = {}
    device = next(model.parameters()).device
    for indices in of_size.values():
        start = time.perf_counter()
        outputs = run_network(model, np.stack([seen[index] for index in indices]), device, view)
        _wait_for(device)
        network_ms = 1e3 * (time.perf_counter() - start) / len(indices)
        for number, index in enumerate(indices):
            own = {name: output[number : number + 1] for name, output in outputs.items()}
            size = (images[index].shape[0], images[index].shape[1])
            part = view.reduction(size) ** 2
            at_this_size = dataclasses.replace(
                post_processing,
                stuff_area=round(post_processing.stuff_area * part),
                thing_area=round(post_processing.thing_area * part),
                top_k_area=post_processing.top_k_area and max(1, round(post_processing.top_k_area * part)),
            )
            predictions[index] = _post_processed(own, size, at_this_size, network_ms, with_agreement)
    return [predictions[index] for index in range(len(images))]


def _post_processed(
    outputs: Mapping[str, Logits],
    size: tuple[int, int],
    post_processing: PostProcessing,
    network_ms: float,
    with_agreement: bool,
) -> PanopticPrediction:
    """Turn the outputs for one image into segments at its (height, width)."""
    start = time.perf_counter()
    output = post_processing(outputs)[0]
    panoptic, segments = output.panoptic.cpu().numpy(), output.segments
    semantic = output.semantic.to(torch.int32).cpu().numpy()
    if panoptic.shape != size:
        panoptic, semantic = (resized_map(each, size) for each in (panoptic, semantic))
        result = Panoptic(panoptic, segments).measured()
    else:
        result = Panoptic(panoptic, segments)
    post_processing_ms = 1e3 * (time.perf_counter() - start)
    agreed = math.nan
    if with_agreement:
        things = {segment.id for segment in segments if segment.train_id in post_processing.thing_ids}
        agreed = agreement(output.panoptic.cpu().numpy(), cast(Tensor, outputs["offsets"])[0], things)
    return PanopticPrediction(result, semantic, network_ms, post_processing_ms, output.num_left_out, agreed)


class Predictor:
    """Panoptic segmentation of single images.

    Args:
        weights: file, name of shipped weights, or what `load_weights` returned.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps" ...
        max_size: longest side in pixels that the network sees, to bound its memory; larger images are reduced
            for it. None for the limit that is stored with the weights, if any.
        scales: magnifications at which the network sees an image, whose outputs are averaged; or the name of
            a data set, "coco", "cityscapes" or "mapillary", for those of the paper. None for those that are
            stored with the weights, or else 1 alone.
        flip: whether it sees each of them mirrored, too.
        long_side: pixels that the longer side of each image gets for the network. None for what is stored
            with the weights, if anything; 0 keeps the size of the images.
        value_range: which values are black and white in images of more than 8 bits: "full" (of the type),
            "bits 12", "percentiles 1 99", "0 4095". None for what is stored with the weights, else "full".
        page: page of image files that have several, from 1 on. None for what is stored with the weights, else
            the first.
        channels: numbers of the channels of image files that the network sees, from 1 on. None for those that
            are stored with the weights, else RGB, or the first ones for a network of other than 1 or 3.
        knobs: arguments of `PostProcessing` (`center_threshold`, `nms_kernel`, `top_k`, `stuff_area`, ...)
            that replace those stored with the weights.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: the weights are broken or not those of a segmentation network, the device does not exist,
            a side, a scale or a knob is unknown or out of its range, or the network has another number of
            channels.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | LoadedWeights,
        device: str | torch.device = "auto",
        *,
        max_size: int | None = None,
        scales: str | Sequence[float] | None = None,
        flip: bool = False,
        long_side: int | None = None,
        value_range: str | None = None,
        page: int | None = None,
        channels: Sequence[int] | None = None,
        **knobs: Any,
    ) -> None:
        if scales is not None:
            scales = parse_scales([scales] if isinstance(scales, str) else scales)
        given = {
            "device": device,
            "max_size": max_size,
            "scales": scales,
            "flip": flip,
            "long_side": long_side,
            "value_range": value_range,
            "page": page,
            "channels": channels,
            **knobs,
        }
        self._made_of = (_as_absolute(weights), given)
        self.device = choose_device(device)
        loaded = weights if isinstance(weights, LoadedWeights) else load_weights(weights)
        if not hasattr(loaded.model, "semantic_head"):
            raise ValueError(
                f"weights must be those of a segmentation network, got {loaded.metadata['model']['name']}; "
                "choose weights of an axial_deeplab_* or panoptic_deeplab_* network"
            )
        self.network: dict[str, Any] = dict(loaded.metadata.get("model") or {})
        self.categories = loaded.categories
        self.low_scores = Certainty.lowest_of(loaded.metadata)
        self.post_processing = PostProcessing.from_metadata(
            loaded.metadata, loaded.categories.thing_ids, **knobs
        )
        self.view = stored_view(
            loaded,
            flip=flip,
            scales=scales,
            long_side=long_side,
            max_size=max_size,
            value_range=value_range,
            page=page,
            channels=channels,
        )
        self.model = fuse(loaded.model).to(self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send to other processes what it is made of: there it is made again, on a device of theirs."""
        weights, given = self._made_of
        settings = {"post_processing": self.post_processing, "view": self.view}  # which may be others by now
        return functools.partial(Predictor, **given), (weights,), settings

    def __copy__(self) -> "Predictor":
        """Share the network, as copies of other objects share what they hold."""
        copied = object.__new__(Predictor)
        copied.__dict__.update(self.__dict__)
        return copied

    @overload
    def __call__(self, image: ImageLike) -> Prediction: ...

    @overload
    def __call__(self, image: list[ImageLike] | tuple[ImageLike, ...]) -> list[Prediction]: ...

    def __call__(
        self, image: ImageLike | list[ImageLike] | tuple[ImageLike, ...]
    ) -> Prediction | list[Prediction]:
        """Segment an image, or several.

        Args:
            image: path of an image file; PIL image; uint8 array (H, W, 3) or greyscale (H, W); or uint8
                tensor (3, H, W). RGB; arrays for a network of chosen channels have just these. A list or
                tuple of them gives a list of predictions, made one by one
                (`predict_batch` shows the network those of one size together).

        Raises:
            ValueError: the image is damaged, has another type or shape, or does not fit into memory.
            OSError: the file cannot be opened.
        """
        if isinstance(image, list | tuple):
            return [self(each) for each in image]
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Segment images together; each prediction is what it would be alone.

        Images of one size run through the network at once, which keeps a GPU busy; their memory adds up.

        Args:
            images: as for a single one, of any sizes.

        Raises:
            ValueError: an image is not valid, or those of one size do not fit into memory together.
            OSError: a file cannot be opened.
        """
        pixels = [self.read(image) for image in images]
        predictions = predict_panoptic_batch(
            self.model, pixels, self.post_processing, self.view, with_agreement=True
        )
        knobs = self.post_processing
        warn_of_left_out((each.num_left_out for each in predictions), knobs.top_k, knobs.top_k_area)
        return [self._prediction(*each) for each in zip(pixels, predictions, strict=True)]

    def read(self, image: ImageLike) -> ImageArray:
        """Return the pixels of an image (H, W, 3), uint8, as the network is shown them.

        Args:
            image: as for a prediction.

        Raises:
            ValueError: the image is damaged, or has another type or shape.
            OSError: the file cannot be opened.
        """
        return _as_array(image, self.view)

    def predict_large(
        self,
        source: Any,
        output: str | os.PathLike[str],
        *,
        tile: int | None = None,
        overlap: int | None = None,
        progress: bool = False,
    ) -> "LargePrediction":
        """Segment an image of any size in tiles; memory does not grow with the image.

        The network sees tiles that overlap; their maps are blended on disk, and segments are found in the
        whole, so that no object is cut at a seam. `top_k` does not count: all centers are kept.

        Args:
            source: TIFF or GeoTIFF (read by windows), OME-Zarr folder, any other image file (decoded once, to
                disk), or an array (H, W, 3) or (H, W) that need not be in memory; (H, W, C) for a network of
                chosen channels.
            output: `.tif` file or `.zarr` folder for labels and classes, see `LargePrediction`; temporary
                files lie in a folder beside it.
            tile: side of the tiles in pixels, at least 64; None for 513, or down to 449 where less covers the
                image.
            overlap: pixels that neighbors share; None for 32, or a quarter of smaller tiles.
            progress: show progress bars.

        Raises:
            ValueError: the image cannot be read, an argument is out of its range, the disk has no room, or
                `long_side` or `fill_void` needs the whole image.
            OSError: a file cannot be opened or written.
        """
        from axial_deeplab.prediction.large.predict import predict_large

        return predict_large(self, source, output, tile=tile, overlap=overlap, progress=progress)

    @property
    def settings(self) -> str:
        """Text that is the same for predictors of the same weights and options, and differs for others."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        path = getattr(self.model, "path", None)  # of a network that another runtime executes
        digest.update(b"" if path is None else Path(path).read_bytes())
        digest.update(repr((self.categories.to_json(), self.post_processing, self.view)).encode())
        return digest.hexdigest()

    def warm_up(self) -> None:
        """Segment an image of nothing, so that the times of others lack what is loaded and compiled first.

        Without compiled code there is little of it.
        """
        if is_avoided():
            return
        size = getattr(self.model, "size", None) or (64, 64)
        image = np.zeros((*size, self.view.num_channels), np.uint8)
        predict_panoptic(self.model, image, self.post_processing)

    def _prediction(self, pixels: ImageArray, prediction: PanopticPrediction) -> Prediction:
        annotation, ids = to_coco_annotation(prediction.result, self.categories, 1, "")
        return Prediction(
            segmentation=ids,
            segments_info=[self._segment_info(entry) for entry in annotation["segments_info"]],
            semantic=_category_ids(self.categories)[prediction.semantic],
            result=prediction.result,
            categories=self.categories,
            image=pixels,
            network_ms=prediction.network_ms,
            post_processing_ms=prediction.post_processing_ms,
            num_left_out=prediction.num_left_out,
            agreement=prediction.agreement,
        )

    def _segment_info(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        category = self.categories[self.categories.train_id(entry["category_id"])]
        return {
            "id": entry["id"],
            "category_id": category.id,
            "name": category.name,
            "isthing": category.is_thing,
            "score": entry["score"],
            "area": entry["area"],
            "bbox": entry["bbox"],
        }


def _as_absolute(
    weights: str | os.PathLike[str] | LoadedWeights,
) -> str | os.PathLike[str] | LoadedWeights:
    """Return weights so that a process in another folder finds them."""
    is_file = not isinstance(weights, LoadedWeights) and Path(weights).exists()
    return Path(cast(str, weights)).resolve() if is_file else weights


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device of a name; "auto" is a CUDA GPU if there is one, else the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device must be auto, cpu or a GPU of this machine, got {device}: {reason}; try cpu"
        ) from None
    return chosen


def stored_view(loaded: LoadedWeights, *, flip: bool = False, **given: Any) -> View:
    """Return how a network sees images: as stored with its weights.

    Args:
        loaded: the weights.
        flip: see `View`.
        given: what replaces what is stored, as for `Predictor`; None does not.

    Raises:
        ValueError: see `Predictor`.
    """
    names = ("scales", "long_side", "max_size", "value_range", "page", "channels")
    given = dict.fromkeys(names) | given
    stored = dict(loaded.metadata.get("view") or {})
    num_channels = stored.pop("num_channels", None)
    refuse_unknown("view", stored, "weights", given)
    channels = _channels(loaded, given["channels"], stored.get("channels"), num_channels)
    view = {name: stored.get(name) if value is None else value for name, value in given.items()}
    # A long side of 0 keeps the size of the images.
    return View(
        flip=flip,
        scales=view["scales"] or (1.0,),
        long_side=view["long_side"] or None,
        max_size=view["max_size"],
        value_range=view["value_range"] or FULL.rule,
        page=view["page"],
        channels=channels,
    )


def _channels(
    loaded: LoadedWeights, given: Sequence[int] | None, stored: Sequence[int] | None, of: int | None
) -> Channels | None:
    """Return the channels of image files that a network sees: given ones, else the stored ones; None for RGB.

    Raises:
        ValueError: the network takes another number of channels.
    """
    name, taken = loaded.metadata["model"]["name"], loaded.metadata["model"].get("in_channels", 3)
    if given is not None:
        channels = Channels(tuple(given))
    elif stored is not None:
        channels = Channels(tuple(map(int, stored)), of=of)
    elif taken in (1, 3):
        return None
    else:
        channels = Channels(tuple(range(1, taken + 1)))
    number = len(channels.numbers)
    if number != taken and (taken, number) != (1, 3):  # of which grey is made
        raise ValueError(
            f"channels must be {taken} for {name} with these weights, got {number}: {list(channels.numbers)}"
            "; give as many, or train a network with data.channels"
        )
    return channels


def _as_array(image: ImageLike, view: View) -> ImageArray:
    """Return an image of any accepted kind as uint8 (H, W, C), C being 3 but for chosen channels."""
    if isinstance(image, str) and "://" in image:
        raise ValueError(f"image must be a file of this machine, got the address {image}; download it first")
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), **view.reading)
    if isinstance(image, Image.Image):
        image = to_rgb(ImageOps.exif_transpose(image), value_range=ValueRange(view.value_range))
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if isinstance(image, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    shape = tuple(array.shape)
    if array.ndim == 2:
        array = array[..., None]
    number, what = view.num_channels, "RGB" if view.channels is None else "the channels of the network"
    if array.ndim != 3 or 0 in array.shape or array.shape[2] not in ((1, 3) if number == 3 else (number,)):
        raise ValueError(
            f"image must be a path, a PIL image, an array (H, W, {number}) or (H, W), or a tensor "
            f"({number}, H, W), got shape {tuple(image.shape) if hasattr(image, 'shape') else shape}; one "
            f"image at a time, {what}"
        )
    if array.dtype != np.uint8:
        raise ValueError(f"image must be uint8 with values 0 to 255, got {array.dtype}; convert it")
    # A copy: whoever fills the array again, as cameras do, does not change the picture of the prediction.
    return np.array(np.broadcast_to(array, (*array.shape[:2], number)), order="C")


def run_network(model: nn.Module, images: ImageArray, device: torch.device, view: View) -> dict[str, Logits]:
    """Return the outputs for images (B, H, W, C) of one size.

    Raises:
        ValueError: they do not fit into memory.
    """
    num_images, height, width = images.shape[:3]
    num_classes = getattr(model, "config", {}).get("num_classes", 1)
    # float32 logits, heatmap and offsets at the padded size, and cropped to the image; a running average.
    maps = 1 + max(view.scales) ** 2 + (len(view.scales) > 1 or view.flip)
    once = view.scales == (1.0,) and not view.flip
    stays_small = once and device.type == "cpu" and type(model).forward is PanopticDeepLab.forward
    stays_small = stays_small and not is_avoided()
    if stays_small:
        num_classes //= 16
    _refuse_too_large(height, width, int(maps * 4 * (num_classes + 3)) * num_images, device)
    pixels = torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C"))
    try:
        with torch.no_grad():
            pixels = match_channels(model, pixels.to(device))
            if stays_small:
                return _outputs_at_low_resolution(cast(PanopticDeepLab, model), pixels)
            outputs = average_outputs(model, pixels, scales=view.scales, flip=view.flip)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "memory" not in str(error):
            raise
        raise ValueError(_too_large(height, width)) from None
    if device.type not in ("cpu", "cuda"):
        # Post-processing sums in double precision, which such devices lack.
        outputs = {name: output.cpu() for name, output in outputs.items()}
    return dict(outputs)


def _outputs_at_low_resolution(model: PanopticDeepLab, pixels: Tensor) -> dict[str, Logits]:
    """Return the outputs of a network on the CPU, the logits as small as the network makes them."""
    maps = model.low_resolution_maps(pixels)
    height, width = pixels.shape[-2:]
    logits = maps.pop("semantic_logits").float()
    upsampled = UpsampledLogits(logits, model.padded_size(height, width), (height, width))
    return {"semantic_logits": upsampled, **model.resized(maps, (height, width))}


def _refuse_too_large(height: int, width: int, bytes_of_a_pixel: int, device: torch.device) -> None:
    """Refuse what cannot fit before the system kills the process: the outputs alone exceed the memory."""
    memory = memory_of(device)
    if memory is not None and bytes_of_a_pixel * height * width > memory:
        raise ValueError(_too_large(height, width))


def memory_of(device: torch.device) -> int | None:
    """Return the bytes of memory that a device has, None if that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _too_large(height: int, width: int) -> str:
    better = max(64, max(height, width) // 4)
    return (
        f"image must fit into memory, got {height} x {width} pixels (height x width); "
        f"give max_size, such as {better} (--max-size {better}), to reduce it for the network"
    )


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _category_ids(categories: Categories) -> NDArray[np.integer[Any]]:
    """Return the ids as int32, or as int64 where they are hashes of names and need it."""
    wide = max(categories.ids) > np.iinfo(np.int32).max
    return np.asarray(categories.ids, dtype=np.int64 if wide else np.int32)
