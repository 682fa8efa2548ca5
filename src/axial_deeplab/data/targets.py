"""Training targets of bottom-up panoptic segmentation, from one panoptic map."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.panoptic.map import VOID, IntArray, Panoptic, Runs, Segment, find_runs

Convention = Literal["deeplab2", "detectron2"]
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
        self._gaussian = gaussian_window(self.sigma)

    def __call__(self, truth: Panoptic) -> dict[str, Tensor]:
        """Return the targets of one image (H, W); segments without pixels are skipped.

        Returns:
            semantic_target int64 (H, W), semantic_weight (H, W), center_target (1, H, W),
            center_weight (1, H, W), offset_target (2, H, W) as (y, x) in pixels, offset_weight (1, H, W),
            all float32.

        Raises:
            ValueError: the map has a value that no segment has, or a train id equals ignore_label.
        """
        panoptic, segments = truth.map, truth.segments
        # Row 0 of the tables is void, row i + 1 is segments[i].
        train_ids = np.array([self.ignore_label] + [s.train_id for s in segments], dtype=np.int64)
        if np.any(train_ids[1:] == self.ignore_label):
            raise ValueError(
                f"ignore_label must be no class, got {self.ignore_label}, a train id of this map; use -1"
            )
        crowd = np.array([False] + [s.is_crowd for s in segments])
        thing = np.array([False] + [s.train_id in self.thing_ids for s in segments])
        instance = thing & ~crowd
        has_center = instance if self.convention == "deeplab2" else thing

        runs = find_runs(panoptic)
        rows = _rows_of_runs(runs.values, segments)
        areas, mean_centers = _areas_and_centers(runs, rows, len(train_ids), panoptic.shape[1])
        centers = np.rint(mean_centers)  # half to even
        small = has_center & (areas < self.small_instance_area)
        if self.ignore_crowd_in_semantic:
            train_ids[crowd] = self.ignore_label
        trains_center = ~crowd
        trains_center[0] = False

        def paint(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.repeat(table[rows], runs.lengths).reshape(panoptic.shape)

        def paint_weight(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return paint(table.astype(np.float32))

        ends = centers if self.convention == "deeplab2" else mean_centers
        height, width = panoptic.shape
        offsets = np.empty((2, height, width), np.float32)
        y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
        np.subtract(paint(ends[:, 0].astype(np.float32)), y, out=offsets[0])
        np.subtract(paint(ends[:, 1].astype(np.float32)), x, out=offsets[1])
        offset_weight = paint_weight(instance)
        offsets *= offset_weight if has_center is instance else paint_weight(has_center)

        semantic_weight = paint_weight(np.where(small, self.small_instance_weight, 1.0))
        if self.neighbor_distance:
            near = near_two_instances(
                paint(np.where(instance, np.arange(len(instance)), 0)), self.neighbor_distance
            )
            semantic_weight[near] *= self.neighbor_semantic_weight
            offset_weight[near] *= self.neighbor_offset_weight

        heatmap = self._draw_centers(centers[has_center & (areas > 0)].astype(np.int64), panoptic.shape)
        return {
            "semantic_target": torch.from_numpy(paint(train_ids)),
            "semantic_weight": torch.from_numpy(semantic_weight),
            "center_target": torch.from_numpy(heatmap)[None],
            "center_weight": torch.from_numpy(paint_weight(trains_center))[None],
            "offset_target": torch.from_numpy(offsets),
            "offset_weight": torch.from_numpy(offset_weight)[None],
        }

    def _draw_centers(
        self, centers: npt.NDArray[np.int64], size: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:  # (instances, 2) -> (H, W)
        radius = 3 * self.sigma + 1
        heatmap = np.zeros(size, np.float32)
        for y, x in centers.tolist():
            top, left = max(y - radius, 0), max(x - radius, 0)
            window = heatmap[top : y + radius + 1, left : x + radius + 1]
            skip_y, skip_x = top - (y - radius), left - (x - radius)
            part = self._gaussian[skip_y : skip_y + window.shape[0], skip_x : skip_x + window.shape[1]]
            np.maximum(window, part, out=window)
        return heatmap


def gaussian_window(sigma: int) -> npt.NDArray[np.float32]:
    """Return a Gaussian with peak 1 on a square of 6 sigma + 3 pixels, (6 sigma + 3, 6 sigma + 3)."""
    distance = np.arange(-(3 * sigma + 1), 3 * sigma + 2, dtype=np.float64)
    squares = distance[:, None] ** 2 + distance[None, :] ** 2
    return np.exp(-squares / (2.0 * sigma**2)).astype(np.float32)


def near_two_instances(instances: npt.NDArray[Any], distance: int) -> npt.NDArray[np.bool_]:
    """Return where the square around a pixel holds pixels of two instances or more.

    Shapes: (H, W), as the result.

    Args:
        instances: number of the instance of each pixel, 0 for none.
        distance: from the pixel to the sides of the square, pixels.
    """
    numbers = torch.from_numpy(instances.astype(np.float32))[None, None]
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
    near: npt.NDArray[np.bool_] = (extremes[0] > -extremes[1])[0, 0].numpy()
    return near


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
