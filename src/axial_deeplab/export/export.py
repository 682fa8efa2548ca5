"""Writing a network as a file of another runtime, and checking that it computes the same there."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from axial_deeplab.export.half_weights import store_in_half
from axial_deeplab.export.onnx_operations import as_operations, translations, write_attention
from axial_deeplab.export.onnx_runtime import METADATA_KEY, OnnxNetwork, require_onnx
from axial_deeplab.export.program import INPUT_NAME, Deployed, capture
from axial_deeplab.util.files import atomic_path
from axial_deeplab.weights.loaded import LoadedWeights

FORMATS = ("onnx", "torch-export", "aoti")
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2", "aoti": ".pt2"}
# Sizes (batch, height, width) at which the file is compared with the network.
CHECKED_SIZES = ((1, 64, 96), (2, 97, 65), (1, 130, 203))
OPSET = 18
# Some runtimes compute integers in float32.
MOST_PIXELS = 2**24
# Rounding differs by less, as a fraction of the standard deviation.
NEAR = 0.01

Runner = Callable[[Tensor], Sequence[Tensor]]
# Of a program, into a file, with the names of its outputs and its metadata.
Writer = Callable[[ExportedProgram, Path, Sequence[str], str], None]


@dataclass(frozen=True)
class Comparison:
    """How far the exported program is from the network at one size.

    Args:
        size: batch, height, width.
        difference: for a map of numbers, the largest difference as a fraction of the standard deviation; for
            one of ids, the fraction of pixels that differ.
    """

    size: tuple[int, int, int]
    difference: float

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.size))}: {self.difference:.1e}"


@dataclass(frozen=True)
class Exported:
    """What is known of a file that was written.

    Args:
        comparisons: comparison with the network at each size.
        smallest_side: pixels that height and width of images must have at least.
        side_multiple: what height and width must be multiples of, pixels.
    """

    comparisons: tuple[Comparison, ...]
    smallest_side: int
    side_multiple: int


def export(
    weights: LoadedWeights,
    output: str | os.PathLike[str],
    *,
    format: str = "onnx",
    post_processing: bool = False,
    half: bool = False,
    size: tuple[int, int] | None = None,
    sizes: Sequence[tuple[int, int, int]] = CHECKED_SIZES,
    tolerance: float = 1e-4,
) -> Exported:
    """Write a network for another runtime, for images of any number and size, or for one image of one size.

    The program gets `images` (B, C, H, W), float32, and gives the outputs of the network in the order of
    `Deployed.output_names`. Categories and post-processing are stored with it as JSON.

    Args:
        weights: what `load_weights` returned.
        output: the file: `*.onnx`, or `*.pt2` for the other formats.
        format: "onnx", "torch-export" (for `torch.export.load`) or "aoti" (compiled for this machine).
        post_processing: whether the program gives panoptic maps.
        half: store matrices and kernels in half precision, half their size; for "onnx" alone. It computes in
            float32, and is compared with a network of the same rounded weights.
        size: height and width of the only images that the program takes, one at a time, as some runtimes need
            it; None leaves them free.
        sizes: (batch, height, width) of images at which the file is compared with the network; enlarged to
            what it takes. With a `size` it is compared there alone.
        tolerance: largest difference, see `Comparison`; nothing is written if it is larger.

    Returns:
        The comparison at each size, and which sizes the file takes.

    Raises:
        ValueError: format, ending, size or precision is not possible, the network cannot be exported, the
            program gives something else, or a package is missing.
        OSError: the file cannot be written.
    """
    output = Path(output)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format}; choose one")
    if output.suffix != ENDINGS[format]:
        raise ValueError(f"output must end in {ENDINGS[format]} for {format}, got {output}; rename it")
    if half and format != "onnx":
        raise ValueError(f"half must be False for {format}, got True; choose the format onnx")
    if format == "onnx":
        require_onnx("onnx", "onnxscript", "onnxruntime")
    for_compiler = format == "aoti" and size is None
    deployed = Deployed(
        weights, post_processing=post_processing, half=half, for_compiler=for_compiler, size=size
    ).eval()
    if size is not None:
        if min(size) < deployed.smallest_side:
            raise ValueError(
                f"size must be at least {deployed.smallest_side} pixels high and wide for this network, got "
                f"{size[0]} x {size[1]}; enlarge it"
            )
        if size[0] * size[1] > MOST_PIXELS:
            raise ValueError(
                f"size must be at most {MOST_PIXELS} pixels, which float32 can count, got {size[0]} x "
                f"{size[1]}; export without it"
            )
        sizes = ((1, *size),)
    writers: dict[str, tuple[Writer, Callable[[Path], Runner]]] = {
        "onnx": (partial(_write_onnx, half=half), _open_onnx),
        "torch-export": (_write_torch_export, _open_torch_export),
        "aoti": (_write_aoti, _open_aoti),
    }
    write, open_file = writers[format]
    described = {**weights.metadata, "categories": weights.categories.to_json()}
    sides = {"smallest_side": deployed.smallest_side, "side_multiple": deployed.side_multiple}
    metadata = json.dumps({**described, **sides, "size": size}, sort_keys=True)
    with atomic_path(output) as temporary:
        with _quiet():
            for_onnx = as_operations(deployed) if format == "onnx" else contextlib.nullcontext()
            with for_onnx:
                program = _captured(deployed, size)
            write(program, temporary, deployed.output_names, metadata)
            run = open_file(temporary)
        comparisons = tuple(_compare(deployed, run, deployed.taken_size(*size)) for size in sizes)
        worst = max(comparisons, key=lambda comparison: comparison.difference)
        if not worst.difference <= tolerance:
            looser = " or a larger --tolerance" if worst.difference <= NEAR else ""
            raise ValueError(
                f"exported program must be within {tolerance:g} of the network, got {worst}; "
                f"nothing was written, try another format{looser}"
            )
    return Exported(comparisons, **sides)


def _captured(deployed: Deployed, size: tuple[int, int] | None) -> ExportedProgram:
    try:
        return capture(deployed, size)
    except Exception as error:  # the exporter has many types, most of them its own
        raise ValueError(
            f"network must be one that torch.export can capture, got: {_first_line(error)}; "
            "export weights of another network or span"
        ) from None


def _compare(deployed: Deployed, run: Runner, size: tuple[int, int, int]) -> Comparison:
    images = deployed.example(*size)
    try:
        outputs = run(images)
    except Exception as error:  # each runtime has its own types
        raise ValueError(
            f"exported program must run at {' x '.join(map(str, size))}, got: {_first_line(error)}; "
            "nothing was written, try another format"
        ) from None
    with torch.no_grad():
        pairs = zip(outputs, deployed(images), strict=True)
        return Comparison(size, max(_difference(ours, theirs) for ours, theirs in pairs))


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    if not theirs.is_floating_point():
        return float((ours != theirs).float().mean())
    return float((ours - theirs).abs().max() / theirs.std())


def _write_onnx(
    program: ExportedProgram, path: Path, names: Sequence[str], metadata: str, half: bool
) -> None:
    import onnx

    exported = torch.onnx.export(
        program,
        input_names=[INPUT_NAME],
        output_names=list(names),
        opset_version=OPSET,
        custom_translation_table=translations(),
        dynamo=True,
        verbose=False,
    )
    assert exported is not None
    model = exported.model_proto
    write_attention(model)
    # Free sizes of tensors inside have names, which tract does not join with the numbers of an image; where
    # nodes come from are paths of this machine.
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    if half:
        store_in_half(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _open_onnx(path: Path) -> Runner:
    network = OnnxNetwork(path)
    return lambda images: list(network(images).values())


def _write_torch_export(program: ExportedProgram, path: Path, names: Sequence[str], metadata: str) -> None:
    # In memory: PyTorch's own writer of files ends the process where the disk is full.
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{METADATA_KEY}.json": metadata})
    path.write_bytes(file.getbuffer())


def _open_torch_export(path: Path) -> Runner:
    return torch.export.load(path).module()


def _write_aoti(program: ExportedProgram, path: Path, names: Sequence[str], metadata: str) -> None:
    file = io.BytesIO()  # as above
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=file, inductor_configs={"aot_inductor.metadata": {METADATA_KEY: metadata}}
        )
    except Exception as error:  # the compiler and what it calls fail in many ways
        raise ValueError(
            "network must be one that PyTorch's ahead-of-time compiler can compile here, got: "
            f"{_first_line(error)}; see that there is a C++ compiler, or choose another format"
        ) from None
    path.write_bytes(file.getbuffer())


def _open_aoti(path: Path) -> Runner:
    return torch._inductor.aoti_load_package(str(path))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporters from printing their progress and warnings about their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
