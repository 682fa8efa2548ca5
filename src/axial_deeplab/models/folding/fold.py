"""Folding a network for inference: its norms become part of the convolutions and constants of the attention.

In evaluation a batch norm multiplies each channel by a constant and adds another one. Behind a convolution
both are part of its weights and bias. Of the logits' norms only the factors change a softmax, and hands on to
its outputs whatever is added to all values.
"""

import copy
from collections import OrderedDict
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from axial_deeplab.models.pointwise import Conv2d, PointwiseConv2d, is_pointwise

Module = TypeVar("Module", bound=nn.Module)


@runtime_checkable
class Foldable(Protocol):
    """A layer that knows its folded form."""

    def fused(self) -> nn.Module:
        """Return a module that computes the same in evaluation, without norms."""
        ...


class Fusible(nn.Module):
    """A network that can be folded for inference."""

    is_fused = False

    def fuse(self) -> Self:
        """Return a copy for inference with all norms folded away; see `fuse`."""
        return fuse(self)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode.

        Raises:
            RuntimeError: the network is folded and should train.
        """
        if mode and self.is_fused:
            raise RuntimeError(
                "mode must be False for a network without norms, got True; train the one that was folded"
            )
        return super().train(mode)


def fuse(model: Module) -> Module:
    """Return a copy of a network for inference, in which all norms are folded away.

    The copy gives what the network gives in evaluation, up to rounding. It stays in evaluation, its
    parameters need no gradients and have other names; its convolutions are channels-last. It can be
    compiled, exported and moved like any network. The network itself stays as it is. Parametrized weights
    are computed once; what others have put in the place of a convolution or norm is kept, see `can_fold`.

    Args:
        model: a network of `create_model`, or any module that contains such networks or their layers.
    """
    # Tensors made in inference mode do not tell when they change, but copies of weights must follow them.
    with torch.inference_mode(False):
        copied = copy.deepcopy(model).eval()
        for module in list(copied.modules()):
            if parametrize.is_parametrized(module):
                _compute_parametrizations(module)
        folded: Any = _folded(copied)
        if isinstance(folded, Fusible):
            folded.is_fused = True
        return folded.requires_grad_(False).to(memory_format=torch.channels_last)


def _compute_parametrizations(module: nn.Module) -> None:
    """Put the values of parametrized tensors in their places.

    PyTorch's own function changes the class, which a copy shares with its original.
    """
    names = [name for name, _ in module.get_submodule("parametrizations").named_children()]
    values = {name: getattr(module, name).detach() for name in names}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _folded(module: nn.Module) -> nn.Module:
    """Return the folded form of a layer, or the module itself with its layers folded."""
    if isinstance(module, Foldable):
        return module.fused()
    if is_pointwise(module) and can_fold(module):
        return PointwiseConv2d(module, relu=False)
    return fold_layers(module)


def fold_layers(module: Module) -> Module:
    """Put the folded forms of its layers into a module and return it."""
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module


def can_fold(convolution: nn.Module, *norms: nn.Module | None) -> bool:
    """Return whether a convolution and norms behind it are of the kinds that can become one.

    Not so where somebody has put something else in their places: a subclass that makes its weights itself, a
    wrapper for low ranks, pruned weights, a norm that is no batch norm or has no running statistics.
    """
    names = {name for name, _ in convolution.named_parameters(recurse=False)}
    return (
        type(convolution) in (nn.Conv2d, Conv2d, PointwiseConv2d)
        and names in ({"weight"}, {"weight", "bias"})
        and all(norm is None or isinstance(norm, nn.Identity) or _has_constants(norm) for norm in norms)
    )


def _has_constants(norm: nn.Module) -> bool:
    """Return whether a module is a batch norm that takes the same statistics for every batch."""
    return isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm) and norm.running_var is not None


def scale_and_shift(norm: nn.Module | None, channels: int) -> tuple[Tensor, Tensor]:
    """Return what a norm multiplies each channel by and then adds to it in evaluation, (C,) in float64.

    Args:
        norm: a batch norm; `nn.Identity` and None change nothing.
        channels: C.
    """
    if norm is None or isinstance(norm, nn.Identity):
        return torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(exact(norm.running_var) + norm.eps)
    if norm.weight is not None:
        scale = scale * exact(norm.weight)
    shift = -exact(norm.running_mean) * scale
    return scale, shift if norm.bias is None else shift + exact(norm.bias)


def folded_convolution(
    convolution: nn.Conv2d, scale: Tensor, shift: Tensor, *, relu: bool = False
) -> nn.Module:
    """Return the convolution whose output is that of another one times a scale plus a shift.

    Shapes: scale, shift (out_channels,).

    Args:
        convolution: stays as it is.
        scale: multiplies each channel of its output.
        shift: summand of the scaled output.
        relu: whether ReLU follows.
    """
    weight = exact(convolution.weight) * scale[:, None, None, None]
    bias = shift if convolution.bias is None else shift + exact(convolution.bias) * scale
    folded = copy.deepcopy(convolution)
    folded.weight = nn.Parameter(weight.to(convolution.weight), requires_grad=False)
    folded.bias = nn.Parameter(bias.to(convolution.weight), requires_grad=False)
    if is_pointwise(folded):
        return PointwiseConv2d(folded, relu)
    return nn.Sequential(OrderedDict(conv=folded, relu=nn.ReLU(inplace=True))) if relu else folded


def exact(x: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU, which every machine has it on."""
    return x.detach().to("cpu", torch.float64)
