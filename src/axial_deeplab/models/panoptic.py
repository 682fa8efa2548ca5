"""The panoptic network, from images to maps at their size: a backbone, its decoders and three heads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.decoders import ATROUS_RATES, AxialDecoder, ConvDecoder, Head
from axial_deeplab.models.folding.fold import Fusible
from axial_deeplab.models.options import (
    AXIAL,
    DECODER,
    NORM,
    AxialOptions,
    DecoderOptions,
    Norm,
    check_map,
    with_keywords,
)
from axial_deeplab.models.resize import crop, resize_bilinear, resize_offsets
from axial_deeplab.models.strips import can_run_in_strips, is_hooked

# Mean and standard deviation of ImageNet's pixels, RGB, 0 to 255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

DecoderName = Literal["dual", "axial"]


class PanopticDeepLab(Fusible):
    """Axial-DeepLab or Panoptic-DeepLab, depending on the backbone.

    Shapes: images (B, in_channels, H, W), uint8 or float, 0 to 255, any H and W; returns semantic_logits (B,
    num_classes, H, W), center_heatmap (B, 1, H, W) without sigmoid, and offsets (B, 2, H, W) in (y, x) order
    and pixels of the image. The maps are float32 (float64 in a float64 model), also under autocast.

    Images are normalized here and nowhere else. They are padded at the bottom and on the right with the mean
    color to k * output_stride + 1 pixels, k >= 1, so that the grids of all strides coincide in their
    corners; the maps are cropped back. Even a single pixel thus gives every norm of the training mode more
    than one value.

    Args:
        backbone: gives the maps res2 to res5; receives normalized images.
        num_classes: semantic classes.
        in_channels: channels of the images.
        decoder: "dual" (one convolutional decoder for the semantic head, one for the two instance heads) or
            "axial" (one axial decoder for all, appendix B).
        semantic_channels: channels of the semantic decoder (or of the axial decoder).
        semantic_head_channels: channels inside the semantic head; None is `semantic_channels`.
        instance_channels: channels of the instance decoder.
        instance_head_channels: channels inside the two instance heads.
        semantic_low_level_channels: channels of the projections of res3 and res2 in the semantic decoder.
        instance_low_level_channels: the same in the instance decoder.
        aspp_channels: channels of ASPP's branches, or of the projection in its place, in front of both
            decoders or of each; None is 256 for ASPP, and for a projection as many as its decoder has.
        head_separable: whether the 5x5 convolutions of the heads are depthwise-separable.
        checkpoint: recompute the axial decoder's blocks in the backward pass.
        recompute: whether the axial decoder computes normalized maps again, see `AxialBlock`.
        pixel_mean: subtracted from the images, one value or one a channel; None is ImageNet's mean (its
            average for other than 3 channels).
        pixel_std: divides the images; None is ImageNet's standard deviation.
        pad_images: whether images are padded as above; without, the corners of the grids coincide for images
            of k * output_stride + 1 pixels only.
        dual: ASPP and convolutions of the dual decoders, see `DecoderOptions`.
        axial: attention of the axial decoder, see `AxialOptions`.
        norm: settings of the batch norms, see `Norm`.
        keywords: fields of these settings, by name.

    Source: section 3.3 of the paper; Panoptic-DeepLab (Cheng et al. 2020).
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    # An exporter may put another one in its place.
    crop: Callable[[Tensor, Sequence[int]], Tensor] = staticmethod(crop)

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int = 133,
        in_channels: int = 3,
        decoder: DecoderName = "dual",
        semantic_channels: int = 256,
        semantic_head_channels: int | None = None,
        instance_channels: int = 128,
        instance_head_channels: int = 32,
        semantic_low_level_channels: tuple[int, int] = (64, 32),
        instance_low_level_channels: tuple[int, int] = (32, 16),
        aspp_channels: int | tuple[int, int] | None = None,
        head_separable: bool = True,
        checkpoint: bool = False,
        recompute: bool = True,
        pixel_mean: float | Sequence[float] | None = None,
        pixel_std: float | Sequence[float] | None = None,
        pad_images: bool = True,
        dual: DecoderOptions = DECODER,
        axial: AxialOptions = AXIAL,
        norm: Norm = NORM,
        **keywords: Any,
    ) -> None:
        super().__init__()
        mean = _per_channel("pixel_mean", pixel_mean, IMAGENET_MEAN, in_channels)
        std = _per_channel("pixel_std", pixel_std, IMAGENET_STD, in_channels)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_std", std, persistent=False)
        self.pad_images = pad_images
        self.backbone = backbone
        self.output_stride = backbone.output_stride

        dual, axial, norm = with_keywords(keywords, dual, axial, norm)
        self.instance_decoder: nn.Module | None
        if decoder == "dual":
            rates = dual.atrous_rates or [16 * rate // self.output_stride for rate in ATROUS_RATES]
            dual = replace(dual, atrous_rates=rates)
            semantic_aspp, instance_aspp = (
                aspp_channels if isinstance(aspp_channels, tuple) else (aspp_channels,) * 2
            )
            of_dual = partial(ConvDecoder, backbone.feature_channels, options=dual, norm=norm)
            self.semantic_decoder: nn.Module = of_dual(
                channels=semantic_channels,
                aspp_channels=semantic_aspp,
                low_level_channels=semantic_low_level_channels,
            )
            self.instance_decoder = of_dual(
                channels=instance_channels,
                aspp_channels=instance_aspp,
                low_level_channels=instance_low_level_channels,
            )
            hidden_channels: tuple[int | None, int | None] = (
                semantic_head_channels or semantic_channels,
                instance_head_channels,
            )
        elif decoder == "axial":
            if dual.aspp:
                raise ValueError("aspp must be False with the axial decoder, got True; use decoder='dual'")
            self.semantic_decoder = AxialDecoder(
                backbone.feature_channels,
                channels=semantic_channels,
                low_level_channels=semantic_low_level_channels,
                checkpoint=checkpoint,
                recompute=recompute,
                attention=axial,
                norm=norm,
            )
            self.instance_decoder = None
            instance_channels = semantic_channels
            hidden_channels = (None, None)
        else:
            raise ValueError(f"decoder must be dual or axial, got {decoder!r}; choose one of these")
        head = partial(Head, separable=head_separable, norm=norm)
        self.semantic_head = head(semantic_channels, hidden_channels[0], num_classes)
        self.center_head = head(instance_channels, hidden_channels[1], 1)
        self.offset_head = head(instance_channels, hidden_channels[1], 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.resized(self.decode(self.encode(images)), images.shape[-2:])

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Normalize and pad images and return the backbone's maps.

        Shapes: images as for `forward`, padded to (H', W'); the map at stride s is
        (B, C, (H' - 1) / s + 1, (W' - 1) / s + 1).

        Raises:
            ValueError: if the images do not have four dimensions or `in_channels` channels.
        """
        # No name keeps the normalized images while the backbone runs, as a call of the module would.
        is_plain = isinstance(self.backbone, Backbone) and not is_hooked(self.backbone)
        run = self.backbone.forward_features if is_plain else self.backbone
        return run(self._prepared(images))

    def _prepared(self, images: Tensor) -> Tensor:
        channels = self.pixel_mean.shape[0]
        check_map(images, channels, name="images")
        size = self.padded_size(*images.shape[-2:])
        return _pad(self._normalized(images), size)

    def decode(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the three maps at stride 4, offsets in pixels of that grid.

        Shapes: features res2 (B, C2, H2, W2) to res5; the maps are (B, ., H2, W2).
        """
        decoded = self.semantic_decoder(features)
        semantic_logits = self.semantic_head(decoded)
        if self.instance_decoder is not None:
            decoded = self.instance_decoder(features)
        return {
            "semantic_logits": semantic_logits,
            "center_heatmap": self.center_head(decoded),
            "offsets": self.offset_head(decoded),
        }

    def low_resolution_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return what `decode` makes of `encode`, up to rounding, in less memory where it is inference.

        Then the backbone's maps are reduced to what the decoders need of them as soon as they are there, and
        the decoders' own never exist as a whole.

        Shapes: images as for `forward`; the maps are (B, ., H2, W2).
        """
        semantic, instance = self.semantic_decoder, self.instance_decoder
        if not (
            isinstance(semantic, ConvDecoder)
            and isinstance(instance, ConvDecoder)
            and can_run_in_strips(self, self.pixel_mean)
            and not images.requires_grad
        ):
            return self.decode(self.encode(images))
        of_semantic: dict[str, Tensor] = {}
        of_instance: dict[str, Tensor] = {}
        for name, x in self.backbone.iterate_features(self._prepared(images)):
            if name in semantic.inputs:
                of_semantic[name] = semantic.project(name, x)
                of_instance[name] = instance.project(name, x)
            del x
        maps = semantic.decode_strips(of_semantic, {"semantic_logits": self.semantic_head})
        heads = {"center_heatmap": self.center_head, "offsets": self.offset_head}
        return maps | instance.decode_strips(of_instance, heads)

    def resized(self, maps: dict[str, Tensor], size: Sequence[int]) -> dict[str, Tensor]:
        """Return maps at the size of the images, offsets in its pixels; at least float32.

        Shapes: maps (B, ., H2, W2), results (B, ., *size).

        Args:
            maps: what `decode` returned, or some of it; emptied, so that each is freed in its turn.
            size: height and width of the images in pixels.
        """
        padded = self.padded_size(*size)
        outputs = {}
        for name in list(maps):
            resize = resize_offsets if name == "offsets" else resize_bilinear
            outputs[name] = self.crop(resize(_at_least_float32(maps.pop(name)), padded), size)
        return outputs

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size in pixels to which images are padded."""
        if not self.pad_images:
            return height, width
        return _padded_length(height, self.output_stride), _padded_length(width, self.output_stride)

    def _normalized(self, images: Tensor) -> Tensor:
        return (images.to(self.pixel_mean.dtype) - self.pixel_mean).div_(self.pixel_std)


def _pad(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Add zeros at the bottom and right."""
    height, width = images.shape[-2:]
    # A compiled program must not depend on whether its example was too small.
    if not torch.compiler.is_compiling() and (height, width) == size:
        return images
    return F.pad(images, (0, size[1] - width, 0, size[0] - height))


def _padded_length(length: int, stride: int) -> int:
    """Return the smallest k * stride + 1, k >= 1, that is not below a length in pixels."""
    return torch.sym_max((length + stride - 2) // stride, 1) * stride + 1


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _per_channel(
    name: str, values: float | Sequence[float] | None, imagenet: tuple[float, ...], in_channels: int
) -> Tensor:
    """Return the values as (C, 1, 1); by default ImageNet's, or their average where C is not 3."""
    if values is None:
        values = imagenet if in_channels == 3 else sum(imagenet) / 3
    if isinstance(values, int | float):
        values = (values,) * in_channels
    if len(values) != in_channels:
        raise ValueError(
            f"{name} must be one value for each of the {in_channels} image channels, got {len(values)}; "
            "give as many as in_channels"
        )
    return torch.tensor(values, dtype=torch.get_default_dtype()).reshape(-1, 1, 1)
