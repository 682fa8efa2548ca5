"""How wide and deep a network of deeplab2 is, and of which layers, from the variables of its checkpoint."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from axial_deeplab.models.backbones.base import FEATURE_NAMES
from axial_deeplab.models.registry import create_model, find_entry
from axial_deeplab.weights.convert.deeplab2_names import TABLES, deeplab2_names

# Argument -> modules whose output has so many channels.
CHANNELS = {
    "semantic_channels": ("semantic_decoder.fuse_res2",),
    "instance_channels": ("instance_decoder.fuse_res2",),
    "semantic_head_channels": ("semantic_head.hidden",),
    "instance_head_channels": ("center_head.hidden",),
    "semantic_low_level_channels": ("semantic_decoder.project_res3", "semantic_decoder.project_res2"),
    "instance_low_level_channels": ("instance_decoder.project_res3", "instance_decoder.project_res2"),
    "aspp_channels": ("semantic_decoder.context", "instance_decoder.context"),
}
# Argument -> modules of which a backbone has one, and the channels of its output where the argument is 1.
MULTIPLES = {
    "stem_multiplier": (("stem.conv1",), 64),
    "width_multiplier": (("res2.0.up", "res2.0.conv3", "res2.0.conv2"), 256),
}
# Argument -> where deeplab2 has one of its convolutions that are depthwise-separable or not.
SEPARABLE = {
    "decoder_separable": "semantic_decoder/_fusion_conv1",
    "head_separable": "semantic_head_without_last_layer",
}
BLOCK = re.compile(r"encoder/_stage([2-5])/_block(\d+)/")


def deeplab2_widths(arguments: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return those arguments of a network that the names and shapes of variables tell to differ."""
    switches = _switches(shapes, find_entry(arguments["name"]).options)
    with torch.device("meta"):
        network = create_model(**{**switches, **arguments})
    state, names = network.state_dict(), deeplab2_names(network)
    before = "backbone." if hasattr(network, "backbone") else ""

    def last_norm(module: str) -> str | None:
        found = [name for name in names if name.startswith(f"{module}.") and name.endswith("norm.weight")]
        return found[-1] if found and names[found[-1]].name in shapes else None

    def differing(modules: tuple[str, ...]) -> tuple[int, ...]:
        """Return the channels of modules in the checkpoint, or nothing if they are those of the network."""
        norms = [norm for module in modules if (norm := last_norm(module)) is not None]
        theirs = tuple(shapes[names[norm].name][0] for norm in norms)
        return () if theirs == tuple(len(state[norm]) for norm in norms) else theirs

    widths = switches
    for argument, modules in CHANNELS.items():
        if channels := differing(modules):
            widths[argument] = channels if len(modules) > 1 else channels[0]
    for argument, (choices, unit) in MULTIPLES.items():
        modules = tuple(f"{before}{name}" for name in choices)
        if channels := differing(tuple(module for module in modules if last_norm(module) is not None)[:1]):
            widths[argument] = channels[0] / unit
    stages = [network.get_submodule(f"{before}{name}") for name in FEATURE_NAMES]
    ours = tuple(sum(name.isdecimal() for name, _ in stage.named_children()) for stage in stages)
    blocks = {match.groups() for name in shapes if (match := BLOCK.match(name))}
    depths = tuple(sum(stage == name[-1] for stage, _ in blocks) for name in FEATURE_NAMES)
    if all(depths) and depths != ours:
        widths["depths"] = depths
    table = next((name for name in names if name.endswith(".rel_q")), None)
    if table is not None:
        rows = shapes.get(names[table].name, state[table].shape)[0]
        if rows != len(state[table]):
            widths["max_span"] = (rows + 1) // 2
    return widths


def _switches(shapes: Mapping[str, tuple[int, ...]], options: Collection[str]) -> dict[str, Any]:
    """Return what layers are told to be without: depthwise convolutions, terms of the attention."""

    def terms(norm: str) -> int:
        return shapes.get(f"{layer}/{norm}/gamma", (-1,))[0]

    has = {name: f"{path}/_conv1_bn_act/_conv/kernel" not in shapes for name, path in SEPARABLE.items()}
    layer = next((name.removesuffix("/qkv_kernel") for name in shapes if name.endswith("/qkv_kernel")), None)
    if layer is not None:
        has |= {name: f"{layer}/{path}" in shapes for name, path in TABLES.items()}
        has["content_logits"] = terms("_batch_norm_similarity") != has["rel_q"] + has["rel_k"]
        has["content_output"] = terms("_batch_norm_retrieved_output") != has["rel_v"]
    return {name: False for name, value in has.items() if not value and name in options}
