"""Attention over squares and over the image: the layers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.models.attention.global_ import GlobalAttention2d
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.norm import LogitNorm
from reference_weights import DEEPLAB2_NORM, select

LAYERS = [LocalAttention2d, GlobalAttention2d]


def randomize(module: nn.Module) -> None:
    """Give the norms weights and statistics that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    for name, x in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith(("running_var", "norm.weight")):
            x.data.copy_(0.5 + torch.rand(x.shape, generator=generator))
        elif name.endswith(("running_mean", "norm.bias")):
            x.data.copy_(0.5 * torch.randn(x.shape, generator=generator))


def image(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mode", ["average_pool", "slice"])
@pytest.mark.parametrize("size", [(7, 10), (1, 1)])
def test_shape(layer: Any, stride: int, mode: str, size: tuple[int, int]) -> None:
    attention = layer(3, 16, num_heads=2, stride=stride, stride_mode=mode).eval()
    assert attention(torch.randn(2, 3, *size)).shape == (2, 16, *(-(-n // stride) for n in size))


def test_local_layer_is_eq_3_with_its_norms_written_out() -> None:
    """In training and inference, with every pair of positions as one entry of a large table."""
    torch.manual_seed(0)
    layer = LocalAttention2d(5, 8, num_heads=2, key_channels=4, kernel_size=3).double()
    randomize(layer)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    y = torch.arange(3).repeat_interleave(4)
    column = torch.arange(4).repeat(3)
    dy, dx = y[None] - y[:, None], column[None] - column[:, None]  # [o, p] is p - o
    near = (dy.abs() <= 1) & (dx.abs() <= 1)
    row = ((dy + 1) * 3 + dx + 1).clamp(0, 8)
    for train in (False, True, False):
        layer.train(train)
        norm = layer.logit_norm
        assert norm is not None
        logit_norm = nn.BatchNorm1d(6).double().train(train)
        for key in ("weight", "running_mean", "running_var"):
            getattr(logit_norm, key).data.copy_(getattr(norm, key).flatten())
        content_norm, positional_norm = layer.content_norm, layer.positional_norm
        assert positional_norm is not None
        before = [
            {k: v.clone() for k, v in n.state_dict().items()}
            for n in (layer.qkv_norm, content_norm, positional_norm)
        ]
        result = layer(x)
        for module, state in zip((layer.qkv_norm, content_norm, positional_norm), before, strict=True):
            module.load_state_dict(state)

        qkv = layer.qkv_norm(layer.qkv(x)).flatten(2)  # (B, C, positions)
        q, k, v = (part.unflatten(1, (2, -1)) for part in qkv.split((4, 4, 8), dim=1))  # (B, N, D, positions)
        tables = [table() for table in (layer.rel_q, layer.rel_k, layer.rel_v) if table is not None]
        rel_q, rel_k, rel_v = (table[:, row] for table in tables)  # (N, o, p, D)
        terms = torch.stack(
            [
                torch.einsum("bndo,bndp->bnop", q, k),
                torch.einsum("bndo,nopd->bnop", q, rel_q),
                torch.einsum("bndp,nopd->bnop", k, rel_k),
            ],
            dim=1,
        )  # (B, 3, N, o, p)
        existing = logit_norm(terms[..., near].flatten(1, 2))  # (B, 3 N, pairs)
        logits = torch.full_like(terms, float("-inf"))
        logits[..., near] = existing.unflatten(1, (3, 2))
        attention = logits.sum(1).softmax(-1)
        content = torch.einsum("bnop,bnvp->bnvo", attention, v).flatten(1, 2).unflatten(2, (3, 4))
        positional = torch.einsum("bnop,nopv->bnvo", attention, rel_v).flatten(1, 2).unflatten(2, (3, 4))
        expected = content_norm(content) + positional_norm(positional)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(norm.running_mean.flatten(), logit_norm.running_mean)
        torch.testing.assert_close(norm.running_var.flatten(), logit_norm.running_var)


@pytest.mark.parametrize("name", ["rel_q", "rel_k", "rel_v", "qkv_norm", "logit_norm", "output_norm"])
def test_switches_of_the_local_layer(name: str) -> None:
    torch.manual_seed(0)
    full = LocalAttention2d(4, 8, num_heads=2, kernel_size=3)
    layer = LocalAttention2d(4, 8, num_heads=2, kernel_size=3, **{name: False})
    assert sum(p.numel() for p in layer.parameters()) < sum(p.numel() for p in full.parameters())
    x = torch.randn(2, 4, 5, 6)
    y = layer.train()(x)
    y.square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    if layer.logit_norm is not None:
        num_terms = 3 - (name in ("rel_q", "rel_k"))
        assert layer.logit_norm.weight.shape == (num_terms, 2)


@pytest.mark.parametrize("layer", LAYERS)
def test_logits_start_with_a_variance_of_about_one_without_norms(layer: Any) -> None:
    torch.manual_seed(0)
    attention = layer(64, 64, num_heads=4, qkv_norm=False, logit_norm=False)
    with torch.no_grad():
        qkv = attention.qkv(torch.randn(1, 64, 20, 20)).flatten(2)
    q, k = (x.unflatten(1, (4, 16)) for x in (qkv[:, :64], qkv[:, 64:128]))
    assert 0.6 < float(torch.einsum("bndo,bndp->bnop", q, k).var()) < 1.5


def test_chunks_of_rows_change_nothing() -> None:
    torch.manual_seed(0)
    whole = LocalAttention2d(4, 8, num_heads=2, kernel_size=3).double()
    chunked = LocalAttention2d(4, 8, num_heads=2, kernel_size=3, rows_per_chunk=2).double()
    chunked.load_state_dict(whole.state_dict())
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    gradients = []
    for layer in (whole, chunked):
        y = layer(x)
        gradients.append((y, *torch.autograd.grad(y.pow(3).sum(), list(layer.parameters()))))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_local_layer_commutes_with_translation() -> None:
    """Inside a large empty image, where no border is near."""
    torch.manual_seed(0)
    layer = LocalAttention2d(3, 8, num_heads=2, kernel_size=5).double().eval()
    x = torch.zeros(1, 3, 24, 24, dtype=torch.float64)
    x[..., 8:14, 8:14] = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    moved = layer(x.roll((3, -2), (2, 3)))
    torch.testing.assert_close(moved[..., 6:18, 6:18], layer(x).roll((3, -2), (2, 3))[..., 6:18, 6:18])


def test_global_layer_is_local_with_a_square_over_the_image() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_heads": 2, "key_channels": 4}
    everything = GlobalAttention2d(3, 8, **options).double()
    square = LocalAttention2d(3, 8, kernel_size=11, rel_q=False, rel_k=False, rel_v=False, **options).double()
    square.load_state_dict(everything.state_dict())
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    for train in (True, False):
        torch.testing.assert_close(everything.train(train)(x), square.train(train)(x), rtol=1e-9, atol=1e-9)
    assert isinstance(everything.logit_norm, LogitNorm)
    assert everything.logit_norm.num_batches_tracked == 1


def test_global_layer_equals_deeplab2(golden: Callable[[str], Path]) -> None:
    with np.load(golden("axial_layer_global2d_s2.npz")) as archive:
        config = json.loads(str(archive["config"]))
        arrays = {name: archive[name] for name in archive.files}
    layer = GlobalAttention2d(
        config["in_channels"],
        config["filters"] * config["value_expansion"],
        key_channels=config["filters"] * config["key_expansion"],
        num_heads=config["num_heads"],
        stride=config["strides"],
        stride_mode="slice",
        norm_eps=config["bn_epsilon"],
    ).eval()
    weights = select(arrays, "weights/_global/")
    state = {"qkv.weight": weights["qkv_kernel"].T[:, :, None, None]}
    for theirs, name in DEEPLAB2_NORM.items():
        state[f"qkv_norm.{name}"] = weights[f"_batch_norm_qkv/{theirs}"]
        state[f"content_norm.{name}"] = weights[f"_batch_norm_retrieved_output/{theirs}"].reshape(-1)
        if name != "bias":  # a softmax does not feel it
            state[f"logit_norm.{name}"] = weights[f"_batch_norm_similarity/{theirs}"].reshape(1, -1)
    missing, unexpected = layer.load_state_dict(
        {name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=False
    )
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    expected = image(arrays["output"])
    with torch.no_grad():
        ours = layer(image(arrays["input"]))
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() < 1e-5 * expected.std()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_channels": 20}, "out_channels must be a multiple of 8 for 8 heads, got 20; try 16"),
        ({"key_channels": 3}, "key_channels must be a multiple of 8 for 8 heads, got 3; try 8"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1 position, got 0"),
        ({"stride_mode": "max_pool"}, "stride_mode must be one of .*, got 'max_pool'"),
    ],
)
def test_refuses(layer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(8, **{"out_channels": 16, **options})


def test_refuses_even_squares() -> None:
    with pytest.raises(
        ValueError, match="kernel_size must be a positive odd number of positions, got 4; try 5"
    ):
        LocalAttention2d(8, 16, kernel_size=4)
