"""1x1 convolutions of inference on the CPU, as matrix products whose weights are laid out once."""

from functools import cache
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a plain convolution that looks at one position for each of its outputs."""
    return (
        type(module) is nn.Conv2d
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


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution, perhaps with ReLU, that keeps a copy of its weights in the layout of oneDNN.

    PyTorch's convolutions lay out their weights anew in every call, and run ReLU in another pass. Where there
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
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self._can_use_packed(x):
            y = super().forward(x)
            return F.relu(y, inplace=True) if self.relu else y
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach().flatten(1))
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)  # (B·H·W, C)
        after = "relu" if self.relu else "none"
        y = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self.bias, after, [], "")
        return y.unflatten(0, (x.shape[0], *x.shape[2:])).permute(0, 3, 1, 2)

    def _can_use_packed(self, x: Tensor) -> bool:
        return (
            not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and _has_packed_products()
            and x.device.type == self.weight.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and x.numel() > 0
            and not torch.is_autocast_enabled("cpu")
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> "PointwiseConv2d":
        self._packed = None
        super()._apply(*args, **kwargs)
        return self
