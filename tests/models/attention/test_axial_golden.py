"""The layer and the block against deeplab2 and against the first author's PyTorch code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.blocks.axial_block import AxialBlock
from reference_networks import (
    DEEPLAB2_MOMENTUM,
    assert_near,
    assert_statistics,
    channels_first,
    counts_of,
    counts_of_two,
    load_exactly,
    read_golden,
    unbiased,
)
from reference_weights import (
    Arrays,
    deeplab2_block,
    deeplab2_layer,
    first_author_block,
    first_author_layer,
    select,
)

Golden = Callable[[str], Path]

DEEPLAB2_LAYERS = ["full_l33", "full_l65", "content_l33", "qrpe_only_l20", "sigmoid_l17"]
FIRST_AUTHOR_LAYERS = ["height_k14", "width_k28", "width_s2_k14"]


def assert_gradients(module: nn.Module, theirs: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    """Compare every parameter's gradient, relative to the greatest of all gradients."""
    ours = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert ours.keys() == theirs.keys()
    greatest = max(grad.abs().max() for grad in theirs.values())
    for name, grad in ours.items():
        assert grad is not None
        assert (grad - theirs[name]).abs().max() < tolerance * greatest, name


def deeplab2_attention(config: dict[str, Any]) -> AxialAttention:
    sigmoid = config.get("self_attention_activation") == "sigmoid"
    return AxialAttention(
        config["in_channels"],
        config["total_value_depth"],
        num_heads=config["num_heads"],
        key_channels=config["total_key_depth"],
        rel_q=config["use_query_rpe_similarity"],
        rel_k=config["use_key_rpe_similarity"],
        rel_v=config["retrieve_value_rpe"],
        activation="sigmoid" if sigmoid else "softmax",
        norm_eps=config["bn_epsilon"],
        norm_momentum=DEEPLAB2_MOMENTUM,
    )


def column(x: np.ndarray) -> Tensor:
    """(N, L, C) as a feature map (N, C, L, 1)."""
    return torch.from_numpy(x).permute(0, 2, 1)[..., None]


@pytest.mark.parametrize("name", DEEPLAB2_LAYERS)
def test_layer_equals_deeplab2(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"axial_layer_{name}.npz"))
    sigmoid = "sigmoid" in name
    layer = deeplab2_attention(config)
    before = deeplab2_layer(select(arrays, "weights/"), logit_bias=sigmoid)
    load_exactly(layer, before)

    layer.eval()
    with torch.no_grad():
        assert_near(layer(column(arrays["input"])), column(arrays["output"]))

    layer.train()
    x = column(arrays["input"]).requires_grad_()
    y = layer(x)
    assert_near(y, column(arrays["train/output"]))
    (y * column(arrays["train/dy"])).sum().backward()
    assert x.grad is not None
    assert_near(x.grad, column(arrays["train/grad_input"]))
    assert_gradients(layer, deeplab2_layer(select(arrays, "train/grad/"), logit_bias=sigmoid))
    after = deeplab2_layer(select(arrays, "train/updated/"), logit_bias=sigmoid)
    counts = counts_of(config["batch"], config["length"], 1)
    assert_statistics(layer, before, unbiased(before, after, counts), DEEPLAB2_MOMENTUM)


@pytest.mark.parametrize("stride", [1, 2])
def test_two_layers_equal_deeplab2(golden: Golden, stride: int) -> None:
    config, arrays = read_golden(golden(f"axial_layer2d_s{stride}.npz"))
    in_channels, out_channels = config["in_channels"], config["filters"] * config["value_expansion"]
    norm = {"norm_eps": config["bn_epsilon"], "norm_momentum": DEEPLAB2_MOMENTUM}
    layers = nn.Sequential(
        AxialAttention(in_channels, out_channels, axis="height", stride=stride, **norm),
        AxialAttention(out_channels, out_channels, axis="width", stride=stride, **norm),
    )

    def rename(prefix: str) -> dict[str, Tensor]:
        state = {}
        for i, axis in enumerate(("height", "width")):
            layer = deeplab2_layer(select(arrays, f"{prefix}_{axis}_axis/"))
            state |= {f"{i}.{key}": value for key, value in layer.items()}
        return state

    before = rename("weights/")
    load_exactly(layers, before)
    x = channels_first(arrays["input"])
    with torch.no_grad():
        assert_near(layers.eval()(x), channels_first(arrays["output"]))
        assert_near(layers.train()(x), channels_first(arrays["train/output"]))
    counts = counts_of_two("0.", "1.", x, stride)
    after = unbiased(before, rename("train/updated/"), counts)
    assert_statistics(layers, before, after, DEEPLAB2_MOMENTUM)


