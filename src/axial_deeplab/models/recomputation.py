"""Training with less memory: normalized maps are computed again in the backward pass instead of being kept.

A batch norm needs its input in the backward pass. What follows from that by a multiplication and an addition
for each number (the normalized map, the sum of two of them, its ReLU) would be kept once more for the
convolution or the attention that comes next. Inside `recompute_normalized` such maps are noted with their
recipes, and autograd keeps the recipe instead of the map.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from axial_deeplab.ops.dispatch import is_transformed


class Term(NamedTuple):
    """A map (B, C, H, W), a factor (C,) for each channel, and what is then added to it, (C,)."""

    x: Tensor
    scale: Tensor
    shift: Tensor


class Recipe:
    """How a map follows from others: it is a sum of terms, perhaps with ReLU.

    The steps are those of the forward pass, so that hardly a bit of the result differs.

    Args:
        like: the map itself, which is not kept.
        terms: what it is the sum of.
        relu: whether ReLU follows.
    """

    def __init__(self, like: Tensor, terms: tuple[Term, ...], relu: bool = False) -> None:
        self.terms = terms
        self.relu = relu
        self._size, self._stride = like.size(), like.stride()
        self._dtype, self._device = like.dtype, like.device
        self._num_uses = 0
        self._num_used = 0
        self._result: Tensor | None = None

    def add_use(self) -> None:
        """Announce one more call of `use` in each backward pass."""
        self._num_uses += 1

    def use(self) -> Tensor:
        """Return the map: computed at the first use, given up at the last one."""
        result = self._compute() if self._result is None else self._result
        self._num_used = (self._num_used + 1) % self._num_uses
        self._result = result if self._num_used else None
        return result

    @torch.no_grad()
    def _compute(self) -> Tensor:
        result, *others = (self._normalized(*term) for term in self.terms)
        for other in others:
            result += other
        return result.relu_() if self.relu else result

    def _normalized(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        result = torch.empty_strided(self._size, self._stride, dtype=self._dtype, device=self._device)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None], out=result)


def recompute_normalized(wanted: bool = True) -> AbstractContextManager[None]:
    """Return a context in which autograd keeps recipes of normalized maps instead of the maps.

    Values stay the same, gradients too, but for rounding. The context does nothing where autograd saves
    nothing, where a compiler plans the memory itself, and where others decide what is saved (activation
    checkpointing, offloading, `torch.func`). Maps that have recipes are the outputs of
    `models.norm.BatchNorm2d`, and those of `add`, `relu` and `ReLU` for such maps; one that is then changed
    in place has none.
    """
    if (
        not wanted
        or not torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or is_transformed()
        or not _may_hook()
    ):
        return nullcontext()
    return _record()


def noted_batch_norm(
    normalize: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Return PyTorch's batch norm of x and note it.

    Shapes: x and the result (B, C, H, W); weight, bias (C,).
    """
    recording = _recording()
    if recording is None:
        return normalize(x)
    recording.last = None
    y = normalize(x)
    # Nobody but autograd has the statistics of the batch; what the hooks of others keep is theirs.
    node: Any = y.grad_fn
    if recording.last is not None and hasattr(node, "_saved_training"):
        if node._saved_training:
            mean, inverse_std = node._saved_result1, node._saved_result2
        else:
            mean = node._saved_running_mean
            inverse_std = torch.rsqrt(node._saved_running_var + node._saved_eps)
        note_normalized(y, x, mean, inverse_std, weight, bias)
    return y


