"""Converting the weights of other projects into files of ours."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.registry import SegmentationEntry, create_model, find_entry
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.util.files import opened
from axial_deeplab.util.text import shortened
from axial_deeplab.weights.archives import is_archive, unpacked
from axial_deeplab.weights.convert import deeplab2_names, first_author, torchvision
from axial_deeplab.weights.convert.deeplab2_data_sets import DataSet, find_data_set
from axial_deeplab.weights.convert.deeplab2_names import Array, ParameterSource, Sources
from axial_deeplab.weights.convert.deeplab2_widths import deeplab2_widths
from axial_deeplab.weights.convert.sources import WeightsSource, open_source
from axial_deeplab.weights.file import save_weights
from axial_deeplab.weights.metadata import arguments_of

# Of the standard deviation: rounding differs by less, other networks by more.
NEAR = 0.1
NAMES = {"first_author": first_author.first_author_names, "torchvision": torchvision.torchvision_names}
WITHOUT_INFLUENCE = {
    "deeplab2": deeplab2_names.without_influence,
    "first_author": first_author.without_influence,
    "torchvision": torchvision.without_influence,
}
INFERRED_ARGUMENTS = {
    "first_author": first_author.first_author_arguments,
    "torchvision": torchvision.torchvision_arguments,
}


@dataclass(frozen=True)
class Check:
    """How far an output of the converted network is from the expected one.

    Args:
        name: name of the output.
        difference: the largest, as a fraction of the standard deviation of what was expected.
    """

    name: str
    difference: float


@dataclass(frozen=True)
class ConversionReport:
    """What became of all tensors.

    Args:
        num_converted: tensors of ours that were filled.
        missing: tensors of ours that the source does not have; they keep their initial values.
        unused: tensors of the source without a place in the network.
        without_influence: tensors of the source that change no output.
        bookkeeping: what else the source holds: steps, optimizers and their slots.
        checks: comparisons with stored outputs.
        entry: where in the file the tensors lie, see `WeightsSource`.
        others: entries of the file with further weights.
    """

    num_converted: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    without_influence: tuple[str, ...]
    bookkeeping: tuple[str, ...]
    checks: tuple[Check, ...]
    entry: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.num_converted} tensors converted" + (f" from {self.entry}" if self.entry else "")]
        if self.others:
            lines.append(f"further weights, left out: {shortened(self.others)}; take them with --entry NAME")
        for label, names in (
            ("missing, left at their initial values", self.missing),
            ("unused", self.unused),
            ("without influence, left out", self.without_influence),
            ("steps and optimizers, left out", self.bookkeeping),
        ):
            if names:
                lines.append(f"{len(names)} {label}: {shortened(names)}")
        for check in self.checks:
            lines.append(f"{check.name}: largest difference {check.difference:.1e} of the standard deviation")
        return "\n".join(lines)


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    entry: str | None = None,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_set: str | None = None,
    categories: Categories | None = None,
    crop_size: tuple[int, int] | None = None,
    post_processing: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
    allow_unused: bool = False,
    half: bool = False,
    check: str | os.PathLike[str] | None = None,
    tolerance: float = 1e-3,
    progress: bool = False,
) -> ConversionReport:
    """Convert the weights of another project into a file of ours.

    Args:
        source: what `open_source` accepts, or an archive with one TensorFlow checkpoint.
        output: the file to write, usually `*.safetensors`.
        entry: which weights of a file that has several, see `open_source`.
        model: name of the network; None infers it, which works for classifiers.
        overrides: further arguments of `create_model`; widths and depths are inferred from the tensors.
        data_set: one of `DATA_SETS` that a panoptic network of deeplab2 was trained on; gives it the
            categories, crop size, post-processing and image size of deeplab2's configuration.
        categories: what the classes are, if not those of a data set; None numbers those of a classifier.
        crop_size: height and width of the images that a network of deeplab2 was trained on, pixels, if not
            that of the data set; its ASPP has a window of this size.
        post_processing: settings to store with the weights, besides those of the data set.
        extra: further entries of the metadata.
        allow_missing: whether tensors of the network may keep their initial values.
        allow_unused: whether tensors of the source may be left out.
        half: see `save_weights`.
        check: a file with an input and expected outputs, see `check_outputs`; nothing is written if they
            differ.
        tolerance: largest difference in the check, as a fraction of the standard deviation.
        progress: show a progress bar.

    Returns:
        What became of all tensors.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: the source is damaged or of another architecture, tensors are missing, unused or of
            another shape, the check fails, or an argument is unknown or contradicts another one.
        OSError: the output cannot be written.
    """
    settings = _data_set(data_set, categories, crop_size, post_processing or {})
    with _without_archive(Path(source)) as path:
        opened = open_source(path, entry)
        network = _create(opened, model, overrides or {}, settings)
        categories = settings.categories or _numbered_categories(network)
        names = _names(opened, network, settings)
        num_converted, missing = fill(network, opened, names, progress=progress)
    used = {origin.name for origin in names.values()}
    left = [name for name in opened.shapes if name not in used]
    silent = tuple(name for name in left if WITHOUT_INFLUENCE[opened.project](network, name))
    unused = tuple(name for name in left if name not in silent)
    _refuse_left_over(
        opened, network, missing if not allow_missing else (), unused if not allow_unused else ()
    )
    metadata = {**(extra or {}), "converted_from": f"{opened.project}: {opened.path.name}"}
    if hasattr(network, "semantic_head"):
        for section in ("post_processing", "view"):
            if stored := getattr(settings, section):
                metadata[section] = dict(stored)
        PostProcessing.from_metadata(metadata, categories.thing_ids)  # refuses what is unknown
    checks = () if check is None else check_outputs(network, check, tolerance)
    save_weights(output, network, categories, half=half, extra=metadata)
    return ConversionReport(
        num_converted, missing, unused, silent, opened.bookkeeping, checks, opened.entry, opened.others
    )


def check_outputs(network: nn.Module, path: str | os.PathLike[str], tolerance: float) -> tuple[Check, ...]:
    """Compare the outputs of a network with stored ones.

    Args:
        network: network in evaluation mode.
        path: an NPZ file with `input` (B, C, H, W), as the network wants it, and either `output/NAME` for
            outputs by name or `output` for a single one, all in our layout.
        tolerance: largest difference as a fraction of the standard deviation of the expected output.

    Raises:
        ValueError: the file is not such a file, or an output differs.
    """
    path = Path(path)
    expected = _read_arrays(path)
    image = expected.pop("input", None)
    if image is None or not expected:
        raise ValueError(
            f"{path} must hold input and output, or output/NAME, got {shortened(list(expected))}; add them"
        )
    with torch.no_grad():
        outputs = network.eval()(torch.from_numpy(image))
    if isinstance(outputs, Tensor):
        outputs = {"output": outputs}
    checks = []
    for key, theirs in expected.items():
        name = key.removeprefix("output/")
        if name not in outputs or tuple(outputs[name].shape) != theirs.shape:
            ours = {output: tuple(tensor.shape) for output, tensor in outputs.items()}
            raise ValueError(
                f"{path}: {key} must be one of {ours}, got shape {theirs.shape}; correct the file"
            )
        difference = np.abs(outputs[name].double().numpy() - theirs).max() / theirs.std()
        checks.append(Check(name, float(difference)))
    worst = max(checks, key=lambda each: each.difference)
    if not worst.difference <= tolerance:
        raise ValueError(
            f"{path}: {worst.name} must be within {tolerance:g} standard deviations of the network's, got "
            f"{worst.difference:.1e}; {_looser(worst.difference)}choose the network that the weights were "
            "trained with"
        )
    return tuple(checks)


def _looser(difference: float) -> str:
    """Return the advice of a tolerance that a small difference is within."""
    if not difference <= NEAR:
        return ""
    step = 10.0 ** math.floor(math.log10(difference))
    return f"give --tolerance {math.ceil(difference / step) * step:.0e} if that is near enough, or "


@contextmanager
def _without_archive(source: Path) -> Iterator[Path]:
    """Yield the path of what an archive holds, or the path itself."""
    if not is_archive(source):
        yield source
        return
    with unpacked(source) as folder:
        indices = sorted(folder.rglob("*.index"))
        if len(indices) != 1:
            raise ValueError(
                f"{source} must hold one TensorFlow checkpoint, got {len(indices)}; unpack it and name one"
            )
        yield indices[0]


def _data_set(
    name: str | None,
    categories: Categories | None,
    crop_size: tuple[int, int] | None,
    post_processing: Mapping[str, Any],
) -> DataSet:
    """Return the settings of a data set, with the given ones in the place of its own."""
    if name is not None and categories is not None:
        raise ValueError(f"categories must be those of the data set {name}, got others; give one of the two")
    known = DataSet(categories) if name is None else find_data_set(name)
    return replace(
        known,
        crop_size=crop_size or known.crop_size,
        post_processing={**known.post_processing, **post_processing},
    )


def _names(source: WeightsSource, network: nn.Module, settings: DataSet) -> Sources:
    """Return which tensor of the source is which of the network."""
    if source.project == "deeplab2":
        return deeplab2_names.deeplab2_names(network, num_void_classes=settings.num_void_classes)
    return NAMES[source.project](network)


def _create(
    source: WeightsSource, model: str | None, overrides: Mapping[str, Any], settings: DataSet
) -> nn.Module:
    infer = INFERRED_ARGUMENTS.get(source.project)
    inferred = {} if infer is None else infer(source.shapes)
    if model is not None:
        if inferred and _network_class(model) is not _network_class(inferred["name"]):
            raise ValueError(
                f"model must be one like {inferred['name']} for {source.path}, got {model}; leave it out"
            )
        inferred = {**inferred, "name": model}
    if "name" not in inferred:
        raise ValueError(
            f"model must be named for {source.path}, got none; give --model, see axial-deeplab models"
        )
    if source.project == "deeplab2":
        name = inferred["name"]
        inferred |= deeplab2_names.deeplab2_arguments(name, settings.crop_size, overrides)
        if settings.categories is not None and isinstance(find_entry(name), SegmentationEntry):
            inferred["num_classes"] = len(settings.categories)
        inferred |= deeplab2_widths({**inferred, **overrides}, source.shapes)
    # What is missing keeps its initial values, which should be the same in every run.
    with torch.random.fork_rng(devices=[]), arguments_of(inferred["name"], "--set", overrides):
        torch.manual_seed(0)
        return create_model(**{**inferred, **overrides}).eval()


def _network_class(name: str) -> type[nn.Module]:
    """Return the class of a network."""
    entry = find_entry(name)
    return PanopticDeepLab if isinstance(entry, SegmentationEntry) else entry.network


def fill(
    network: nn.Module, source: WeightsSource, names: Sources, *, progress: bool = False
) -> tuple[int, tuple[str, ...]]:
    """Copy the tensors of a source into a network.

    Returns:
        How many of the network's tensors were filled, and the names of those that the source lacks.

    Raises:
        ValueError: a tensor has another shape, or is not of numbers.
    """
    missing = []
    num_converted = 0
    for name, tensor in tqdm(
        network.state_dict().items(), desc="convert", unit="tensor", disable=not progress
    ):
        if name.endswith("num_batches_tracked"):
            continue
        origin = names.get(name)
        if origin is None or origin.name not in source.shapes:
            missing.append(name)
            continue
        theirs = source.read(origin.name)
        ours = _transformed(theirs, origin)
        if ours is None or ours.shape != tensor.shape:
            raise ValueError(
                f"{source.path}: {origin.name} must make {name} of shape {tuple(tensor.shape)}, got "
                f"{tuple(theirs.shape)} of type {theirs.dtype}; {_remedy(name, theirs)}"
            )
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(ours)))
        num_converted += 1
    return num_converted, tuple(missing)


def _remedy(name: str, theirs: Tensor) -> str:
    """Return what to do about a tensor that does not make ours."""
    network = "choose the network that the weights were trained with"
    if not theirs.is_floating_point():
        return network
    if name.startswith(("semantic_head.final.", "classifier.")):
        return "give the classes that they were trained with: --categories, or --set num_classes=N"
    return f"{network}, or give its widths, such as --set width_multiplier=0.5"


def _transformed(tensor: Tensor, origin: ParameterSource) -> Array | None:
    """Return our array, or None if the tensor is not what the transformation is for."""
    if not tensor.is_floating_point():
        return None
    # Exact: NumPy has no bfloat16, and no type of weights is wider than float64.
    array = tensor.to(torch.promote_types(tensor.dtype, torch.float32)).numpy()
    try:
        return origin.transform(array)
    except (IndexError, ValueError):
        return None


def _refuse_left_over(
    source: WeightsSource, network: nn.Module, missing: Sequence[str], unused: Sequence[str]
) -> None:
    problems = [
        f"{len(names)} {what} ({', '.join(names)})"
        for what, names in (("missing", missing), ("unused", unused))
        if names
    ]
    if problems:
        options = " and ".join(
            option for option, names in (("--allow-missing", missing), ("--allow-unused", unused)) if names
        )
        config: Any = network.config
        raise ValueError(
            f"{source.path} must hold the tensors of {config['name']}, got {'; '.join(problems)}; "
            f"choose the network that the weights were trained with, or give {options}"
        )


def _numbered_categories(network: nn.Module) -> Categories:
    config: Any = network.config
    if hasattr(network, "semantic_head"):
        raise ValueError(
            f"categories must be given for the segmentation network {config['name']}, got none; "
            "give --categories with a panoptic JSON file, cityscapes or coco"
        )
    return Categories(Category(index, f"class {index}", True) for index in range(config["num_classes"]))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with opened(path) as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, AttributeError, TypeError, KeyError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{path} must be an NPZ file of arrays, got: {error}; write it with numpy.savez"
        ) from None
