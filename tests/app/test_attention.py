"""The grid of attention maps: one picture for each head and axis."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from app_files import noise, tiny_network
from axial_deeplab.app.attention import PANEL_SIDE, attention_grid
from axial_deeplab.experiments.attention_maps import attention_maps, draw_heads


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny_network(tmp_path_factory.mktemp("weights"))


def pictures(grid):
    contents = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"', grid)
    return {title: Image.open(io.BytesIO(base64.b64decode(text))) for text, title in contents}


def test_every_head_has_a_picture_for_each_axis(network):
    block = network.blocks[-1]
    grid = attention_grid(network, noise(), (5, 50), block, seconds=60)
    assert f"Row 5, column 50, in {block}:" in grid
    shown = pictures(grid)
    assert list(shown) == [f"head {n}, {axis}" for axis in ("height", "width") for n in (1, 2)]
    maps = attention_maps(network.model, noise(), (5, 50), block)
    heights, widths = draw_heads(noise(), maps)
    for picture, expected in zip(shown.values(), [*heights, *widths], strict=True):
        difference = np.asarray(picture, dtype=float) - np.asarray(expected, dtype=float)
        assert (
            np.abs(difference).mean() < 12
        )  # what JPEG takes of noise; that of another head differs by more


def test_large_pictures_are_shown_small(network):
    grid = attention_grid(network, noise(200, 800), (199, 799), network.blocks[0], seconds=60)
    assert {picture.size for picture in pictures(grid).values()} == {(PANEL_SIDE, PANEL_SIDE // 4)}


def test_refusals(network):
    with pytest.raises(ValueError, match="block must be an axial block"):
        attention_grid(network, noise(), (0, 0), "stem", seconds=60)
    with pytest.raises(ValueError, match="time for a picture must be at most"):
        attention_grid(network, noise(), (0, 0), network.blocks[0], seconds=1e-9)
