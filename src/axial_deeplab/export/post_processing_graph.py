"""The post-processing as one graph of tensors for a whole batch, to be part of an exported program."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.post_processing import PostProcessing


class PostProcessingGraph(nn.Module):
    """From the three outputs of a network to panoptic maps, without a step whose size depends on the image.

    The maps are those of `PostProcessing`, but for centers of equal heatmap values at the limit of `top_k`,
    and offsets that lie equally near to two centers up to rounding. All distances exist at once: 8·B·K·H·W
    bytes.

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
        if settings.top_k is None or settings.top_k_area or settings.fill_void:
            area = f" for each {settings.top_k_area} pixels" if settings.top_k_area else ""
            raise ValueError(
                "post_processing must have a top_k and no fill_void to be part of an exported program, got "
                f"top_k {settings.top_k}{area} and fill_void {settings.fill_void}; export without "
                "it, or give top_k for the largest images"
            )
        if settings.grouping != "offsets" or settings.thing_threshold is not None or settings.thing_area:
            raise ValueError(
                "post_processing must have the grouping offsets, no thing_threshold and no thing_area to be "
                f"part of an exported program, got {settings.grouping}, {settings.thing_threshold} and "
                f"{settings.thing_area}; export without it"
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
        nearest = _nearest(centers, exists, offsets)
        if self.settings.without_centers == "void":
            is_assigned = is_thing & exists.any(dim=1, keepdim=True)
        else:
            is_assigned = is_thing  # where no center exists, all are equally far, and the first is taken
        instances = torch.where(is_assigned, nearest + 1, 0)
        values = self._number(semantic, instances)
        panoptic = torch.where(
            is_thing, values.gather(1, instances), self._stuff_values(semantic).gather(1, semantic)
        )
        shape = (-1, height, width)
        return (
            panoptic.to(torch.int32).reshape(shape),
            semantic.to(torch.int32).reshape(shape),
            num_centers.to(torch.int32),
        )

    def _find_centers(self, heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places (B, K) of the centers in raster order, those that do not exist behind the map.

        Further, whether they exist (B, K), and how many centers there are beyond `top_k`, too (B,).
        """
        kernel = self.settings.nms_kernel
        before, after = (kernel - 1) // 2, kernel // 2
        padded = F.pad(heatmap, (before, after, before, after))
        highest = F.max_pool2d(F.max_pool2d(padded, (kernel, 1), stride=1), (1, kernel), stride=1)
        is_center = (heatmap == highest) & (heatmap > self.settings.center_threshold)
        confidences = torch.where(is_center, heatmap, -1.0).flatten(1)
        num_pixels = confidences.shape[1]
        # An image may have fewer pixels than the graph has centers.
        confidences, places = F.pad(confidences, (0, self.top_k), value=-1.0).topk(self.top_k)
        limit = confidences[:, -1:] if self.settings.strict_top_k else -1.0
        places = torch.where(confidences > limit, places, num_pixels).sort(dim=1).values
        return places, places < num_pixels, is_center.flatten(1).sum(dim=1)

    def _number(self, semantic: Tensor, instances: Tensor) -> Tensor:
        """Return the value of each instance in the map (B, K + 1): its class and its number."""
        num_classes, num_pixels = len(self.is_thing), semantic.shape[1]
        votes = semantic.new_zeros(semantic.shape[0], (self.top_k + 1) * num_classes, dtype=torch.float32)
        ones = torch.ones_like(semantic, dtype=torch.float32)
        votes = votes.scatter_add(1, instances * num_classes + semantic, ones)
        votes = votes.unflatten(1, (self.top_k + 1, num_classes))[:, 1:]
        classes, exists = votes.argmax(dim=2), votes.sum(dim=2) > 0
        positions = torch.arange(num_pixels, device=semantic.device).expand_as(instances)
        first = instances.new_zeros(instances.shape[0], self.top_k + 1) + num_pixels
        first = first.scatter_reduce(1, instances, positions, "amin")[:, 1:]
        is_before = (first[:, None] < first[:, :, None]) & (classes[:, None] == classes[:, :, None])
        number = 1 + (is_before & exists[:, None]).sum(dim=2)
        values = torch.where(exists, (classes + 1) * self.settings.label_divisor + number, 0)
        return F.pad(values, (1, 0))

    def _stuff_values(self, semantic: Tensor) -> Tensor:
        """Return the value of each class of stuff in the map (B, C)."""
        num_classes = len(self.is_stuff)
        areas = semantic.new_zeros(semantic.shape[0], num_classes, dtype=torch.float32)
        areas = areas.scatter_add(1, semantic, torch.ones_like(semantic, dtype=torch.float32))
        values = (torch.arange(num_classes, device=semantic.device) + 1) * self.settings.label_divisor
        return torch.where(self.is_stuff & (areas >= self.settings.stuff_area), values, 0)


def _nearest(centers: Tensor, exists: Tensor, offsets: Tensor) -> Tensor:
    """Return the index of the center that each pixel points to: (B, K), (B, K), (B, 2, H, W) -> (B, H·W)."""
    height, width = offsets.shape[-2:]
    y = (offsets[:, 0] + torch.arange(height, device=offsets.device)[:, None]).flatten(1)
    x = (offsets[:, 1] + torch.arange(width, device=offsets.device)).flatten(1)
    rows = centers // width
    center_y = torch.where(exists, rows.to(y.dtype), float("inf"))
    center_x = (centers - rows * width).to(x.dtype)
    distances = (y[:, :, None] - center_y[:, None]).square() + (x[:, :, None] - center_x[:, None]).square()
    return distances.argmin(dim=2)
