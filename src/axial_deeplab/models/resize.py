"""The one resize rule of the package: bilinear with aligned corners."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_bilinear(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps bilinearly so that the corner pixels of both grids coincide.

    Shapes: x (B, C, H, W); result (B, C, *size).

    Args:
        x: the maps.
        size: target height and width in pixels.

    Source: deeplab2 and Panoptic-DeepLab resize all maps so. Sizes k * stride + 1 therefore nest exactly.
    """
    # An exported program must not depend on whether the sizes of its example were equal.
    if not torch.compiler.is_exporting() and list(x.shape[-2:]) == list(size):
        return x
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)


def resize_bilinear_rows(x: Tensor, size: Sequence[int], start: int, stop: int) -> Tensor:
    """Return some rows of `resize_bilinear`, up to rounding.

    Shapes: x (B, C, H, W); result (B, C, stop - start, size[1]).

    Args:
        x: the maps.
        size: height and width in pixels of the whole result.
        start: first row.
        stop: row behind the last one.
    """
    height = x.shape[-2]
    scale = torch.tensor(float(height - 1)) / max(1, size[0] - 1)
    places = scale * torch.arange(start, stop)
    above = places.long().clamp(max=height - 1)
    below = (above + 1).clamp(max=height - 1)
    weights = (places - above).to(x).reshape(-1, 1).to(x.device)
    rows = torch.lerp(x[:, :, above], x[:, :, below], weights)
    return F.interpolate(rows, size=(stop - start, size[1]), mode="bilinear", align_corners=True)


def resize_offsets(offsets: Tensor, size: Sequence[int]) -> Tensor:
    """Resize center offsets and express them in pixels of the target grid.

    With aligned corners, one pixel of a grid of n pixels spans (target - 1) / (n - 1) pixels of the target;
    an axis of a single pixel has no scale and keeps its values.

    Shapes: offsets (B, 2, H, W) in (y, x) order; result (B, 2, *size).

    Args:
        offsets: offsets in pixels of their own grid.
        size: target height and width in pixels.
    """
    height, width = offsets.shape[-2:]
    scale_y = (size[0] - 1) / (height - 1) if height > 1 else 1.0
    scale_x = (size[1] - 1) / (width - 1) if width > 1 else 1.0
    resized = resize_bilinear(offsets, size)
    offset_y, offset_x = resized.unbind(dim=1)
    return torch.stack((offset_y * scale_y, offset_x * scale_x), dim=1)


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """Cut a map to its first rows and columns.

    Shapes: (..., H, W) -> (..., h, w).

    Args:
        size: (h, w), at most (H, W).
    """
    height, width = size
    is_free = any(isinstance(side, torch.SymInt) for side in (height, width, *x.shape[-2:]))
    if torch.compiler.is_exporting() and is_free:
        # The strides of a view would tie the program to sizes where, as in its example, something is cut off.
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
    if not is_free and [height, width] == list(x.shape[-2:]):
        return x  # exported, a view of all would be an alias, which coremltools refuses
    return x[..., :height, :width]
