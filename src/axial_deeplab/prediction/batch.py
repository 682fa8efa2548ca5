"""Images of any sizes through a network, each seen as a `View` says, and the segments that are in them."""

import dataclasses
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import check_working_size, working_scale
from axial_deeplab.data.value_range import FULL, ValueRange
from axial_deeplab.models.image_channels import match_channels
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.ops.dispatch import is_avoided
from axial_deeplab.panoptic.map import Panoptic, resized_map
from axial_deeplab.post_processing import Logits, PostProcessing
from axial_deeplab.prediction.doubts import agreement
from axial_deeplab.prediction.multi_scale import average_outputs, parse_scales

ImageArray = NDArray[np.uint8]


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
        return {"value_range": ValueRange(self.value_range), "page": self.page, "channels": self.channels}

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

    Further arguments are those of `predict_panoptic`.

    Args:
        images: (H, W, C) each, uint8.
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
        if device.type == "cuda":
            torch.cuda.synchronize(device)
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
    result = Panoptic(panoptic, segments)
    if panoptic.shape != size:
        semantic = resized_map(semantic, size)
        result = Panoptic(resized_map(panoptic, size), segments).measured()
    post_processing_ms = 1e3 * (time.perf_counter() - start)
    agreed = math.nan
    if with_agreement:
        things = {segment.id for segment in segments if segment.train_id in post_processing.thing_ids}
        agreed = agreement(panoptic, cast(Tensor, outputs["offsets"])[0], things)
    return PanopticPrediction(result, semantic, network_ms, post_processing_ms, output.num_left_out, agreed)


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
    memory = memory_of(device)
    # Refused before the system kills the process: the outputs alone exceed the memory.
    if memory is not None and int(maps * 4 * (num_classes + 3)) * num_images * height * width > memory:
        raise ValueError(_too_large(height, width))
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
