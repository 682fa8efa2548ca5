"""What the network says of each tile, on disk, and blended for any part of the image."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.resize import resize_bilinear
from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.prediction.batch import ImageArray, View, run_network
from axial_deeplab.prediction.large.tiling import Tiling, Window
from axial_deeplab.util.text import format_bytes

# Channels of a tile's maps: the heatmap, the offsets in (y, x) order, then the logits of the classes.
HEATMAP = slice(0, 1)
OFFSETS = slice(1, 3)
LOGITS = slice(3, None)
NUM_BESIDE_CLASSES = 3


class Blocks:
    """Arrays of one shape and type in one file, which may be larger than the memory.

    The file is mapped only while an array is read or written, so that its pages do not count as memory of
    the process. Different arrays may be written by different processes. Its place on the disk is taken at
    once: to write through a map where the disk is full would kill the process.

    Args:
        path: the file; made if it is missing.
        num: how many arrays there are.
        shape: shape of each.
        dtype: type of their values.

    Raises:
        OSError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(self, path: Path, num: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.num, self.shape, self.dtype = path, num, shape, np.dtype(dtype)
        if not path.exists():
            with path.open("wb") as file:
                _take(file, num * self.nbytes, path)

    @property
    def nbytes(self) -> int:
        """Bytes of an array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def read(self, index: int, part: tuple[slice, ...] = ()) -> NDArray[Any]:
        """Return an array, or a part of it, as a copy."""
        mapped = np.memmap(self.path, self.dtype, "r", index * self.nbytes, self.shape)
        return np.array(mapped[part])

    def write(self, index: int, values: NDArray[Any]) -> None:
        """Replace the first rows, columns ... of an array by values of as many dimensions."""
        mapped = np.memmap(self.path, self.dtype, "r+", index * self.nbytes, self.shape)
        mapped[tuple(slice(length) for length in values.shape)] = values


def _take(file: BinaryIO, size: int, path: Path) -> None:
    """Give a new file a size, with its place on the disk where the system can do that."""
    file.truncate(size)
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            reason = f"{os.strerror(error.errno)} for {format_bytes(size)}"
            raise OSError(error.errno, reason, str(path)) from None
        # A file system that cannot: there the file grows as it is written.


class SeenTile(NamedTuple):
    """The maps of a tile (3 + C, h, w), float32, and the pixels from one of their nodes to the next."""

    maps: NDArray[np.float32]
    stride: int


class _MapsOfTheHeads(nn.Module):
    """A network that gives its maps as the heads make them, offsets in pixels of the image."""

    def __init__(self, model: PanopticDeepLab) -> None:
        super().__init__()
        self.model = model
        self.config = getattr(model, "config", {})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = {name: values.float() for name, values in self.model.low_resolution_maps(images).items()}
        height = images.shape[-2]
        nodes = maps["offsets"].shape[-2]
        unit = self.model.output_stride
        stride = max(1, -(-(height - 1) // unit)) * unit // (nodes - 1)
        maps["offsets"] = maps["offsets"] * stride
        self.stride = stride
        return maps


def see_tile(model: nn.Module, pixels: ImageArray, view: View) -> SeenTile:
    """Return what a network says of a tile; it depends on nothing else.

    Args:
        model: a segmentation network, on its device and in evaluation mode.
        pixels: the tile (h, w, 3), uint8.
        view: scales and mirroring. A network that sees the tile once gives its maps as the heads make them,
            which are smaller than the image; several views are averaged at its size.

    Raises:
        ValueError: the tile does not fit into memory, or the maps are not finite.
    """
    device = next(model.parameters()).device
    once = view.scales == (1.0,) and not view.flip
    # The grids of other networks do not nest in those of the whole image.
    heads = (
        _MapsOfTheHeads(model) if once and isinstance(model, PanopticDeepLab) and model.pad_images else None
    )
    try:
        outputs = run_network(heads or model, pixels[None], device, view)
    except ValueError as error:
        if "fit into memory" not in str(error):
            raise
        raise ValueError(
            f"tile must fit into memory, got {pixels.shape[0]} x {pixels.shape[1]} pixels; "
            "give a smaller --tile"
        ) from None
    found = (outputs[name] for name in ("center_heatmap", "offsets", "semantic_logits"))
    tensors = (each.tensor() if isinstance(each, UpsampledLogits) else each for each in found)
    maps = torch.cat([each[0].float() for each in tensors]).cpu().numpy()
    if not np.isfinite(maps).all():
        raise ValueError("outputs must be finite, got NaN or infinity; check weights and precision")
    return SeenTile(maps, heads.stride if heads else 1)


class TileMaps:
    """The maps of all tiles of an image.

    Args:
        folder: for the file.
        tiling: the tiles.
        like: what one of them gave.
    """

    def __init__(self, folder: Path, tiling: Tiling, like: SeenTile) -> None:
        self.tiling = tiling
        self.stride = like.stride
        nodes = (tiling.side - 1) // like.stride + 1
        # The maps of an image smaller than a tile end with it, up to the padding.
        height, width = (
            min(nodes, max(1, -(-(length - 1) // tiling.unit)) * tiling.unit // like.stride + 1)
            for length in tiling.size
        )
        self.blocks = Blocks(
            folder / "maps", len(tiling.windows), (len(like.maps), height, width), np.float32
        )

    @property
    def num_classes(self) -> int:
        """Classes of the network."""
        return self.blocks.shape[0] - NUM_BESIDE_CLASSES

    def write(self, tile: int, seen: SeenTile) -> None:
        """Keep the maps of a tile."""
        self.blocks.write(tile, seen.maps)

    def blended(self, window: Window, channels: slice) -> Tensor:
        """Return maps of a part of the image at its size, (channels, h, w), float32.

        Tiles are added in their order, so that the result does not depend on which was seen first.

        Args:
            window: the part.
            channels: `HEATMAP`, `OFFSETS` or `LOGITS`.
        """
        stride = self.stride
        top, left = window.top // stride, window.left // stride
        bottom, right = (-(-(end - 1) // stride) + 1 for end in (window.bottom, window.right))
        num = len(range(self.blocks.shape[0])[channels])
        total = np.zeros((num, bottom - top, right - left), np.float32)
        weights = np.zeros(total.shape[1:], np.float32)
        num_columns = len(self.tiling.starts[1])
        columns = list(self.tiling.parts(1, left, right, stride))
        for row in self.tiling.parts(0, top, bottom, stride):
            for column in columns:
                part = self.blocks.read(
                    row.tile * num_columns + column.tile, (channels, row.of_tile, column.of_tile)
                )
                weight = row.weights[:, None] * column.weights
                total[:, row.of_stretch, column.of_stretch] += part * weight
                weights[row.of_stretch, column.of_stretch] += weight
        total /= weights
        maps = torch.from_numpy(total)[None]
        if stride > 1:
            size = [(length - 1) * stride + 1 for length in total.shape[1:]]
            maps = resize_bilinear(maps, size)
        y, x = window.top - top * stride, window.left - left * stride
        height, width = window.shape
        return maps[0, :, y : y + height, x : x + width]