@pytest.mark.parametrize("name", ["s1_identity", "s2_shortcut", "s2_sameC"])
def test_block_equals_deeplab2(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"axial_block_{name}.npz"))
    width, _, out_channels = config["filters_list"]
    block = AxialBlock(
        config["in_channels"],
        width,
        out_channels,
        stride=config["strides"],
        final_relu=False,
        norm_eps=config["bn_epsilon"],
        norm_momentum=DEEPLAB2_MOMENTUM,
    )
    before = deeplab2_block(select(arrays, "weights/"))
    load_exactly(block, before)
    # deeplab2 activates at the beginning of a block what we activate at the end of the one before.
    x = F.relu(channels_first(arrays["input"]))
    with torch.no_grad():
        assert_near(block.eval()(x), channels_first(arrays["output"]))
        assert_near(block.train()(x), channels_first(arrays["train/output"]))
    counts = counts_of_two("height_attention.", "width_attention.", x, block.stride)
    after = unbiased(before, deeplab2_block(select(arrays, "train/updated/")), counts)
    assert_statistics(block, before, after, DEEPLAB2_MOMENTUM)


@pytest.mark.parametrize("name", FIRST_AUTHOR_LAYERS)
def test_layer_equals_first_author(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"official_pt_layer_{name}.npz"))
    layer = AxialAttention(
        config["in_planes"],
        config["out_planes"],
        axis="width" if config["width"] else "height",
        num_heads=config["groups"],
        max_span=config["kernel_size"],
        norm_eps=config["bn_eps"],
        norm_momentum=config["bn_momentum"],
    )
    before = first_author_layer(select(arrays, "state_dict/"))
    load_exactly(layer, before)
    stride = config["stride"]

    def forward(x: Tensor) -> Tensor:
        y = layer(x)
        return F.avg_pool2d(y, stride) if stride > 1 else y

    _assert_step(layer, forward, arrays, first_author_layer, before, config["bn_momentum"])


@pytest.mark.parametrize("name", ["s1", "s2_down"])
def test_block_equals_first_author(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"official_pt_block_{name}.npz"))
    in_channels, planes = config["inplanes"], config["planes"]
    block = AxialBlock(
        in_channels,
        planes * config["base_width"] // 64,
        2 * planes if config["downsample"] else in_channels,
        stride=config["stride"],
        stride_mode="average_pool",
        max_span=config["kernel_size"],
        norm_eps=config["bn_eps"],
    )
    before = first_author_block(select(arrays, "state_dict/"))
    load_exactly(block, before)
    _assert_step(block, block, arrays, first_author_block, before)


def _assert_step(
    module: nn.Module,
    forward: Callable[[Tensor], Tensor],
    arrays: Arrays,
    rename: Callable[[Arrays], dict[str, Tensor]],
    before: dict[str, Tensor],
    momentum: float = 0.1,
) -> None:
    """Compare the inference and one training step of the loss mean(output²)."""
    module.eval()
    with torch.no_grad():
        assert_near(forward(torch.from_numpy(arrays["input"])), torch.from_numpy(arrays["output"]))
    module.train()
    x = torch.from_numpy(arrays["input"]).requires_grad_()
    y = forward(x)
    assert_near(y, torch.from_numpy(arrays["train/output"]))
    loss = y.square().mean()
    assert loss.item() == pytest.approx(float(arrays["train/loss"]), rel=1e-5)
    loss.backward()
    assert x.grad is not None
    assert_near(x.grad, torch.from_numpy(arrays["train/grad_input"]))
    assert_gradients(module, rename(select(arrays, "train/grad/")))
    assert_statistics(module, before, rename(select(arrays, "train/updated/")), momentum)
