"""ImageJ: a ROI set (ZIP) or a single ROI for each picture, under its name.

Source:
    ImageJ, `RoiDecoder`, read by roifile: coordinates are edges of pixels; a composite has holes and parts.
    ROIs have no class and no order, so that the smaller lies on top. Of a stack they have the page, of a
    hyperstack channel, depth and time instead, 0 for all.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle, ring
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import files_of, folder_of
from axial_deeplab.data.convert.stacks import page_of_place, page_of_stack
from axial_deeplab.data.image_files import is_hidden
from axial_deeplab.util.packages import require_package

TITLE = "a ROI set of ImageJ"

# Bytes of a ROI, unpacked.
_LARGEST = 2**24
# Lines for each piece of a spline, and points that lie so close that straight lines do.
_STEPS, _MOST_NODES = 16, 1000
_SET = re.compile(r"[ _-]*(roi[ _-]?set|rois?)[ _-]*", re.IGNORECASE)


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any(
        path.suffix.lower() == ".roi" or any(name.lower().endswith(".roi") for name in _names(path))
        for path in files_of(source, ".roi", ".zip")
    )


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a ROI set, or a folder of ROI sets.

    Raises:
        ValueError: roifile is missing, or a file is damaged, the message names it and the ROI.
        OSError: a picture is missing.
    """
    thing = options.thing_or_object
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    files = files_of(source, ".roi", ".zip")
    photos.expect(path.relative_to(folder_of(source)).with_suffix("").as_posix() for path in files)
    images = []
    for path in files:
        stem = path.relative_to(folder_of(source)).with_suffix("").as_posix()
        bare = path.stem if photos.knows_stem(stem) else _SET.sub("", path.stem)
        name = stem[: -len(path.stem)] + bare
        photo = photos.only() if not bare else photos.find_stem(name, str(path))
        page = page_of_stack(photo, options)
        shapes = [
            shape
            for roi, content in _rois(path)
            if (shape := _shape(content, f"{path}: {roi}", thing, (photo, page), left_out)) is not None
        ]
        images.append(LabeledImage(photo, photos.file_name(photo), shapes, path))
    left_out.warn()
    photos.warn_of_others(source)
    return shapes_to_convert(images, options, source, names=[thing])


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return []


def _rois(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each ROI; nothing is unpacked to a file."""
    if path.suffix.lower() == ".roi":
        yield path.name, path.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                is_roi = entry.filename.lower().endswith(".roi")
                if is_roi and not any(map(is_hidden, PurePosixPath(entry.filename).parts)):
                    if entry.file_size > _LARGEST:
                        raise ValueError(
                            f"{path}: {entry.filename} must have at most {_LARGEST} bytes, got "
                            f"{entry.file_size}; "
                            "remove it"
                        )
                    yield entry.filename, archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} must be a ZIP file of ROIs, got: {error}; save it again") from None


def _shape(
    content: bytes, where: str, name: str, shown: tuple[Path, int | None], left_out: LeftOut
) -> Shape | None:
    require_package("roifile", "imagej", "ROI sets need")
    from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

    try:
        roi: Any = ImagejRoi.frombytes(content)
        lines = roi.coordinates(multi=True)
    except Exception as error:  # roifile does not say what it raises of damaged files
        raise ValueError(f"{where} must be a ROI of ImageJ, got: {error!r}; save it again") from None
    areas = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
    if roi.roitype not in areas or roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        left_out.add("points, lines, angles and texts, which have no area,", where)
        return None
    places = {"C": roi.c_position, "Z": roi.z_position, "T": roi.t_position}
    if left_out.is_of_other_page(roi.position or page_of_place(*shown, places), shown[1], where):
        return None
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL) and not roi.composite:
        left, top, right, bottom = (float(v) for v in (roi.left, roi.top, roi.right, roi.bottom))
        if roi.subpixelrect:  # those are rounded
            left, top, right, bottom = roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
        radii = (right - left) / 2, (bottom - top) / 2
        line = ellipse(left + radii[0], top + radii[1], *radii, where=where)
        if roi.roitype == ROI_TYPE.RECT:
            line = rectangle(left, top, right, bottom, where=where)
            if roi.rounded_rect_arc_size > 0:
                line = _rounded(line, roi.rounded_rect_arc_size, where)
        return Shape(name, where, (line,))
    rings = [ring(line.tolist(), where) for line in lines]
    if roi.options & ROI_OPTIONS.SPLINE_FIT and not roi.composite:
        rings = [_spline(line) if 2 < len(line) < _MOST_NODES else line for line in rings]
    return Shape(name, where, tuple(rings))


def _rounded(corners: Ring, diameter: float, where: str) -> Ring:
    """Return a rectangle whose corners are quarters of a disc, or of an ellipse where that is too large."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    radii = np.minimum(diameter, high - low) / 2
    disc = ellipse(0, 0, *radii, where=where)
    return disc + np.where(disc >= 0, high - radii, low + radii)


def _spline(points: Ring) -> Ring:
    """Return the closed cubic spline through points as ImageJ fits it.

    Source:
        ImageJ, `PolygonRoi.fitSpline`: from point to point, the parameter grows by the root of the distance.
    """
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    step = np.sqrt(np.linalg.norm(after - points, axis=1))[:, None]
    last = np.roll(step, 1)
    # The slopes make the second derivatives of neighboring pieces equal.
    unit = np.eye(len(points))
    matrix = step * np.roll(unit, -1, axis=1) + 2 * (last + step) * unit + last * np.roll(unit, 1, axis=1)
    slope = np.linalg.solve(matrix, 3 * (step / last * (points - before) + last / step * (after - points)))
    t = np.linspace(0, 1, _STEPS, endpoint=False)
    ends = np.stack([points, step * slope, after, step * np.roll(slope, -1, axis=0)])
    weights = np.stack([(1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2, t**2 * (3 - 2 * t), t**2 * (t - 1)])
    return np.einsum("wt,wnc->ntc", weights, ends).reshape(-1, 2)
