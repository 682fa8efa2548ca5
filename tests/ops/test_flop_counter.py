"""What PyTorch's counter of operations sees of ours."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from axial_deeplab import create_model
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.ops.axial.api import axial_attention
from error_budget import layer_arguments

X = torch.randn(2, 8, 12, 10)


def counts(layer: nn.Module, x: Tensor = X) -> tuple[int, int]:
    """Forward and backward."""
    with FlopCounterMode(display=False) as forward:
        y = layer(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"axis": "width"}, {"rel_q": False}, {"rel_k": False, "rel_v": False}, {"key_channels": 16}],
    ids=str,
)
def test_axial_attention_counts_as_the_reference(options: dict[str, Any], train: bool) -> None:
    fast, reference = (
        AxialAttention(8, 16, num_heads=2, impl=impl, **options).train(train)
        for impl in ("numba", "reference")
    )
    assert counts(fast) == counts(reference)


@pytest.mark.parametrize("length", [10, 48])
def test_a_local_span_counts_as_the_reference(length: int) -> None:
    """Short axes are one block with a mask, long ones blocks with windows."""
    x = torch.randn(1, 8, length, 3)
    fast, reference = (
        AxialAttention(8, 16, num_heads=2, span=5, impl=impl).eval() for impl in ("numba", "reference")
    )
    assert counts(fast, x) == counts(reference, x)


def test_windows_count_every_product() -> None:
    """The reference makes q·k and the content without matrix products, which the counter does not see."""
    fast, reference = (
        LocalAttention2d(8, 16, num_heads=2, kernel_size=3, impl=impl).eval()
        for impl in ("numba", "reference")
    )
    of_pairs = 2 * 2 * 12 * 10 * 2 * 9 * (8 + 8)  # images, positions, heads, offsets, D + V
    projection = 2 * 2 * 12 * 10 * 8 * (3 * 16)
    tables = 2 * 2 * 12 * 10 * 2 * 9 * (8 + 8)  # those of queries and values, and of the keys
    forward, backward = counts(fast)
    assert forward == projection + of_pairs + tables + 2 * 2 * 12 * 10 * 2 * 9 * 8
    assert backward == 2 * forward - projection  # x needs no gradient
    padded = 2 * 2 * (14 * 12 - 12 * 10) * 2 * 9 * 8  # the reference forms k·r^k beside the image, too
    assert counts(reference)[0] == forward - of_pairs + padded


def test_sums_over_both_outputs_are_counted() -> None:
    """Folded layers, and blocks whose kernels no counter could see."""
    block = create_model("axial_resnet_nano", features_only=True).eval()
    folded = block.fuse()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        folded(x)
        with FlopCounterMode(display=False) as counter:
            folded(x)
        expected = counts_without_gradients(block, x)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def counts_without_gradients(layer: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        layer(x)
    total: int = counter.get_total_flops()
    return total


def test_the_gpu_kernel_has_the_formula_of_the_reference() -> None:
    pytest.importorskip("triton", reason="there is no Triton for this platform")
    arguments = [x.to("meta") for x in layer_arguments(2, 5, 3, 2, 4, 6, 3)]
    with FlopCounterMode(display=False) as reference:
        axial_attention(*arguments, impl="reference")
    with FlopCounterMode(display=False) as fast:
        outputs = torch.ops.axial_deeplab.triton_axial_attention(*arguments, None, True)
        torch.ops.axial_deeplab.triton_axial_attention_sum(arguments[2][0, 0, 0], *arguments, None)
        backward = torch.ops.axial_deeplab.triton_axial_attention_backward
        backward(*outputs[:2], *outputs, *arguments, None, True)
    assert fast.get_total_flops() == 4 * reference.get_total_flops()


@pytest.mark.parametrize(
    "order", ["import torch.utils.flop_counter, {}", "import {}, torch.utils.flop_counter"]
)
def test_operations_and_counter_are_imported_in_any_order(order: str) -> None:
    program = order.format("axial_deeplab.ops.axial.cpu") + (
        "; import torch; registry = torch.utils.flop_counter.flop_registry"
        "; print(torch.ops.axial_deeplab.axial_attention in registry)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert result.stdout.strip() == "True"


def test_the_operations_alone_do_not_import_the_counter() -> None:
    program = "import sys, axial_deeplab.ops.axial.api; print('torch.utils.flop_counter' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert result.stdout.strip() == "False"
