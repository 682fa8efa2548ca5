"""Grouping of pixels by a watershed: water rises around each center and meets between them."""

from functools import cache
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.ops.dispatch import is_avoided
from axial_deeplab.util.compile import compile_for_threads


def group_by_watershed(centers: Tensor, heatmap: Tensor, mask: Tensor) -> Tensor:
    """Assign each pixel to a center by a watershed of the heatmap from the centers within a mask.

    Of all pixels beside an instance the one with the highest value joins it next, of equal ones the one that
    came first into sight; neighbors are above, left, right and below. Unlike the offsets, which may cut
    through the middle of an instance, the border of two lies in the valley of the heatmap between them.
    Pixels without a way to a center inside the mask belong to none. Runs on the CPU, in O(n log n) for n
    pixels of the mask.

    Shapes:
        centers (K, 2) as (y, x); heatmap and mask (H, W); instances (H, W).

    Args:
        centers: coordinates of the centers, pixels; those outside the mask get no pixel.
        heatmap: the center heatmap.
        mask: the pixels to assign (those of things).

    Returns:
        1 + index of the center, 0 for none; int64, on the device of the mask.

    Source:
        Meyer's flooding (1991), as `skimage.segmentation.watershed(-heatmap, markers, mask=mask)`.
    """
    instances = np.zeros(mask.shape, np.int64)
    for number, (y, x) in enumerate(centers.tolist(), start=1):
        instances[y, x] = number
    inside = mask.cpu().numpy()
    instances[~inside] = 0
    depths = -heatmap.float().cpu().numpy()
    if instances.any():
        fill = flood if is_avoided() else _compiled_flood()
        fill(np.ascontiguousarray(depths), instances, np.ascontiguousarray(inside))
    return torch.from_numpy(instances).to(mask.device)


@cache
def _compiled_flood() -> Any:
    signature = "void(float32[:, ::1], int64[:, ::1], boolean[:, ::1])"
    return compile_for_threads(flood, signature)


def flood(depths: NDArray[np.float32], instances: NDArray[np.int64], inside: NDArray[np.bool_]) -> None:
    """Let instances grow within a mask, the lowest pixels first.

    Args:
        depths: height of each pixel (H, W).
        instances: numbers of the seeds (H, W), 0 elsewhere; filled in place.
        inside: the mask (H, W).
    """
    height, width = depths.shape
    heap = [
        (depths[y, x], 0, y * width + x) for y in range(height) for x in range(width) if instances[y, x] > 0
    ]
    heapify(heap)
    age = 0
    while len(heap) > 0:
        _, _, place = heappop(heap)
        y, x = place // width, place % width
        for step in range(4):
            # Above, left, right, below.
            next_y = y + (step == 3) - (step == 0)
            next_x = x + (step == 2) - (step == 1)
            if not (0 <= next_y < height and 0 <= next_x < width):
                continue
            if inside[next_y, next_x] and instances[next_y, next_x] == 0:
                age += 1
                instances[next_y, next_x] = instances[y, x]
                heappush(heap, (depths[next_y, next_x], age, next_y * width + next_x))
