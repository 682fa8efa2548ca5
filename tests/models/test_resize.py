"""The resize rule: aligned corners, offsets in pixels of the target grid."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from axial_deeplab.models.resize import crop, resize_bilinear, resize_offsets
from reference_networks import assert_near, channels_first, read_golden


@pytest.mark.parametrize("case", range(5))
def test_bilinear_matches_deeplab2(golden: Callable[[str], Path], case: int) -> None:
    config, arrays = read_golden(golden("resize_align_corners.npz"))
    size = config["cases"][case][2:4]
    theirs = channels_first(arrays[f"case{case}/resize_align_corners_bilinear"])
    assert_near(resize_bilinear(channels_first(arrays[f"case{case}/input"]), size), theirs, 2e-6)


@pytest.mark.parametrize("case", [2, 4])
def test_offsets_match_deeplab2(golden: Callable[[str], Path], case: int) -> None:
    config, arrays = read_golden(golden("resize_align_corners.npz"))
    size = config["cases"][case][2:4]
    theirs = channels_first(arrays[f"case{case}/resize_and_rescale_offsets"])
    assert_near(resize_offsets(channels_first(arrays[f"case{case}/input"]), size), theirs, 2e-6)


def test_corners_coincide_and_a_ramp_stays_a_ramp() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 3, 5)
    resized = resize_bilinear(ramp, (5, 17))
    torch.testing.assert_close(resized, torch.arange(17.0).div(4).expand(1, 1, 5, 17))


def test_same_size_is_untouched() -> None:
    x = torch.randn(1, 2, 4, 5)
    assert resize_bilinear(x, (4, 5)) is x


def test_crop_of_nothing_is_no_operation() -> None:
    class Crops(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return 2 * crop(x, (4, 5)), 2 * crop(x, (3, 5))

    x = torch.randn(1, 1, 4, 5)
    program = torch.export.export(Crops(), (x,)).run_decompositions({})
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.slice.Tensor" in operations
    assert "aten.alias.default" not in operations
    assert torch.equal(program.module()(x)[1], 2 * x[:, :, :3])


def test_offsets_point_at_the_same_center_after_resizing() -> None:
    height, width, center = 5, 9, (3.0, 2.0)
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(9.0), indexing="ij")
    offsets = torch.stack((center[0] - y, center[1] - x))[None]
    resized = resize_offsets(offsets, (4 * (height - 1) + 1, 4 * (width - 1) + 1))
    y, x = torch.meshgrid(torch.arange(17.0), torch.arange(33.0), indexing="ij")
    torch.testing.assert_close(resized[0, 0] + y, torch.full((17, 33), 12.0))
    torch.testing.assert_close(resized[0, 1] + x, torch.full((17, 33), 8.0))


def test_offsets_of_a_single_pixel_keep_their_values() -> None:
    resized = resize_offsets(torch.tensor([2.0, -3.0]).reshape(1, 2, 1, 1), (3, 4))
    assert (resized[:, 0] == 2).all()
    assert (resized[:, 1] == -3).all()
