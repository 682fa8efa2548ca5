"""Loads the weights of the reference implementations into our networks; compares outputs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.weights.convert.deeplab2_names import deeplab2_names, module_sources
from reference_weights import Arrays, first_author_block, select

DEEPLAB2_MOMENTUM = 0.01


def deeplab2_state(module: nn.Module, arrays: Arrays, path: str | None = None) -> dict[str, Tensor]:
    """Return deeplab2's arrays as tensors of ours, by the names that a conversion uses, where they exist.

    Args:
        module: a network, or a part of one.
        arrays: weights or updated statistics by deeplab2's names.
        path: of the part in deeplab2's network; None for a whole network.
    """
    names = deeplab2_names(module) if path is None else module_sources(module, path)
    used = {source.name for source in names.values()}
    assert [name for name in arrays if name not in used and not name.endswith("_similarity/beta")] == []
    return {
        key: torch.from_numpy(np.array(source.transform(arrays[source.name])))
        for key, source in names.items()
        if source.name in arrays
    }


def load_deeplab2(module: nn.Module, arrays: Arrays, path: str | None = None) -> None:
    """Load the weights of a golden file of deeplab2; none may be missing or left over."""
    load_exactly(module, deeplab2_state(module, select(arrays, "weights/"), path))


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


def assert_statistics(
    module: nn.Module, before: dict[str, Tensor], after: dict[str, Tensor], momentum: float
) -> None:
    """Compare the running statistics after a training step, relative to what the batch made of them."""
    ours = module.state_dict()
    assert after.keys() == {name for name in ours if "running" in name}
    for name, value in after.items():
        from_batch = value - (1 - momentum) * before[name]
        rounding = torch.finfo(value.dtype).eps * value.abs().max()
        assert (ours[name] - value).abs().max() < 1e-4 * from_batch.std() + rounding, name


def unbiased(
    before: dict[str, Tensor], after: dict[str, Tensor], counts: dict[str, int]
) -> dict[str, Tensor]:
    """Turn deeplab2's update of the variances of its attention norms, which is biased, into PyTorch's."""
    result = dict(after)
    for name, value in after.items():
        count = next((n for norm, n in counts.items() if name.endswith(f"{norm}.running_var")), None)
        if count is not None:
            kept = (1 - DEEPLAB2_MOMENTUM) * before[name]
            result[name] = kept + (value - kept) * count / (count - 1)
    return result


def counts_of(images: int, length: int, lines: int) -> dict[str, int]:
    """Return over how many values each norm of an attention layer takes its statistics."""
    positions = images * length * lines
    norms = dict.fromkeys(("qkv_norm", "content_norm", "positional_norm"), positions)
    return norms | {"logit_norm": positions * length}


def counts_of_two(height_axis: str, width_axis: str, x: Tensor, stride: int) -> dict[str, int]:
    """Return the counts of the norms of a layer along the height and of one along the width after it."""
    images, _, height, width = x.shape
    counts = {f"{height_axis}{norm}": n for norm, n in counts_of(images, height, width).items()}
    rows = -(-height // stride)
    return counts | {f"{width_axis}{norm}": n for norm, n in counts_of(images, width, rows).items()}
