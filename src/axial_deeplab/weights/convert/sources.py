"""Opening the weights of another project: which project's they are, and their tensors by name."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from axial_deeplab.util.files import opened
from axial_deeplab.util.text import shortened
from axial_deeplab.weights.convert import first_author, torchvision
from axial_deeplab.weights.convert.tensorflow_checkpoint import TensorFlowCheckpoint, is_checkpoint
from axial_deeplab.weights.file import read_pickle

Project = Literal["deeplab2", "first_author", "torchvision"]

# What a TensorFlow checkpoint holds beside the weights: counters, optimizers and their slots, Python objects.
BOOKKEEPING = re.compile(
    r"^(save_counter|global_step|_CHECKPOINTABLE_OBJECT_GRAPH)$|^(backbone_)?optimizer/|/\.OPTIMIZER_SLOT/"
)
# Where training scripts put the weights that people mean; the others follow in the order of the file.
_USUAL_ENTRIES = ("", "net", "state_dict", "model")
# Deeper in a checkpoint lie the states of optimizers.
_DEEPEST_ENTRY = 3
_FIRST_BYTES_OF_PICKLES = (b"PK", b"\x80\x02")


@dataclass(frozen=True)
class WeightsSource:
    """Weights of another project.

    Args:
        path: the file, or the prefix of a TensorFlow checkpoint.
        project: whose names the tensors have.
        shapes: shapes of all tensors that are weights, by name.
        bookkeeping: names of what else is there: steps, optimizers and their slots.
        read: returns a tensor by its name.
        entry: where in the file they lie, such as "model" or "state_dict.backbone"; "" for the file itself.
        others: entries with further weights, which are left out.
    """

    path: Path
    project: Project
    shapes: Mapping[str, tuple[int, ...]]
    bookkeeping: tuple[str, ...]
    read: Callable[[str], Tensor]
    entry: str = ""
    others: tuple[str, ...] = ()


class _Found(NamedTuple):
    """Tensors of a known project, their names without a prefix, and what else lies beside them."""

    project: Project
    entry: str
    state: dict[str, Tensor]


def open_source(path: str | os.PathLike[str], entry: str | None = None) -> WeightsSource:
    """Open the weights of another project; nothing of what a file holds is executed.

    Args:
        path: a TensorFlow checkpoint of deeplab2 (its prefix, one of its files, or its folder), or a file of
            PyTorch (`*.pth`) or safetensors.
        entry: which weights of a file that has several, such as "model_ema"; None takes the usual ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds Python objects, is none of the known projects', or has no such
            entry.
    """
    path = Path(path)
    if is_checkpoint(path):
        return _open_deeplab2(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"source must be a file or the prefix of a TensorFlow checkpoint, got {path}; correct the path"
        )
    sets = dict(_sets_of_tensors(_read_file(path)))
    if not sets:
        raise ValueError(f"{path} must hold tensors by their names, got other values; give a state dict")
    found = {each.entry: each for name, tensors in sets.items() for each in _known(name, tensors)}
    if not found:
        some = shortened(list(next(iter(sets.values()))), 3)
        raise ValueError(
            f"{path} must hold an Axial-ResNet of csrhddlam/axial-deeplab or a ResNet with bottleneck blocks "
            f"in torchvision's naming, behind any prefix, got tensors such as {some}; other architectures "
            "cannot be converted"
        )
    if entry is None:
        entry = next((name for name in _USUAL_ENTRIES if name in found), next(iter(found)))
    if entry not in found:
        raise ValueError(f"entry must be one of {', '.join(found)} in {path}, got {entry}; choose one")
    project, _, state = found[entry]
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    others = tuple(name for name in found if name != entry)
    return WeightsSource(path, project, shapes, (), state.__getitem__, entry, others)


def _open_deeplab2(path: Path) -> WeightsSource:
    checkpoint = TensorFlowCheckpoint(path)
    bookkeeping = tuple(name for name in checkpoint.variables if BOOKKEEPING.search(name))
    # The trainers of the TensorFlow Model Garden save the encoder inside another object.
    real_names = {
        re.sub(r"^backbone/_encoder/", "encoder/", name): name
        for name in checkpoint.variables
        if name not in bookkeeping
    }
    if not any(name.startswith("encoder/_") for name in real_names):
        some = shortened(list(real_names), 3) or "none"
        raise ValueError(
            f"{checkpoint.index_path} must be a checkpoint of deeplab2, got variables such as {some}; "
            "other architectures cannot be converted"
        )
    shapes = {name: checkpoint.variables[real].shape for name, real in real_names.items()}
    return WeightsSource(
        checkpoint.prefix, "deeplab2", shapes, bookkeeping, lambda name: checkpoint.read(real_names[name])
    )


def _read_file(path: Path) -> Any:
    with opened(path) as file:
        is_pickle = file.read(2) in _FIRST_BYTES_OF_PICKLES
    if is_pickle:
        return read_pickle(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} must be a TensorFlow checkpoint, a file of PyTorch or of safetensors, got: {error}; "
            "copy it again"
        ) from None


def _sets_of_tensors(
    content: Any, entry: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors of each dictionary in a checkpoint, by their names, behind the path of its keys."""
    if not isinstance(content, Mapping) or depth > _DEEPEST_ENTRY:
        return
    # Parameters are tensors, too; those on the device meta have no numbers.
    tensors = {
        str(name): value.detach()
        for name, value in content.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    }
    if tensors:
        yield entry, tensors
    for name, value in content.items():
        if isinstance(name, str):
            yield from _sets_of_tensors(value, f"{entry}.{name}".removeprefix("."), depth + 1)


def _known(entry: str, tensors: Mapping[str, Tensor]) -> Iterator[_Found]:
    """Yield the networks of known projects among tensors, whose names may share a prefix.

    Scripts wrap networks (`module.`, `model.`, `_orig_mod.`, `backbone.`, `encoder_q.`). Tensors without the
    prefix stay, with their whole names: what has no place in the network is told.
    """
    found: dict[str, Project] = {}
    projects: list[tuple[Project, Callable[[Collection[str]], bool], str]] = [
        ("first_author", first_author.is_first_author, first_author.MARK),
        ("torchvision", torchvision.is_torchvision, torchvision.MARK),
    ]
    for project, is_its, mark in projects:
        for name in tensors:
            prefix = name.removesuffix(mark)
            if prefix != name and (not prefix or prefix.endswith(".")):
                behind = {key.removeprefix(prefix) for key in tensors if key.startswith(prefix)}
                if is_its(behind):
                    found[prefix] = project
    for prefix, project in found.items():
        strangers = tuple(other for other in found if other != prefix and not prefix.startswith(other))
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if not (strangers and name.startswith(strangers))
        }
        yield _Found(project, f"{entry}.{prefix}".strip("."), state)
