"""Opening the weights of another project: which project's they are, and their tensors by name."""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from axial_deeplab.weights.convert import first_author, torchvision
from axial_deeplab.weights.convert.tensorflow_checkpoint import TensorFlowCheckpoint, is_checkpoint

Project = Literal["deeplab2", "first_author", "torchvision"]

# What a TensorFlow checkpoint holds beside the weights: counters, optimizers and their slots, Python objects.
BOOKKEEPING = re.compile(
    r"^(save_counter|global_step|_CHECKPOINTABLE_OBJECT_GRAPH)$|^(backbone_)?optimizer/|/\.OPTIMIZER_SLOT/"
)
# Where training scripts put the state dict.
_WRAPPERS = ("net", "state_dict", "model")
_FIRST_BYTES_OF_PICKLES = (b"PK", b"\x80\x02")


@dataclass(frozen=True)
class WeightsSource:
    """Weights of another project.

    Args:
        path: the file, or the prefix of a TensorFlow checkpoint.
        project: whose names the tensors have.
        names: names of all tensors that are weights.
        bookkeeping: names of what else is there: steps, optimizers and their slots.
        read: returns a tensor by its name.
        state: the tensors, but for TensorFlow checkpoints, which are read one by one.
    """

    path: Path
    project: Project
    names: tuple[str, ...]
    bookkeeping: tuple[str, ...]
    read: Callable[[str], Tensor]
    state: Mapping[str, Tensor]


def open_source(path: str | os.PathLike[str]) -> WeightsSource:
    """Open the weights of another project; nothing of what a file holds is executed.

    Args:
        path: a TensorFlow checkpoint of deeplab2 (its prefix, one of its files, or its folder), or a file of
            PyTorch (`*.pth`) or safetensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds Python objects, or is none of the known projects'.
    """
    path = Path(path)
    if is_checkpoint(path):
        return _open_deeplab2(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"source must be a file or the prefix of a TensorFlow checkpoint, got {path}; correct the path"
        )
    state = _read_state_dict(path)
    if first_author.is_first_author(state):
        project: Project = "first_author"
    elif torchvision.is_torchvision(state):
        project = "torchvision"
    else:
        some = ", ".join(list(state)[:3]) or "none"
        raise ValueError(
            f"{path} must hold an Axial-ResNet of csrhddlam/axial-deeplab or a ResNet in torchvision's "
            f"naming, got tensors such as {some}; other architectures cannot be converted"
        )
    return WeightsSource(path, project, tuple(state), (), state.__getitem__, state)


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
        some = ", ".join(list(real_names)[:3]) or "none"
        raise ValueError(
            f"{checkpoint.index_path} must be a checkpoint of deeplab2, got variables such as {some}; "
            "other architectures cannot be converted"
        )
    return WeightsSource(
        checkpoint.prefix,
        "deeplab2",
        tuple(real_names),
        bookkeeping,
        lambda name: checkpoint.read(real_names[name]),
        {},
    )


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        is_pickle = file.read(2) in _FIRST_BYTES_OF_PICKLES
    content = _read_pickle(path) if is_pickle else _read_safetensors(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} must hold tensors by their names, got other values; give a state dict")
    # DistributedDataParallel puts a prefix before all names.
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _read_pickle(path: Path) -> Any:
    try:
        # Of a path, torch.load would believe the suffix rather than the content.
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} must hold tensors and plain values only, got other Python objects; "
            "such a file can run code, and nothing of it was run"
        ) from None
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} must be a complete file of PyTorch, got: {reason}; copy it again") from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} must be a TensorFlow checkpoint, a file of PyTorch or of safetensors, got: {error}; "
            "copy it again"
        ) from None
