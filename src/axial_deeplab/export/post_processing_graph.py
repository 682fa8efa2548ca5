"""The post-processing as one graph of tensors for a whole batch, to be part of an exported program."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.post_processing import PostProcessing

# Where centers are that do not exist: farther than any other, but its square is a number.
_FAR = 1e18
# More centers, or a larger suppression, would be gigabytes for any image.
_LARGEST = 4096


class PostProcessingGraph(nn.Module):
    """From the three outputs of a network to panoptic maps, without a step whose size depends on the image.

    The maps are those of `PostProcessing`, but for centers of equal heatmap values at the limit of `top_k`,
    and offsets that lie equally near to two centers up to rounding. All distances exist at once: 8·B·K·H·W
    bytes. Numbers of pixels are exact in runtimes that compute integers in float32, up to 2^24.

    Shapes: semantic_logits (B, C, H, W); center_heatmap (B, 1, H, W); offsets (B, 2, H, W); returns panoptic
    (B, H, W), int32, semantic (B, H, W), int32 train ids, and num_centers (B,), int32. Where an image has
    more centers than `top_k`, the strongest are kept and their segments swell over the others.

    Args:
        settings: `top_k` is needed, for it is the number of centers in the graph; `top_k_area`, `fill_void`,
            `thing_threshold`, `thing_area` and the grouping by a watershed are not possible.
        num_classes: C.

    Raises:
        ValueError: the settings cannot be part of a graph.
    """

    is_thing: Tensor
    is_stuff: Tensor

    def __init__(self, settings: PostProcessing, num_classes: int) -> None:
        super().__init__()
        if settings.top_k is not None and settings.top_k_area:
            raise ValueError(
                "top_k must be one number to be part of an exported program of any size, got "
                f"{settings.top_k} for each {settings.top_k_area} pixels; export for one size (--size), or "
                "without post-processing"
            )
        if settings.top_k is None or settings.fill_void:
            raise ValueError(
                "post_processing must have a top_k and no fill_void to be part of an exported program, got "
                f"top_k {settings.top_k} and fill_void {settings.fill_void}; export without it"
            )
        if settings.grouping != "offsets" or settings.thing_threshold is not None or settings.thing_area:
            raise ValueError(
                "post_processing must have the grouping offsets, no thing_threshold and no thing_area to be "
                f"part of an exported program, got {settings.grouping}, {settings.thing_threshold} and "
                f"{settings.thing_area}; export without it"
            )
        if max(settings.top_k, settings.nms_kernel) > _LARGEST:
            raise ValueError(
                f"post_processing must have a top_k and an nms_kernel of at most {_LARGEST} to be part of an "
                f"exported program, got {settings.top_k} and {settings.nms_kernel}; export without it"
            )
        highest = num_classes * settings.label_divisor + settings.top_k
        if settings.top_k >= settings.label_divisor or highest >= 2**31:
            raise ValueError(
                "label_divisor must be above top_k, and its product with the classes below 2^31, to be part "
                f"of an exported program, got {settings.label_divisor} for top_k {settings.top_k} and "
                f"{num_classes} classes; export without post-processing"
            )
        self.settings = settings
        self.top_k = settings.top_k
        classes = torch.arange(num_classes)
        is_thing = torch.isin(classes, torch.tensor(settings.thing_ids, dtype=torch.int64))
        is_void = torch.isin(classes, torch.tensor(settings.void_ids, dtype=torch.int64))
        self.register_buffer("is_thing", is_thing)
        self.register_buffer("is_stuff", ~is_thing & ~is_void)

    def forward(
        self, semantic_logits: Tensor, center_heatmap: Tensor, offsets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        height, width = semantic_logits.shape[-2:]
        semantic = semantic_logits.argmax(dim=1).flatten(1)  # (B, H·W)
        is_thing = self.is_thing[semantic]
        centers, exists, num_centers = self._find_centers(center_heatmap)
        nearest = _nearest(centers, offsets)
        is_assigned = is_thing
        if self.settings.without_centers == "void":
            is_assigned = is_thing & exists.any(dim=1, keepdim=True)
        # Otherwise all centers are equally far where none exists, and the first is taken.
        is_class = (semantic[:, :, None] == torch.arange(len(self.is_thing), device=semantic.device)).float()
        is_member = nearest[:, None] == torch.arange(self.top_k, device=semantic.device)[:, None]
        values = self._instance_values(is_member & is_assigned[:, None], is_class)
        instances = torch.where(is_assigned, _look_up(values.to(torch.int32), nearest), 0)
        panoptic = torch.where(is_thing, instances, _look_up(self._stuff_values(is_class), semantic))
        shape = (-1, height, width)
        return (
            panoptic.reshape(shape),
            semantic.to(torch.int32).reshape(shape),
            num_centers.to(torch.int32),
        )

    def _find_centers(self, heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places (B, K) of the centers in raster order, those that do not exist behind the map.

        Further, whether they exist (B, K), and how many centers there are beyond `top_k`, too (B,).
        """
        kernel, threshold = self.settings.nms_kernel, self.settings.center_threshold
        highest = _highest(_highest(heatmap, 2, kernel), 3, kernel)
        is_center = (heatmap == highest) & (heatmap > threshold)
        confidences = torch.where(is_center, heatmap, threshold).flatten(1)
        num_pixels = confidences.shape[1]
        # An image may have fewer pixels than the graph has centers.
        further = confidences.new_full((confidences.shape[0], self.top_k), threshold)
        confidences, places = torch.cat((confidences, further), dim=1).topk(self.top_k)
        limit = confidences[:, -1:] if self.settings.strict_top_k else threshold
        places = torch.where(confidences > limit, places, num_pixels).sort(dim=1).values
        return places, places < num_pixels, is_center.flatten(1).float().sum(dim=1)

    def _instance_values(self, is_member: Tensor, is_class: Tensor) -> Tensor:
        """Return the value of each instance in the map (B, K): its class and its number; 0 without a pixel.

        Votes are counted as a product, for some runtimes keep one of the votes that a scattering adds up.

        Shapes: is_member (B, K, H·W), bool; is_class (B, H·W, C), float32.
        """
        votes = is_member.float() @ is_class
        classes, exists = votes.argmax(dim=2), votes.sum(dim=2) > 0
        num_pixels = is_member.shape[2]
        positions = torch.arange(num_pixels, device=votes.device, dtype=torch.float32)
        first = torch.where(is_member, positions, num_pixels).amin(dim=2)
        is_before = (first[:, None] < first[:, :, None]) & (classes[:, None] == classes[:, :, None])
        number = 1 + (is_before & exists[:, None]).float().sum(dim=2).long()
        return torch.where(exists, (classes + 1) * self.settings.label_divisor + number, 0)

    def _stuff_values(self, is_class: Tensor) -> Tensor:
        """Return the value of each class of stuff in the map (B, C)."""
        num_classes = len(self.is_stuff)
        # MNN cuts constants of 64 bits at 2^30.
        numbers = torch.arange(1, num_classes + 1, dtype=torch.int32, device=is_class.device)
        values = numbers * self.settings.label_divisor
        return torch.where(self.is_stuff & (is_class.sum(dim=1) >= self.settings.stuff_area), values, 0)


