"""Settings that travel through a network as one value: of norms, attention, backbone and decoders.

A class that takes such a value takes the value's fields as keyword arguments, too: `AxialBlock(..., span=65)`
is `AxialBlock(..., attention=AxialOptions(span=65))`.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from axial_deeplab.ops.axial.api import check_activation
from axial_deeplab.ops.operands import check_odd, check_whole


@dataclass(frozen=True)
class Options:
    """Settings whose names, behind a prefix, are keyword arguments of the classes that take them."""

    prefix: ClassVar[str] = ""

    @classmethod
    def keywords(cls) -> dict[str, str]:
        """Return keyword argument -> field."""
        return {cls.prefix + field.name: field.name for field in fields(cls)}

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.type in (int, int | None)):
            check_whole(name, getattr(self, name))


@dataclass(frozen=True)
class Norm(Options):
    """What all batch norms of a network share; the keyword arguments are `norm_eps` and `norm_momentum`.

    Args:
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics.
    """

    prefix: ClassVar[str] = "norm_"

    eps: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class AttentionOptions(Options):
    """What all attention layers share.

    Args:
        num_heads: attention heads.
        qkv_norm: whether batch norm follows the projection.
        logit_norm: whether each term of the logits is batch-normalized, each head on its own.
        output_norm: whether content and positional output are batch-normalized before they are added.
        impl: implementation of the operation, see `axial_attention`.
    """

    num_heads: int = 8
    qkv_norm: bool = True
    logit_norm: bool = True
    output_norm: bool = True
    impl: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_heads < 1:
            raise ValueError(f"num_heads must be at least 1, got {self.num_heads}; the paper's is 8")


@dataclass(frozen=True)
class PositionalOptions(AttentionOptions):
    """What the attention layers with relative positions share.

    Args:
        content_logits: whether the logits have the term q·k.
        content_output: whether the output has the content term, that of the values.
        rel_q: whether the logits have the term q·r^q.
        rel_k: whether the logits have the term k·r^k.
        rel_v: whether the output has the positional term of r^v.
    """

    rel_q: bool = True
    rel_k: bool = True
    rel_v: bool = True
    content_logits: bool = True
    content_output: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.content_logits or self.rel_q or self.rel_k):
            raise ValueError("content_logits must be True without rel_q and rel_k, got False; keep one term")
        if not (self.content_output or self.rel_v):
            raise ValueError("content_output must be True without rel_v, got False; keep one term")


@dataclass(frozen=True)
class AxialOptions(PositionalOptions):
    """Attention along an axis.

    Args:
        span: the paper's m, an odd number of positions of this feature map; None attends to the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        activation: "softmax" or "sigmoid", see `axial_attention`.
    """

    span: int | None = None
    max_span: int = 255
    activation: str = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span is not None:
            check_odd("span", self.span)
        if self.max_span < 1:
            raise ValueError(f"max_span must be at least 1 position, got {self.max_span}; the paper's is 255")
        check_activation(self.activation)


@dataclass(frozen=True)
class WindowOptions(PositionalOptions):
    """Attention over a square around each position.

    Args:
        kernel_size: the paper's m, an odd number of positions of this feature map.
        rows_per_chunk: rows of queries that are computed together, see `local_attention_2d`.
    """

    kernel_size: int = 7
    rows_per_chunk: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_odd("kernel_size", self.kernel_size)


@dataclass(frozen=True)
class BackboneOptions(Options):
    """What all backbones share.

    Args:
        num_classes: classes of the classifier.
        in_channels: channels of the images.
        width_multiplier: scale of the channels.
        output_stride: 32, 16 or 8; where a stride is removed from the last stages, the convolutions that
            follow are atrous instead (attention is never atrous).
        checkpoint: recompute each block in the backward pass instead of keeping its activations.
        features_only: make no classifier and return the maps res2 to res5.
    """

    num_classes: int = 1000
    in_channels: int = 3
    width_multiplier: float = 1.0
    output_stride: int = 32
    checkpoint: bool = False
    features_only: bool = False


@dataclass(frozen=True)
class ResidualOptions(BackboneOptions):
    """What all residual networks share.

    Args:
        depths: blocks in the stages res2 to res5.
    """

    depths: tuple[int, int, int, int] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != 4 or min(self.depths) < 1:
            raise ValueError(
                f"depths must be four positive numbers of blocks, got {tuple(self.depths)}; see AxialResNet"
            )


@dataclass(frozen=True)
class DecoderOptions(Options):
    """What the convolutional decoders of a network share.

    Args:
        aspp: whether ASPP stands in front of each decoder instead of a 1x1 projection.
        atrous_rates: rates of ASPP; None is 6, 12, 18 at output stride 16 and in proportion at others.
        aspp_separable: whether ASPP's atrous convolutions are depthwise-separable.
        aspp_pool_size: window of ASPP's pooling, see `ASPP`; None pools the whole map.
        decoder_separable: whether the 5x5 convolutions of the decoders are depthwise-separable.
    """

    aspp: bool = False
    atrous_rates: Sequence[int] | None = None
    aspp_separable: bool = True
    aspp_pool_size: tuple[int, int] | None = None
    decoder_separable: bool = True


def with_keywords(keywords: Mapping[str, Any], *options: Options) -> tuple[Any, ...]:
    """Return options in which those fields are replaced that came as keyword arguments.

    Raises:
        TypeError: none of the options has such a field.
    """
    known = {keyword for group in options for keyword in group.keywords()}
    for keyword in keywords:
        if keyword not in known:
            raise TypeError(f"got an unexpected keyword argument {keyword!r}; known are {sorted(known)}")

    def changes(group: Options) -> dict[str, Any]:
        names = group.keywords()
        return {names[keyword]: value for keyword, value in keywords.items() if keyword in names}

    return tuple(replace(group, **changes(group)) for group in options)


def keyword_arguments(network: type) -> set[str]:
    """Return the names of a class's keyword arguments, the fields of its options in place of the options."""
    names: set[str] = set()
    for parameter in inspect.signature(network).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            is_group = isinstance(parameter.default, Options)
            names.update(parameter.default.keywords() if is_group else (parameter.name,))
    return names


