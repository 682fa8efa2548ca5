"""From the three outputs of the network to a panoptic map and its segments, without a loop over pixels.

Letters: B images, C classes, H x W pixels, K centers, S segments. Every function works on the device of its
arguments.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.grouping.nearest_center import CenterGrid
from axial_deeplab.grouping.watershed import group_by_watershed
from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.ops.dispatch import is_avoided
from axial_deeplab.ops.operands import check_whole
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Segment

# Elements of the largest temporary tensor: some MB on a CPU, enough to keep a GPU busy.
_CPU_BLOCK, _GPU_BLOCK = 2**19, 2**25
_INT32_MAX = 2**31 - 1

# Logits of the classes (C, H, W), or (B, C, H, W).
Logits = Tensor | UpsampledLogits


def find_centers(
    heatmap: Tensor,
    *,
    threshold: float = 0.1,
    nms_kernel: int = 7,
    top_k: int | None = 200,
    strict_top_k: bool = False,
) -> tuple[Tensor, Tensor]:
    """Find the instance centers: the values above a threshold that are highest in their neighborhood.

    Shapes:
        heatmap (H, W); centers (K, 2), order (y, x), int64, in raster order; confidences (K,).

    Args:
        heatmap: center heatmap.
        threshold: a center is strictly higher, at least 0.
        nms_kernel: side of the neighborhood, pixels of the heatmap; an even one reaches one pixel further
            down and right. All pixels of a plateau are centers.
        top_k: most centers, or None for all; of equal values at the limit the first ones in raster order
            stay.
        strict_top_k: keep only values strictly greater than the k-th largest, as the public
            implementations do: k - 1 centers, or fewer where values tie.

    Returns:
        Coordinates and heatmap values of the centers.

    Source:
        Paper, section 4 (max-pooling, threshold, top-k). The neighborhood is padded with zeros as in
        deeplab2.
    """
    heatmap = heatmap.float()
    # Further away than the map is long there is nothing.
    before, after = (min(reach, max(heatmap.shape)) for reach in ((nms_kernel - 1) // 2, nms_kernel // 2))
    nms_kernel = before + 1 + after
    padded = F.pad(heatmap, (before, after, before, after))
    # A maximum over a square is one over its columns, then one over the rows.
    highest = _sliding_maximum(_sliding_maximum(padded, nms_kernel, 0), nms_kernel, 1)
    centers = ((heatmap == highest) & (heatmap > threshold)).nonzero()
    return strongest(centers, heatmap[centers[:, 0], centers[:, 1]], top_k, strict=strict_top_k)


def _sliding_maximum(values: Tensor, length: int, dim: int) -> Tensor:
    """Return the maxima of all runs of so many values along a dimension, which gets shorter by length - 1.

    Runs are doubled until two of them cover the whole: log2(length) passes, in place of `length` comparisons
    for each value as in a pooling.
    """
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        rest = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, rest), values.narrow(dim, step, rest))
        covered += step
    return values


def strongest(
    centers: Tensor, confidences: Tensor, top_k: int | None, *, strict: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the `top_k` centers of the highest confidence in their order, or all; see `find_centers`."""
    if top_k is None or len(centers) < top_k:
        return centers, confidences
    descending = confidences.argsort(descending=True, stable=True)
    if strict:
        kept = (confidences > confidences[descending[top_k - 1]]).nonzero()[:, 0]
    else:
        kept = descending[:top_k].sort().values
    return centers[kept], confidences[kept]


