"""Parameters, multiply-adds and stored activations of a network, counted on the meta device.

Nothing is computed and nothing stored: the largest network at 2177 x 2177 pixels takes about a second.

The paper's rule for multiply-adds (M-Adds) is not in its text; it follows from its digits. It is one for
each product of a convolution or matrix product, 5 for each attention logit (three norms, the exponential,
the division) and 1 for each element of a convolution's output (its norm). A query of a local span m on an
axis of L positions has min(m, L) logits for each head, also near the border; one of a square of m x m has
m².
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.global_ import GlobalAttention2d
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.backbones.attention_resnet import SpatiallyAwareStem
from axial_deeplab.models.decoders import ASPP, ConvDecoder
from axial_deeplab.models.norm import LogitNorm
from axial_deeplab.models.panoptic import PanopticDeepLab

# The paper counts relative tables of this many rows, whatever the size of the image.
PAPER_TABLE_ROWS = 509
MADDS_PER_LOGIT = 5
MADDS_PER_ELEMENT = 1

Attention = AxialAttention | LocalAttention2d | GlobalAttention2d | SpatiallyAwareStem
"""The layers whose operation is counted by arithmetic, since no two implementations multiply alike."""
ATTENTION = (AxialAttention, LocalAttention2d, GlobalAttention2d, SpatiallyAwareStem)
NORMS = (nn.modules.batchnorm._BatchNorm, LogitNorm)


@dataclass(frozen=True)
class MultiplyAdds:
    """What a network multiplies for one image.

    Attributes:
        products: multiply-adds of the convolutions and matrix products, attention included.
        logits: logits of all attention layers and heads.
        elements: elements in the outputs of the convolutions.
    """

    products: int = 0
    logits: int = 0
    elements: int = 0

    @property
    def by_the_rule(self) -> int:
        """Multiply-adds with those of norms and softmax, as the paper counts."""
        return self.products + MADDS_PER_LOGIT * self.logits + MADDS_PER_ELEMENT * self.elements

    def __add__(self, other: "MultiplyAdds") -> "MultiplyAdds":
        return MultiplyAdds(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "MultiplyAdds") -> "MultiplyAdds":
        return MultiplyAdds(*map(operator.sub, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Activations:
    """Bytes that the forward pass of training keeps for the backward pass, in float32, for one image.

    Attributes:
        reference: bytes with the reference implementation of attention, which keeps its logits.
        recomputing: bytes with an implementation that keeps inputs and outputs and computes the logits again.
    """

    reference: int
    recomputing: int


def count_parameters(model: nn.Module) -> int:
    """Return how many parameters a network has."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_parameters_by_the_rule(model: nn.Module) -> int:
    """Return the parameters as the paper counts them: none of the norms, relative tables of 509 rows."""
    count = count_parameters(model)
    for module in model.modules():
        if isinstance(module, NORMS):
            count -= sum(parameter.numel() for parameter in module.parameters(recurse=False))
        elif isinstance(module, AxialAttention):
            for table in (module.rel_q, module.rel_k, module.rel_v):
                if table is not None:
                    count += (PAPER_TABLE_ROWS - table.shape[0]) * table.shape[1]
    return count


