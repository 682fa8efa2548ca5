"""A network as a program of a fixed graph, for images of any number and size."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from axial_deeplab.export.post_processing_graph import PostProcessingGraph
from axial_deeplab.models.attention.window import FusedLocalAttention2d
from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.weights.file import halved
from axial_deeplab.weights.loaded import LoadedWeights

INPUT_NAME = "images"
PANOPTIC_OUTPUTS = ("semantic_logits", "center_heatmap", "offsets")
# The program is for all sizes; those of its example must only not be equal to each other or to 1.
EXAMPLE_SIZE = (2, 65, 97)
# Panoptic networks pad smaller images; the coarsest map of other networks must have more than one pixel.
SMALLEST_PADDED_SIDE, SMALLEST_SIDE = 1, 33


class Deployed(nn.Module):
    """What is exported: a folded network whose outputs have an order, and its post-processing if wanted.

    Shapes: images (B, in_channels, H, W), float32: RGB 0 to 255 for panoptic networks, normalized for
    classifiers and backbones; returns the outputs in the order of `output_names`.

    Args:
        weights: network, categories and settings.
        post_processing: whether the panoptic map is the output, instead of the three maps that it is made of.
        half: whether matrices and kernels are rounded to half precision.
        for_compiler: whether PyTorch's ahead-of-time compiler gets the program; some networks then take sides
            of whole output strides alone.
        size: height and width of all images, None if they differ: a `top_k` by area needs it.

    Attributes:
        output_names: their names.
        smallest_side: pixels that height and width of the images must have.
        side_multiple: what height and width must be multiples of, pixels.

    Raises:
        ValueError: the network is not panoptic, or the settings cannot be part of a graph.
    """

    def __init__(
        self,
        weights: LoadedWeights,
        *,
        post_processing: bool = False,
        half: bool = False,
        for_compiler: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.network = fuse(weights.model)
        if half:
            for parameter in self.network.parameters():
                parameter.data = halved(parameter.data).to(parameter.dtype)
        config = weights.metadata["model"]
        self.in_channels = config.get("in_channels", 3)
        self.is_panoptic = hasattr(weights.model, "semantic_head")
        self.smallest_side = SMALLEST_PADDED_SIDE if self.is_panoptic else SMALLEST_SIDE
        self.side_multiple = _compilable_multiple(self.network) if for_compiler else 1
        self.smallest_side = self._rounded_up(self.smallest_side)
        self.post_processing: PostProcessingGraph | None = None
        self.output_names: tuple[str, ...]
        if self.is_panoptic:
            self.output_names = PANOPTIC_OUTPUTS
        else:
            self.output_names = FEATURE_NAMES if config.get("features_only") else ("logits",)
        if post_processing:
            if not self.is_panoptic:
                raise ValueError(
                    f"post_processing must be that of a segmentation network, got {config['name']}; "
                    "export it without"
                )
            settings = PostProcessing.from_metadata(weights.metadata, weights.categories.thing_ids)
            if size is not None:
                settings = replace(settings, top_k=settings.most_centers(*size), top_k_area=None)
            self.post_processing = PostProcessingGraph(settings, len(weights.categories))
            self.output_names = ("panoptic", "semantic", "num_centers")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if self.side_multiple > 1:
            images = self._in_whole_strides(images)
        outputs = self.network(images)
        if isinstance(outputs, Tensor):
            return (outputs,)
        if self.post_processing is not None:
            return self.post_processing(**outputs)
        return tuple(outputs[name] for name in self.output_names)

    def taken_size(self, batch: int, height: int, width: int) -> tuple[int, int, int]:
        """Return the size nearest above that the program takes."""
        return batch, self._rounded_up(height), self._rounded_up(width)

    def example(self, batch: int, height: int, width: int) -> Tensor:
        """Return random images that the network could get, the same for the same size."""
        generator = torch.Generator().manual_seed(batch + 1000 * height + width)
        coarse = torch.rand(batch, self.in_channels, 2 + height // 16, 2 + width // 16, generator=generator)
        images = nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        return images * 255 if self.is_panoptic else 4 * images - 2

    def _rounded_up(self, side: int) -> int:
        multiple = self.side_multiple
        return max(-(-side // multiple) * multiple, self.smallest_side)

    def _in_whole_strides(self, images: Tensor) -> Tensor:
        """Return the images as they are, their sides written as multiples; the program refuses others.

        A side that is declared as a multiple to the exporter (`32 * Dim(...)`) would not do: the compiled
        program then rounds every other side down and computes garbage, without an error.
        """
        for axis in (2, 3):
            side = images.shape[axis]
            # The maximum tells the compiler that the number is positive; of a mere quotient it does not know
            # it, and it makes conditions that single images do not meet. Equality in the check would replace
            # the multiple by the side.
            strides = torch.sym_max(side // self.side_multiple, self.smallest_side // self.side_multiple)
            torch._check(side <= strides * self.side_multiple)
            images = images.narrow(axis, 0, strides * self.side_multiple)
        return images


def _compilable_multiple(network: nn.Module) -> int:
    """Return what PyTorch's ahead-of-time compiler needs the sides of images to be multiples of, in pixels.

    The sides of a backbone's maps are those of the image divided and rounded up. PyTorch 2.13 fails with a
    ValueRangeError when it compares the strides of such maps around an attention. The sides that panoptic
    networks pad to are no such quotients.
    """
    attentions = FusedAxialBlock | FusedLocalAttention2d
    has_attention = any(isinstance(module, attentions) for module in network.modules())
    return network.output_stride if isinstance(network, Backbone) and has_attention else 1


def capture(deployed: Deployed, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Return the program of a network for any batch, height and width that the network takes.

    Args:
        deployed: the network.
        size: height and width of the only images that the program takes, one at a time; None leaves all free.
    """
    free: dict[int, Any] = {
        0: Dim("batch", min=1),
        2: Dim("height", min=deployed.smallest_side),
        3: Dim("width", min=deployed.smallest_side),
    }
    example = (1, *size) if size else deployed.taken_size(*EXAMPLE_SIZE)
    with torch.no_grad():
        return torch.export.export(
            deployed.eval(),
            (deployed.example(*example),),
            dynamic_shapes=None if size else (free,),
            # Conditions such as "the padded size is at least the size" are checked when the program runs: the
            # exporter cannot see that they always hold.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
