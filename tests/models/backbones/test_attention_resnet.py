"""The attention ResNet's own parts; what it shares with all networks is in test_contract."""

import pytest
import torch

from axial_deeplab import create_model
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.backbones.attention_resnet import (
    AttentionBlock,
    AttentionResNet,
    SpatiallyAwareStem,
)
from axial_deeplab.models.options import WindowOptions


def test_the_three_attentions() -> None:
    layers = {}
    for name in ("sasa_resnet50", "sasa_bn_resnet50", "ps_attention_resnet50"):
        with torch.device("meta"):
            model = create_model(name)
        attentions = [module for module in model.modules() if isinstance(module, LocalAttention2d)]
        assert len(attentions) == 16
        assert {layer.kernel_size for layer in attentions} == {7}
        layers[name] = attentions[0]
    sasa, sasa_bn, ps = layers.values()
    for layer in (sasa, sasa_bn):
        assert layer.rel_q is not None
        assert layer.rel_k is None
        assert layer.rel_v is None
    assert [name for name, _ in sasa.named_parameters()] == ["qkv.weight", "rel_q.rows", "rel_q.columns"]
    assert sasa_bn.logit_norm is not None
    assert ps.rel_k is not None
    assert ps.rel_v is not None


def test_a_strided_block_attends_before_it_averages() -> None:
    torch.manual_seed(0)
    options = WindowOptions(num_heads=2, kernel_size=3)
    block = AttentionBlock(8, 8, stride=2, attention=options).eval()
    whole = AttentionBlock(8, 8, stride=1, attention=options).eval()
    whole.attention.load_state_dict(block.attention.state_dict())
    x = torch.randn(1, 8, 6, 4)
    averaged = whole.attention(x).unflatten(3, (2, 2)).unflatten(2, (3, 2)).mean((3, 5))
    torch.testing.assert_close(block.attention(x), averaged)


def test_stem_is_attention_in_blocks_written_out() -> None:
    torch.manual_seed(0)
    stem = SpatiallyAwareStem(3, 8, num_heads=2, num_mixtures=3).double().eval()
    x = torch.randn(1, 3, 6, 5, dtype=torch.float64)
    qkv = stem.qkv(x).unflatten(1, (5, 2, 4))[0]  # (q, k and three v; N, D, H, W)
    y = torch.zeros(8, 6, 5, dtype=torch.float64)
    places = stem.row_embedding[:, None] + stem.column_embedding  # (4, 4, D)
    mixture = (places @ stem.mixture_embedding.T).softmax(-1)
    for row in range(6):
        for column in range(5):
            block = [
                (i, j) for i in range(6) for j in range(5) if i // 4 == row // 4 and j // 4 == column // 4
            ]
            logits = torch.stack(
                [(qkv[0, ..., row, column] * qkv[1, ..., i, j]).sum(-1) for i, j in block], -1
            )
            values = torch.stack(
                [torch.einsum("mnd,m->nd", qkv[2:, ..., i, j], mixture[i % 4, j % 4]) for i, j in block], -1
            )
            y[:, row, column] = (logits.softmax(-1)[:, None] * values).sum(-1).flatten()
    normalized = stem.norm(y[None])
    expected = torch.stack(
        [
            torch.stack([normalized[..., i : i + 4, j : j + 4].amax((2, 3)) for j in (0, 4)], -1)
            for i in (0, 4)
        ],
        dim=-2,
    )
    torch.testing.assert_close(stem(x), expected)


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"attention must be one of .*, got 'axial'"):
        AttentionResNet(attention="axial")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stem must be conv, three_conv or attention, got 'axial'"):
        AttentionResNet(stem="axial")  # type: ignore[arg-type]
