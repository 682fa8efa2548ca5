"""Multi-scale and flipped inference: the same image seen at several sizes and mirrored, outputs averaged."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from axial_deeplab.models.resize import resize_bilinear, resize_offsets

# The scales of the paper's multi-scale rows, all with mirroring; they follow from its multiply-adds.
_TO_TWICE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SCALE_SETS: dict[str, tuple[float, ...]] = {
    "coco": (0.5, 0.75, 1.0, 1.25, 1.5),
    "cityscapes": _TO_TWICE,
    "mapillary": _TO_TWICE,
}
# Larger images than this have no use, and no memory.
LARGEST_SCALE = 1000


def parse_scales(words: Sequence[str | float] | str | float) -> tuple[float, ...]:
    """Return scales that are given as numbers or as the name of a data set, whose scales the paper uses.

    Raises:
        ValueError: a word is neither, or a scale is not positive or larger than any use.
    """
    words = [words] if isinstance(words, str | int | float) else words
    if len(words) == 1 and words[0] in SCALE_SETS:
        return SCALE_SETS[str(words[0])]
    try:
        scales = tuple(float(word) for word in words)
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= LARGEST_SCALE for scale in scales):
        raise ValueError(
            f"scales must be positive numbers up to {LARGEST_SCALE} or one of {', '.join(SCALE_SETS)}, "
            f"got {' '.join(map(str, words)) or 'none'}; 1 is the size of the image"
        )
    return scales


def scaled_length(length: int, scale: float) -> int:
    """Return the pixels of a scaled side: its corner pixels stay its corners, as deeplab2 rounds."""
    return max(1, int((length - 1) * scale + 1))


def average_outputs(
    model: nn.Module, images: Tensor, *, scales: Sequence[float] = (1.0,), flip: bool = False
) -> dict[str, Tensor]:
    """Run a network on images at several scales, mirrored too if asked, and average what it says.

    The probabilities of the classes, the heatmap and the offsets are averaged at the size of the images.
    Offsets grow and shrink with the scale, and their x turns round in the mirror.

    Shapes:
        images (B, C, H, W); the maps as those of the network, (B, ., H, W).

    Args:
        model: a segmentation network.
        images: uint8 or float, 0 to 255.
        scales: magnifications of the images, 1 for their own size.
        flip: see each scale mirrored, too.

    Returns:
        The outputs by the network's names. Where there is more than one view, `semantic_logits` are the
        logarithms of the averaged probabilities.

    Source:
        Panoptic-DeepLab (Cheng et al. 2020); the order of the steps is deeplab2's.
    """
    if tuple(scales) == (1.0,) and not flip:
        return dict(model(images))
    total: dict[str, Tensor] = {}
    mirrorings = (False, True) if flip else (False,)
    for scale in scales:
        scaled = _scaled(images, scale)
        for mirrored in mirrorings:
            outputs = model(scaled.flip(-1)) if mirrored else model(scaled)
            for name, values in _as_seen_at_scale_one(outputs, images.shape[-2:], mirrored).items():
                total[name] = total[name].add_(values) if name in total else values
    num_views = len(scales) * len(mirrorings)
    average = {name: values / num_views for name, values in total.items()}
    average["semantic_logits"] = average["semantic_logits"].log_()
    return average


def mirror_outputs(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the outputs for the mirrored images: what was left is right.

    Args:
        outputs: maps by name; `offsets` (B, 2, H, W) are in (y, x) order.
    """
    mirrored = {name: values.flip(-1) for name, values in outputs.items()}
    offset_y, offset_x = mirrored["offsets"].unbind(dim=1)
    return mirrored | {"offsets": torch.stack((offset_y, -offset_x), dim=1)}


def _scaled(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    height, width = (scaled_length(length, scale) for length in images.shape[-2:])
    images = images if images.is_floating_point() else images.float()
    return resize_bilinear(images, (height, width))


def _as_seen_at_scale_one(
    outputs: Mapping[str, Tensor], size: Sequence[int], mirrored: bool
) -> dict[str, Tensor]:
    """Return new tensors: probabilities in place of the logits, at the size of the images, unmirrored."""
    if mirrored:
        outputs = mirror_outputs(outputs)
    resized = {
        name: resize_offsets(values, size) if name == "offsets" else resize_bilinear(values, size)
        for name, values in outputs.items()
    }
    resized["center_heatmap"] = resized["center_heatmap"].clone()  # a network may keep what it returned
    return resized | {"semantic_logits": resized["semantic_logits"].softmax(dim=1)}
