"""Where a prediction is right and wrong, segment by segment, as panoptic quality sees it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.panoptic.categories import Color
from axial_deeplab.panoptic.map import VOID, PanopticMap, SegmentMatches, relabel
from axial_deeplab.visualization.legend import LegendEntry, append_legend
from axial_deeplab.visualization.overlay import draw_boundaries

# Told apart by the color-blind too.
ERROR_COLORS: dict[str, Color] = {
    "matched": (0, 158, 115),
    "matched, but not here": (240, 228, 66),
    "false positive": (213, 94, 0),
    "missed": (0, 114, 178),
    "false positive over missed": (204, 121, 167),
}
MATCHED, OFF, FALSE, MISSED, BOTH = range(1, 6)


def error_map(gt_map: PanopticMap, pred_map: PanopticMap, matches: SegmentMatches) -> NDArray[np.uint8]:
    """Say of each pixel what its true and its predicted segment mean for panoptic quality.

    Shapes:
        gt_map, pred_map (H, W) -> (H, W).

    The arguments are those of `draw_error_map`.

    Returns:
        1 + the position in `ERROR_COLORS`; 0 where neither map has a segment that counts.
    """
    partner = {pred_id: gt_id for gt_id, pred_id, _ in matches.matched}
    expected = relabel(pred_map, partner)  # 0 where no matched segment was predicted
    is_matched_gt = np.isin(gt_map, list(partner.values()))
    is_false, is_missed = np.isin(pred_map, matches.false), np.isin(gt_map, matches.missed)
    errors = np.zeros(gt_map.shape, dtype=np.uint8)
    # Void of the truth is no error of a matched segment: it is taken out of its union.
    errors[((expected != VOID) & (gt_map != VOID)) | is_matched_gt] = OFF
    errors[is_false] = FALSE
    errors[is_missed] = MISSED
    errors[is_false & is_missed] = BOTH
    errors[is_matched_gt & (expected == gt_map)] = MATCHED
    return errors


def draw_error_map(
    image: NDArray[np.uint8],
    gt_map: PanopticMap,
    pred_map: PanopticMap,
    matches: SegmentMatches,
    *,
    opacity: float = 0.6,
    legend: bool = False,
) -> Image.Image:
    """Draw which segments match, which are false and which were missed over the grey image.

    Shapes:
        image (H, W, 3); gt_map, pred_map (H, W).

    Args:
        image: RGB, uint8.
        gt_map: the true panoptic map.
        pred_map: the predicted one.
        matches: matches of their segments, by `PanopticQuality.match`.
        opacity: opacity of the colors, 0 to 1.
        legend: append a strip that says what the colors mean.

    Raises:
        ValueError: image and maps differ in size.
    """
    if not image.shape[:2] == gt_map.shape == pred_map.shape:
        raise ValueError(
            f"maps must be {image.shape[:2]} like the image, got {gt_map.shape} and {pred_map.shape}; "
            "give those of this image"
        )
    errors = error_map(gt_map, pred_map, matches)
    grey = image.mean(axis=2, keepdims=True)
    colors = np.array([(0, 0, 0), *ERROR_COLORS.values()], dtype=np.float64)[errors]
    weight = np.where(errors > 0, opacity, 0)[..., None]
    picture = (grey * (1 - weight) + colors * weight).astype(np.uint8)
    draw_boundaries(picture, gt_map)
    result = Image.fromarray(picture)
    if legend:
        entries = [LegendEntry(name, color) for name, color in ERROR_COLORS.items()]
        result = append_legend(result, entries)
    return result
