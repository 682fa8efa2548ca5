"""Inference on strips of rows: what lies between input and output of local layers never exists as a whole."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from axial_deeplab.models.pointwise import PointwiseConv2d, can_use_packed

# Bytes that the largest map of a strip takes, about.
STRIP_BYTES = 2**23
_FEWEST_ROWS = 16


class Strip(NamedTuple):
    """A strip of the rows of a map, and the rows around it that its values depend on.

    Attributes:
        start: first row.
        stop: row behind the last one.
        first: first row of those around it.
        last: row behind the last one of those.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def inner(self) -> slice:
        """The strip among the rows around it."""
        return slice(self.start - self.first, self.stop - self.first)


def strips(num_rows: int, bytes_of_a_row: float, halo: int = 0) -> list[Strip]:
    """Cut a map into strips of nearly the same height; a single one if it is small.

    Args:
        num_rows: rows of the map.
        bytes_of_a_row: size of a row, of the largest map that is to exist in strips only.
        halo: rows above and below that a row depends on.
    """
    rows = max(_FEWEST_ROWS, 4 * halo, int(STRIP_BYTES / bytes_of_a_row))
    number = max(1, round(num_rows / rows))
    edges = [num_rows * index // number for index in range(number + 1)]
    return [
        Strip(start, stop, max(0, start - halo), min(num_rows, stop + halo))
        for start, stop in itertools.pairwise(edges)
    ]


class JoinedStrips:
    """A map that strips are put into; it has its channels last in memory, as the layers want them."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self._map: Tensor | None = None

    def put(self, strip: Strip, values: Tensor) -> None:
        """Put a strip into its place.

        Args:
            strip: which one.
            values: its rows, and the rows around it (B, C, rows, W).
        """
        batch, channels, _, width = values.shape
        if self._map is None:
            self._map = torch.empty(
                (batch, channels, self.num_rows, width),
                dtype=values.dtype,
                device=values.device,
                memory_format=torch.channels_last,
            )
        self._map[:, :, strip.start : strip.stop] = values[:, :, strip.inner]

    @property
    def map(self) -> Tensor:
        """The whole (B, C, H, W)."""
        assert self._map is not None
        return self._map


def can_run_in_strips(module: nn.Module, x: Tensor) -> bool:
    """Whether a module may see strips: in inference on the CPU, eagerly, where nothing watches it."""
    return (
        not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and not module.training
        and can_use_packed(x, module.parameters())
        and not any(map(is_hooked, module.modules()))
    )


def is_hooked(module: nn.Module) -> bool:
    """Return whether something is to happen when a module is called."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks)


def run_convolutions(module: nn.Module, images: Tensor) -> Tensor:
    """Run a module on images, in strips where it is a chain of convolutions and pools and its maps are large.

    Shapes: images (B, C, H, W) -> what the module makes of them, up to rounding.
    """
    chain = _Chain.of(module) if can_run_in_strips(module, images) else None
    if chain is None:
        result: Tensor = module(images)
        return result
    height, width = images.shape[-2:]
    num_rows = -(-height // chain.stride)
    cut = strips(num_rows, images.shape[0] * chain.bytes_of_a_column_of_a_row * width, chain.halo)
    if len(cut) == 1:
        whole: Tensor = module(images)
        return whole
    joined = JoinedStrips(num_rows)
    for strip in cut:
        joined.put(strip, module(images[:, :, strip.first * chain.stride : strip.last * chain.stride]))
    return joined.map


class _Chain(NamedTuple):
    """Layers that look at neighbors alone.

    Attributes:
        stride: pixels of the input that a row of the output stands for.
        halo: rows of the output above and below that a row depends on.
        bytes_of_a_column_of_a_row: size of the largest map, for each pixel of the input's width and each row
            of the output.
    """

    stride: int
    halo: int
    bytes_of_a_column_of_a_row: float

    @staticmethod
    def of(module: nn.Module) -> "_Chain | None":
        """Return what a module is, None if it is no chain of such layers."""
        stride, reach, channels = 1, 0, 0
        sizes: list[tuple[int, int]] = []
        for layer in module.modules():
            if isinstance(layer, nn.Sequential) or type(layer) in (nn.ReLU, nn.Identity):
                continue
            if type(layer) not in (nn.Conv2d, PointwiseConv2d, nn.MaxPool2d):
                return None
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            kernel, dilation, step = (_of_rows(each) for each in _window(layer))
            reach += kernel // 2 * dilation * stride
            stride *= step
            sizes.append((channels, stride))
        if not sizes:
            return None
        largest = max(channels * stride / at**2 for channels, at in sizes)
        return _Chain(stride, -(-reach // stride), 4 * largest)


def _window(layer: nn.Module) -> tuple[int | tuple[int, ...], ...]:
    window: Callable[[str], int | tuple[int, ...]] = layer.__getattribute__
    return window("kernel_size"), window("dilation"), window("stride")


def _of_rows(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
