"""Sets of ImageJ's regions of interest, which its ROI Manager opens; extra `imagej`."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.picture import Picture

# Its files keep coordinates in 16 bits with a sign.
LARGEST_SIDE = 2**15 - 1
_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0
_NOT_IN_NAMES = dict.fromkeys(map(ord, '/\\:*?"<>|'), "_")


def why_no_rois(picture: Picture) -> str | None:
    """Return why a picture can have no ROIs, None if it can."""
    height, width = picture.labels.size
    if max(height, width) <= LARGEST_SIDE:
        return None
    return (
        f"rois must be of pictures of at most {LARGEST_SIDE} pixels a side, got {height} x {width} "
        "(height x width); save labels or geojson instead"
    )


@contextmanager
def open_rois(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write a region for each thing: traced as by the wand, or composite if it has holes or parts.

    Args:
        path: the zip file.
        picture: what was found, which `why_no_rois` has nothing against.

    Source:
        ImageJ, ij/io/RoiDecoder.java.
    """
    # Of a stack they belong to the page that was seen; pages of all channels together are none of ImageJ's.
    position = 0 if picture.page is None or picture.channels is not None else picture.page
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(instance: Instance) -> None:
            roi = _roi(instance)
            roi.position = position
            # Without the time of day, so that the file is the same whenever it is written again.
            member = zipfile.ZipInfo(f"{roi.name.translate(_NOT_IN_NAMES)}.roi")
            archive.writestr(member, roi.tobytes(), zipfile.ZIP_DEFLATED)

        yield add


def _roi(instance: Instance) -> Any:
    from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

    left, top, width, height = instance.bbox
    score = "" if instance.score is None else f"score: {instance.score:.6f}\n"
    red, green, blue = instance.category.color or (0, 0, 0)
    roi = ImagejRoi(
        name=f"{instance.number:04d}-{_in_16_bits(instance.category.name)}",
        roitype=ROI_TYPE.TRACED,
        options=ROI_OPTIONS.OVERLAY_BACKGROUNDS | ROI_OPTIONS.OVERLAY_LABELS,
        left=left,
        top=top,
        right=left + width,
        bottom=top + height,
        stroke_color=bytes([255, red, green, blue]),
        group=instance.train_id + 1,
        props=score,
    )
    rings = [ring for polygon in instance.polygons for ring in polygon]
    if len(rings) == 1:
        roi.integer_coordinates = (rings[0] - [left, top]).astype(np.int32)
        roi.n_coordinates = len(rings[0])
    else:
        path = [number for ring in rings for number in _path(ring.tolist())]
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
    return roi


def _path(ring: list[list[int]]) -> list[float]:
    steps = [_MOVE_TO, *(_LINE_TO for _ in ring[1:])]
    return [number for step, (x, y) in zip(steps, ring, strict=True) for number in (step, x, y)] + [_CLOSE]


def _in_16_bits(name: str) -> str:
    """Return a name without letters that take more than 16 bits, whose length roifile counts wrong."""
    return "".join(letter if ord(letter) < 1 << 16 else "?" for letter in name)
