"""Training targets of bottom-up panoptic segmentation, from panoptic maps."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.panoptic.map import VOID, IntArray, Panoptic, Runs, Segment, find_runs

Convention = Literal["deeplab2", "detectron2"]
NumberedMap = npt.NDArray[np.int16] | npt.NDArray[np.int32]
CONVENTIONS: tuple[Convention, ...] = ("deeplab2", "detectron2")


class PanopticTargets:
    """Semantic labels, center heatmap and center offsets with the weights that tell which pixels train what.

    The center of an instance is the mean coordinate of its visible pixels, rounded half to even; it stands in
    the heatmap as a Gaussian whose peak is exactly 1. Void and crowd pixels train no center and no offset,
    stuff pixels no offset. Call it after every crop or flip: centers belong to what is visible.

    Args:
        thing_ids: train ids of the thing classes.
        sigma: standard deviation of the Gaussians, in pixels of the map.
        ignore_label: semantic target of void; must not be a train id.
        small_instance_area: instances with fewer visible pixels than this weigh more in the semantic loss.
        small_instance_weight: weight of their pixels; all others weigh 1.
        neighbor_distance: pixels from which two instances lie within so many pixels along both axes, near
            the border of two that touch or nearly do, weigh more; 0 turns it off.
        neighbor_semantic_weight: factor of their weight in the semantic loss, background between included.
        neighbor_offset_weight: factor of their weight in the loss of the offsets.
        ignore_crowd_in_semantic: give crowd pixels the ignore_label too instead of their class.
        convention: "deeplab2", or "detectron2" with its three differences: offsets lead to the unrounded
            center, crowd things draw a Gaussian, and small crowds get the weight of small instances.

    Raises:
        ValueError: a sigma or area or weight out of range, or an unknown convention.

    Source:
        Panoptic-DeepLab (Cheng et al. 2020), section 3; docs/deviations.md, "Targets".
    """

    def __init__(
        self,
        thing_ids: Collection[int],
        *,
        sigma: int = 8,
        ignore_label: int = 255,
        small_instance_area: int = 64 * 64,
        small_instance_weight: float = 3.0,
        neighbor_distance: int = 0,
        neighbor_semantic_weight: float = 1.0,
        neighbor_offset_weight: float = 1.0,
        ignore_crowd_in_semantic: bool = False,
        convention: Convention = "deeplab2",
    ) -> None:
        if sigma != int(sigma) or sigma < 1:
            raise ValueError(f"sigma must be a whole number of pixels >= 1, got {sigma}; the paper's is 8")
        if small_instance_area < 0:
            raise ValueError(
                f"small_instance_area must be >= 0 pixels, got {small_instance_area}; 0 turns it off"
            )
        if not small_instance_weight > 0:
            raise ValueError(
                f"small_instance_weight must be > 0, got {small_instance_weight}; 1 treats all alike"
            )
        if neighbor_distance < 0:
            raise ValueError(
                f"neighbor_distance must be >= 0 pixels, got {neighbor_distance}; 0 turns it off"
            )
        for name, weight in (
            ("neighbor_semantic_weight", neighbor_semantic_weight),
            ("neighbor_offset_weight", neighbor_offset_weight),
        ):
            if not weight > 0:
                raise ValueError(f"{name} must be > 0, got {weight}; 1 treats all pixels alike")
        if convention not in CONVENTIONS:
            raise ValueError(
                f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}; choose one"
            )
        self.thing_ids = frozenset(int(train_id) for train_id in thing_ids)
        self.sigma = int(sigma)
        self.ignore_label = ignore_label
        self.small_instance_area = small_instance_area
        self.small_instance_weight = small_instance_weight
        self.neighbor_distance = neighbor_distance
        self.neighbor_semantic_weight = neighbor_semantic_weight
        self.neighbor_offset_weight = neighbor_offset_weight
        self.ignore_crowd_in_semantic = ignore_crowd_in_semantic
        self.convention = convention
        self._things = torch.tensor(sorted(self.thing_ids), dtype=torch.int64)
        self._gaussian = gaussian_window(self.sigma)

    def __call__(self, truth: Panoptic) -> dict[str, Tensor]:
        """Return the targets of one image (H, W); segments without pixels are skipped.

        Returns:
            As `of_batch`, without the first dimension.

        Raises:
            ValueError: the map has a value that no segment has, or a train id equals ignore_label.
        """
        rows, segments = number_segments(truth)
        batch = self.of_batch(torch.from_numpy(rows)[None], torch.from_numpy(segments)[None])
        return {name: target[0] for name, target in batch.items()}

    def of_batch(self, rows: Tensor, segments: Tensor) -> dict[str, Tensor]:
        """Return the targets of a batch, on its device.

        Shapes:
            rows (B, H, W) integers, segments (B, S, 7): what `number_segments` returns, stacked; zeros follow
            the segments of an image that has fewer.

        Returns:
            semantic_target int64 (B, H, W), semantic_weight (B, H, W), center_target (B, 1, H, W),
            center_weight (B, 1, H, W), offset_target (B, 2, H, W) as (y, x) in pixels, offset_weight
            (B, 1, H, W), all float32.

        Raises:
            ValueError: a train id equals ignore_label (on the CPU; elsewhere looking would wait).
        """
        images, num_rows = segments.shape[:2]
        train_ids, crowd, areas = segments[..., 0].long(), segments[..., 1] > 0, segments[..., 2]
        mean_centers, centers = segments[..., 3:5], segments[..., 5:7]
        taken = (train_ids == self.ignore_label) & (areas > 0)
        if segments.device.type == "cpu" and bool(taken[:, 1:].any()):
            raise ValueError(
                f"ignore_label must be no class, got {self.ignore_label}, a train id of this map; use -1"
            )
        is_segment = torch.arange(num_rows, device=rows.device) > 0  # row 0 is void
        thing = is_segment & torch.isin(train_ids, self._things.to(rows.device))
        instance = thing & ~crowd
        has_center = instance if self.convention == "deeplab2" else thing
        small = has_center & (areas < self.small_instance_area)
        ignored = ~is_segment | crowd if self.ignore_crowd_in_semantic else ~is_segment
        ends = centers if self.convention == "deeplab2" else mean_centers

        first_rows = torch.arange(0, images * num_rows, num_rows, dtype=torch.int32, device=rows.device)
        numbers = (rows + first_rows[:, None, None]).flatten()

        def paint(table: Tensor) -> Tensor:
            return table.flatten().index_select(0, numbers).view_as(rows)

        height, width = rows.shape[1:]
        offsets = torch.empty((images, 2, height, width), device=rows.device)
        positions = [torch.arange(size, dtype=torch.float32, device=rows.device) for size in (height, width)]
        torch.sub(paint(ends[..., 0]), positions[0][:, None], out=offsets[:, 0])
        torch.sub(paint(ends[..., 1]), positions[1], out=offsets[:, 1])
        offset_weight = paint(instance.float())[:, None]
        offsets *= offset_weight if self.convention == "deeplab2" else paint(has_center.float())[:, None]

        semantic_weight = paint(torch.where(small, self.small_instance_weight, 1.0))
        if self.neighbor_distance:
            near = near_two_instances(rows * paint(instance.int()), self.neighbor_distance)
            semantic_weight *= torch.where(near, self.neighbor_semantic_weight, 1.0)
            offset_weight *= torch.where(near, self.neighbor_offset_weight, 1.0)[:, None]

        heatmaps = self._draw_centers(centers.long(), has_center & (areas > 0), (height, width))
        return {
            "semantic_target": paint(torch.where(ignored, self.ignore_label, train_ids)),
            "semantic_weight": semantic_weight,
            "center_target": heatmaps[:, None],
            "center_weight": paint((is_segment & ~crowd).float())[:, None],
            "offset_target": offsets,
            "offset_weight": offset_weight,
        }

    def _draw_centers(self, centers: Tensor, drawn: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, S, 2) as (y, x), (B, S) -> (B, H, W): the largest of the Gaussians over each pixel."""
        images, num_rows = drawn.shape
        height, width = size
        gaussian = self._gaussian.to(centers.device).flatten()
        reach = torch.arange(-3 * self.sigma - 1, 3 * self.sigma + 2, device=centers.device)
        y, x = (centers.flatten(0, 1)[:, axis, None] + reach for axis in (0, 1))  # (B S, window)
        y_inside = (y >= 0) & (y < height) & drawn.flatten()[:, None]
        x_inside = (x >= 0) & (x < width)
        y = y + height * torch.arange(images, device=y.device).repeat_interleave(num_rows)[:, None]
        # The last pixel takes what lies outside: nothing waits for the device to say how much that is.
        heatmaps = gaussian.new_zeros(images * height * width + 1)
        for some in torch.arange(len(y), device=y.device).split(max(1, 2**20 // len(gaussian))):
            inside = y_inside[some, :, None] & x_inside[some, None]
            pixels = torch.where(inside, y[some, :, None] * width + x[some, None], len(heatmaps) - 1)
            heatmaps.scatter_reduce_(0, pixels.flatten(), gaussian.repeat(len(some)), "amax")
        return heatmaps[:-1].view(images, height, width)


def number_segments(truth: Panoptic) -> tuple[NumberedMap, npt.NDArray[np.float32]]:
    """Return all that targets are made from, in few bytes: a map of rows and a table with these rows.

    Args:
        truth: map (H, W) and its segments, some of which may have no pixel.

    Returns:
        rows int16 (H, W), 0 for void, or int32 if there are too many; and a table (S, 7) of void and of the
        segments that have pixels: train id, whether it is a crowd, area in pixels, and the center as (y, x)
        in pixels: the mean coordinate, and the same rounded half to even. The row of void has zeros.

    Raises:
        ValueError: the map has a value that no segment has.
    """
    runs = find_runs(truth.map)
    rows = _rows_of_runs(runs.values, truth.segments)
    facts = [(0, False), *((segment.train_id, segment.is_crowd) for segment in truth.segments)]
    areas, centers = _areas_and_centers(runs, rows, len(facts), truth.map.shape[1])
    table = np.column_stack([facts, areas, centers, np.rint(centers)]).astype(np.float32)
    table[0] = 0
    shown = areas > 0
    shown[0] = True
    numbers = (np.cumsum(shown) - 1).astype(np.int16 if shown.sum() <= 2**15 else np.int32)
    return np.repeat(numbers[rows], runs.lengths).reshape(truth.map.shape), table[shown]


def gaussian_window(sigma: int) -> Tensor:
    """Return a Gaussian with peak 1 on a square of 6 sigma + 3 pixels, (6 sigma + 3, 6 sigma + 3)."""
    distance = np.arange(-(3 * sigma + 1), 3 * sigma + 2, dtype=np.float64)
    squares = distance[:, None] ** 2 + distance[None, :] ** 2
    return torch.from_numpy(np.exp(-squares / (2.0 * sigma**2)).astype(np.float32))


def near_two_instances(instances: Tensor, distance: int) -> Tensor:
    """Return where the square around a pixel holds pixels of two instances or more.

    Shapes: (B, H, W), as the result.

    Args:
        instances: number of the instance of each pixel, 0 for none.
        distance: from the pixel to the sides of the square, pixels.
    """
    numbers = instances.float()[:, None]
    none = torch.full_like(numbers, -torch.inf)
    kernel = 2 * distance + 1
    # The highest and the lowest number around each pixel; a square is its columns, then its rows.
    extremes = [
        F.max_pool2d(
            F.max_pool2d(torch.where(numbers > 0, sign * numbers, none), (kernel, 1), 1, (distance, 0)),
            (1, kernel),
            1,
            (0, distance),
        )
        for sign in (1, -1)
    ]
    # Where there is no instance, minus infinity is not greater than infinity.
    return (extremes[0] > -extremes[1])[:, 0]


def _rows_of_runs(values: IntArray, segments: Sequence[Segment]) -> npt.NDArray[np.intp]:
    """Return 0 for void and i + 1 for the id of segments[i]."""
    ids, row_of_value = np.unique(values, return_inverse=True)
    row_of_id = {VOID: 0} | {segment.id: row for row, segment in enumerate(segments, 1)}
    for value in ids.tolist():
        if value not in row_of_id:
            raise ValueError(
                f"panoptic map must hold ids of its segments, got {value}; add its segment or make it void"
            )
    rows: npt.NDArray[np.intp] = np.array([row_of_id[value] for value in ids.tolist()], np.intp)[row_of_value]
    return rows


def _areas_and_centers(
    runs: Runs, rows: npt.NDArray[np.intp], num_rows: int, width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return areas (num_rows,) and mean coordinates (num_rows, 2) as (y, x), 0 for rows without pixels."""
    y, x = np.divmod(runs.starts, width)
    areas = np.bincount(rows, runs.lengths, num_rows)
    # Sums of whole numbers, exact in float64.
    sums_y = np.bincount(rows, runs.lengths * y, num_rows)
    sums_x = np.bincount(rows, runs.lengths * (2 * x + runs.lengths - 1) // 2, num_rows)
    return areas, np.stack([sums_y, sums_x], axis=1) / np.maximum(areas, 1)[:, None]
