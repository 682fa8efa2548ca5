"""The benchmarks of the command line: what each compares, and its table, JSON and plot."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from axial_deeplab.benchmark.attention import (
    PREPARED,
    SHAPES_AT_224,
    SHAPES_OF_GROWTH,
    AttentionCandidate,
    Ceiling,
    Shape,
    measure_ceiling,
)
from axial_deeplab.benchmark.measure import Candidate, Measurement, describe_machine, measure
from axial_deeplab.benchmark.network import DTYPES, FIRST_AUTHOR_PREFIX, NetworkCandidate
from axial_deeplab.benchmark.runtimes import RuntimeCandidate
from axial_deeplab.models.registry import create_model
from axial_deeplab.ops.axial.prepared import PreparedAttention
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.packages import require_package


@dataclass(frozen=True)
class Section:
    """What was measured in one interleaved run.

    Attributes:
        what: the computation, such as "forward and backward".
        case: its subject, such as the shape of the layer.
        measurements: one for each candidate; ratios are against the first.
        ceiling_share: for each candidate, the share of the machine's ceiling that it reached; empty where
            that was not measured.
        size: pixels of an image, or the length of an axis, for the plot.
        size_name: what stands at this size in the plot.
    """

    what: str
    case: str
    measurements: Sequence[Measurement]
    ceiling_share: Sequence[float] = ()
    size: int | None = None
    size_name: str = ""

    @property
    def title(self) -> str:
        """Headline of the table."""
        return f"{self.what}: {self.case}"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        rows = [measurement.to_json() for measurement in self.measurements]
        for row, share in zip(rows, self.ceiling_share, strict=False):
            row["share_of_ceiling"] = round(share, 4)
        return {"title": self.title, "size": self.size, "rows": rows}


@dataclass(frozen=True)
class Report:
    """Sections, the machine on which they were measured, and by which clock; `size_means` is for the plot.

    `published_ms` are times that the paper prints, by what they are of.
    """

    sections: Sequence[Section]
    machine: dict[str, Any] = field(default_factory=describe_machine)
    ceiling: Ceiling | None = None
    cpu_time: bool = False
    size_means: str = "image, pixels"
    published_ms: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        ceiling = {"ceiling": self.ceiling.to_json()} if self.ceiling else {}
        sections = [section.to_json() for section in self.sections]
        published = {"published_ms": self.published_ms} if self.published_ms else {}
        return {
            "machine": self.machine,
            "cpu_time": self.cpu_time,
            **ceiling,
            "sections": sections,
            **published,
        }

    def to_text(self) -> str:
        """Return tables in Markdown, which also reads well in a terminal."""
        lines = [describe(self.machine)]
        if self.ceiling:
            bandwidth, rate = self.ceiling.bytes_per_second / 1e9, self.ceiling.operations_per_second / 1e9
            lines.append(f"Ceiling: copying {bandwidth:.1f} GB/s, matrix product {rate:.0f} GFLOP/s.")
        if self.cpu_time:
            lines.append("Times are those of the processor, all threads together.")
        for section in self.sections:
            lines += ["", f"**{section.title}**", "", *_table(section)]
        lines += [f"\nPublished: {what}, {ms} ms." for what, ms in self.published_ms.items()]
        return "\n".join(lines)


def describe(machine: dict[str, Any]) -> str:
    """Return the machine in one line."""
    units = "/".join(machine["vector_units"])
    libraries = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    gpu = f"; {machine['gpu']}" if machine["gpu"] else ""
    return f"{machine['processor']} ({units}), {machine['threads']} threads{gpu}; {libraries}"


def _table(section: Section) -> list[str]:
    shares = list(section.ceiling_share)
    header = ["", "median ms", "quartiles", "times faster", "peak MB"] + ["of ceiling"] * bool(shares)
    lines = [" | ".join(["", *header, ""]).strip(), "| --- |" + " ---: |" * (len(header) - 1)]
    for i, row in enumerate(section.measurements):
        low, high = row.spread_ms
        peak = (
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}" if row.peak_mb >= 10 else f"{row.peak_mb:.1f}"
        )
        cells = [row.label, _ms(row.median_ms), f"{_ms(low)} to {_ms(high)}", f"{row.ratio:.2f}", peak]
        cells += [f"{100 * shares[i]:.0f} %"] if shares else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ms(milliseconds: float) -> str:
    """Three significant digits."""
    digits = max(0, 2 - math.floor(math.log10(milliseconds))) if milliseconds > 0 else 0
    return f"{milliseconds:.{digits}f}"


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


def draw(report: Report, path: Path) -> None:
    """Draw time and memory of every candidate against the size.

    Raises:
        ValueError: fewer than two sizes were measured, or matplotlib is missing.
    """
    kinds = {section.what for section in report.sections}
    curves: dict[str, list[tuple[int, Measurement]]] = {}
    for section in report.sections:
        for row in section.measurements:
            if section.size is not None:
                label = row.label if len(kinds) == 1 else f"{row.label}, {section.what}"
                curves.setdefault(label, []).append((section.size, row))
    curves = {label: points for label, points in curves.items() if len(points) > 1}
    if not curves:
        raise ValueError(
            "plot must have at least two sizes, got one; give several, such as --input 224x224 448x448"
        )
    require_package("matplotlib", "plot", "plots need")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for label, points in curves.items():
        sizes = [size for size, _ in points]
        time_axes.loglog(sizes, [row.median_ms for _, row in points], marker="o", label=label)
        peaks = [row.peak_mb for _, row in points]
        if all(peak is not None and peak > 0 for peak in peaks):
            memory_axes.loglog(sizes, peaks, marker="o", label=label)
    names = {section.size: section.size_name for section in report.sections if section.size is not None}
    for axes, what in ((time_axes, "median time (ms)"), (memory_axes, "peak memory (MB)")):
        axes.set_xticks(list(names), list(names.values()), rotation=30, ha="right")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(report.size_means)
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
    time_axes.legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.lstrip(".") or "png")