def check_map(x: Tensor, channels: int, module: nn.Module | None = None, *, name: str = "x") -> None:
    """Refuse what is no batch of maps, or images, of so many channels.

    Args:
        x: what is given.
        channels: how many there must be.
        module: whose weights must be of the type of x, or of one that autocast makes of both; None takes all.
        name: name of x in messages.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a tensor (B, {channels}, H, W), got {type(x).__name__}; torch.from_numpy "
            "makes one of an array, and Predictor takes arrays and pictures"
        )
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(
            f"{name} must be (B, {channels}, H, W), got {tuple(x.shape)}; "
            "add the batch dimension or set in_channels"
        )
    if 0 in x.shape[2:]:
        raise ValueError(f"{name} must have a pixel at least, got {tuple(x.shape)}; leave out what is empty")
    weight = None if module is None else next(module.parameters(), None)
    # Not where something else says what the weights will be, as quantization and FSDP do.
    if weight is None or type(weight) not in (Tensor, nn.Parameter) or x.dtype == weight.dtype:
        return
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if not (autocast and {x.dtype, weight.dtype} <= _AUTOCAST_TYPES):
        raise ValueError(
            f"{name} must have the type of the weights, {weight.dtype}, got {x.dtype}; "
            f"convert {name} or the network with .to()"
        )


# What autocast makes one type of; it leaves others as they are.
_AUTOCAST_TYPES = {torch.float32, torch.float16, torch.bfloat16}


# What a network has unless it is told otherwise.
NORM, ATTENTION, AXIAL, WINDOW = Norm(), AttentionOptions(), AxialOptions(), WindowOptions()
BACKBONE, RESIDUAL, DECODER = BackboneOptions(), ResidualOptions(), DecoderOptions()
