"""Attention maps are the weights that the network's own attention gives its values."""

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.experiments.attention_maps import attention_maps, attention_of_query, axial_blocks
from axial_deeplab.models.attention.axial import AxialAttention, along_axis
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.registry import create_model
from axial_deeplab.ops.axial.api import axial_attention


def random_layer(**options) -> AxialAttention:
    torch.manual_seed(0)
    layer = AxialAttention(6, 8, num_heads=2, max_span=5, **options).eval()
    for name, buffer in layer.named_buffers():
        if "var" in name or "square" in name:
            buffer.uniform_(0.5, 2)
    return layer


@pytest.mark.parametrize("axis", ["height", "width"])
@pytest.mark.parametrize(
    "options",
    [{}, {"span": 3}, {"activation": "sigmoid"}, {"rel_q": False}, {"rel_k": False}, {"logit_norm": False}],
)
def test_weighting_the_values_gives_the_output_of_the_reference(axis, options):
    layer = random_layer(axis=axis, **options)
    x = torch.randn(1, 6, 9, 7)
    with torch.no_grad():
        qkv = layer.split_heads(layer.qkv_norm(layer.qkv(x)))
        q, k, v = along_axis(axis, *qkv)
        scale, bias = layer.normalize_logits(q, k, layer.rel_q, layer.rel_k)
        content, _ = axial_attention(
            *(q, k, v, layer.rel_q, layer.rel_k, layer.rel_v, scale),
            span=layer.span,
            activation=layer.activation,
            logit_bias=bias,
        )
        for position, line in ((0, 0), (4, 2), (q.shape[1] - 1, 5)):
            attention = attention_of_query(layer, x, position, line)
            weighted = torch.einsum("nl,lnd->nd", attention, v[0, :, line])
            torch.testing.assert_close(weighted, content[0, position, line])
    if layer.activation == "softmax":
        torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    if layer.span == 3:
        assert (attention > 0).sum(dim=1).tolist() == [2, 2]  # the last position has one neighbor


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("axial_deeplab_nano", num_classes=3, impl="reference").eval()


def test_the_pixel_s_own_column_and_row_are_taken(model):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    names = list(axial_blocks(model))
    strided = next(name for name in names if name.endswith("res4.0"))
    block = axial_blocks(model)[strided]
    seen = {}
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: seen.__setitem__(module, inputs[0]))
        for layer in (block.height_attention, block.width_attention)
    ]
    with torch.no_grad():
        model(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
        for hook in hooks:
            hook.remove()
        maps = attention_maps(model, image, (17, 33), strided)
        # Padded to 49 x 65: 7 x 9 positions at stride 8 before the block, 4 rows after its height attention.
        assert (maps.height_stride, maps.width_stride) == (8, 8)
        assert (maps.height.shape[1], maps.width.shape[1]) == (7, 9)
        column = attention_of_query(block.height_attention, seen[block.height_attention], 2, 4)
        row = attention_of_query(block.width_attention, seen[block.width_attention], 4, 1)
    np.testing.assert_allclose(maps.height, column.numpy())
    np.testing.assert_allclose(maps.width, row.numpy())
    np.testing.assert_allclose(maps.height.sum(axis=1), 1, rtol=1e-5)


def test_the_command_draws_every_head(tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    output = tmp_path / "maps.png"
    words = ["attention-maps", str(tmp_path / "image.png"), "--weights", "axial_deeplab_nano_scenes"]
    words += ["--pixel", "31", "47", "--output", str(output)]
    assert main(words) == 0
    assert (
        "backbone.res5.0: 4 heads over 3 positions of the column and 4 of the row" in capsys.readouterr().out
    )
    with Image.open(output) as picture:
        assert picture.width > 4 * 48
        assert np.asarray(picture).max() == 255
    with np.load(tmp_path / "maps.npz") as arrays:
        assert arrays["height"].shape == (4, 3)
        assert arrays["width"].shape == (4, 4)
    assert main([*words, "--block", "backbone.stem"]) == 2
    assert "block must be an axial block of the network (backbone.res2.0, " in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "maps.jpg")]) == 2
    assert "output must end in .png" in capsys.readouterr().err


def test_a_pixel_outside_is_refused(model):
    image = np.zeros((8, 9, 3), np.uint8)
    for pixel in ((8, 0), (0, 9), (-1, 0)):
        with pytest.raises(ValueError, match=r"pixel must be \(y, x\) in the image of 8 x 9, got"):
            attention_maps(model, image, pixel, next(iter(axial_blocks(model))))
    with pytest.raises(ValueError, match=r"an axial block of the network \(it has none, or none left"):
        attention_maps(torch.nn.ReLU(), image, (0, 0), "block1")


def test_a_network_without_its_norms_is_refused(model):
    with pytest.raises(ValueError, match=r"before fuse\(\)"):
        attention_maps(fuse(model), np.zeros((33, 33, 3), np.uint8), (0, 0), "backbone.layer1.0")
