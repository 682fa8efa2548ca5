"""The residual block that is made of two axial-attention layers."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from axial_deeplab.models.attention.axial import AxialAttention, subsample_axes
from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.blocks.squeeze_excite import SqueezeExcite
from axial_deeplab.models.folding.fold import fold_layers
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.models.norm import keep_running_statistics
from axial_deeplab.models.recomputation import recompute_normalized, relu
from axial_deeplab.ops.dispatch import is_transformed

STRIDE_MODES = ("slice", "average_pool")


class AxialBlock(nn.Module):
    """A bottleneck block whose 3x3 convolution is replaced by height-axis and then width-axis attention.

    1x1 convolution - ReLU - height attention - width attention - ReLU - 1x1 convolution, + shortcut, ReLU;
    each convolution is batch-normalized.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))

    Args:
        in_channels: channels of the input.
        width: channels of the attention, a multiple of 2 num_heads.
        out_channels: channels of the output.
        stride: how many positions of the input one of the output stands for, on both axes.
        num_heads: attention heads.
        key_channels: channels of the queries, and of the keys, of all heads; None is half of width.
        span: the paper's m, an odd number of positions of this feature map; None attends to the whole axis.
        max_span: positions to either side, itself included, that have their own row in the relative tables.
        rel_q: see `AxialAttention`.
        rel_k: see `AxialAttention`.
        rel_v: see `AxialAttention`.
        qkv_norm: see `AxialAttention`.
        logit_norm: see `AxialAttention`.
        output_norm: see `AxialAttention`.
        activation: see `AxialAttention`.
        stride_mode: "slice" takes every stride-th position of an axis right after the attention along it;
            "average_pool" averages squares of stride x stride positions after both.
        squeeze_excite: whether squeeze-and-excite ends the residual branch.
        final_relu: whether ReLU follows the sum with the shortcut.
        checkpoint: recompute the block in the backward pass instead of keeping its activations.
        norm_eps: epsilon of the batch norms.
        norm_momentum: weight of the new batch in the running statistics.
        impl: implementation of the operation, see `axial_attention`.

    Raises:
        ValueError: as in `AxialAttention`, or the stride mode is none of the above.

    Source: figure 2 and section 3.2 of the paper; "average_pool" is the code that its first author published.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        stride: int = 1,
        num_heads: int = 8,
        key_channels: int | None = None,
        span: int | None = None,
        max_span: int = 255,
        rel_q: bool = True,
        rel_k: bool = True,
        rel_v: bool = True,
        qkv_norm: bool = True,
        logit_norm: bool = True,
        output_norm: bool = True,
        activation: str = "softmax",
        stride_mode: str = "slice",
        squeeze_excite: bool = False,
        final_relu: bool = True,
        checkpoint: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        impl: str = "auto",
    ) -> None:
        super().__init__()
        if stride_mode not in STRIDE_MODES:
            raise ValueError(
                f"stride_mode must be one of {list(STRIDE_MODES)}, got {stride_mode!r}; 'slice' is usual"
            )
        self.stride = stride
        self.stride_mode = stride_mode
        self.final_relu = final_relu
        self.checkpoint = checkpoint
        attention = partial(
            AxialAttention,
            width,
            width,
            num_heads=num_heads,
            key_channels=key_channels,
            span=span,
            max_span=max_span,
            stride=stride if stride_mode == "slice" else 1,
            rel_q=rel_q,
            rel_k=rel_k,
            rel_v=rel_v,
            qkv_norm=qkv_norm,
            logit_norm=logit_norm,
            output_norm=output_norm,
            activation=activation,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            impl=impl,
        )
        convolution = partial(ConvNorm, norm_eps=norm_eps, norm_momentum=norm_momentum)
        self.down = convolution(in_channels, width)
        self.height_attention = attention(axis="height")
        self.width_attention = attention(axis="width")
        self.up = convolution(width, out_channels, activation=False)
        # A block starts as its shortcut: gradients explode in a deep stack of random attention.
        nn.init.zeros_(self.up.get_parameter("norm.weight"))
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels:
            self.shortcut = convolution(in_channels, out_channels, activation=False)
        self.squeeze_excite = SqueezeExcite(out_channels) if squeeze_excite else None

    def forward(self, x: Tensor) -> Tensor:
        if self.checkpoint and self.training and torch.is_grad_enabled() and not is_transformed():
            y: Tensor = checkpoint(
                self._forward,
                x,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=self._recomputation,
            )
            return y
        with recompute_normalized():
            return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.width_attention(self.height_attention(self.down(x)))
        if self.stride > 1 and self.stride_mode == "average_pool":
            y = F.avg_pool2d(y, self.stride, ceil_mode=True)
        y = self.up(relu(y, inplace=True))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        x = subsample_axes(x, (self.stride, self.stride))
        if self.shortcut is not None:
            x = self.shortcut(x)
        y += x
        return F.relu(y, inplace=True) if self.final_relu else y

    def fused(self) -> FusedAxialBlock:
        """Return the block for inference, all its norms folded away."""
        return FusedAxialBlock(fold_layers(self))

    def _recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return the contexts of the first pass and of the second, which must not count the batch twice."""
        return nullcontext(), keep_running_statistics(self)
