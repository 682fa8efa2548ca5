"""OME-Zarr images and arrays of Zarr, read by windows."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.value_range import ValueRange
from axial_deeplab.prediction.large.large_image import ArrayImage, naming_damage_of
from axial_deeplab.util.packages import require_package


class ZarrImage(ArrayImage):
    """The largest level of an OME-Zarr image, or an array of Zarr.

    Args:
        path: folder of the group or array.
        value_range: see `LargeImage`.
        channels: see `LargeImage`.

    Raises:
        ValueError: zarr is missing, or the folder holds no image in grey or RGB.
    """

    def __init__(self, path: Path, value_range: ValueRange | None, channels: Channels | None = None) -> None:
        zarr = require_zarr(path)
        with naming_damage_of(path, "an OME-Zarr image"):
            node = zarr.open(path, mode="r")
            attributes, place = _multiscale(node)
            zarr_format = node.metadata.zarr_format
            array = node[place] if place else node
            axes = [axis["name"] if isinstance(axis, dict) else axis for axis in attributes.get("axes", ())]
            if not axes:
                axes = list("tczyx")[-array.ndim :] if place else ["y", "x", "c"][: array.ndim]
        super().__init__(_Planes(array, axes, str(path)), str(path), value_range, channels)
        self.placed = {"multiscale": attributes, "axes": axes, "zarr_format": zarr_format}


class _Planes:
    """A view (H, W, C) of an array with named axes: the first time and the first depth."""

    def __init__(self, array: Any, axes: list[str], name: str) -> None:
        self._array, self._axes = array, axes
        lengths = dict(zip(axes, array.shape, strict=True))
        if "y" not in lengths or "x" not in lengths:
            raise ValueError(f"{name} must have axes y and x, got {axes}; give an image")
        self.shape = lengths["y"], lengths["x"], lengths.get("c", 1)
        several = {axis: length for axis, length in lengths.items() if axis not in "yxc" and length > 1}
        if several:
            told = ", ".join(f"{length} of {axis}" for axis, length in several.items())
            text = f"has {told}, of which only the first is read; save the others"
            warnings.warn(ImageWarning(name, text, "pages"), stacklevel=5)

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        of_axis: dict[str, slice | int] = {"y": part[0], "x": part[1], "c": slice(None)}
        values = np.asarray(self._array[tuple(of_axis.get(axis, 0) for axis in self._axes)])
        left = [axis for axis in self._axes if axis in of_axis]
        return values.transpose([left.index(axis) for axis in "yxc" if axis in left])


def _multiscale(node: Any) -> tuple[dict[str, Any], str]:
    """Return what a group says of its image, and the path of the largest level; nothing of an array."""
    if hasattr(node, "shape"):
        return {}, ""
    for prefix in ("", "0/"):  # bioformats2raw puts images into numbered groups
        group = node if not prefix else node.get("0")
        attributes = dict(group.attrs) if group is not None else {}
        several = attributes.get("ome", attributes).get("multiscales")
        if several:
            return several[0], prefix + several[0]["datasets"][0]["path"]
    raise ValueError("there is no image in this group")


def require_zarr(path: Path) -> Any:
    """Return the module zarr.

    Raises:
        ValueError: it is not installed.
    """
    require_package("zarr", "large", f"{path}: Zarr needs")
    import zarr

    return zarr
