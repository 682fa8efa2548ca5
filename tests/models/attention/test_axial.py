import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_cases import LargestTensor
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.blocks.axial_block import AxialBlock


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give the norms weights and statistics that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    for name, x in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith(("running_var", "norm.weight")):
            x.data.copy_(0.5 + torch.rand(x.shape, generator=generator))
        elif name.endswith(("running_mean", "norm.bias")):
            x.data.copy_(0.5 * torch.randn(x.shape, generator=generator))
    return module


def small_block(**options: Any) -> AxialBlock:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"num_heads": 2, "max_span": 4} | options
    block = AxialBlock(arguments.pop("in_channels", 6), 8, 6, **arguments)
    randomize(block)
    return block


@pytest.mark.parametrize("axis", ["height", "width"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(7, 10), (8, 3), (1, 1)])
def test_layer_shape(axis: str, stride: int, size: tuple[int, int]) -> None:
    layer = AxialAttention(3, 16, axis=axis, num_heads=2, stride=stride).eval()
    strides = (stride, 1) if axis == "height" else (1, stride)
    expected = (2, 16, *(-(-n // s) for n, s in zip(size, strides, strict=True)))
    assert layer(torch.randn(2, 3, *size)).shape == expected


def test_layer_is_the_paper_written_out() -> None:
    """Eq. 4 with its norms, logits and all, in training and inference."""
    torch.manual_seed(0)
    layer = AxialAttention(5, 8, axis="width", num_heads=2, max_span=3).double()
    randomize(layer)
    x = torch.randn(2, 5, 3, 6, dtype=torch.float64)
    for train in (False, True, False):
        layer.train(train)
        norms = {
            name: nn.BatchNorm2d(n).double().train(train) for name, n in {"logits": 6, "output": 16}.items()
        }
        assert layer.logit_norm is not None
        content, positional = layer.content_norm, layer.positional_norm
        assert positional is not None
        for key in ("weight", "running_mean", "running_var"):
            getattr(norms["logits"], key).data.copy_(getattr(layer.logit_norm, key).flatten())
        for key in ("weight", "bias", "running_mean", "running_var"):
            values = torch.cat([getattr(content, key), getattr(positional, key)])
            getattr(norms["output"], key).data.copy_(values)

        q, k, v = copy.deepcopy(layer.qkv_norm)(layer.qkv(x)).split((4, 4, 8), dim=1)
        q, k, v = (t.unflatten(1, (2, -1)) for t in (q, k, v))  # (B, N, D, H, W)
        o = torch.arange(6)
        rows = (o - o[:, None]).clamp(-2, 2) + 2
        rel_q, rel_k, rel_v = layer.rel_q, layer.rel_k, layer.rel_v
        assert rel_q is not None
        assert rel_k is not None
        assert rel_v is not None
        terms = (
            torch.einsum("bndho,bndhp->bnhop", q, k),
            torch.einsum("bndho,opd->bnhop", q, rel_q[rows]),
            torch.einsum("bndhp,opd->bnhop", k, rel_k[rows]),
        )
        logits = (
            norms["logits"](torch.cat(terms, 1).flatten(3)).unflatten(1, (3, 2)).sum(1).unflatten(-1, (6, 6))
        )
        attention = logits.softmax(-1)
        outputs = (
            torch.einsum("bnhop,bndhp->bndho", attention, v).flatten(1, 2),
            torch.einsum("bnhop,opd->bndho", attention, rel_v[rows]).flatten(1, 2),
        )
        expected = norms["output"](torch.cat(outputs, 1)).unflatten(1, (2, 8)).sum(1)
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("span", [None, 3])
def test_height_layer_is_the_transposed_width_layer(span: int | None, train: bool) -> None:
    torch.manual_seed(0)
    height = AxialAttention(5, 8, axis="height", num_heads=2, span=span, max_span=4, stride=2).double()
    randomize(height)
    width = AxialAttention(5, 8, axis="width", num_heads=2, span=span, max_span=4, stride=2).double()
    width.load_state_dict(height.state_dict())
    x = torch.randn(2, 5, 9, 6, dtype=torch.float64)
    y = width.train(train)(x.mT).mT
    torch.testing.assert_close(height.train(train)(x), y)
    torch.testing.assert_close(height.state_dict(), width.state_dict())


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"span": 3, "stride": 2, "in_channels": 5}], ids=str)
def test_block_commutes_with_transposing_when_its_axes_are_swapped(
    options: dict[str, Any], train: bool
) -> None:
    block = small_block(**options).double().train(train)
    swapped = copy.deepcopy(block)
    swapped.height_attention.axis, swapped.width_attention.axis = "width", "height"
    as_it_is = copy.deepcopy(block)
    x = torch.randn(2, options.get("in_channels", 6), 9, 6, dtype=torch.float64)
    expected = block(x).mT
    torch.testing.assert_close(swapped(x.mT), expected)
    torch.testing.assert_close(swapped.state_dict(), block.state_dict())
    # The test can fail: which axis comes first, and with which weights, matters.
    assert not torch.allclose(as_it_is(x.mT), expected, rtol=1e-3)


