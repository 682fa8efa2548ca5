"""Files of weights: tensors together with all that is needed to build the network and name its classes.

A file of weights is a safetensors file whose metadata has `format` = "axial-deeplab" and, as JSON, `model`
(arguments of `create_model`), `categories` (as in a COCO panoptic file) and usually `post_processing`. A
Lightning checkpoint of our training holds the same under the key "axial_deeplab". Nothing that could execute
code is ever loaded.
"""

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.util.files import atomic_path, opened
from axial_deeplab.util.text import one_line, shortened
from axial_deeplab.weights.metadata import check_metadata, network_at_most

FORMAT = "axial-deeplab"
_HALF_MAX = torch.finfo(torch.float16).max
_ZIP_MAGIC = b"PK"
# What tells a program of PyTorch from other archives: what saved it, and where its tensors are.
_PROGRAMS = {
    "constants.pkl": ("torch.jit", "state_dict()"),
    "archive_format": ("torch.export", "state_dict"),
}
# A network may have more than its file, which is then told by name; but not gigabytes more.
_SPARE_NUMBERS, _SPARE_TENSORS = 2**24, 2**12


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
        model: made by `create_model`, perhaps compiled.
        categories: what its classes are, in the order of its semantic channels.
        half: store matrices and kernels in half precision (relative error 5e-4, half the size); norms and
            biases keep theirs.
        extra: further entries of the metadata that JSON can hold, such as `post_processing`.

    Raises:
        ValueError: a tensor is not finite or on the device meta, or the model was not made by `create_model`,
            is a folded copy, or has other tensors or classes than a network that is built again would have.
        OSError: the file cannot be written.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, Mapping) or "name" not in config:
        is_wrapper = isinstance(getattr(model, "module", None), nn.Module)  # AveragedModel, DataParallel, ...
        mend = "give the network in it, its .module" if is_wrapper else "build it by name"
        raise ValueError(
            f"model must be made by create_model, got {type(model).__name__} without config; {mend}"
        )
    if getattr(model, "is_fused", False):
        raise ValueError("model must have its norms, got a folded copy; save the network that was folded")
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise ValueError(
            "model must hold numbers, got tensors on the device meta; load weights into it with assign=True"
        )
    # In front of the names within what `torch.compile` returned stands what it keeps the module as.
    state = {
        name.replace("_orig_mod.", ""): tensor.detach().cpu() for name, tensor in model.state_dict().items()
    }
    _refuse_what_is_not_built_again(config, state, categories)
    refuse_not_finite("model", state)
    if half:
        state = {name: halved(tensor) for name, tensor in state.items()}
    metadata = {**(extra or {}), "model": dict(config), "categories": categories.to_json()}
    texts = {name: json.dumps(value) for name, value in metadata.items()} | {"format": FORMAT}
    # Clones, for the format refuses tensors that share memory.
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(state, temporary, metadata=texts)
        _sort_metadata(temporary)


def _refuse_what_is_not_built_again(
    config: Mapping[str, Any], state: Mapping[str, Tensor], categories: Categories
) -> None:
    with torch.device("meta"):
        network = create_model(**config)
    problems = _other_tensors(network.state_dict(), state)
    if problems:
        raise ValueError(
            f"model must have the tensors of {config['name']}, got {problems}; undo what has changed its "
            "layers, such as torch.nn.utils.parametrize.remove_parametrizations"
        )
    num_classes = config.get("num_classes")
    if num_classes != len(categories):
        raise ValueError(
            f"categories must be one for each of the {num_classes} classes of the model, "
            f"got {len(categories)}; name its classes in their order"
        )


