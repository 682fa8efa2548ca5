"""The Axial-ResNet of the first author's PyTorch code, csrhddlam/axial-deeplab, such as `axial26s.pth`."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.weights.convert.deeplab2_names import Array, ParameterSource, Sources

# No other network has a tensor of this name.
MARK = "layer1.0.hight_block.relative"
# Our name -> his, of whole modules; inside an attention layer the tensors have further differences.
STEM = {"stem.conv1.conv": "conv1", "stem.conv1.norm": "bn1", "classifier": "fc"}
BLOCK = {
    "down.conv": "conv_down",
    "down.norm": "bn1",
    "up.conv": "conv_up",
    "up.norm": "bn2",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
    "height_attention": "hight_block",
    "width_attention": "width_block",
}
LAYER = {
    "qkv": "qkv_transform",
    "qkv_norm": "bn_qkv",
    "logit_norm": "bn_similarity",
    "content_norm": "bn_output",
    "positional_norm": "bn_output",
}
# A constant, biases that a softmax does not feel, and counters.
WITHOUT_INFLUENCE = re.compile(r"\.flatten_index$|\.bn_similarity\.bias$|(^|\.)num_batches_tracked$")

NAMES_BY_DEPTHS_AND_WIDTH: dict[tuple[tuple[int, ...], float], str] = {
    ((1, 2, 4, 1), 0.5): "axial_resnet26_s",
    ((3, 4, 6, 3), 0.5): "axial_resnet_s",
    ((3, 4, 6, 3), 0.75): "axial_resnet_m",
    ((3, 4, 6, 3), 1.0): "axial_resnet_l",
}


def is_first_author(names: Collection[str]) -> bool:
    """Return whether names of tensors are those of this code."""
    return MARK in names


def without_influence(model: nn.Module, name: str) -> bool:
    """Return whether a tensor of this code changes none of the outputs of ours."""
    return WITHOUT_INFLUENCE.search(name) is not None


def first_author_arguments(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the arguments of `create_model` for tensors of these shapes."""
    depths = count_blocks(shapes)
    width = shapes["conv1.weight"][0] / 64
    lengths = [shape[1] for name, shape in shapes.items() if name.endswith(".relative")]
    return {
        "name": NAMES_BY_DEPTHS_AND_WIDTH.get((depths, width), "axial_resnet_s"),
        "num_classes": shapes["fc.bias"][0],
        "width_multiplier": width,
        "stem_multiplier": width,
        "depths": depths,
        "num_heads": shapes["layer1.0.hight_block.bn_similarity.weight"][0] // 3,
        # The longest axis of the training; shorter tables are continued by their first and last rows.
        "max_span": (max(lengths) + 1) // 2,
        "stride_mode": "average_pool",
    }


def first_author_names(model: nn.Module) -> Sources:
    """Return the source of each tensor of an `AxialResNet` in a state dict of this code.

    Source:
        csrhddlam/axial-deeplab, lib/models/axialnet.py. The projection is head-major with q, k and v of a
        head together; one relative table has the rows of q, k and v behind each other, those of q and v in
        the other direction; the output norm alternates content and position.
    """
    return renamed_modules(model, BLOCK)


def renamed_modules(model: nn.Module, block_names: Mapping[str, str]) -> Sources:
    """Return the source of each tensor of a residual network whose stages are `layer1` to `layer4`.

    Args:
        model: the network.
        block_names: name of a module in a residual block -> its name in the source.
    """
    sources: Sources = {}
    for name, module in model.named_modules():
        block = re.fullmatch(r"res(\d)\.(\d+)\.(\w+|\w+\.\w+)", name)
        if name in STEM:
            path = STEM[name]
        elif block and block[3] in block_names:
            path = f"layer{int(block[1]) - 1}.{block[2]}.{block_names[block[3]]}"
        else:
            continue
        names = layer_names if isinstance(module, AxialAttention) else _unchanged
        sources |= {f"{name}.{key}": source for key, source in names(module, path).items()}
    return sources


def layer_names(layer: AxialAttention, path: str) -> Sources:
    """Return the source of each tensor of an attention layer in a state dict of this code.

    Args:
        layer: its relative tables may be longer than those of the source, which are continued.
        path: where the layer is in the state dict.
    """
    sources = {}
    for name, tensor in layer.state_dict().items():
        module, _, kind = name.rpartition(".")
        if kind != "num_batches_tracked":
            sources[name] = _layer_source(path, module, kind, tensor, layer.num_heads)
    return sources


def count_blocks(names: Iterable[str]) -> tuple[int, ...]:
    """Return how many blocks the stages `layer1` to `layer4` have."""
    blocks = {
        tuple(map(int, match.groups())) for name in names if (match := re.match(r"layer(\d)\.(\d+)\.", name))
    }
    return tuple(sum(stage == number for number, _ in blocks) for stage in (1, 2, 3, 4))


def _unchanged(module: nn.Module, path: str) -> Sources:
    """Return the sources of a module that has the same tensors there."""
    names = (name for name in module.state_dict() if name != "num_batches_tracked")
    return {name: ParameterSource(f"{path}.{name}", np.asarray) for name in names}


def _layer_source(prefix: str, module: str, kind: str, tensor: Tensor, num_heads: int) -> ParameterSource:
    if not module:
        return ParameterSource(f"{prefix}.relative", partial(_relative_table, kind=kind, rows=len(tensor)))
    transforms: dict[str, Callable[[Array], Array]] = {
        "qkv": lambda x: _heads_together(x, num_heads)[..., None],
        "qkv_norm": lambda x: _heads_together(x, num_heads),
        "logit_norm": lambda x: x.reshape(3, num_heads),
        "content_norm": lambda x: x[0::2],
        "positional_norm": lambda x: x[1::2],
    }
    return ParameterSource(f"{prefix}.{LAYER[module]}.{kind}", transforms[module])


def _heads_together(x: Array, num_heads: int) -> Array:
    """Reorder channels from [q k v of head 1, q k v of head 2, ...] to [all q, all k, all v]."""
    heads = x.reshape(num_heads, -1, *x.shape[1:])
    quarter = heads.shape[1] // 4
    parts = np.split(heads, (quarter, 2 * quarter), axis=1)
    return np.concatenate([part.reshape(-1, *x.shape[1:]) for part in parts])


def _relative_table(relative: Array, *, kind: str, rows: int) -> Array:
    """Return the table of queries, keys or values, continued to a number of rows."""
    quarter = relative.shape[0] // 4
    rel_q, rel_k, rel_v = np.split(relative.T, (quarter, 2 * quarter), axis=1)
    table = {"rel_q": rel_q[::-1], "rel_k": rel_k, "rel_v": rel_v[::-1]}[kind]
    distance = np.arange(rows) - rows // 2
    return table[(distance + len(table) // 2).clip(0, len(table) - 1)]