class MaddsCounter:
    """Counts the multiply-adds of a network at any input size.

    It works on a twin of the network on the meta device that has no norms and whose attention is arithmetic.

    Args:
        model: the network; it stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self._twin = _on_meta(model).eval()
        self._total = MultiplyAdds()  # all but the products of convolutions
        self._depthwise = MultiplyAdds()
        self._late_projection = MultiplyAdds()
        for parent in list(self._twin.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, ATTENTION):
                    setattr(parent, name, _AttentionTwin(child, self._add))
                elif isinstance(child, nn.modules.batchnorm._BatchNorm | nn.ReLU):
                    setattr(parent, name, nn.Identity())
        for module in self._twin.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(self._count_convolution)
            elif isinstance(module, ConvDecoder):
                module.register_forward_hook(self._count_late_projection)

    def as_it_runs(self, height: int, width: int) -> MultiplyAdds:
        """Count what the network multiplies for one image of height x width pixels.

        Convolutions and matrix products are those that `torch.utils.flop_counter` sees; the attention
        operation is counted by the number of its logits. Resizing, pooling, norms and activations are no
        products.
        """
        twin = self._twin
        if isinstance(twin, PanopticDeepLab):
            return self._run(lambda image: twin.decode(twin.encode(image)), height, width)
        return self._run(twin, height, width)

    def as_published(self, height: int, width: int) -> MultiplyAdds:
        """Count the way that the paper's tables count panoptic networks; others as they run.

        Three conventions, found by arithmetic, differ from how a panoptic network runs. The maps are those
        of an image with one pixel less in height and width, a multiple of the output stride. Depthwise
        convolutions are not counted. Where no ASPP stands in front of a decoder, its 1x1 projection is
        counted after the map was resized to the next finer one, not before.
        """
        twin = self._twin
        if not isinstance(twin, PanopticDeepLab):
            return self.as_it_runs(height, width)
        stride = twin.output_stride
        even_size = (max(-(-(length - 1) // stride), 1) * stride for length in (height, width))
        total = self._run(lambda image: twin.decode(twin.backbone.forward_features(image)), *even_size)
        return total - self._depthwise + self._late_projection

    def _run(self, network: Callable[[Tensor], object], height: int, width: int) -> MultiplyAdds:
        self._total = self._depthwise = self._late_projection = MultiplyAdds()
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            network(_image(self._twin, height, width))
        return self._total + MultiplyAdds(products=flops.get_total_flops() // 2)

    def _add(self, cost: MultiplyAdds) -> None:
        self._total += cost

    def _count_convolution(self, layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        self._total += MultiplyAdds(elements=output.numel())
        if layer.groups > 1:
            self._depthwise += MultiplyAdds(output.numel() * layer.weight[0].numel(), 0, output.numel())

    def _count_late_projection(
        self, decoder: nn.Module, inputs: tuple[dict[str, Tensor], ...], _: Tensor
    ) -> None:
        assert isinstance(decoder, ConvDecoder)
        if isinstance(decoder.context, ASPP):
            return
        projection = decoder.context.get_submodule("conv")
        assert isinstance(projection, nn.Conv2d)
        finer, own = (inputs[0][name][0, 0].numel() for name in ("res3", "res5"))
        self._late_projection += MultiplyAdds(
            products=projection.weight.numel() * (finer - own),
            elements=projection.out_channels * (finer - own),
        )


def count_activations(model: nn.Module, height: int, width: int) -> Activations:
    """Count the memory that training keeps between forward and backward pass, without parameters.

    Args:
        model: the network; blocks that it recomputes (`checkpoint=True`) are counted so.
        height: pixels of the image.
        width: pixels of the image.
    """
    twin = _on_meta(model).train()
    owned = {_storage(tensor) for tensor in (*twin.parameters(), *twin.buffers())}
    # By storage, and alive, so that no two storages share an address.
    kept: dict[int, Tensor] = {}
    of_operations: dict[int, Tensor] = {}
    inputs: dict[int, Tensor] = {}
    qkv_of_operation: Tensor | None = None

    def keep(tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key in owned:
            return tensor
        if qkv_of_operation is None:
            kept[key] = tensor
        else:
            # Not reached in a recomputed block, which keeps nothing of its operations.
            of_operations[key] = tensor
            inputs[_storage(qkv_of_operation)] = qkv_of_operation
        return tensor

    def enter(_: nn.Module, __: tuple[Tensor, ...], qkv: Tensor) -> None:
        nonlocal qkv_of_operation
        qkv_of_operation = qkv

    def leave(*_: object) -> None:
        nonlocal qkv_of_operation
        qkv_of_operation = None

    for module in twin.modules():
        if isinstance(module, AxialAttention | LocalAttention2d | GlobalAttention2d):
            module.qkv_norm.register_forward_hook(enter)
            first_norm = module.content_norm or module.positional_norm
            assert first_norm is not None
            first_norm.register_forward_pre_hook(leave)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        twin(_image(twin, height, width))
    return Activations(_total_bytes({**kept, **of_operations}), _total_bytes({**kept, **inputs}))


class _AttentionTwin(nn.Module):
    """The projection of an attention layer; what its operation costs is only reported."""

    def __init__(self, layer: Attention, report: Callable[[MultiplyAdds], None]) -> None:
        super().__init__()
        self.qkv = layer.qkv
        self.layer = (layer,)  # not a submodule: its projection is already one
        self.report = report

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer[0]
        images, _, height, width = x.shape
        self.qkv(x)
        cost = operation_cost(layer, height, width)
        self.report(MultiplyAdds(images * cost.products, images * cost.logits))
        return x.new_empty(images, *_output_shape(layer, height, width))


def operation_cost(layer: Attention, height: int, width: int) -> MultiplyAdds:
    """Return what the operation of an attention layer costs on one map, without its projection."""
    heads = layer.num_heads
    if isinstance(layer, SpatiallyAwareStem):
        block = layer.block_size**2
        logits = height * width * block * heads
        mixing = height * width * layer.num_mixtures * heads * layer.head_dim
        return MultiplyAdds(2 * logits * layer.head_dim + mixing, logits)
    if isinstance(layer, GlobalAttention2d):
        logits = (height * width) ** 2 * heads
        return MultiplyAdds(logits * (layer.key_dim + layer.value_dim), logits)
    if isinstance(layer, LocalAttention2d):
        logits = height * width * layer.kernel_size**2 * heads
    else:
        length = height if layer.axis == "height" else width
        logits = height * width * min(layer.span or length, length) * heads
    terms = len(layer.logit_terms())
    outputs = (layer.content_norm is not None) + (layer.rel_v is not None)
    return MultiplyAdds(logits * (terms * layer.key_dim + outputs * layer.value_dim), logits)


def _output_shape(layer: Attention, height: int, width: int) -> tuple[int, int, int]:
    if isinstance(layer, SpatiallyAwareStem):
        size = layer.block_size
        return layer.num_heads * layer.head_dim, -(-height // size), -(-width // size)
    channels, stride = layer.num_heads * layer.value_dim, layer.stride
    if not isinstance(layer, AxialAttention) or layer.axis == "height":
        height = -(-height // stride)
    if not isinstance(layer, AxialAttention) or layer.axis == "width":
        width = -(-width // stride)
    return channels, height, width


def _on_meta(model: nn.Module) -> nn.Module:
    """Return a copy of a network whose tensors have no memory."""
    tensors: dict[int, Tensor] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }
    tensors |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    return copy.deepcopy(model, tensors)


def _image(model: nn.Module, height: int, width: int) -> Tensor:
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    return torch.empty(1, first.in_channels, height, width, device="meta")


def _total_bytes(tensors: dict[int, Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
