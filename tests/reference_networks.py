"""Renames the arrays of the reference implementations' networks to the names of ours; compares outputs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_weights import (
    DEEPLAB2_NORM,
    Arrays,
    deeplab2_block,
    first_author_block,
    select,
)

BOTTLENECK = {
    "_conv1_bn_act": "conv1",
    "_conv2_bn_act": "conv2",
    "_conv3_bn": "conv3",
    "_shortcut": "shortcut",
}
STEM = {"_conv1_bn_act": "conv1", "_conv2_bn_act": "conv2", "_conv3_bn": "conv3"}


def deeplab2_encoder(arrays: Arrays) -> dict[str, Tensor]:
    """Rename deeplab2's encoder: our backbones without a classifier."""
    stem = select(arrays, "encoder/_stem/")
    ours = _conv_norm(stem, "", "stem.conv1")
    for theirs, name in STEM.items():
        ours |= _conv_norm(stem, f"{theirs}/", f"stem.{name}")
    blocks = {match[0] for name in arrays if (match := re.match(r"encoder/_stage\d/_block\d+/", name))}
    for prefix in blocks:
        stage, number = (int(digits) for digits in re.findall(r"\d+", prefix.removeprefix("encoder/")))
        name = f"stem.block{number}" if stage == 1 else f"res{stage}.{number - 1}"
        block = select(arrays, prefix)
        if any(key.startswith("_attention/") for key in block):
            ours |= {f"{name}.{key}": value for key, value in deeplab2_block(block).items()}
        else:
            for theirs, part in BOTTLENECK.items():
                ours |= _conv_norm(block, f"{theirs}/", f"{name}.{part}")
    return ours


def deeplab2_decoder(arrays: Arrays, theirs: str) -> dict[str, Tensor]:
    """Rename deeplab2's "semantic_decoder" or "instance_decoder": our `ConvDecoder`."""
    decoder = select(arrays, f"{theirs}/")
    with_aspp = any(name.startswith("_aspp/_aspp_pool") for name in decoder)
    names = {"_aspp/_proj_conv_bn_act": "context.project" if with_aspp else "context"}
    names |= {"_aspp/_conv_bn_act": "context.branches.0", "_aspp/_aspp_pool/_conv_bn_act": "context.pool"}
    names |= {f"_aspp/_aspp_conv{i}/_conv_bn_act": f"context.branches.{i}" for i in (1, 2, 3)}
    names |= {"_low_level_conv1": "project_res3", "_low_level_conv2": "project_res2"}
    ours: dict[str, Tensor] = {}
    for their_name, name in names.items():
        ours |= _conv_norm(decoder, f"{their_name}/", name)
    for number, name in ((1, "fuse_res3"), (2, "fuse_res2")):
        ours |= _separable(decoder, f"_fusion_conv{number}/_conv1_bn_act/", name)
    return ours


def deeplab2_head(arrays: Arrays, theirs: str) -> dict[str, Tensor]:
    """Rename deeplab2's "semantic", "instance_center" or "instance_regression" head: our `Head`."""
    hidden = "" if theirs == "semantic" else "_head"
    ours = _separable(arrays, f"{theirs}_head_without_last_layer/_conv1_bn_act/", "hidden")
    kernel, bias = (arrays[f"{theirs}{hidden}_last_layer/{name}"] for name in ("kernel", "bias"))
    ours["final.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    ours["final.bias"] = torch.from_numpy(bias)
    return ours


def first_author_network(arrays: Arrays, max_span: int) -> dict[str, Tensor]:
    """Rename the first author's AxialAttentionNet; his tables are as long as his training size needs."""
    names = {"conv1": "stem.conv1.conv", "bn1": "stem.conv1.norm", "fc": "classifier"}
    ours: dict[str, Tensor] = {}
    for theirs, name in names.items():
        ours |= {
            f"{name}.{key}": torch.from_numpy(value) for key, value in select(arrays, f"{theirs}.").items()
        }
    blocks = {match[0] for name in arrays if (match := re.match(r"layer\d\.\d+\.", name))}
    for prefix in blocks:
        stage, index = (int(digits) for digits in re.findall(r"\d+", prefix))
        for key, value in first_author_block(select(arrays, prefix)).items():
            if ".rel_" in key:
                missing = (2 * max_span - 1 - value.shape[0]) // 2
                value = F.pad(value, (0, 0, missing, missing))
            ours[f"res{stage + 1}.{index}.{key}"] = value
    return {name: value for name, value in ours.items() if "num_batches_tracked" not in name}


def read_golden(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the configuration and the arrays of a golden file."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays["config"])), arrays


def load_exactly(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state in which only the counters of batches may be missing."""
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert [name for name in missing if not name.endswith("num_batches_tracked")] == []


def channels_first(array: np.ndarray) -> Tensor:
    """Return (N, H, W, C) as (N, C, H, W)."""
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy())


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """The greatest difference is below a fraction of the standard deviation."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < tolerance * theirs.std()


def _conv_norm(arrays: Arrays, prefix: str, name: str) -> dict[str, Tensor]:
    """Rename a convolution (plain or depthwise) and its norm, if they are there."""
    ours = {}
    for kernel, order in (
        ("_conv/kernel", (3, 2, 0, 1)),
        ("_depthwise_conv/depthwise_kernel", (2, 3, 0, 1)),
    ):
        if (array := arrays.get(f"{prefix}{kernel}")) is not None:
            ours[f"{name}.conv.weight"] = torch.from_numpy(array.transpose(order).copy())
    for key, array in select(arrays, f"{prefix}_batch_norm/").items():
        ours[f"{name}.norm.{DEEPLAB2_NORM[key]}"] = torch.from_numpy(array)
    return ours


def _separable(arrays: Arrays, prefix: str, name: str) -> dict[str, Tensor]:
    return _conv_norm(arrays, f"{prefix}_depthwise/", f"{name}.depthwise") | _conv_norm(
        arrays, f"{prefix}_pointwise/", f"{name}.pointwise"
    )