@torch.no_grad()
def note_normalized(
    y: Tensor,
    x: Tensor,
    mean: Tensor,
    inverse_std: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> None:
    """Note that y is (x - mean) * inverse_std * weight + bias, without what is None.

    Shapes: x, y (B, C, H, W); the others (C,).
    """
    recording = _recording()
    if recording is None:
        return
    scale = torch.ones_like(mean) if inverse_std is None else inverse_std
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    recording.note(y, Recipe(y, (Term(x.detach(), scale, shift),)))


def add(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of two maps of one shape, which has a recipe if both have one."""
    recording = _recording()
    ours, theirs = (None, None) if recording is None else (recording.find(x), recording.find(y))
    if recording is None or ours is None or theirs is None or ours.relu or theirs.relu:
        return x + y
    # In place: no batch norm needs its output.
    x += y
    recording.note(x, Recipe(x, ours.terms + theirs.terms))
    return x


def relu(x: Tensor, *, inplace: bool = False) -> Tensor:
    """Return ReLU of a map, which has a recipe if the map has one."""
    recording = _recording()
    recipe = None if recording is None else recording.find(x)
    y = F.relu(x, inplace=inplace)
    if recording is not None and recipe is not None:
        recording.note(y, Recipe(y, recipe.terms, relu=True))
    return y


class ReLU(nn.ReLU):
    """PyTorch's layer, whose output has a recipe if its input has one."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x, inplace=self.inplace)


class _Saved:
    """What autograd keeps in place of a tensor: the tensor, or the recipe of the map that it is a part of."""

    def __init__(self, x: Tensor) -> None:
        # Detached: an operation that keeps its own result would keep itself, and never be freed.
        self.x: Tensor | None = x.detach()
        self._version = x._version

    def replace(self, recipe: Recipe) -> None:
        assert self.x is not None
        recipe.add_use()
        self._recipe = recipe
        self._place = self.x.size(), self.x.stride(), self.x.storage_offset()
        self.x = None

    def get(self) -> Tensor:
        if self.x is None:
            return self._recipe.use().as_strided(*self._place)
        # PyTorch's own check does not reach what hooks keep.
        if self.x._version != self._version:
            raise RuntimeError(
                "tensors that the backward pass needs must not be changed in place, got a change of one of "
                f"shape {tuple(self.x.shape)} since then; change a copy, or after the backward pass"
            )
        return self.x


class _Note(NamedTuple):
    """A map, as long as it is in use, and its recipe, as long as the map does not change."""

    map: weakref.ref[Tensor]
    version: int
    recipe: Recipe


class _Recording:
    """The maps that have recipes, and what autograd saved last."""

    def __init__(self) -> None:
        self._notes: dict[int, _Note] = {}
        self.last: _Saved | None = None

    def save(self, x: Tensor) -> _Saved:
        saved = self.last = _Saved(x)
        recipe = self.find(x)
        if recipe is not None:
            saved.replace(recipe)
        return saved

    def note(self, y: Tensor, recipe: Recipe) -> None:
        address = _address(y)
        if address == 0 or y.storage_offset() > 0:
            return  # it is empty, on the meta device, or a part
        self._notes[address] = _Note(weakref.ref(y), y._version, recipe)
        # ReLU saves its result before anybody can note that.
        last = self.last
        if last is not None and last.x is not None and _address(last.x) == address:
            last.replace(recipe)

    def find(self, x: Tensor) -> Recipe | None:
        """Return the recipe of the map whose memory a tensor shares."""
        note = self._notes.get(_address(x))
        y = None if note is None else note.map()
        if note is None or y is None or y._version != note.version or y.dtype != x.dtype:
            return None
        return note.recipe

    def forget(self) -> None:
        # Autograd keeps the hooks, and with them this.
        self._notes.clear()
        self.last = None


_this_thread = threading.local()


@contextmanager
def _record() -> Iterator[None]:
    recording = _this_thread.recording = _Recording()
    try:
        with saved_tensors_hooks(recording.save, _Saved.get):
            yield
    finally:
        _this_thread.recording = None
        recording.forget()


def _recording() -> _Recording | None:
    return None if torch.compiler.is_compiling() else getattr(_this_thread, "recording", None)


def _address(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _may_hook() -> bool:
    """Return whether nobody has hooks on what autograd saves, nor forbids them."""
    try:
        with saved_tensors_hooks(_unchanged, _unchanged):
            pass
        # A tensor that has hooks refuses others.
        node: Any = torch.zeros(1, requires_grad=True).exp().grad_fn
        node._raw_saved_result.register_hooks(_unchanged, _unchanged)
    except RuntimeError:
        return False
    return True


def _unchanged(x: Tensor) -> Tensor:
    return x
