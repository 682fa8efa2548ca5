"""Filling a network with those weights of another one that fit."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from axial_deeplab.util.text import shortened
from axial_deeplab.weights.file import read_weights, refuse_not_finite

# Relative tables end in these names; along this axis of theirs lie the distances.
AXIAL_TABLES = {f"rel_{what}": 0 for what in "qkv"}
SQUARE_TABLES = {f"rel_{what}.{side}": 1 for what in "qkv" for side in ("rows", "columns")}
RELATIVE_TABLES = AXIAL_TABLES | SQUARE_TABLES
# Tensors that a report names one by one.
MOST_NAMED = 4


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors that `load_matching` found; names of the model's tensors, but for `unused`.

    Args:
        loaded: copied as they are.
        resized: adapted to another number of input channels or to another length of a relative table.
        reinitialized: as `create_model` made them, for the file has none of this name and shape.
        unused: tensors of the file without a place in the model.
        shapes: by name of a tensor that the file has in another shape: (in the file, in the model).
    """

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    reinitialized: tuple[str, ...]
    unused: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        for what in ("resized", "reinitialized", "unused"):
            names: tuple[str, ...] = getattr(self, what)
            if what == "unused":  # a tensor of another shape is named once, as what it left uninitialized
                names = tuple(name for name in names if self._place(name) not in self.shapes)
            if names:
                lines.append(f"{len(names)} {what}: {self._describe(names)}")
        return "\n".join(lines)

    def _place(self, name: str) -> str:
        return name if name in self.shapes else f"backbone.{name}"

    def _describe(self, names: tuple[str, ...]) -> str:
        """Return a few names with their shapes, or how many tensors of which parts of the network."""
        if len(names) > MOST_NAMED:
            parts = Counter(_part(name) for name in names)
            return ", ".join(f"{number} of {part}" for part, number in parts.items())
        return ", ".join(
            f"{name} {' -> '.join('x'.join(map(str, shape)) for shape in self.shapes[name])}"
            if name in self.shapes
            else name
            for name in names
        )


def load_matching(model: nn.Module, source: Mapping[str, Tensor] | str | os.PathLike[str]) -> LoadReport:
    """Copy whatever fits into a model, to fine-tune it on other classes, image channels, spans, or another
    task.

    Tensors fit by name, where `backbone.` may be missing in the source, and where none fits, a prefix that
    scripts wrap networks in (`module.`, `model.`, `_orig_mod.`) may be too many. One of another shape is
    adapted if it is a relative table (its middle is taken, or its first and last rows are repeated, as the
    attention does with distances beyond the table) or a kernel that sees the image (repeated over the
    channels, and scaled so that its sum stays the same). Anything else keeps the values that it has.

    Args:
        model: the network to fill, in place.
        source: state dict, or file that `save_weights` or our training wrote.

    Returns:
        What became of each tensor.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is broken or has another format, a tensor is not finite, or no tensor fits.
    """
    if isinstance(source, Mapping):
        label, state = "state_dict", dict(source)
    else:
        label, (state, _) = str(source), read_weights(source)
    refuse_not_finite(label, state)
    targets = model.state_dict()
    state = _unwrapped(state, targets)
    image_channels = _image_channels(state), _image_channels(targets)
    loaded, resized, unused, shapes = [], [], [], {}
    for name, tensor in state.items():
        target_name = name if name in targets else f"backbone.{name}"
        if target_name not in targets:
            unused.append(name)
            continue
        target = targets[target_name]
        if tensor.shape == target.shape:
            loaded.append(target_name)
        else:
            shapes[target_name] = tuple(tensor.shape), tuple(target.shape)
            adapted = _adapted(target_name, tensor, target, image_channels)
            if adapted is None:
                unused.append(name)
                continue
            tensor = adapted
            resized.append(target_name)
        target.copy_(tensor)
    filled = {*loaded, *resized}
    if not any(targets[name].ndim > 1 for name in filled):
        raise ValueError(
            f"{label} must have tensors that fit the model, got none among {len(state)}, such as "
            f"{shortened(list(state), 2)}; choose weights of a related network"
        )
    reinitialized = tuple(name for name in targets if name not in filled)
    return LoadReport(tuple(loaded), tuple(resized), reinitialized, tuple(unused), shapes)


def _unwrapped(state: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefix behind which most of them fit, if none fits as it is."""

    def fits(name: str) -> bool:
        return name in targets or f"backbone.{name}" in targets

    prefixes: Counter[str] = Counter()
    if not any(fits(name) and tensor.ndim > 1 for name, tensor in state.items()):
        for name in state:
            ends = [place + 1 for place, letter in enumerate(name) if letter == "."]
            prefixes.update(name[:end] for end in ends if fits(name[end:]))
    # Of two that hold as much, such as a network and its average, nobody knows which is meant.
    (prefix, most), (_, next_most) = [*prefixes.most_common(2), ("", 0), ("", 0)][:2]
    return dict(state) if most == next_most else {k.removeprefix(prefix): v for k, v in state.items()}


def _image_channels(state: Mapping[str, Tensor]) -> torch.Size | None:
    """Return the channels of the image, as the first kernel sees them."""
    # Files have their tensors in any order, but the stem has few kernels, whose names are numbered.
    stem = {name: tensor for name, tensor in state.items() if tensor.ndim == 4 and "stem" in name.split(".")}
    return stem[min(stem)].shape[1:2] if stem else None


def _adapted(
    name: str, tensor: Tensor, target: Tensor, image_channels: tuple[torch.Size | None, torch.Size | None]
) -> Tensor | None:
    """Return a tensor of the target's shape, or None if there is no sense in adapting it.

    The channels of images are those in the file and in the model.
    """
    if tensor.ndim != target.ndim:
        return None
    differing = [axis for axis in range(target.ndim) if tensor.shape[axis] != target.shape[axis]]
    for ending, axis in RELATIVE_TABLES.items():
        if f".{name}".endswith(f".{ending}"):
            return _with_distances(tensor, target, axis) if differing == [axis] else None
    sees_image = "stem" in name.split(".") and (tensor.shape[1:2], target.shape[1:2]) == image_channels
    if sees_image and differing == [1]:
        old, new = tensor.shape[1], target.shape[1]
        if new == 1:
            return tensor.sum(dim=1, keepdim=True)
        return tensor[:, torch.arange(new) % old] * (old / new)
    return None


def _with_distances(table: Tensor, target: Tensor, axis: int) -> Tensor:
    """Return a relative table with as many distances as the target: row r of 2 s - 1 is r - (s - 1)."""
    old, new = table.shape[axis], target.shape[axis]
    distance = torch.arange(new) - new // 2
    return table.index_select(axis, (distance + old // 2).clamp(0, old - 1))


def _part(name: str) -> str:
    """Return the part of a network that a tensor belongs to, such as semantic_head or backbone.res3."""
    depth = 2 if name.startswith("backbone.") else 1
    return ".".join(name.split(".")[:depth])
