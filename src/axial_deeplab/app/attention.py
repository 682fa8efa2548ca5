"""Where a pixel looks, as a grid of pictures for the page."""

import base64
import html
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.app.limits import time_limit
from axial_deeplab.app.networks import Network
from axial_deeplab.experiments.attention_maps import attention_maps, draw_heads

# Pixels; the page shows the pictures smaller than this.
PANEL_SIDE = 360


def attention_grid(
    network: Network, pixels: NDArray[np.uint8], pixel: tuple[int, int], block: str, *, seconds: float
) -> str:
    """Return the attention of a pixel in every head of a block: one picture for each head and axis, HTML.

    Args:
        network: network to look into; it sees the picture at the size at which it predicts.
        pixels: the picture, RGB (H, W, 3), uint8.
        pixel: (y, x) in it.
        block: name of an axial block.
        seconds: time that the network may take.

    Raises:
        ValueError: there is no such block or pixel, or the time is over.
    """
    seen = network.predictor.view.resized(pixels)
    sizes = zip(pixel, seen.shape[:2], pixels.shape[:2], strict=True)
    y, x = (place * new // old for place, new, old in sizes)
    with time_limit(network.model, seconds):
        maps = attention_maps(network.model, seen, (y, x), block)
    heights, widths = draw_heads(seen, maps)
    caption = f"Row {pixel[0]}, column {pixel[1]}, in {block}:"
    return f"<p>{html.escape(caption)}</p>{_row('height', heights)}{_row('width', widths)}"


def _row(axis: str, pictures: list[Image.Image]) -> str:
    figures = [_figure(picture, f"head {number}, {axis}") for number, picture in enumerate(pictures, start=1)]
    return f'<div class="heads">{"".join(figures)}</div>'


def _figure(picture: Image.Image, title: str) -> str:
    picture.thumbnail((PANEL_SIDE, PANEL_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<figure><img src="{address}" alt="{title}"><figcaption>{title}</figcaption></figure>'