def _highest(heatmap: Tensor, axis: int, kernel: int) -> Tensor:
    """Return the maximum of a window along an axis; outside of the map are zeros.

    They are concatenated: an optimizer may put a padding into the pooling, where it is not one by zeros.
    """
    parts = [heatmap]
    for reach, place in (((kernel - 1) // 2, 0), (kernel // 2, 2)):
        if reach:
            size = [reach if dimension == axis else -1 for dimension in range(4)]
            # Zeros of their own would have a type that some converters do not see.
            parts.insert(place, heatmap.narrow(axis, 0, 1).clamp(0, 0).expand(size))
    return F.max_pool2d(torch.cat(parts, dim=axis), (kernel, 1) if axis == 2 else (1, kernel), stride=1)


def _look_up(values: Tensor, places: Tensor) -> Tensor:
    """Return each image's values (B, N) at its places (B, P), as runtimes do that gather rows alone."""
    images, number = values.shape
    first = number * torch.arange(images, device=values.device)[:, None]
    return values.flatten().index_select(0, (places + first).flatten()).unflatten(0, (images, -1))


def _nearest(centers: Tensor, offsets: Tensor) -> Tensor:
    """Return the index of the center that each pixel points to: (B, K), (B, 2, H, W) -> (B, H·W)."""
    height, width = offsets.shape[-2:]
    rows = torch.arange(height, dtype=offsets.dtype, device=offsets.device)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=offsets.dtype, device=offsets.device).expand(height, width)
    y, x = ((offsets[:, axis] + place).flatten(1) for axis, place in enumerate((rows, columns)))
    # Looked up, for OpenVINO does not truncate every quotient of integers, and tract refuses ONNX's.
    center_y, center_x = (
        torch.cat((place.flatten(), place.new_full((1,), _FAR)))[centers] for place in (rows, columns)
    )
    distances = (y[:, :, None] - center_y[:, None]).square() + (x[:, :, None] - center_x[:, None]).square()
    return distances.argmin(dim=2)