@pytest.mark.parametrize("train", [True, False])
def test_span_that_covers_the_map_is_the_whole_axis(train: bool) -> None:
    whole = small_block().double().train(train)
    x = torch.randn(2, 6, 7, 5, dtype=torch.float64)
    blocks = {span: copy.deepcopy(whole) for span in (2 * 7 - 1, 2 * 7 + 1, 2 * 7 - 3)}
    for span, block in blocks.items():
        block.height_attention.span = block.width_attention.span = span
    y = whole(x)
    for span in (2 * 7 - 1, 2 * 7 + 1):
        torch.testing.assert_close(blocks[span](x), y)
        torch.testing.assert_close(blocks[span].state_dict(), whole.state_dict())
    # The test can fail: with a smaller span the first and the last row do not see each other.
    assert not torch.allclose(blocks[2 * 7 - 3](x), y, rtol=1e-3)


@pytest.mark.parametrize("layer", [AxialAttention, LocalAttention2d])
@pytest.mark.parametrize("logit_norm", [True, False])
@pytest.mark.parametrize("impl", ["reference", "auto"])
def test_content_terms_can_be_left_out(layer: Any, logit_norm: bool, impl: str) -> None:
    """The layer is the one whose content has the factor 0; folded, too."""
    torch.manual_seed(0)
    options = {"num_heads": 2, "logit_norm": logit_norm, "impl": impl}
    bare = layer(6, 16, content_logits=False, content_output=False, **options)
    assert bare.content_norm is None
    randomize(bare).eval()
    x = torch.randn(2, 6, 5, 7)
    with torch.no_grad():
        y = bare(x)
        torch.testing.assert_close(bare.fused()(x), y, rtol=1e-4, atol=1e-5)
        if logit_norm:
            whole = layer(6, 16, **options).eval()
            state = bare.state_dict()
            for name, value in whole.logit_norm.state_dict().items():
                if value.ndim:
                    first = torch.zeros_like(value[:1]) if name == "weight" else value[:1]
                    state[f"logit_norm.{name}"] = torch.cat((first, state[f"logit_norm.{name}"]))
            norm = {f"content_norm.{key}": value for key, value in whole.content_norm.state_dict().items()}
            norm["content_norm.weight"] = torch.zeros_like(norm["content_norm.weight"])
            whole.load_state_dict(state | norm)
            torch.testing.assert_close(whole(x), y, rtol=1e-4, atol=1e-5)
    bare.train()(x).sum().backward()


@pytest.mark.parametrize(
    "options",
    [{"content_logits": False, "rel_q": False, "rel_k": False}, {"content_output": False, "rel_v": False}],
)
def test_refuses_attention_without_terms(options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match=r"content_\w+ must be True without .*, got False; keep one term"):
        AxialAttention(6, 16, **options)


