"""What every backbone promises: maps res2 to res5, and a classifier unless only the maps are wanted."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from axial_deeplab.models.folding.fold import Fusible
from axial_deeplab.models.norm import statistics_of_passes
from axial_deeplab.models.options import BackboneOptions, check_map
from axial_deeplab.models.strips import is_hooked, run_convolutions
from axial_deeplab.ops.dispatch import recomputed

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


class Backbone(Fusible):
    """A network from normalized images to maps res2 to res5 and, unless `features_only`, to class logits.

    Shapes: images (B, in_channels, H, W), already normalized; the map at stride s (B, C, ceil(H/s),
    ceil(W/s)); logits (B, num_classes).

    Args:
        feature_channels: channels of res2 to res5.
        options: classes, output stride, and whether there is a classifier at all.

    Attributes:
        feature_channels: name of a map -> its channels.
        feature_strides: name of a map -> its stride in pixels of the image.
        output_stride: stride of res5.
        in_channels: channels of the images.
        stem, res2, res3, res4, res5: the parts that a subclass makes; a stage is a sequence of blocks.
        checkpoint: whether a block's activations are recomputed in the backward pass; blocks that do so
            themselves leave it False.
    """

    stem: nn.Module

    def __init__(self, feature_channels: tuple[int, ...], options: BackboneOptions) -> None:
        super().__init__()
        strides = stage_strides(options.output_stride)
        self.feature_channels = dict(zip(FEATURE_NAMES, feature_channels, strict=True))
        self.feature_strides: dict[str, int] = {}
        stride = 4
        for name, stage_stride in zip(FEATURE_NAMES, strides, strict=True):
            stride *= stage_stride
            self.feature_strides[name] = stride
        self.output_stride = options.output_stride
        self.in_channels = options.in_channels
        self.checkpoint = options.checkpoint
        self.classifier: nn.Linear | None = None
        if not options.features_only:
            self.classifier = nn.Linear(feature_channels[-1], options.num_classes)
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)

    @property
    def channels(self) -> list[int]:
        """Channels of the maps that `forward_features` returns, in their order."""
        return list(self.feature_channels.values())

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Name ("module"), channels ("num_chs") and stride ("reduction") of each map, as timm calls them."""
        return [
            {"module": name, "num_chs": channels, "reduction": self.feature_strides[name]}
            for name, channels in self.feature_channels.items()
        ]

    def _add_stages(
        self,
        channels: int,
        widths: Sequence[int],
        depths: Sequence[int],
        block: Callable[[int, int, int, int], nn.Module],
        *,
        max_pool: bool = True,
    ) -> None:
        """Make res2 to res5 of residual blocks, the first one of a stage with its stride.

        Args:
            channels: channels of the stem's output.
            widths: width of the blocks of each stage.
            depths: blocks of each stage.
            block: makes one from its input's channels, its width, its stride and its atrous rate.
            max_pool: whether the stem has stride 4; if not, res2 starts with stride 2.
        """
        strides = stage_strides(self.output_stride)
        dilation = 1
        for name, width, depth, stride in zip(FEATURE_NAMES, widths, depths, strides, strict=True):
            first = 2 if name == "res2" and not max_pool else stride
            blocks = [block(channels, width, first, dilation)]
            if stride == 1 and name != "res2":
                dilation *= 2
            channels = self.feature_channels[name]
            blocks += [block(channels, width, 1, dilation) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*blocks))

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps res2 to res5 of normalized images.

        Raises:
            ValueError: the images do not have four dimensions or `in_channels` channels.
        """
        return dict(self.iterate_features(images))

    def iterate_features(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the name of each map and the map, as soon as it is there.

        Raises:
            ValueError: see `forward_features`.
        """
        check_map(images, self.in_channels, self, name="images")
        x = run_convolutions(self.stem, images)
        del images  # Nobody else may need them any more.
        for name in FEATURE_NAMES:
            stage = self.get_submodule(name)
            # Block by block, a map is freed as soon as the next one is there.
            in_blocks = type(stage) is nn.Sequential and not is_hooked(stage)
            for block in stage.children() if in_blocks else (stage,):
                x = self._run(block, x)
            yield name, x

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        features = self.forward_features(images)
        if self.classifier is None:
            return features
        *_, last = features.values()
        return self.classifier(last.mean(dim=(2, 3)))

    def _run(self, block: nn.Module, x: Any) -> Any:
        if self.checkpoint and self.training and torch.is_grad_enabled():
            return recomputed(block, x, context_fn=partial(statistics_of_passes, block))
        return block(x)
