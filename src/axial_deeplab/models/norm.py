"""Batch norm of feature maps and of attention logits, on one process or synchronized over all of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.models.recomputation import note_normalized, noted_batch_norm
from axial_deeplab.ops.dispatch import is_transformed


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that can synchronize on any device and trains on a single value.

    Where a channel has one value only (one image whose map is 1x1), no variance exists: that call
    normalizes with the running statistics and leaves them as they are.

    Shapes: (B, C, H, W) -> (B, C, H, W)

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics.
        sync: whether the statistics are those of all processes of the default group, if there is one.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, *, sync: bool = False
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.sync = sync
        self.keep_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.sync and _several_processes():
            return self._synchronized(x)
        if is_transformed() and self.weight is not None:
            # Inside of vmap PyTorch has no backward pass of a batch norm of two types, as autocast makes it.
            return self._normalize(x.to(self.weight.dtype)).to(x.dtype)
        return noted_batch_norm(self._normalize, x, self.weight, self.bias)

    def _normalize(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        if x.numel() <= self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.keep_statistics:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(x, *statistics, self.weight, self.bias, True, momentum=0.0, eps=self.eps)
        return super().forward(x)

    def _synchronized(self, x: Tensor) -> Tensor:
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_full((1,), x.numel() // self.num_features)
        sums = _AllReduce.apply(torch.cat((values.sum((0, 2, 3)), count)))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centered = values - mean[:, None, None]
        note_normalized(centered, values, mean)
        variance = _AllReduce.apply(centered.square().sum((0, 2, 3))) / count
        _update_running_statistics(self, mean, variance, count)
        inverse_std = torch.rsqrt(variance + self.eps)
        scale = inverse_std * self.weight if self.affine else inverse_std
        y = centered * scale[:, None, None]
        if self.affine:
            y = y + self.bias[:, None, None]
        y = y.to(x.dtype)
        note_normalized(y, x, mean, inverse_std, self.weight, self.bias)
        return y


class LogitNorm(nn.Module):
    """Batch norm of the terms of the attention logits, each head on its own, as the factors it amounts to.

    A softmax ignores shifts, so that of a batch norm only the scale `weight / sqrt(var + eps)` remains;
    means and biases matter to the sigmoid alone. Gradients flow through the batch's variance. Statistics
    and factors are computed in float32 at least.

    Args:
        num_terms: terms of the logits: q·k and, where they exist, q·r^q and k·r^k.
        num_heads: attention heads.
        bias: whether the norms have biases (for the sigmoid).
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics.
        sync: whether the statistics are those of all processes of the default group, if there is one.

    Source: "Batch normalization" in section 3.2 of the paper: no 1/sqrt(d), norms on all logits instead.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_terms: int,
        num_heads: int,
        *,
        bias: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.1,
        sync: bool = False,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.sync = sync
        self.keep_statistics = False
        self.weight = nn.Parameter(torch.ones(num_terms, num_heads))
        self.bias = nn.Parameter(torch.zeros(num_terms, num_heads)) if bias else None
        self.register_buffer("running_mean", torch.zeros(num_terms, num_heads))
        self.register_buffer("running_var", torch.ones(num_terms, num_heads))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, moments: Callable[[], tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor | None]:
        """Return the factors of the terms and, with biases, the shift of their sum.

        Args:
            moments: gives the batch's mean and mean square of each term, and the number of logits that they
                are taken over; called in training alone.

        Returns:
            scale (num_terms, N) and shift (N,) or None.
        """
        return self._factors(*(self._statistics(moments) if self.training else self._running_statistics()))

    @torch.no_grad()
    def constants(self) -> tuple[Tensor, Tensor | None]:
        """Return scale (num_terms, N) and shift (N,) or None of the evaluation mode."""
        return self._factors(*self._running_statistics())

    def _factors(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor | None]:
        scale = self.weight.to(variance.dtype) * torch.rsqrt(variance + self.eps)
        if self.bias is None:
            return scale, None
        return scale, (self.bias - mean * scale).sum(0)

    def _statistics(self, moments: Callable[[], tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor]:
        mean, mean_of_squares, num_logits = moments()
        count = mean.new_tensor(float(num_logits))
        if self.sync and _several_processes():
            sums = torch.stack((mean, mean_of_squares, torch.ones_like(mean))) * count
            mean, mean_of_squares, counts = _AllReduce.apply(sums)
            mean, mean_of_squares, count = mean / counts, mean_of_squares / counts, counts[0, 0].detach()
        elif num_logits <= 1:
            return self._running_statistics()
        # Rounding can leave a difference just below zero.
        variance = (mean_of_squares - mean.square()).clamp_min(0.0)
        _update_running_statistics(self, mean, variance, count)
        return mean, variance

    def _running_statistics(self) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(self.running_var.dtype, torch.float32)
        return self.running_mean.to(dtype), self.running_var.to(dtype)

    def extra_repr(self) -> str:
        num_terms, num_heads = self.weight.shape
        return f"{num_terms}, {num_heads}, bias={self.bias is not None}, eps={self.eps}"


def convert_sync_batchnorm(model: nn.Module) -> nn.Module:
    """Make the batch norms of a model, those of its logits included, take statistics over all processes.

    Unlike PyTorch's conversion it covers `LogitNorm` and works on the CPU. Parameters and buffers are kept.

    Args:
        model: changed in place, except where it is a single `nn.BatchNorm2d` itself.

    Returns:
        the model.
    """
    if isinstance(model, BatchNorm2d | LogitNorm):
        model.sync = True
        return model
    if isinstance(model, nn.BatchNorm2d | nn.SyncBatchNorm):
        return _synchronized_copy(model)
    for name, child in model.named_children():
        setattr(model, name, convert_sync_batchnorm(child))
    return model


@contextmanager
def keep_running_statistics(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics of a model's norms as they are while it recomputes a forward pass."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d | LogitNorm)]
    for norm in norms:
        norm.keep_statistics = True
    try:
        yield
    finally:
        for norm in norms:
            norm.keep_statistics = False


def statistics_of_passes(
    model: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a first pass and of its recomputation, which must not count the batch twice."""
    return nullcontext(), keep_running_statistics(model)


def _synchronized_copy(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> BatchNorm2d:
    copy = BatchNorm2d(norm.num_features, norm.eps, norm.momentum, sync=True)
    copy.affine, copy.track_running_stats = norm.affine, norm.track_running_stats
    copy.weight, copy.bias = norm.weight, norm.bias
    copy.running_mean, copy.running_var = norm.running_mean, norm.running_var
    copy.num_batches_tracked = norm.num_batches_tracked
    return copy.train(norm.training)


def _update_running_statistics(
    norm: BatchNorm2d | LogitNorm, mean: Tensor, variance: Tensor, count: Tensor
) -> None:
    """Move the running statistics towards a batch's mean and unbiased variance, as PyTorch's norms do."""
    if norm.keep_statistics or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    # Unlike `torch.no_grad`, this is part of what `torch.jit.trace` makes.
    mean, variance = mean.detach(), variance.detach()
    norm.num_batches_tracked.add_(1)
    # Without a momentum PyTorch's batch norm keeps the plain average of all batches.
    new = 1.0 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    unbiased = variance * (count / (count - 1).clamp_min(1.0))
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), new)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), new)


def _several_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _AllReduce(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad
