"""Renames the arrays of the reference implementations' attention to the names of our layers.

Each function takes a mapping of the reference's names (weights, gradients or updated statistics; what is
absent is left out) and returns a mapping of ours.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Arrays = Mapping[str, np.ndarray]
DEEPLAB2_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
PYTORCH_NORM = {name: name for name in ("weight", "bias", "running_mean", "running_var")}


def select(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays below a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def deeplab2_layer(arrays: Arrays, *, logit_bias: bool = False) -> dict[str, Tensor]:
    """Rename deeplab2's AxialAttention; its similarity norm has biases that only the sigmoid feels."""
    ours: dict[str, np.ndarray] = {}
    if "qkv_kernel" in arrays:
        ours["qkv.weight"] = arrays["qkv_kernel"].T[:, :, None, None]
    for theirs, name in {"_query_rpe": "rel_q", "_key_rpe": "rel_k", "_value_rpe": "rel_v"}.items():
        if f"{theirs}/embeddings" in arrays:
            ours[name] = arrays[f"{theirs}/embeddings"]
    for theirs, name in DEEPLAB2_NORM.items():
        if (array := arrays.get(f"_batch_norm_qkv/{theirs}")) is not None:
            ours[f"qkv_norm.{name}"] = array
        array = arrays.get(f"_batch_norm_similarity/{theirs}")
        if array is not None and (logit_bias or name != "bias"):
            ours[f"logit_norm.{name}"] = array[:, 0, :, 0, 0]
        if (array := arrays.get(f"_batch_norm_retrieved_output/{theirs}")) is not None:
            for norm, part in zip(("content_norm", "positional_norm"), array, strict=False):
                ours[f"{norm}.{name}"] = part.reshape(-1)
    return _tensors(ours)


def deeplab2_block(arrays: Arrays) -> dict[str, Tensor]:
    """Rename deeplab2's AxialBlock of type axial."""
    ours: dict[str, Tensor] = {}
    for theirs, name in {"_height_axis": "height_attention", "_width_axis": "width_attention"}.items():
        layer = deeplab2_layer(select(arrays, f"_attention/{theirs}/"))
        ours |= {f"{name}.{key}": value for key, value in layer.items()}
    for theirs, name in {"_conv1_bn_act": "down", "_conv3_bn": "up", "_shortcut": "shortcut"}.items():
        if (kernel := arrays.get(f"{theirs}/_conv/kernel")) is not None:
            ours |= _tensors({f"{name}.conv.weight": kernel.transpose(3, 2, 0, 1)})
        norm = select(arrays, f"{theirs}/_batch_norm/")
        ours |= _tensors({f"{name}.norm.{DEEPLAB2_NORM[key]}": array for key, array in norm.items()})
    return ours


def first_author_layer(arrays: Arrays, num_heads: int = 8) -> dict[str, Tensor]:
    """Rename the AxialAttention of the first author's PyTorch code.

    His projection is head-major with q, k and v of a head together; his single relative table has the rows of
    q, k and v behind each other, those of q and v in the other direction; his output norm alternates content
    and position.
    """
    ours: dict[str, np.ndarray] = {}
    if "qkv_transform.weight" in arrays:
        ours["qkv.weight"] = _heads_together(arrays["qkv_transform.weight"], num_heads)[..., None]
    if "relative" in arrays:
        table = arrays["relative"].T  # (2 max_span - 1, 2 head_dim)
        rel_q, rel_k, rel_v = np.split(table, (table.shape[1] // 4, table.shape[1] // 2), axis=1)
        ours |= {"rel_q": rel_q[::-1], "rel_k": rel_k, "rel_v": rel_v[::-1]}
    for name in PYTORCH_NORM:
        if (array := arrays.get(f"bn_qkv.{name}")) is not None:
            ours[f"qkv_norm.{name}"] = _heads_together(array, num_heads)
        array = arrays.get(f"bn_similarity.{name}")
        if array is not None and name != "bias":
            ours[f"logit_norm.{name}"] = array.reshape(3, num_heads)
        if (array := arrays.get(f"bn_output.{name}")) is not None:
            ours |= {f"content_norm.{name}": array[0::2], f"positional_norm.{name}": array[1::2]}
    return _tensors(ours)


def first_author_block(arrays: Arrays, num_heads: int = 8) -> dict[str, Tensor]:
    """Rename the AxialBlock of the first author's PyTorch code."""
    ours: dict[str, Tensor] = {}
    for theirs, name in {"hight_block.": "height_attention", "width_block.": "width_attention"}.items():
        layer = first_author_layer(select(arrays, theirs), num_heads)
        ours |= {f"{name}.{key}": value for key, value in layer.items()}
    modules = {"conv_down": "down.conv", "bn1": "down.norm", "conv_up": "up.conv", "bn2": "up.norm"}
    modules |= {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}
    for theirs, name in modules.items():
        ours |= _tensors({f"{name}.{key}": array for key, array in select(arrays, f"{theirs}.").items()})
    return ours


def _heads_together(array: np.ndarray, num_heads: int) -> np.ndarray:
    """Reorder channels from [q k v of head 1, q k v of head 2, ...] to [all q, all k, all v]."""
    heads = array.reshape(num_heads, -1, *array.shape[1:])
    quarter = heads.shape[1] // 4
    parts = np.split(heads, (quarter, 2 * quarter), axis=1)
    return np.concatenate([part.reshape(-1, *array.shape[1:]) for part in parts])


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
