"""RGB images for networks that take greyscale."""

from torch import Tensor, nn


def match_channels(model: nn.Module, images: Tensor) -> Tensor:
    """Return RGB images as a network takes them: averaged over the colors if it was built with one channel.

    Shapes: images (B, 3, H, W) -> (B, 1, H, W) for a network of `in_channels=1`; else unchanged.

    Args:
        model: any network; without a `config` it takes RGB.
        images: tensor of any number type, which is kept.
    """
    if getattr(model, "config", {}).get("in_channels", 3) != 1 or images.shape[1] != 3:
        return images
    return images.float().mean(dim=1, keepdim=True).to(images.dtype)