def _other_tensors(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say in what the tensors are not those expected; empty if they are."""
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    misshaped = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    return "; ".join(
        f"{len(names)} {what}: {shortened(names, 3)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if names
    )


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a file in order, which the library writes in another one each time."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= size
        file.seek(8)
        file.write(text.ljust(size))


def read_network(path: str | os.PathLike[str]) -> tuple[nn.Module, Categories, dict[str, Any]]:
    """Build a network with the weights of a file.

    Args:
        path: file that `save_weights` wrote, or a checkpoint of our training (`*.ckpt`).

    Returns:
        The network in evaluation mode, what its classes are, and all metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another format, is broken, or its tensors are not those of its network.
    """
    source = str(path)
    state, metadata = read_weights(path)
    categories = Categories.from_json(metadata.get("categories"), source=f"{source}: categories")
    model = _build(source, metadata, state)
    problems = _other_tensors(model.state_dict(), state)
    if problems:
        raise ValueError(
            f"{source} must hold the tensors of {model.config['name']}, got {problems}; "
            "are these weights of another model?"
        )
    refuse_not_finite(source, state)
    num_classes = model.config.get("num_classes")
    if num_classes != len(categories):
        raise ValueError(
            f"{source} must have one category for each of its {num_classes} classes, got {len(categories)}; "
            "write it again"
        )
    model.load_state_dict(state)
    return model.eval(), categories, metadata


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file that `read_network` accepts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another format or is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"weights must be a file or a name of `axial-deeplab weights list`, got {path}; "
            "correct the path or the name"
        )
    with opened(path) as file:
        magic = file.read(2)
    state, metadata = _read_checkpoint(path) if magic == _ZIP_MAGIC else _read_safetensors(path)
    check_metadata(str(path), metadata)
    return state, metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file of ours, without reading its tensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        return _parse_metadata(path, file.metadata() or {})


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
        except (ValueError, RecursionError):
            raise ValueError(
                f"{path}: {name} must be JSON, got {text[:40]!r}; write the file again"
            ) from None
    return metadata


def read_pickle(path: Path) -> Any:
    """Return the tensors and plain values of a file that `torch.save` wrote, on the CPU; run nothing of it.

    Raises:
        ValueError: the file is damaged, or holds other Python objects or a program.
    """
    _refuse_program(path)
    try:
        # Of a path, torch.load would believe the suffix rather than the content.
        with path.open("rb") as file, torch.serialization.safe_globals(_plain_types()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} must hold tensors and plain values only, got {_other_objects(path)}; such a file can "
            f"run code: if you trust it, save its tensors alone, torch.save(torch.load('{path.name}', "
            "weights_only=False)['state_dict'], 'tensors.pth') in Python, or whatever their key is"
        ) from None
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} must be a complete checkpoint, got: {reason}; copy it again") from None


def _refuse_program(path: Path) -> None:
    """Refuse what `torch.jit` or `torch.export` saved: PyTorch advises to load it without its guard."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except Exception:  # no such archive, or a damaged one
        return
    for member, (kind, tensors) in _PROGRAMS.items():
        if member in members:
            raise ValueError(
                f"{path} must hold tensors and plain values only, got a program of {kind}; such a file can "
                "run code: if you trust it, save its tensors alone, "
                f"torch.save({kind}.load('{path.name}').{tensors}, 'tensors.pth') in Python"
            )


@cache
def _plain_types() -> list[Any]:
    """Return what NumPy's numbers are pickled as: they are plain values, too, and run nothing."""
    dtypes = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    restore = np.float64(0).__reduce__()[0]
    # NumPy 1 has the function under the second name.
    names = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
    return [np.dtype, *dtypes, *((restore, name) for name in names)]


def _other_objects(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # files of old versions of PyTorch, damaged ones
        names = []
    return shortened(names, 3) if names else "other Python objects"


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    checkpoint = read_pickle(path)
    metadata = checkpoint.get("axial_deeplab") if isinstance(checkpoint, dict) else None
    if not isinstance(metadata, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(
            f"{path} must have the entries state_dict and axial_deeplab, got another checkpoint; "
            "give one that `axial-deeplab train` wrote; or load it into create_model(NAME) by "
            "axial_deeplab.weights.matching.load_matching, and write that by axial_deeplab.save_weights"
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


def _build(source: str, metadata: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    most_numbers = _SPARE_NUMBERS + 4 * sum(tensor.numel() for tensor in state.values())
    try:
        # The initial values are overwritten: the caller's random numbers should not depend on them.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with network_at_most(most_numbers, _SPARE_TENSORS + 4 * len(state)):
                return create_model(**metadata["model"])
    except Exception as error:  # arguments of wrong types fail anywhere
        raise ValueError(
            f"{source}: model must be arguments of create_model, got an error: {one_line(error)}; "
            "write the file again"
        ) from None


def refuse_not_finite(source: str, state: Mapping[str, Tensor]) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        ValueError: a tensor is not finite.
    """
    bad = [name for name, t in state.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        raise ValueError(
            f"{source} must have finite weights, got NaN or infinity in {shortened(bad, 3)}; "
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