def group_pixels(centers: Tensor, offsets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Assign each pixel to the center that is nearest to the pixel plus its offset.

    Of equally near centers the first is taken. Needs O(H x W) memory.

    Shapes:
        centers (K, 2); offsets (2, H, W), both (y, x); mask (H, W); instances (H, W).

    Args:
        centers: coordinates of the centers, pixels of the offset map.
        offsets: way from each pixel to the center of its instance, pixels.
        mask: the pixels to assign (those of things), or None for all.

    Returns:
        1 + index of the center, 0 outside the mask and where there is no center; int64.

    Source:
        Panoptic-DeepLab (Cheng et al. 2020), equation 1. Squared distances are compared, so that two
        distances are equal only if their squares are.
    """
    height, width = offsets.shape[1:]
    instances = torch.zeros(height * width, dtype=torch.int64, device=offsets.device)
    if len(centers) == 0:
        return instances.view(height, width)
    if mask is None:
        mask = torch.ones_like(instances, dtype=torch.bool)
    pixels = mask.flatten().nonzero()[:, 0]
    offset_y, offset_x = (offset.float().flatten() for offset in offsets)
    find = _find_in_grid if offsets.device.type == "cpu" and not is_avoided() else compare_all
    for block in pixels.split(_block_elements(offsets)):
        y = offset_y[block] + block // width
        instances[block] = find(centers, y, offset_x[block] + block % width).add_(1)
    return instances.view(height, width)


def _find_in_grid(centers: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return torch.from_numpy(CenterGrid(centers.float().numpy()).nearest(y.numpy(), x.numpy()))


def compare_all(centers: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return the index of the nearest center (K, 2) of each point by comparing all; int64 (N,)."""
    nearest = torch.empty_like(y, dtype=torch.int64)
    center_y, center_x = centers.to(y.dtype).unbind(1)
    step = max(1, _block_elements(y) // len(centers))
    for start in range(0, len(y), step):
        block = slice(start, start + step)
        distance = (y[block, None] - center_y).square_()  # (step, K)
        along_x = x[block, None] - center_x
        distance.addcmul_(along_x, along_x)
        torch.argmin(distance, dim=1, out=nearest[block])
    return nearest


def classify_pixels(semantic_logits: Logits, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Return the most probable class of each pixel and the logarithm of the sum of the exponentials of its
    logits.

    Shapes:
        semantic_logits (C, H, W); semantic (H, W) int64; log_partition (H, W) float32.

    Args:
        semantic_logits: any logits; logarithms of averaged probabilities serve as well.
        classes: train ids to choose from; the class is a place in them. None for all.

    Returns:
        The class (the first of equal ones), and what to subtract from a logit to get its log-probability.
    """
    if isinstance(semantic_logits, UpsampledLogits):
        return semantic_logits.classify(classes)
    height, width = semantic_logits.shape[1:]
    chosen = range(len(semantic_logits)) if classes is None else list(classes)
    semantic = torch.empty(height, width, dtype=torch.int64, device=semantic_logits.device)
    log_partition = torch.empty(height, width, device=semantic_logits.device)
    step = max(1, _block_elements(semantic_logits) // (len(chosen) * width))
    for start in range(0, height, step):
        block = slice(start, start + step)
        rows = (semantic_logits[:, block] if classes is None else semantic_logits[chosen, block]).float()
        highest, semantic[block] = rows.max(dim=0)  # faster than argmax across strides
        log_partition[block] = (rows - highest).exp_().sum(dim=0).log_() + highest
    return semantic, log_partition


def apply_thing_threshold(
    semantic: Tensor,
    semantic_logits: Logits,
    log_partition: Tensor,
    thing_ids: Sequence[int],
    threshold: float,
) -> Tensor:
    """Classify pixels in two steps: as thing where things are more probable than a threshold, then by class.

    Shapes:
        semantic, the result (H, W); semantic_logits (C, H, W); log_partition (H, W).

    Args:
        semantic: the most probable class of each pixel.
        semantic_logits: logits of the classes.
        log_partition: what `classify_pixels` returned.
        thing_ids: train ids of the thing classes.
        threshold: pixels are things where the probabilities of all thing classes have a larger sum.

    Returns:
        The most probable of the thing classes, or of the others, at each pixel; `semantic` where there is
        only one of the two kinds.
    """
    things = sorted(set(thing_ids))
    others = [train_id for train_id in range(len(semantic_logits)) if train_id not in things]
    if not things or not others:
        return semantic
    thing, thing_partition = classify_pixels(semantic_logits, things)
    other, _ = classify_pixels(semantic_logits, others)
    is_thing = (thing_partition - log_partition).exp() > threshold
    return torch.where(is_thing, semantic.new_tensor(things)[thing], semantic.new_tensor(others)[other])


def vote_classes(semantic: Tensor, instances: Tensor, num_instances: int, num_classes: int) -> Tensor:
    """Give each instance the class that most of its pixels have; the smallest of equally frequent ones.

    Shapes:
        semantic, instances (H, W); classes (K,) int64, -1 for an instance without pixels.

    Args:
        semantic: train ids.
        instances: 1 + index of the instance, 0 for none.
        num_instances: K.
        num_classes: C.
    """
    inside = instances > 0
    cells = instances[inside].sub_(1).mul_(num_classes).add_(semantic[inside])
    votes = torch.bincount(cells, minlength=num_instances * num_classes).view(num_instances, num_classes)
    return torch.where(votes.sum(dim=1) > 0, votes.argmax(dim=1), -1)


def number_instances(classes: Tensor, instances: Tensor, label_divisor: int) -> Tensor:
    """Number the instances of each class 1, 2, ... in the order of their first pixels.

    Shapes:
        classes (K,), -1 for an instance without pixels; instances (H, W); values (K + 1,) int32.

    Args:
        classes: train id of each instance.
        instances: 1 + index of the instance, 0 for none.
        label_divisor: divisor of the ids in the panoptic map.

    Returns:
        The value of instance k in the panoptic map at index k + 1; 0 at index 0 and for instances without
        pixels.

    Raises:
        ValueError: a class has as many instances as `label_divisor` or more.
    """
    flat = instances.flatten()
    first = torch.full((len(classes) + 1,), flat.numel(), dtype=torch.int64, device=flat.device)
    first.scatter_reduce_(0, flat, torch.arange(flat.numel(), device=flat.device), "amin")
    order = first[1:].argsort(stable=True)
    order = order[classes[order].argsort(stable=True)]  # by class, then by first pixel
    sorted_classes = classes[order]
    position = torch.arange(len(classes), device=flat.device)
    number = position - torch.searchsorted(sorted_classes, sorted_classes) + 1
    number = number.masked_fill(sorted_classes < 0, 0)
    if len(classes) and int(number.max()) >= label_divisor:
        raise ValueError(
            f"label_divisor must be greater than the instances of a class, got {label_divisor} for "
            f"{int(number.max())}; cut the image up, or lower top_k (--top-k {label_divisor - 1})"
        )
    values = torch.zeros(len(classes) + 1, dtype=torch.int32, device=flat.device)
    values[order + 1] = ((sorted_classes + 1) * label_divisor + number).to(torch.int32)
    return values


def merge(
    semantic: Tensor,
    instances: Tensor,
    thing_ids: Sequence[int],
    *,
    num_instances: int,
    num_classes: int,
    label_divisor: int = LABEL_DIVISOR,
    stuff_area: int = 0,
    thing_area: int = 0,
    void_ids: Sequence[int] = (),
) -> tuple[Tensor, Tensor]:
    """Merge the class of each pixel and its instance into one panoptic map.

    Shapes:
        semantic, instances, panoptic (H, W); instance_values (K + 1,).

    Args:
        semantic: train ids; values of C and more (such as an ignore label) are void.
        instances: 1 + index of the instance, 0 for none; read only where the class is a thing.
        thing_ids: train ids of the thing classes.
        num_instances: K.
        num_classes: C.
        label_divisor: divisor of the ids in the panoptic map.
        stuff_area: stuff segments of fewer pixels become void.
        thing_area: instances of fewer pixels become void.
        void_ids: train ids that mean void.

    Returns:
        The panoptic map, int32, and the value in it of instance k at index k + 1 (0 if it has no pixels). A
        pixel of a thing class without an instance is void.

    Source:
        deeplab2, `merge_semantic_and_instance_maps`, but for the map type.
    """
    semantic = semantic.clamp(max=num_classes)
    is_thing = _class_mask(thing_ids, num_classes, semantic.device)
    is_stuff = ~is_thing & ~_class_mask((*void_ids, num_classes), num_classes, semantic.device)
    thing_pixels = is_thing[semantic]
    instances = torch.where(thing_pixels, instances, 0)
    classes = vote_classes(semantic, instances, num_instances, num_classes)
    if thing_area > 0:
        sizes = torch.bincount(instances.flatten(), minlength=num_instances + 1)[1:]
        classes = classes.masked_fill(sizes < thing_area, -1)
    instance_values = number_instances(classes, instances, label_divisor)
    areas = torch.bincount(semantic.flatten(), minlength=num_classes + 1)
    train_ids = torch.arange(num_classes + 1, dtype=torch.int32, device=semantic.device)
    stuff_values = torch.where(is_stuff & (areas >= stuff_area), (train_ids + 1) * label_divisor, 0)
    panoptic = torch.where(thing_pixels, instance_values[instances], stuff_values[semantic])
    return panoptic.to(torch.int32), instance_values


def fill_void(
    panoptic: Tensor,
    semantic_logits: Logits,
    centers: Tensor,
    offsets: Tensor,
    instance_values: Tensor,
    label_divisor: int = LABEL_DIVISOR,
) -> Tensor:
    """Give each void pixel to a segment of the map.

    It is the most probable of the stuff segments, or the instance of the nearest center in a map without
    stuff. A map without any segment stays void. Void raises PQ, since void pixels can make no false positive;
    pictures and masks for other tools are better without.

    Shapes:
        panoptic (H, W); semantic_logits (C, H, W); centers (K, 2); offsets (2, H, W);
        instance_values (K + 1,).

    Args:
        panoptic: the map that `merge` made.
        semantic_logits: logits of the classes.
        centers: coordinates of the centers, pixels.
        offsets: way from each pixel to the center of its instance, pixels.
        instance_values: what `merge` returned.
        label_divisor: divisor of the ids in the panoptic map.
    """
    void = panoptic == 0
    values = panoptic.unique()
    stuff_values = values[(values > 0) & (values % label_divisor == 0)]
    if len(stuff_values):
        best, _ = classify_pixels(semantic_logits, (stuff_values.long() // label_divisor - 1).tolist())
        return torch.where(void, stuff_values[best], panoptic)
    present = instance_values[1:] > 0
    instances = group_pixels(centers[present], offsets, void)
    present_values = torch.cat([instance_values[:1], instance_values[1:][present]])
    return torch.where(void, present_values[instances], panoptic)


def describe_segments(
    panoptic: Tensor,
    semantic_logits: Logits,
    log_partition: Tensor,
    confidences: Mapping[int, float],
    label_divisor: int = LABEL_DIVISOR,
) -> tuple[Segment, ...]:
    """Describe the segments of a map: class, area, box and score.

    The score of a segment is the mean probability of its class over its pixels, times the confidence of its
    center if it is a thing (the heatmap's value there, at most 1). Both are in [0, 1].

    Shapes:
        panoptic (H, W); semantic_logits (C, H, W); log_partition (H, W).

    Args:
        panoptic: a panoptic map.
        semantic_logits: logits of the classes.
        log_partition: what `classify_pixels` returned.
        confidences: confidence by value in the map; 1 for values that are absent.
        label_divisor: divisor of the ids in the panoptic map.

    Returns:
        Segments in rising order of `id`, with boxes (x, y, width, height) in pixels.
    """
    height, width = panoptic.shape
    values, index = panoptic.unique(return_inverse=True)
    train_ids = (values.long() // label_divisor - 1).clamp(min=0)  # void: any class, it is left out below
    chosen = _chosen_logits(semantic_logits, train_ids[index])
    probability = chosen.sub_(log_partition).exp_()
    sums = torch.bincount(index.flatten(), weights=probability.flatten().double(), minlength=len(values))
    num = len(values)
    cells = index + num * torch.arange(height, device=index.device)[:, None]
    in_rows = torch.bincount(cells.flatten(), minlength=height * num).view(height, num)
    cells = index + num * torch.arange(width, device=index.device)
    in_columns = torch.bincount(cells.flatten(), minlength=width * num).view(width, num)
    areas = in_rows.sum(dim=0)
    top, bottom = _extent(in_rows)
    left, right = _extent(in_columns)
    table = torch.stack([values.long(), areas, left, top, right - left, bottom - top]).T.tolist()
    means = (sums / areas).clamp_(max=1).tolist()
    return tuple(
        Segment(
            id=value,
            train_id=value // label_divisor - 1,
            area=area,
            score=mean * min(confidences.get(value, 1.0), 1.0),
            bbox=(x, y, w, h),
        )
        for (value, area, x, y, w, h), mean in zip(table, means, strict=True)
        if value != 0
    )


def _chosen_logits(semantic_logits: Logits, classes: Tensor) -> Tensor:
    """Return the logit of one class (H, W) at each pixel, float32."""
    if isinstance(semantic_logits, UpsampledLogits):
        return semantic_logits.at(classes)
    return semantic_logits.gather(0, classes[None])[0].float()


@dataclass(frozen=True, slots=True, eq=False)
class PanopticOutput:
    """What `PostProcessing` makes of one image; `panoptic, segments, semantic = output` unpacks it.

    Tensors are on the device of the network's outputs.

    Args:
        panoptic: the panoptic map (H, W), int32.
        segments: one for each of its values but void, in rising order of `id`.
        semantic: the most probable class of each pixel (H, W), int64 train ids, before any merging.
        num_left_out: centers beyond `top_k`, whose pixels other instances have taken.
    """

    panoptic: Tensor
    segments: tuple[Segment, ...]
    semantic: Tensor
    num_left_out: int = 0

    def __iter__(self) -> Iterator[Any]:
        return iter((self.panoptic, self.segments, self.semantic))

    def __getitem__(self, index: int) -> Any:
        return (self.panoptic, self.segments, self.semantic)[index]


class CentersLeftOutWarning(UserWarning):
    """Images have more objects than `top_k`."""


def warn_of_left_out(
    numbers: Iterable[int], top_k: int | None, top_k_area: int | None = None, *, stacklevel: int = 2
) -> None:
    """Tell that images have more objects than are found.

    Args:
        numbers: centers left out, of each image.
        top_k: how many were kept.
        top_k_area: pixels of an image that `top_k` is for; None for any number.
        stacklevel: as for `warnings.warn`, from the caller.
    """
    crowded = [number for number in numbers if number]
    if crowded and top_k is not None:
        most = top_k + max(crowded)
        which = "an image has" if len(crowded) == 1 else f"{len(crowded)} images have up to"
        if top_k_area is None:
            found, kept = f"{most} centers of objects", f"{top_k}"
            such = f", such as {most},", f"{most}"
        else:
            found = f"{max(crowded)} centers of objects more than are kept"
            kept, such = f"{top_k} for each {top_k_area} pixels", ("", "NUMBER")
        text = (
            f"{which} {found}: {kept} are kept, and their segments swell over the others; "
            f"give a larger --top-k{such[0]} or --top-k all (in Python top_k={such[1]} or None)"
        )
        warnings.warn(text, CentersLeftOutWarning, stacklevel=stacklevel + 1)


@dataclass(frozen=True)
class PostProcessing:
    """Turn the outputs of a segmentation network into panoptic maps and segments.

    Args:
        thing_ids: train ids of the thing classes.
        label_divisor: divisor of the ids in the panoptic map, more than the instances of a class in an image.
        center_threshold: centers are strictly higher in the heatmap, at least 0.
        nms_kernel: side in pixels of the square in which a center must be the highest.
        top_k: most centers of an image, or None for all.
        top_k_area: pixels of an image that `top_k` is for, so that larger ones, such as mosaics, have more in
            proportion; None keeps the number for images of any size.
        strict_top_k: keep only centers strictly higher than the k-th, as the public implementations do.
        stuff_area: stuff segments of fewer pixels become void.
        thing_area: instances of fewer pixels become void.
        thing_threshold: pixels are things where the probabilities of the thing classes have a larger sum,
            0 to 1; None takes the most probable class.
        grouping: "offsets" gives each thing pixel to the center that its offset leads to, "watershed" to the
            center whose hill in the heatmap it lies on (see `watershed.group_by_watershed`; on the CPU).
        without_centers: "void" makes the thing pixels of an image without any center void, "one_instance"
            makes them one instance of their most frequent class, as deeplab2's compiled operation does.
        fill_void: see the function `fill_void`.
        void_ids: train ids that mean void, for networks that have such a class.

    Raises:
        ValueError: an argument is out of its range.

    Source:
        Paper, section 4: kernel 7, threshold 0.1, top-k 200, limit 4096 pixels on COCO, 2048 on Cityscapes
        and Mapillary.
    """

    thing_ids: Sequence[int]
    label_divisor: int = LABEL_DIVISOR
    center_threshold: float = 0.1
    nms_kernel: int = 7
    top_k: int | None = 200
    top_k_area: int | None = None
    strict_top_k: bool = False
    stuff_area: int = 4096
    thing_area: int = 0
    thing_threshold: float | None = None
    grouping: Literal["offsets", "watershed"] = "offsets"
    without_centers: Literal["void", "one_instance"] = "void"
    fill_void: bool = False
    void_ids: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name in ("thing_ids", "void_ids", "label_divisor", "nms_kernel", "top_k", "top_k_area"):
            value = getattr(self, name)
            for number in value if isinstance(value, Iterable) else (value,):
                check_whole(name, number)
        object.__setattr__(self, "thing_ids", tuple(sorted(set(self.thing_ids))))
        object.__setattr__(self, "void_ids", tuple(sorted(set(self.void_ids))))
        k, area, part = self.top_k, self.top_k_area, self.thing_threshold
        most, smallest_area = _INT32_MAX, "0 pixels (no limit) to 2^31 - 1"
        for name, is_met, rule in (
            ("thing_ids", min(self.thing_ids, default=0) >= 0, "train ids (0 or more)"),
            ("void_ids", not set(self.void_ids) & set(self.thing_ids), "other classes than thing_ids"),
            ("label_divisor", 1 < self.label_divisor <= most, "2 or more"),
            ("center_threshold", 0 <= self.center_threshold < float("inf"), "0 or more"),
            ("nms_kernel", 1 <= self.nms_kernel <= most, "1 pixel (no suppression) to 2^31 - 1"),
            ("top_k", k is None or 1 <= k <= most, "1 to 2^31 - 1, or None for all centers"),
            ("top_k_area", area is None or 1 <= area <= most, "1 pixel to 2^31 - 1, or None for any size"),
            ("stuff_area", 0 <= self.stuff_area <= most, smallest_area),
            ("thing_area", 0 <= self.thing_area <= most, smallest_area),
            ("thing_threshold", part is None or 0 <= part < 1, "at least 0 and below 1, or None"),
            ("grouping", self.grouping in ("offsets", "watershed"), '"offsets" or "watershed"'),
            ("without_centers", self.without_centers in ("void", "one_instance"), '"void" or "one_instance"'),
        ):
            if not is_met:
                value = getattr(self, name)
                raise ValueError(
                    f"{name} must be {rule}, got {value!r}; change it or leave it at its default"
                )

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, Any], thing_ids: Sequence[int], **knobs: Any
    ) -> "PostProcessing":
        """Return the post-processing that a file of weights asks for.

        Args:
            metadata: metadata of the file; `post_processing` has arguments of this class.
            thing_ids: train ids of the thing classes.
            knobs: arguments of this class that replace those of the file.

        Raises:
            ValueError: an argument is unknown or out of its range.
        """
        stored = metadata.get("post_processing") or {}
        known = [field.name for field in fields(cls) if field.name != "thing_ids"]
        for source, names in (("weights", stored), ("arguments", knobs)):
            refuse_unknown("post_processing", names, source, known)
        return cls(thing_ids, **{**stored, **knobs})

    @torch.no_grad()
    def __call__(self, outputs: Mapping[str, Logits]) -> list[PanopticOutput]:
        """Process each image of a batch.

        Shapes:
            semantic_logits (B, C, H, W); center_heatmap (B, 1, H, W); offsets (B, 2, H, W).

        Args:
            outputs: the network's outputs by these names.

        Returns:
            What each image shows.

        Raises:
            ValueError: an output is missing, has a wrong shape or is not finite, or the classes do not fit.
        """
        logits, heatmap, offsets = self._checked(outputs)
        images = range(len(logits))
        return [self._process(logits[index], heatmap[index, 0], offsets[index]) for index in images]

    def most_centers(self, height: int, width: int) -> int | None:
        """Return how many centers an image of this size has at most; None for any number."""
        if self.top_k is None or self.top_k_area is None:
            return self.top_k
        return max(self.top_k, -(-self.top_k * height * width // self.top_k_area))

    def classify(self, logits: Logits) -> tuple[Tensor, Tensor]:
        """Return what `classify_pixels` does, with `thing_threshold` applied."""
        semantic, log_partition = classify_pixels(logits)
        if self.thing_threshold is not None:
            semantic = apply_thing_threshold(
                semantic, logits, log_partition, self.thing_ids, self.thing_threshold
            )
        return semantic, log_partition

    def _process(self, logits: Logits, heatmap: Tensor, offsets: Tensor) -> PanopticOutput:
        num_classes = len(logits)
        semantic, log_partition = self.classify(logits)
        finite = {"semantic_logits": log_partition, "center_heatmap": heatmap, "offsets": offsets}
        for name, values in finite.items():
            if not bool(values.isfinite().all()):
                raise ValueError(f"{name} must be finite, got NaN or infinity; check weights and precision")
        centers, confidences = find_centers(
            heatmap, threshold=self.center_threshold, nms_kernel=self.nms_kernel, top_k=None
        )
        most = self.most_centers(*heatmap.shape)
        num_left_out = 0 if most is None else max(0, len(centers) - most)
        centers, confidences = strongest(centers, confidences, most, strict=self.strict_top_k)
        has_centers = len(centers) > 0
        if not has_centers and self.without_centers == "one_instance":
            # A single center is the nearest of all pixels, wherever it lies.
            centers, confidences = centers.new_zeros(1, 2), confidences.new_ones(1)
        thing_pixels = _class_mask(self.thing_ids, num_classes, semantic.device)[semantic]
        if self.grouping == "watershed" and has_centers:
            instances = group_by_watershed(centers, heatmap, thing_pixels)
        else:
            instances = group_pixels(centers, offsets, thing_pixels)
        panoptic, instance_values = merge(
            semantic,
            instances,
            self.thing_ids,
            num_instances=len(centers),
            num_classes=num_classes,
            label_divisor=self.label_divisor,
            stuff_area=self.stuff_area,
            thing_area=self.thing_area,
            void_ids=self.void_ids,
        )
        if self.fill_void:
            panoptic = fill_void(panoptic, logits, centers, offsets, instance_values, self.label_divisor)
        by_value = dict(zip(instance_values[1:].tolist(), confidences.tolist(), strict=False))
        segments = describe_segments(panoptic, logits, log_partition, by_value, self.label_divisor)
        return PanopticOutput(panoptic, segments, semantic, num_left_out)

    def _checked(self, outputs: Mapping[str, Any]) -> tuple[Logits, Tensor, Tensor]:
        names = ("semantic_logits", "center_heatmap", "offsets")
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ValueError(f"outputs must have {', '.join(names)}, got no {missing[0]}; pass model(images)")
        logits, heatmap, offsets = (outputs[name] for name in names)
        if logits.ndim != 4 or 0 in logits.shape:
            raise ValueError(
                f"semantic_logits must be (B, C, H, W), not empty, got {tuple(logits.shape)}; "
                "pass model(images)"
            )
        batch, num_classes, height, width = logits.shape
        for name, tensor, channels in (("center_heatmap", heatmap, 1), ("offsets", offsets, 2)):
            expected = (batch, channels, height, width)
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f"{name} must be {expected} beside these logits, got {tuple(tensor.shape)}; resize it"
                )
        highest = max((*self.thing_ids, *self.void_ids), default=0)
        if highest >= num_classes:
            raise ValueError(
                f"thing_ids and void_ids must be below the {num_classes} classes of semantic_logits, "
                f"got {highest}; give the categories that the network was trained on"
            )
        if (num_classes + 1) * self.label_divisor > _INT32_MAX:
            raise ValueError(
                f"label_divisor must be at most {_INT32_MAX // (num_classes + 1)} for {num_classes} classes, "
                f"got {self.label_divisor}; lower it"
            )
        return logits, heatmap, offsets


def _block_elements(tensor: Tensor) -> int:
    return _CPU_BLOCK if tensor.device.type == "cpu" else _GPU_BLOCK


def _class_mask(train_ids: Sequence[int], num_classes: int, device: torch.device) -> Tensor:
    mask = torch.zeros(num_classes + 1, dtype=torch.bool)  # one more for pixels of no class
    mask[list(train_ids)] = True
    return mask.to(device)


def _extent(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first row with pixels and the one after the last, for each column of (H, S)."""
    inside = (counts > 0).to(torch.uint8)
    return inside.argmax(dim=0), len(counts) - inside.flip(0).argmax(dim=0)


def refuse_unknown(section: str, names: Iterable[str], source: str, known: Iterable[str]) -> None:
    """Refuse settings of a section that nobody knows.

    Args:
        section: what the message calls the section.
        names: names of the settings.
        source: what the message calls the place that they come from.
        known: names to choose from.

    Raises:
        ValueError: a name is unknown.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"{section} must have known settings, got {unknown[0]} in the {source}; "
            f"remove it or choose from {', '.join(known)}"
        )
