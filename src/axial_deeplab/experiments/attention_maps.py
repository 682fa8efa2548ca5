"""Where a pixel looks: the attention of each head along its column and row (figures 7 and 8 of the paper)."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from axial_deeplab.experiments.plots import require_suffix
from axial_deeplab.models.attention.axial import AxialAttention, along_axis
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.image_channels import match_channels
from axial_deeplab.util.files import atomic_path
from axial_deeplab.visualization.network_maps import draw_center_heatmap
from axial_deeplab.visualization.side_by_side import side_by_side

NO_BLOCKS = "it has none, or none left: give the network as it was before fuse(), not a Predictor's"


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of one position of a block's feature maps; each head's adds up to 1 under a softmax.

    Shapes: height (N, H), width (N, W): N heads, H x W positions.

    Args:
        height: weights over the positions of its column, in the height-axis attention.
        width: weights over the positions of its row, in the width-axis attention.
        height_stride: pixels of the image between two positions of the column.
        width_stride: pixels of the image between two positions of the row.
        pixel: (y, x) in the image.
    """

    height: NDArray[np.float32]
    width: NDArray[np.float32]
    height_stride: int
    width_stride: int
    pixel: tuple[int, int]


def axial_blocks(model: nn.Module) -> dict[str, AxialBlock]:
    """Return the axial blocks of a network by name, in the order of their names in it.

    Those of a network whose norms are folded away (`fuse`) are not among them.
    """
    return {
        name: block
        for name, block in model.named_modules()
        if isinstance(block, AxialBlock) and isinstance(block.height_attention, AxialAttention)
    }


def attention_maps(
    model: nn.Module, image: NDArray[np.uint8], pixel: tuple[int, int], block: str
) -> AttentionMaps:
    """Return where a pixel looks in a block of a network.

    The maps are computed from queries, keys and relative tables as equation 4 reads, not by the
    implementations that the network itself runs.

    Args:
        model: a network in evaluation mode, with its norms.
        image: RGB (H, W, 3), uint8; the input of a backbone is not normalized here.
        pixel: (y, x) in the image.
        block: name of an axial block, as in `axial_blocks`.

    Raises:
        ValueError: there is no such block, or the pixel is not in the image.
    """
    blocks = axial_blocks(model)
    if block not in blocks:
        raise ValueError(
            f"block must be an axial block of the network ({', '.join(blocks) or NO_BLOCKS}), "
            f"got {block!r}; choose one of these"
        )
    size = image.shape[:2]
    if not all(0 <= coordinate < length for coordinate, length in zip(pixel, size, strict=True)):
        raise ValueError(f"pixel must be (y, x) in the image of {size[0]} x {size[1]}, got {pixel}; move it")
    layers = (blocks[block].height_attention, blocks[block].width_attention)
    # What the first convolution sees is the padded image, whose size tells the strides.
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    seen: dict[nn.Module, Tensor] = {}
    hooks = [layer.register_forward_pre_hook(_keeper(seen)) for layer in (first, *layers)]
    pixels = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))[None]
    try:
        with torch.no_grad():
            model(match_channels(model, pixels.to(next(model.parameters()).device)))
            (height, height_stride), (width, width_stride) = (
                _map_of_pixel(layer, seen[layer], pixel, seen[first].shape[2:]) for layer in layers
            )
    finally:
        for hook in hooks:
            hook.remove()
    return AttentionMaps(height, width, height_stride, width_stride, pixel)


