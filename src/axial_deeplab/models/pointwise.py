"""1x1 convolutions on the CPU: as they train, and as matrix products whose weights are laid out once."""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from axial_deeplab.ops.dispatch import is_transformed

# Below, PyTorch has another way for single images.
_FEWEST_NUMBERS = 20480


class Conv2d(nn.Conv2d):
    """A 1x1 convolution without bias that trains on the CPU as fast as the better of its matrix products.

    PyTorch's convolution multiplies in MKL with one thread, in oneDNN with several. MKL leaves AVX-512 unused
    on processors of AMD and takes 2.2 times as long there, forward and backward; with AVX2 oneDNN takes 1.08
    times as long as MKL. So where there is AVX-512 it is a dilated convolution, which always runs in oneDNN:
    the one position of a 1x1 kernel has no neighbor that a dilation could move. With AVX2 it is one product
    of all images, if the channels are last in memory: PyTorch's goes image by image, in 1.04 times the time.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # A program that others will run gets the plain convolution.
        if (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or is_transformed()
            or x.dtype != torch.float32
            or not x.is_cpu
            or x.numel() <= _FEWEST_NUMBERS
            or torch.is_autocast_enabled("cpu")
            or not torch.backends.mkldnn.is_available()
        ):
            return super().forward(x)
        if torch.backends.cpu.get_cpu_capability() == "AVX512":
            return F.conv2d(x, self.weight, self.bias, dilation=2)
        if _is_mkl_faster() and x.is_contiguous(memory_format=torch.channels_last):
            return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)
        return super().forward(x)


def is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a plain convolution that looks at one position for each of its outputs."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in (nn.Conv2d, Conv2d)
        and module.kernel_size == module.stride == (1, 1)
        and module.padding == (0, 0)
        and module.groups == 1
    )


@cache
def _has_packed_products() -> bool:
    """Return whether this PyTorch has the operations that its own compiler makes of linear layers."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    if not (torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)):
        return False
    x = torch.ones(2, 3)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(x)
        y = torch.ops.mkldnn._linear_pointwise(x, packed, x[0, :2], "relu", [], "")
    except (RuntimeError, TypeError):
        return False
    return bool((y == 4).all())


@cache
def _is_mkl_faster() -> bool:
    """Return whether products run in MKL rather than in oneDNN: the faster of the two without AVX-512."""
    names = ("_mkl_reorder_linear_weight", "_mkl_linear")
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX2"
        and torch.backends.mkl.is_available()
        and all(hasattr(torch.ops.mkl, name) for name in names)
    )


def can_use_packed(x: Tensor, parameters: Iterable[Tensor | None]) -> bool:
    """Return whether a module may run on copies of its parameters: eagerly, on the CPU, in float32.

    Not where derivatives are wanted, nor where something watches or replaces what PyTorch executes, nor where
    parameters were made in inference mode, which do not tell when they change.
    """
    present = [parameter for parameter in parameters if parameter is not None]
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and _has_packed_products()
        and type(x) is Tensor
        and x.is_cpu
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and _get_current_dispatch_mode() is None
        and not is_transformed()
        and not any(p.is_inference() for p in present)
        and not (torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in present)))
    )


def fingerprint(parameters: Iterable[Tensor | None]) -> tuple[tuple[int, int] | None, ...]:
    """Return what tells whether parameters are the memory that they were, and unchanged since."""
    # Tensors made in inference mode have no version; `can_use_packed` refuses them.
    return tuple(
        None if p is None else (p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters
    )


class PackedProduct:
    """A matrix product with bias, perhaps followed by ReLU, whose weights are laid out in advance.

    Shapes: (rows, in_channels), dense -> (rows, out_channels).

    Args:
        weight: (out_channels, in_channels).
        bias: (out_channels,) or None.
        relu: whether ReLU follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, relu: bool) -> None:
        kind = _MklProduct if _is_mkl_faster() else _OneDnnProduct
        self._multiply = kind(weight.detach(), None if bias is None else bias.detach(), relu)

    def __call__(self, rows: Tensor) -> Tensor:
        return self._multiply(rows)


class _OneDnnProduct:
    """Shapes and arguments: see `PackedProduct`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, relu: bool) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = bias
        self._after = "relu" if relu else "none"
        self._multiply = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, rows: Tensor) -> Tensor:
        y: Tensor = self._multiply(rows, self._weight, self._bias, self._after, [], "")
        return y


class _MklProduct:
    """Shapes and arguments: see `PackedProduct`.

    The layout is for so many rows, and made again where there are others, as MKL itself does in every
    product.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, relu: bool) -> None:
        self._weight = weight.contiguous()
        self._bias = bias
        self._relu = relu
        # One value, since several threads may call a network.
        self._packed: tuple[int, Tensor | None] = (0, None)

    def __call__(self, rows: Tensor) -> Tensor:
        count, packed = self._packed
        if count != len(rows):
            count = len(rows)
            packed = torch.ops.mkl._mkl_reorder_linear_weight(self._weight, count)
            self._packed = count, packed
        y: Tensor = torch.ops.mkl._mkl_linear(rows, packed, self._weight, self._bias, count)
        return y.relu_() if self._relu else y


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution, perhaps with ReLU, that keeps a copy of its weights in the layout of a product.

    PyTorch's convolutions lay out weights again in every call, and run ReLU in another pass. Where there
    is no such layout (other devices, types and processors), where gradients are wanted, or where a program is
    traced, it is a plain convolution.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W).

    Args:
        convolution: one that `is_pointwise`; its parameters are taken over.
        relu: whether ReLU follows.
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__(convolution.in_channels, convolution.out_channels, 1, device="meta")
        self.weight, self.bias = convolution.weight, convolution.bias
        self.relu = relu
        self._packed: PackedProduct | None = None
        self._packed_from: object = None

    def forward(self, x: Tensor) -> Tensor:
        parameters = self.weight, self.bias
        if self.weight.dtype != torch.float32 or not can_use_packed(x, parameters):
            y = super().forward(x)
            return F.relu(y, inplace=True) if self.relu else y
        state = fingerprint(parameters)
        if self._packed is None or self._packed_from != state:
            self._packed = PackedProduct(self.weight.flatten(1), self.bias, self.relu)
            self._packed_from = state
        y = self._packed(x.permute(0, 2, 3, 1).flatten(0, 2))
        return y.unflatten(0, (x.shape[0], *x.shape[2:])).permute(0, 3, 1, 2)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}
