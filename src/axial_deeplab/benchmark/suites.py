"""The benchmarks of the command line: what each compares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from axial_deeplab.benchmark.attention import (
    PREPARED,
    SHAPES_AT_224,
    SHAPES_OF_GROWTH,
    AttentionCandidate,
    Shape,
    measure_ceiling,
)
from axial_deeplab.benchmark.measure import Candidate, Measurement, measure
from axial_deeplab.benchmark.network import DTYPES, FIRST_AUTHOR_PREFIX, NetworkCandidate
from axial_deeplab.benchmark.report import Report, Section
from axial_deeplab.benchmark.runtimes import RuntimeCandidate
from axial_deeplab.models.registry import create_model
from axial_deeplab.ops.axial.prepared import PreparedAttention


@dataclass(frozen=True)
class Settings:
    """What all three benchmarks share.

    Attributes:
        rounds: timed runs of each candidate.
        memory: whether to measure peak memory, in a fresh process for each candidate.
        device: "cpu" or "cuda".
        dtype: "float32", "bfloat16" or "float16".
        compiled: also measure through `torch.compile`, which needs a C++ compiler.
        cpu_time: measure the time of the processor, all threads together: for a machine that is busy.
        progress: whether to show progress bars.
    """

    rounds: int = 11
    memory: bool = True
    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = False
    cpu_time: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        if self.cpu_time and self.device != "cpu":
            raise ValueError(
                f"cpu_time must be False on another device than the CPU, got True on {self.device}; "
                "leave it out"
            )
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}; 11 give a useful median")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype}; see --help")


def benchmark_attention(
    settings: Settings,
    shapes: Iterable[Shape] = (*SHAPES_AT_224, *SHAPES_OF_GROWTH),
    *,
    backward: bool = True,
) -> Report:
    """Time the operation: reference, fused kernels, and general attention on the part that it can express.

    Args:
        settings: see there.
        shapes: shapes of the layers. Those that only differ in their length are drawn.
        backward: also time the backward pass.
    """
    ceiling = measure_ceiling(settings.dtype, settings.device, cpu_time=settings.cpu_time)
    fused = "triton" if settings.device == "cuda" else "numba"
    sections = []
    for shape in shapes:
        for with_backward in (False, True) if backward else (False,):
            base = AttentionCandidate(
                shape, "reference", with_backward, dtype=settings.dtype, device=settings.device
            )
            candidates = [base, replace(base, impl=fused), replace(base, impl="sdpa")]
            if _can_prepare(base):
                candidates.insert(2, replace(base, impl=PREPARED))
            if settings.compiled:
                candidates.insert(1, replace(base, compiled=True))
                # On the CPU FlexAttention has no backward pass.
                if settings.device == "cuda" or not with_backward:
                    candidates.append(replace(base, impl="flex"))
            measurements = _measure(candidates, settings)
            least = 1e3 * ceiling.least_seconds(shape, with_backward, DTYPES[settings.dtype].itemsize)
            shares = [least / measurement.median_ms for measurement in measurements]
            what = "forward and backward" if with_backward else "forward"
            size = shape.L if shape in SHAPES_OF_GROWTH else None
            sections.append(Section(what, str(shape), measurements, shares, size, str(shape.L)))
    return Report(
        sections, ceiling=ceiling, cpu_time=settings.cpu_time, size_means="length of the axis, positions"
    )


def _can_prepare(candidate: AttentionCandidate) -> bool:
    if candidate.backward or candidate.dtype != "float32":
        return False
    q = torch.empty(0, device=candidate.device)
    return PreparedAttention.why_not(candidate.shape.N, q) is None


def benchmark_model(
    settings: Settings,
    names: Sequence[str],
    *,
    sizes: Sequence[tuple[int, int]] = ((224, 224),),
    batches: Sequence[int] = (1, 8),
    span: int | None = None,
    reference: bool = True,
    training: bool = False,
    first_author: Path | None = None,
    runtimes: Sequence[str] = (),
) -> Report:
    """Time whole networks, in inference or in training steps.

    Args:
        settings: see there.
        names: networks of `list_models()`; ratios are against the first of the table.
        sizes: height and width of the images, pixels.
        batches: images.
        span: span of the networks that attend.
        reference: also measure the networks that attend with the reference implementation, not folded.
        training: time training steps instead of inference.
        first_author: a checkout of the first author's code: adds his axial50s and his plain ResNet-50.
        runtimes: other runtimes that the networks are exported to, see `RuntimeCandidate`.

    Raises:
        ValueError: a name, size or number is not as above.
    """
    sections = []
    for height, width in sizes:
        for batch in batches:
            base = NetworkCandidate(
                names[0],
                batch,
                height,
                width,
                training,
                dtype=settings.dtype,
                device=settings.device,
                checkout=first_author,
            )
            candidates: list[Candidate] = [*_networks(base, names, span, reference, settings.compiled)]
            ours = _networks(base, names, span, False, False)
            candidates += [RuntimeCandidate(network, runtime) for network in ours for runtime in runtimes]
            if training:
                candidates += [replace(peer, plain=True) for peer in ours if not _attends(peer.name)]
            if first_author is not None and (height, width) == (224, 224):
                theirs = [replace(base, name=FIRST_AUTHOR_PREFIX + name) for name in ("axial50s", "resnet50")]
                candidates = [*theirs, *candidates]
            images = "1 image" if batch == 1 else f"{batch} images"
            what = f"{'training step' if training else 'inference'}, {settings.dtype}, {images}"
            case = f"{height} x {width}"
            measurements = _measure(candidates, settings)
            sections.append(Section(what, case, measurements, size=height * width, size_name=case))
    return Report(sections, cpu_time=settings.cpu_time)


RUNTIME_NETWORKS = ("axial_resnet_l", "axial_resnet_m", "ps_attention_resnet50", "resnet50", "resnet101")


def benchmark_runtime(settings: Settings, names: Sequence[str] = RUNTIME_NETWORKS) -> Report:
    """Time Axial-ResNet-L and its peers as appendix A of the paper does: one image of 224 x 224.

    The time includes the standardization of the image and the projection to the 1000 classes.

    Args:
        settings: see there.
        names: networks of `list_models()`; ratios are against the first.

    Raises:
        ValueError: a name is not as above.
    """
    base = NetworkCandidate(names[0], standardize=True, dtype=settings.dtype, device=settings.device)
    candidates = _networks(base, names, None, False, settings.compiled)
    what = f"inference with standardization, {settings.dtype}, 1 image"
    sections = [Section(what, "224 x 224", _measure(candidates, settings), size=224 * 224)]
    published = {"Conv-Stem Axial-ResNet-L on a V100, TensorFlow, mean of 5 runs": 16.54}
    return Report(sections, cpu_time=settings.cpu_time, published_ms=published)


def _networks(
    base: NetworkCandidate, names: Sequence[str], span: int | None, reference: bool, compiled: bool
) -> list[NetworkCandidate]:
    candidates = []
    for name in names:
        attends = _attends(name)
        own = replace(base, name=name, span=span if attends else None)
        variants = [own]
        if attends and reference:
            variants.append(replace(own, impl="reference", fuse=False))
        candidates += variants
        if compiled:
            candidates += [replace(variant, compiled=True) for variant in variants]
    return candidates


def _attends(name: str) -> bool:
    with torch.device("meta"):
        return any(hasattr(module, "impl") for module in create_model(name).modules())


def _measure(candidates: Sequence[Any], settings: Settings) -> list[Measurement]:
    return measure(
        candidates,
        rounds=settings.rounds,
        memory=settings.memory,
        cpu_time=settings.cpu_time,
        progress=settings.progress,
    )