def attention_of_query(layer: AxialAttention, x: Tensor, position: int, line: int) -> Tensor:
    """Return the attention (N, L) of one query over its axis, as equation 4 reads.

    Args:
        layer: along either axis, in evaluation mode.
        x: the layer's input (1, C, H, W).
        position: position of the query on the axis.
        line: its column (of a height-axis layer) or row.

    Source: Eq. 4 of the paper, the norms of its three terms included.
    """
    qkv = layer.split_heads(layer.qkv_norm(layer.qkv(x)))
    q, k, _ = along_axis(layer.axis, *qkv)  # (1, L, M, N, D)
    scale, bias = layer.normalize_logits(q, k, layer.rel_q, layer.rel_k)
    query, keys = q[0, position, line], k[0, :, line]  # (N, D), (L, N, D)
    if scale is None:
        scale = query.new_ones(3, layer.num_heads)
    distances = torch.arange(len(keys), device=x.device) - position
    logits = scale[0] * torch.einsum("nd,lnd->ln", query, keys)
    if layer.rel_q is not None:
        logits += scale[1] * torch.einsum("nd,ld->ln", query, _rows(layer.rel_q, distances))
    if layer.rel_k is not None:
        logits += scale[2] * torch.einsum("lnd,ld->ln", keys, _rows(layer.rel_k, distances))
    if layer.span is not None:
        logits = logits.masked_fill((distances.abs() > layer.span // 2)[:, None], float("-inf"))
    if layer.activation == "sigmoid":
        return (logits if bias is None else logits + bias).sigmoid().T
    return logits.softmax(dim=0).T


def draw_attention_maps(image: NDArray[np.uint8], maps: AttentionMaps) -> Image.Image:
    """Draw the maps over the image: a column for each head, above along the height, below along the width.

    The brightest position of each map has its largest attention.

    Args:
        image: RGB (H, W, 3), uint8.
        maps: attention maps of a pixel of it.
    """
    heights, widths = draw_heads(image, maps)
    titles = [f"head {number + 1}" for number in range(len(heights))]
    return side_by_side([heights, widths], titles, panel_width=min(480, image.shape[1]))


def draw_heads(image: NDArray[np.uint8], maps: AttentionMaps) -> tuple[list[Image.Image], list[Image.Image]]:
    """Draw the map of each head over the image: those along the height, and those along the width."""
    y, x = maps.pixel
    heights = [_band(each, maps.height_stride, x, image.shape[:2]) for each in maps.height]
    widths = [_band(each, maps.width_stride, y, image.shape[1::-1]).T for each in maps.width]
    drawn_heights, drawn_widths = (
        [draw_center_heatmap(image, heat, [maps.pixel]) for heat in heats] for heats in (heights, widths)
    )
    return drawn_heights, drawn_widths


def write_attention_maps(
    model: nn.Module,
    image: NDArray[np.uint8],
    pixel: tuple[int, int],
    block: str,
    output: str | os.PathLike[str],
) -> AttentionMaps:
    """Draw the maps of a pixel as a PNG, and write the numbers beside it as NPZ (keys height and width).

    The first four arguments are those of `attention_maps`.

    Args:
        output: the picture, *.png.

    Raises:
        ValueError: as `attention_maps`, or the output is no PNG.
        OSError: a file cannot be written.
    """
    path = Path(output)
    require_suffix(path, (".png",))
    maps = attention_maps(model, image, pixel, block)
    with atomic_path(path) as temporary:
        draw_attention_maps(image, maps).save(temporary, format="PNG")
    with atomic_path(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, height=maps.height, width=maps.width)
    return maps


def _keeper(seen: dict[nn.Module, Tensor]) -> Any:
    def keep(module: nn.Module, inputs: tuple[Tensor]) -> None:
        seen[module] = inputs[0]

    return keep


def _map_of_pixel(
    layer: AxialAttention, x: Tensor, pixel: tuple[int, int], size: Sequence[int]
) -> tuple[NDArray[np.float32], int]:
    """Return the attention (N, L) of the position nearest to a pixel, and the layer's stride on its axis."""
    places, strides = [], []
    for coordinate, length, positions in zip(pixel, size, x.shape[2:], strict=True):
        # Position i lies at pixel i * stride; n pixels have ceil(n / stride) positions.
        stride = 2 ** math.ceil(math.log2(length / positions))
        strides.append(stride)
        places.append(min(round(coordinate / stride), positions - 1))
    along, line = (0, 1) if layer.axis == "height" else (1, 0)
    attention = attention_of_query(layer, x, places[along], places[line])
    return attention.float().cpu().numpy(), strides[along]


def _rows(table: Tensor, distances: Tensor) -> Tensor:
    farthest = table.shape[0] // 2
    return table[distances.clamp(-farthest, farthest) + farthest]


def _band(
    attention: NDArray[np.float32], stride: int, line: int, size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return a map (length, across) that is zero but for a band along its first axis."""
    length, across = size
    values = np.interp(np.arange(length), stride * np.arange(len(attention)), attention)
    band = np.zeros((length, across), dtype=np.float32)
    # As wide as a position, or wide enough to be seen when a large picture is made smaller.
    half = max(stride // 2, length // 128, 1)
    band[:, max(line - half, 0) : line + half + 1] = (values / attention.max())[:, None]
    return band