def test_lines_do_not_see_each_other() -> None:
    layer = AxialAttention(5, 8, axis="height", num_heads=2).eval()
    x = torch.randn(2, 5, 7, 6)
    changed = x.clone()
    changed[:, :, :, 2] += 1.0
    difference = (layer(changed) - layer(x)).abs().amax((0, 1, 2))
    assert difference[2] > 0
    assert not difference[[0, 1, 3, 4, 5]].any()


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (3, -2)])
def test_local_span_is_translation_equivariant(shift: tuple[int, int]) -> None:
    block = small_block(span=5).double().eval()
    image = torch.zeros(1, 6, 30, 30, dtype=torch.float64)
    image[:, :, 12:18, 12:18] = torch.randn(1, 6, 6, 6, dtype=torch.float64)
    moved = block(image.roll(shift, (2, 3)))
    inside = (slice(None), slice(None), slice(6, 24), slice(6, 24))
    torch.testing.assert_close(moved[inside], block(image).roll(shift, (2, 3))[inside])
    # The test can fail: an absolute position would be seen.
    assert not torch.allclose(moved[inside], block(image)[inside])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"span": 3},
        {"rel_q": False},
        {"rel_k": False},
        {"rel_v": False},
        {"rel_q": False, "rel_k": False, "rel_v": False},
        {"activation": "sigmoid"},
        {"qkv_norm": False, "logit_norm": False, "output_norm": False},
        {"key_channels": 8},
        {"stride": 2},
        {"stride": 2, "stride_mode": "average_pool"},
    ],
    ids=str,
)
@pytest.mark.parametrize("train", [True, False])
def test_every_parameter_gets_a_gradient(options: dict[str, Any], train: bool) -> None:
    block = small_block(in_channels=5, **options).train(train)
    block(torch.randn(2, 5, 6, 7)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any(), name


def test_gradients_of_a_training_step_are_exact() -> None:
    layer = AxialAttention(3, 4, num_heads=1, max_span=3, impl="reference").double()
    randomize(layer)
    x = torch.randn(2, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        state = dict(zip(parameters, values, strict=True))
        y: Tensor = torch.func.functional_call(layer, state, (x,))
        return y

    assert torch.autograd.gradcheck(forward, (x, *parameters.values()), fast_mode=True)


@pytest.mark.parametrize("span", [None, 3])
def test_checkpointing_changes_nothing_but_memory(span: int | None) -> None:
    plain = small_block(in_channels=5, span=span, stride=2).double()
    recomputed = copy.deepcopy(plain)
    recomputed.checkpoint = True
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    outputs = []
    for block in (plain, recomputed):
        y = block(x)
        y.square().sum().backward()
        outputs.append(y)
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(recomputed.state_dict(), plain.state_dict())
    for ours, expected in zip(recomputed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad)


def test_checkpointing_keeps_only_the_input() -> None:
    def saved(block: AxialBlock) -> int:
        sizes: list[int] = []

        def pack(x: Tensor) -> Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            block(torch.randn(2, 6, 12, 12, requires_grad=True))
        return sum(sizes)

    assert saved(small_block(checkpoint=True)) < 0.05 * saved(small_block())


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
@pytest.mark.parametrize("in_channels", [5, 6])
def test_stride_modes(in_channels: int, size: tuple[int, int]) -> None:
    sliced = small_block(in_channels=in_channels, stride=2).eval()
    pooled = small_block(in_channels=in_channels, stride=2, stride_mode="average_pool").eval()
    x = torch.randn(2, in_channels, *size)
    expected = (2, 6, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    assert sliced(x).shape == pooled(x).shape == expected
    assert (sliced.shortcut is None) == (in_channels == 6)
    assert not torch.allclose(sliced(x), pooled(x))
    attended = pooled.width_attention(pooled.height_attention(pooled.down(x)))
    residual = pooled.up(F.relu(F.avg_pool2d(attended, 2, ceil_mode=True)))
    shortcut = x[:, :, ::2, ::2]
    if pooled.shortcut is not None:
        shortcut = pooled.shortcut(shortcut)
    torch.testing.assert_close(pooled(x), F.relu(residual + shortcut))


@pytest.mark.parametrize("shape", [(1, 6, 1, 2), (1, 6, 2, 1), (2, 6, 1, 1), (1, 6, 1, 1)])
def test_training_on_very_small_maps(shape: tuple[int, ...]) -> None:
    block = small_block()
    y = block(torch.randn(shape))
    y.sum().backward()
    assert y.shape == shape
    for name, x in (*block.named_buffers(), *((n, p.grad) for n, p in block.named_parameters())):
        assert x is not None
        assert x.isfinite().all(), name


@pytest.mark.parametrize("train", [True, False])
def test_empty_batch(train: bool) -> None:
    block = small_block(stride=2).train(train)
    y = block(torch.randn(0, 6, 4, 5))
    y.sum().backward()
    assert y.shape == (0, 6, 2, 3)
    assert all(buffer.isfinite().all() for buffer in block.buffers())


def test_other_sizes_than_in_training() -> None:
    block = small_block()
    block(torch.randn(2, 6, 5, 5))
    block.eval()
    for size in ((1, 1), (3, 40), (40, 3)):
        assert block(torch.randn(1, 6, *size)).isfinite().all()


def test_an_image_does_not_depend_on_its_batch_in_inference() -> None:
    block = small_block().eval()
    x = torch.randn(3, 6, 7, 5)
    torch.testing.assert_close(block(x)[1:2], block(x[1:2]))


@pytest.mark.parametrize("train", [True, False])
def test_autocast_is_near_single_precision(train: bool) -> None:
    block = small_block().train(train)
    same = copy.deepcopy(block)
    x = torch.randn(2, 6, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = block(x)
    expected = same(x)
    assert (y.float() - expected).square().mean().sqrt() < 0.03 * expected.std()
    y.float().square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    assert all(x.isfinite().all() for x in block.buffers())


def test_whole_model_in_half_precision() -> None:
    block = small_block().bfloat16()
    y = block(torch.randn(2, 6, 9, 9, dtype=torch.bfloat16))
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()


@pytest.mark.parametrize("train", [True, False])
def test_nan_in_gives_nan_out(train: bool) -> None:
    block = small_block().train(train)
    x = torch.randn(2, 6, 9, 9)
    x[1, 2, 3, 4] = float("nan")
    assert block(x)[1, :, 3, 4].isnan().all()


def test_large_inputs_stay_finite() -> None:
    block = small_block()
    for train in (True, False):
        block.train(train)
        x = (1e6 * torch.randn(2, 6, 9, 9)).requires_grad_()
        y = block(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_maps_stay_channels_last() -> None:
    block = small_block().eval()
    x = torch.randn(2, 6, 9, 8).contiguous(memory_format=torch.channels_last)
    assert block(x).is_contiguous(memory_format=torch.channels_last)
    assert block.height_attention(block.down(x)).is_contiguous(memory_format=torch.channels_last)


def test_memory_of_a_local_span_is_linear_in_the_size() -> None:
    layer = AxialAttention(2, 4, num_heads=1, span=5, max_span=4)
    with LargestTensor() as mode:
        layer(torch.randn(1, 2, 3000, 1, requires_grad=True)).sum().backward()
    assert mode.elements < 3000 * 60


def test_exports_with_a_dynamic_size() -> None:
    block = small_block(in_channels=5, stride=2).eval()
    sizes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    exported = torch.export.export(block, (torch.randn(2, 5, 9, 12),), dynamic_shapes={"x": sizes}).module()
    for size in ((9, 12), (3, 40), (16, 7)):
        x = torch.randn(2, 5, *size)
        torch.testing.assert_close(exported(x), block(x))


def test_initialization() -> None:
    torch.manual_seed(0)
    layer = AxialAttention(64, 512, num_heads=8)
    assert layer.qkv.weight.std().item() == pytest.approx(1 / 8, rel=0.03)
    for table, channels in ((layer.rel_q, 32), (layer.rel_k, 32), (layer.rel_v, 64)):
        assert table is not None
        assert table.shape == (509, channels)
        assert table.std().item() == pytest.approx(1 / 8, rel=0.03)


def test_parameters_are_those_of_the_paper() -> None:
    """A layer of width C has a projection C x 2C and three tables of 509 rows; norms are not counted."""
    layer = AxialAttention(128, 128)
    counted = sum(p.numel() for name, p in layer.named_parameters() if "norm" not in name)
    assert counted == 128 * 256 + 509 * (8 + 8 + 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_channels": 24}, r"out_channels must be a multiple of 16 for 8 heads, got 24; try 32"),
        ({"out_channels": 0}, r"out_channels must be a multiple of 16 for 8 heads, got 0; try 16"),
        (
            {"out_channels": 20, "key_channels": 8},
            r"out_channels must be a multiple of 8 for 8 heads, got 20; try 16",
        ),
        ({"key_channels": 12}, r"key_channels must be a multiple of 8 for 8 heads, got 12; try 16"),
        ({"num_heads": 0}, r"num_heads must be at least 1, got 0"),
        ({"axis": "depth"}, r"axis must be one of \['height', 'width'\], got 'depth'"),
        ({"span": 4}, r"span must be a positive odd number of positions, got 4; try 5"),
        ({"max_span": 0}, r"max_span must be at least 1 position, got 0"),
        ({"stride": 0}, r"stride must be at least 1 position, got 0"),
        ({"activation": "relu"}, r"activation must be one of \['softmax', 'sigmoid'\], got 'relu'"),
    ],
)
def test_wrong_arguments_say_what_is_right(options: dict[str, Any], message: str) -> None:
    out_channels = options.pop("out_channels", 32)
    with pytest.raises(ValueError, match=message):
        AxialAttention(16, out_channels, **options)


def test_wrong_stride_mode() -> None:
    with pytest.raises(
        ValueError, match=r"stride_mode must be one of \['slice', 'average_pool'\], got 'max'"
    ):
        AxialBlock(16, 32, 16, stride_mode="max")
