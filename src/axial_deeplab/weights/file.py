"""Files of weights: tensors together with all that is needed to build the network and name its classes.

A file of weights is a safetensors file whose metadata has `format` = "axial-deeplab" and, as JSON, `model`
(arguments of `create_model`), `categories` (as in a COCO panoptic file) and usually `post_processing`. A
Lightning checkpoint of our training holds the same under the key "axial_deeplab". Nothing that could execute
code is ever loaded.
"""

import json
import os
import pickle
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from axial_deeplab.models.registry import PRETRAINED_FOLDER, create_model
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.util.files import atomic_path
from axial_deeplab.weights import hub
from axial_deeplab.weights.public import local_weights, public_weights

FORMAT = "axial-deeplab"
# Relative tables end in these names; along this axis of theirs lie the distances.
AXIAL_TABLES = {f"rel_{what}": 0 for what in "qkv"}
SQUARE_TABLES = {f"rel_{what}.{side}": 1 for what in "qkv" for side in ("rows", "columns")}
RELATIVE_TABLES = AXIAL_TABLES | SQUARE_TABLES
# Tensors that a report names one by one.
MOST_NAMED = 4
_HALF_MAX = torch.finfo(torch.float16).max
_ZIP_MAGIC = b"PK"


@dataclass(frozen=True)
class LoadedWeights:
    """A network with its weights.

    Args:
        model: network in evaluation mode, on the CPU.
        categories: what its classes are.
        metadata: everything that the file says: `model`, `categories`, `post_processing` and more.
    """

    model: nn.Module
    categories: Categories
    metadata: dict[str, Any]

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write a folder as the Hugging Face Hub has it; see `hub.save_pretrained`."""
        hub.save_pretrained(self, folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload to the Hugging Face Hub; see `hub.push_to_hub`."""
        return hub.push_to_hub(self, repository, **options)


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors that `load_matching` found; names of the model's tensors, but for `unused`.

    Args:
        loaded: copied as they are.
        resized: adapted to another number of input channels or to another length of a relative table.
        reinitialized: as `create_model` made them, for the file has none of this name and shape.
        unused: tensors of the file without a place in the model.
        shapes: shapes (in the file, in the model) of each tensor where they differ.
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


def pretrained_names() -> list[str]:
    """Return the names of the weights that ship in the package, in alphabetical order."""
    return sorted(path.stem for path in PRETRAINED_FOLDER.glob("*.safetensors"))


def names_of_weights(network: str) -> list[str]:
    """Return the names of all shipped and public weights of a network, the shipped ones first."""
    shipped = {name: shipped_metadata(name)["model"]["name"] for name in pretrained_names()}
    public = {name: weights.network for name, weights in public_weights().items()}
    return [name for name, its_network in {**shipped, **public}.items() if its_network == network]


def shipped_metadata(name: str) -> dict[str, Any]:
    """Return what the file of shipped weights says, without reading its tensors."""
    path = PRETRAINED_FOLDER / f"{name}.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        return _parse_metadata(path, file.metadata() or {})


def save_weights(
    path: str | os.PathLike[str],
    model: nn.Module,
    categories: Categories,
    *,
    half: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights of a model, with what is needed to build it again.

    Args:
        path: the file, usually `*.safetensors`.
        model: made by `create_model`.
        categories: what its classes are, in the order of its semantic channels.
        half: store matrices and kernels in half precision (relative error 5e-4, half the size); norms and
            biases keep theirs.
        extra: further entries of the metadata that JSON can hold, such as `post_processing`.

    Raises:
        ValueError: a tensor is not finite, or the model was not made by `create_model`, or is a fused copy.
        OSError: the file cannot be written.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, Mapping) or "name" not in config:
        raise ValueError(
            f"model must be made by create_model, got {type(model).__name__} without config; build it by name"
        )
    if getattr(model, "is_fused", False):
        raise ValueError("model must have its norms, got a fused copy; save the network that was fused")
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    _refuse_not_finite("model", state)
    if half:
        state = {name: halved(tensor) for name, tensor in state.items()}
    metadata = {**(extra or {}), "model": dict(config), "categories": categories.to_json()}
    texts = {name: json.dumps(value) for name, value in metadata.items()} | {"format": FORMAT}
    # Clones, for the format refuses tensors that share memory.
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(state, temporary, metadata=texts)


def load_weights(path_or_name: str | os.PathLike[str]) -> LoadedWeights:
    """Build a network with the weights of a file, or with weights that ship in the package.

    Args:
        path_or_name: a file that `save_weights` wrote, a checkpoint of our training (`*.ckpt`), or one of
            `pretrained_names()`, or a name of public weights, which is downloaded at its first use.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name.
        OSError: public weights cannot be downloaded.
        ValueError: the file has another format, is broken, or its tensors are not those of its network.
    """
    source, state, metadata = _read(path_or_name)
    categories = Categories.from_json(metadata.get("categories"), source=f"{source}: categories")
    model = _build(source, metadata)
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    misshaped = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    problems = [
        f"{len(names)} {what}: {_shortened(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if names
    ]
    if problems:
        raise ValueError(
            f"{source} must hold the tensors of {model.config['name']}, got {'; '.join(problems)}; "
            "are these weights of another model?"
        )
    _refuse_not_finite(source, state)
    num_classes = model.config.get("num_classes")
    if num_classes != len(categories):
        raise ValueError(
            f"{source} must have one category for each of its {num_classes} classes, got {len(categories)}; "
            "write it again"
        )
    model.load_state_dict(state)
    return LoadedWeights(model.eval(), categories, metadata)


