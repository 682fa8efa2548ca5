"""Strips of rows give what whole maps give."""

from typing import Any

import pytest
import torch
from torch import nn

from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm, three_conv_stem
from axial_deeplab.models.folding import packed_axial_block
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.registry import create_model
from axial_deeplab.models.resize import resize_bilinear, resize_bilinear_rows
from axial_deeplab.models.strips import Strip, run_convolutions, strips


@pytest.fixture(autouse=True)
def _small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axial_deeplab.models.strips.STRIP_BYTES", 2**12)
    monkeypatch.setattr("axial_deeplab.models.folding.packed_axial_block.STRIP_BYTES", 2**12)
    monkeypatch.setattr("axial_deeplab.models.strips._FEWEST_ROWS", 3)
    monkeypatch.setattr("axial_deeplab.models.folding.packed_axial_block._FEWEST_LINES", 3)


def with_statistics(module: nn.Module) -> Any:
    """Return a module in evaluation whose norms do something."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for x in (layer.running_mean, layer.weight, layer.bias):
                nn.init.normal_(x, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]
    return module.eval()


def test_strips_cover_all_rows() -> None:
    assert strips(10, 2**12, halo=1) == [Strip(0, 5, 0, 6), Strip(5, 10, 4, 10)]
    assert strips(3, 2**20) == [Strip(0, 3, 0, 3)]
    for num_rows in range(1, 40):
        cut = strips(num_rows, 2**11, halo=2)
        assert [row for strip in cut for row in range(strip.start, strip.stop)] == list(range(num_rows))
        assert all(strip.first == max(0, strip.start - 2) for strip in cut)


@pytest.mark.parametrize("size", [(97, 33), (98, 33), (99, 33), (100, 34), (16, 16)])
@pytest.mark.parametrize("kernel", [3, 7])
def test_a_stem(size: tuple[int, int], kernel: int) -> None:
    first = [ConvNorm(3, 8, 7, stride=2)] if kernel == 7 else three_conv_stem(3, 8).values()
    stem = fuse(with_statistics(nn.Sequential(*first, nn.MaxPool2d(3, stride=2, padding=1))))
    images = torch.randn(2, 3, *size)
    calls = []
    counted = nn.Sequential(*stem)
    forward = counted.forward
    counted.forward = lambda x: calls.append(x.shape) or forward(x)  # type: ignore[method-assign]
    torch.testing.assert_close(run_convolutions(counted.eval(), images), stem(images))
    assert len(calls) > 1 or size == (16, 16)


def test_what_looks_farther_is_run_as_a_whole() -> None:
    stem = fuse(with_statistics(nn.Sequential(AxialBlock(16, 16, 16), nn.MaxPool2d(2, stride=2))))
    images = torch.randn(1, 16, 64, 64)
    torch.testing.assert_close(run_convolutions(stem, images), stem(images), rtol=0, atol=0)


@pytest.mark.parametrize(("stride", "span"), [(1, None), (2, None), (1, 5), (2, 5)])
def test_an_axial_block(stride: int, span: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    block = fuse(with_statistics(AxialBlock(16, 16, 24, stride=stride, num_heads=8, span=span)))
    x = torch.randn(2, 16, 29, 31)
    strip_by_strip = block(x)
    monkeypatch.setattr(packed_axial_block, "STRIP_BYTES", 2**30)
    torch.testing.assert_close(strip_by_strip, block(x))


@pytest.mark.parametrize("size", [(17, 9), (16, 9), (5, 20)])
def test_rows_of_a_resized_map(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, 7)
    whole = resize_bilinear(x, size)
    for start in range(size[0]):
        rows = resize_bilinear_rows(x, size, start, min(size[0], start + 3))
        torch.testing.assert_close(rows, whole[:, :, start : start + 3])


@pytest.mark.parametrize(
    "knobs",
    [
        {"name": "axial_deeplab_nano"},
        {"name": "axial_deeplab_nano", "decoder_separable": False, "head_separable": False},
        {"name": "axial_deeplab_nano", "decoder": "axial"},
        {"name": "panoptic_deeplab_resnet50"},
    ],
)
def test_the_maps_of_a_network(knobs: dict[str, Any]) -> None:
    model = with_statistics(create_model(num_classes=5, **knobs))
    images = torch.randint(0, 256, (1, 3, 150, 101), dtype=torch.uint8)
    for each in (model, fuse(model)):
        with torch.no_grad():
            maps, expected = each.low_resolution_maps(images), each.decode(each.encode(images))
        assert maps.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(maps[name], values, rtol=1e-4, atol=1e-4)
