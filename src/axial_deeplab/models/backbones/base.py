"""What every backbone promises: maps res2 to res5, and a classifier unless only the maps are wanted."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from axial_deeplab.models.folding.fold import Fusible
from axial_deeplab.models.norm import keep_running_statistics
from axial_deeplab.ops.dispatch import is_transformed

# Strides of the four stages for each output stride; the stem and its pooling have stride 4 together.
STAGE_STRIDES = {32: (1, 2, 2, 2), 16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
FEATURE_NAMES = ("res2", "res3", "res4", "res5")


def stage_strides(output_stride: int) -> tuple[int, int, int, int]:
    """Return the strides of the stages res2 to res5 that end at an output stride of 8, 16 or 32 pixels.

    Raises:
        ValueError: for another output stride.
    """
    if output_stride not in STAGE_STRIDES:
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}; choose one of these")
    return STAGE_STRIDES[output_stride]


def check_depths(depths: Sequence[int]) -> None:
    """Refuse depths that are not four positive numbers of blocks.

    Raises:
        ValueError: for any other depths.
    """
    if len(depths) != len(FEATURE_NAMES) or min(depths) < 1:
        raise ValueError(
            f"depths must be four positive numbers of blocks, got {tuple(depths)}; see AxialResNet"
        )


class Backbone(Fusible):
    """A network from normalized images to maps res2 to res5 and, unless `features_only`, to class logits.

    Shapes: images (B, in_channels, H, W), already normalized; the map at stride s (B, C, ceil(H/s),
    ceil(W/s)); logits (B, num_classes).

    Args:
        feature_channels: channels of res2 to res5.
        output_stride: stride of res5 in pixels of the image.
        num_classes: classes of the classifier.
        features_only: make no classifier; `forward` then returns the maps.

    Attributes:
        feature_channels: name of a map -> its channels.
        feature_strides: name of a map -> its stride in pixels of the image.
        output_stride: stride of res5.
        stem, res2, res3, res4, res5: the parts that a subclass makes; a stage is a sequence of blocks.
        checkpoint: whether a block's activations are recomputed in the backward pass; blocks that do so
            themselves leave it False.
    """

    stem: nn.Module

    def __init__(
        self, feature_channels: tuple[int, ...], output_stride: int, num_classes: int, features_only: bool
    ) -> None:
        super().__init__()
        strides = stage_strides(output_stride)
        self.feature_channels = dict(zip(FEATURE_NAMES, feature_channels, strict=True))
        self.feature_strides: dict[str, int] = {}
        stride = 4
        for name, stage_stride in zip(FEATURE_NAMES, strides, strict=True):
            stride *= stage_stride
            self.feature_strides[name] = stride
        self.output_stride = output_stride
        self.checkpoint = False
        self.classifier = None if features_only else nn.Linear(feature_channels[-1], num_classes)
        if self.classifier is not None:
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps res2 to res5 of normalized images."""
        x = self.stem(images)
        del images  # Nobody else may need them any more.
        features = {}
        for name in FEATURE_NAMES:
            for block in self.get_submodule(name).children():
                x = self._run(block, x)
            features[name] = x
        return features

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        features = self.forward_features(images)
        if self.classifier is None:
            return features
        *_, last = features.values()
        return self.classifier(last.mean(dim=(2, 3)))

    def _run(self, block: nn.Module, x: Any) -> Any:
        if not (self.checkpoint and self.training and torch.is_grad_enabled() and not is_transformed()):
            return block(x)
        return checkpoint(
            block,
            x,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), keep_running_statistics(block)),
        )