def load_matching(model: nn.Module, source: Mapping[str, Tensor] | str | os.PathLike[str]) -> LoadReport:
    """Copy whatever fits into a model, to fine-tune it on other classes, image channels, spans, or another
    task.

    Tensors fit by name, where `backbone.` may be missing in the source. One of another shape is adapted if it
    is a relative table (its middle is taken, or its first and last rows are repeated, as the attention does
    with distances beyond the table) or a kernel that sees the image (repeated over the channels, and scaled
    so that its sum stays the same). Anything else keeps the values that it has.

    Args:
        model: the network to fill, in place.
        source: a state dict, or what `load_weights` accepts.

    Returns:
        What became of each tensor.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name.
        ValueError: the file is broken or has another format, a tensor is not finite, or no tensor fits.
    """
    if isinstance(source, Mapping):
        label, state = "state_dict", dict(source)
    else:
        label, state, _ = _read(source)
    _refuse_not_finite(label, state)
    targets = model.state_dict()
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
            f"{label} must have tensors that fit the model, got none among {len(state)}; "
            "choose weights of a related network"
        )
    reinitialized = tuple(name for name in targets if name not in filled)
    return LoadReport(tuple(loaded), tuple(resized), reinitialized, tuple(unused), shapes)


def _read(path_or_name: str | os.PathLike[str]) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Return a name for messages, the tensors and the metadata."""
    path = Path(path_or_name)
    if not path.exists():
        path = _named_weights(str(path_or_name)) or path
    if not path.is_file():
        raise FileNotFoundError(
            f"weights must be a file or a name of `axial-deeplab weights list`, got {path_or_name}; "
            "correct the path or the name"
        )
    with path.open("rb") as file:
        magic = file.read(2)
    state, metadata = _read_checkpoint(path) if magic == _ZIP_MAGIC else _read_safetensors(path)
    if not isinstance(metadata.get("model"), Mapping) or not isinstance(metadata["model"].get("name"), str):
        raise ValueError(
            f"{path}: model must name a network and its arguments, got {metadata.get('model')!r}; "
            "write the file again"
        )
    return str(path), state, metadata


def _named_weights(name: str) -> Path | None:
    """Return the file of shipped or public weights, downloaded if need be; None for other names."""
    if name in pretrained_names():
        return PRETRAINED_FOLDER / f"{name}.safetensors"
    if name in public_weights():
        return local_weights(name, progress=sys.stderr.isatty())
    return None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} must be a safetensors file or a checkpoint of our training, got: {error}; "
            "give a file that `axial-deeplab train` wrote"
        ) from None
    return state, _parse_metadata(path, texts)


def _parse_metadata(path: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    if texts.get("format") != FORMAT:
        raise ValueError(
            f"{path} must have the format {FORMAT} in its metadata, got {texts.get('format')!r}; "
            "write it with axial_deeplab.save_weights"
        )
    metadata = {}
    for name, text in texts.items():
        if name == "format":
            continue
        try:
            metadata[name] = json.loads(text)
        except ValueError:
            raise ValueError(
                f"{path}: {name} must be JSON, got {text[:40]!r}; write the file again"
            ) from None
    return metadata


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        # Of a path, torch.load would believe the suffix rather than the content.
        with path.open("rb") as file:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} must hold tensors and plain values only, got other Python objects; "
            "such a file can run code, give one that `axial-deeplab train` wrote"
        ) from None
    except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} must be a complete checkpoint, got: {reason}; give another file") from None
    metadata = checkpoint.get("axial_deeplab") if isinstance(checkpoint, dict) else None
    if not isinstance(metadata, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(
            f"{path} must have the entries state_dict and axial_deeplab, got another checkpoint; "
            "give one that `axial-deeplab train` wrote"
        )
    # Where a training averages its weights, it is their average that it validates.
    averaged = any(name.startswith("average.") for name in checkpoint["state_dict"])
    prefix = "average." if averaged else "model."
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(prefix) and isinstance(tensor, Tensor)
    }
    return state, metadata


def _build(source: str, metadata: Mapping[str, Any]) -> Any:
    try:
        # The initial values are overwritten: the caller's random numbers should not depend on them.
        with torch.random.fork_rng(devices=[]):
            return create_model(**metadata["model"])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{source}: model must be arguments of create_model, got an error: {error}"
        ) from None


def _refuse_not_finite(source: str, state: Mapping[str, Tensor]) -> None:
    bad = [name for name, t in state.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        raise ValueError(
            f"{source} must have finite weights, got NaN or infinity in {_shortened(bad)}; "
            "the training diverged, start again with a lower learning rate"
        )


def halved(tensor: Tensor) -> Tensor:
    """Return a matrix or kernel in half precision; any other tensor, or one out of its range, as it is."""
    fits = (
        tensor.is_floating_point()
        and tensor.ndim >= 2
        and tensor.numel()
        and float(tensor.abs().amax()) <= _HALF_MAX
    )
    return tensor.half() if fits else tensor


def _image_channels(state: Mapping[str, Tensor]) -> torch.Size | None:
    """Return the channels of the image, as the first kernel sees them."""
    return next((tensor.shape[1:2] for tensor in state.values() if tensor.ndim == 4), None)


def _adapted(
    name: str, tensor: Tensor, target: Tensor, image_channels: tuple[torch.Size | None, torch.Size | None]
) -> Tensor | None:
    """Return a tensor of the target's shape, or None if there is no sense in adapting it.

    Args:
        name: name of the target.
        tensor: tensor of the file.
        target: tensor of the model.
        image_channels: channels of an image for the file and for the model.
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


def _shortened(names: Sequence[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
