"""Where deeplab2 keeps what each of our networks needs: names of its variables, and how their layout differs.

A name is the path of Python attributes in a TensorFlow checkpoint, without `/.ATTRIBUTES/VARIABLE_VALUE`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import nn

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone
from axial_deeplab.models.backbones.hybrid_resnet import HybridResNet
from axial_deeplab.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from axial_deeplab.models.backbones.stacked_decoder import StackedDecoder
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, SeparableConv
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.blocks.switchable_convolution import (
    GlobalContext,
    SwitchableConv2d,
    SwitchableConvNorm,
)
from axial_deeplab.models.decoders import ASPP, ConvDecoder
from axial_deeplab.models.norm import BatchNorm2d
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.registry import DEEPLAB2_NORM, DEEPLAB2_PANOPTIC, SegmentationEntry, find_entry

Array = NDArray[Any]


class ParameterSource(NamedTuple):
    """Where a tensor of ours comes from.

    Args:
        name: name of deeplab2's variable.
        transform: function from the variable's value to ours, both NumPy arrays.
    """

    name: str
    transform: Callable[[Array], Array]


Sources = dict[str, ParameterSource]


def deeplab2_names(model: nn.Module, *, num_void_classes: int = 0) -> Sources:
    """Return for each tensor of a network the variable of deeplab2 that it comes from.

    Args:
        model: a panoptic network or a backbone, as `deeplab2_arguments` makes it.
        num_void_classes: semantic channels at the beginning that ours does not have.

    Returns:
        By the name in the network's state dict. Two of ours may come from one variable. The counters of
        batches and the classifier, which is not part of deeplab2's encoders, have none.

    Raises:
        ValueError: deeplab2 has no such network.
    """
    if isinstance(model, PanopticDeepLab):
        sources = module_sources(model, "")
        for name in ("semantic_head.final.weight", "semantic_head.final.bias"):
            path, transform = sources[name]
            sources[name] = ParameterSource(path, partial(_without_first, num_void_classes, transform))
        return sources
    if isinstance(model, Backbone):
        return module_sources(model, "encoder")
    raise _unknown(type(model).__name__)


def module_sources(module: nn.Module, path: str) -> Sources:
    """Return the sources of a module's tensors, by their names in the module.

    Args:
        module: a network or a part of one.
        path: where its part of deeplab2's variables is; "" for their root.

    Raises:
        ValueError: deeplab2 has no such module.
    """
    if isinstance(module, AxialAttention):
        return _attention(module, path)
    if isinstance(module, BatchNorm2d):
        return _norm(path)
    if isinstance(module, nn.Conv2d):
        sources = _convolution(module, path)
        if isinstance(module, SwitchableConv2d):
            switch = _convolution(module.switch, f"{path}/_switch")
            sources |= {f"switch.{key}": source for key, source in switch.items()}
        return sources
    if isinstance(module, AxialBlock) and module.stride_mode != "slice":
        raise _unknown(f"stride_mode {module.stride_mode!r}")
    sources = {}
    for name, part in _parts(module).items():
        child = module
        for attribute in name.split("."):
            child = getattr(child, attribute, None)  # type: ignore[assignment]
        if isinstance(child, nn.MaxPool2d):
            raise _unknown("max_pool")
        if child is None:
            continue
        below = module_sources(child, "/".join(filter(None, (path, part))))
        sources |= {f"{name}.{key}": source for key, source in below.items()}
    missing = [
        name
        for name, _ in module.named_parameters()
        if name not in sources and not name.startswith("classifier.")
    ]
    if missing:
        raise _unknown(f"{type(module).__name__}.{missing[0]}")
    return sources


def without_influence(model: nn.Module, name: str) -> bool:
    """Return whether a variable that no tensor of ours comes from changes none of the network's outputs.

    Such are the biases of the norms of attention logits, which a softmax ignores, the stacked decoder of a
    backbone of which only the maps before it are used, and whatever is not the encoder's of a backbone alone.
    """
    if name.endswith("/_batch_norm_similarity/beta"):
        return True
    if isinstance(model, Backbone) and not name.startswith("encoder/"):
        return True
    backbone = model.backbone if isinstance(model, PanopticDeepLab) else model
    without_decoder = isinstance(backbone, HybridResNet) and backbone.stacked_decoder is None
    return without_decoder and name.startswith("encoder/_decoder_stage")


def deeplab2_arguments(
    name: str, crop_size: tuple[int, int] | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the arguments with which `create_model` makes a network as deeplab2 has it.

    Args:
        name: name of the network.
        crop_size: height and width of the images that it was trained on, k x output_stride + 1 pixels; gives
            the ASPP its fixed window. None pools whole maps.
        overrides: further arguments, which replace those that are returned but may decide about them.

    Raises:
        ValueError: deeplab2 has no such network.
    """
    entry = find_entry(name)
    backbone = entry.backbone if isinstance(entry, SegmentationEntry) else entry
    arguments: dict[str, Any] = {**DEEPLAB2_NORM}
    if backbone.network in (AxialResNet, ResNet):
        arguments |= {"max_pool": False, "stem_multiplier": 1.0}
    elif backbone.network is not HybridResNet:
        raise _unknown(name)
    if isinstance(entry, SegmentationEntry):
        settings = {**backbone.arguments, **entry.arguments, **(overrides or {})}
        arguments |= {**DEEPLAB2_PANOPTIC, "aspp_separable": False}
        if crop_size is not None and settings.get("aspp"):
            stride = settings.get("output_stride", 16)
            arguments["aspp_pool_size"] = tuple((length - 1) // stride + 1 for length in crop_size)
    return arguments


def _unknown(network: str) -> ValueError:
    return ValueError(
        f"model must be a network that deeplab2 has, got {network}; make it with deeplab2_arguments"
    )


def _identity(x: Array) -> Array:
    return x


def _kernel(x: Array) -> Array:
    """Return (height, width, in, out) as (out, in, height, width)."""
    return x.transpose(3, 2, 0, 1)


def _without_first(number: int, transform: Callable[[Array], Array], x: Array) -> Array:
    """Return the transformed array without its first output channels."""
    return transform(x)[number:]


def _depthwise_kernel(x: Array) -> Array:
    """Return (height, width, channels, 1) as (channels, 1, height, width)."""
    return x.transpose(2, 3, 0, 1)


def _projection(x: Array) -> Array:
    """Return (in, out) as (out, in, 1, 1)."""
    return x.T[:, :, None, None]


def _logit_terms(x: Array) -> Array:
    """Return (terms, 1, heads, 1, 1) as (terms, heads)."""
    return x[:, 0, :, 0, 0]


def _output_part(part: int, parts: int, x: Array) -> Array:
    """Return content or position of (parts, 1, heads, 1, channels) as (heads * channels,)."""
    if len(x) != parts:
        raise ValueError(f"x must have {parts} parts, got {len(x)}; another one would be taken")
    return x[part].reshape(-1)


TABLES = {f"rel_{word[0]}": f"_{word}_rpe/embeddings" for word in ("query", "key", "value")}
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def _norm(path: str, transform: Callable[[Array], Array] = _identity, *, bias: bool = True) -> Sources:
    return {
        ours: ParameterSource(f"{path}/{theirs}", transform)
        for ours, theirs in BATCH_NORM.items()
        if bias or ours != "bias"
    }


def _convolution(layer: nn.Conv2d, path: str) -> Sources:
    if layer.groups > 1:
        sources = {"weight": ParameterSource(f"{path}/depthwise_kernel", _depthwise_kernel)}
    else:
        sources = {"weight": ParameterSource(f"{path}/kernel", _kernel)}
    if layer.bias is not None:
        sources["bias"] = ParameterSource(f"{path}/bias", _identity)
    return sources


def _attention(layer: AxialAttention, path: str) -> Sources:
    sources = {"qkv.weight": ParameterSource(f"{path}/qkv_kernel", _projection)}
    for ours, theirs in TABLES.items():
        if getattr(layer, ours) is not None:
            sources[ours] = ParameterSource(f"{path}/{theirs}", _identity)
    norms = {"qkv_norm": _norm(f"{path}/_batch_norm_qkv")}
    if layer.logit_norm is not None:
        has_bias = layer.logit_norm.bias is not None
        norms["logit_norm"] = _norm(f"{path}/_batch_norm_similarity", _logit_terms, bias=has_bias)
    outputs = [name for name in ("content_norm", "positional_norm") if getattr(layer, name) is not None]
    for part, name in enumerate(outputs):
        norms[name] = _norm(f"{path}/_batch_norm_retrieved_output", partial(_output_part, part, len(outputs)))
    return sources | {f"{name}.{key}": source for name, norm in norms.items() for key, source in norm.items()}


# What a layer's parts are called: ours -> theirs.
PARTS: dict[type[nn.Module], Mapping[str, str]] = {
    PanopticDeepLab: {
        "backbone": "encoder",
        "semantic_decoder": "semantic_decoder",
        "instance_decoder": "instance_decoder",
        "semantic_head.hidden": "semantic_head_without_last_layer/_conv1_bn_act",
        "semantic_head.final": "semantic_last_layer",
        "center_head.hidden": "instance_center_head_without_last_layer/_conv1_bn_act",
        "center_head.final": "instance_center_head_last_layer",
        "offset_head.hidden": "instance_regression_head_without_last_layer/_conv1_bn_act",
        "offset_head.final": "instance_regression_head_last_layer",
    },
    SwitchableConvNorm: {
        "pre_context": "_pre_global_context",
        "conv": "_conv",
        "post_context": "_post_global_context",
        "norm": "_batch_norm",
    },
    GlobalContext: {"conv": "convolution"},
    SeparableConv: {"depthwise": "_depthwise", "pointwise": "_pointwise"},
    SqueezeExcite: {"conv": "_se_conv"},
    AxialBlock: {
        "down": "_conv1_bn_act",
        "height_attention": "_attention/_height_axis",
        "width_attention": "_attention/_width_axis",
        "up": "_conv3_bn",
        "shortcut": "_shortcut",
        "squeeze_excite": "_squeeze_and_excite",
    },
    Bottleneck: {
        "conv1": "_conv1_bn_act",
        "conv2": "_conv2_bn_act",
        "conv3": "_conv3_bn",
        "shortcut": "_shortcut",
        "squeeze_excite": "_squeeze_and_excite",
    },
    BasicBlock: {
        "conv1": "_conv1_bn_act",
        "conv2": "_conv2_bn",
        "shortcut": "_shortcut",
        "squeeze_excite": "_squeeze_and_excite",
    },
}


def _parts(module: nn.Module) -> Mapping[str, str]:
    """Return the names of a module's parts: ours, relative to the module -> theirs."""
    if isinstance(module, ConvNorm):
        convolution = module.get_submodule("conv")
        is_depthwise = isinstance(convolution, nn.Conv2d) and convolution.groups > 1
        return {"conv": "_depthwise_conv" if is_depthwise else "_conv", "norm": "_batch_norm"}
    if isinstance(module, Backbone):
        return _backbone_parts(module)
    if isinstance(module, StackedDecoder):
        parts = {}
        for index, step in enumerate(module.steps):
            stride = step.get_submodule("project.conv").stride
            kind = "resized" if stride == (1, 1) else "strided"
            stage = f"_decoder_stage{index + 1}"
            parts[f"steps.{index}.project"] = f"{stage}_resized_fuse/_{kind}_conv_bn1"
            parts[f"steps.{index}.block"] = f"{stage}/_block1"
        return parts
    if isinstance(module, ASPP):
        if isinstance(module.branches[-1], SeparableConv):
            raise _unknown("aspp_separable")
        parts = {
            "branches.0": "_conv_bn_act",
            "pool": "_aspp_pool/_conv_bn_act",
            "project": "_proj_conv_bn_act",
        }
        rates = range(1, len(module.branches))
        return parts | {f"branches.{i}": f"_aspp_conv{i}/_conv_bn_act" for i in rates}
    if isinstance(module, ConvDecoder):
        return {
            "context": "_aspp" if isinstance(module.context, ASPP) else "_aspp/_proj_conv_bn_act",
            "project_res3": "_low_level_conv1",
            "project_res2": "_low_level_conv2",
            "fuse_res3": "_fusion_conv1/_conv1_bn_act",
            "fuse_res2": "_fusion_conv2/_conv1_bn_act",
        }
    return PARTS.get(type(module), {})


def _backbone_parts(backbone: Backbone) -> dict[str, str]:
    stem = [name for name, _ in backbone.stem.named_children()]
    convolutions = [name for name in stem if name.startswith("conv")]
    parts = {f"stem.{name}": f"_stage1/_{name}" for name in stem if name.startswith("block")}
    if len(convolutions) == 1:
        parts["stem.conv1"] = "_stem"
    else:
        theirs = ("_conv1_bn_act", "_conv2_bn_act", "_conv3_bn")
        parts |= {f"stem.{name}": f"_stem/{path}" for name, path in zip(convolutions, theirs, strict=False)}
    if "max_pool" in stem:
        parts["stem.max_pool"] = ""
    for stage in FEATURE_NAMES:
        blocks = [name for name, _ in backbone.get_submodule(stage).named_children() if name.isdecimal()]
        parts |= {f"{stage}.{i}": f"_stage{stage[-1]}/_block{int(i) + 1}" for i in blocks}
    if isinstance(backbone, HybridResNet) and backbone.stacked_decoder is not None:
        parts["stacked_decoder"] = ""
    return parts
