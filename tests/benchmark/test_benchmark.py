"""The benchmark: what is timed computes the right thing, ratios and memory are what they say."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from axial_deeplab.benchmark import attention, measure, report, runtimes, suites
from axial_deeplab.benchmark.attention import AttentionCandidate, Ceiling, Shape
from axial_deeplab.benchmark.measure import Candidate, Measurement
from axial_deeplab.benchmark.network import NetworkCandidate, first_authors_models
from axial_deeplab.benchmark.runtimes import RuntimeCandidate
from axial_deeplab.cli.main import main
from axial_deeplab.models.pointwise import Conv2d
from axial_deeplab.ops.axial.api import axial_attention


@dataclass(frozen=True)
class Sleep:
    """A step of known length and memory."""

    seconds: float = 0.0
    megabytes: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.seconds} s"

    def prepare(self) -> Callable[[], object]:
        def step() -> None:
            torch.ones(self.megabytes * 250_000)
            time.sleep(self.seconds)

        return step


def test_times_and_ratios_are_those_of_the_steps() -> None:
    slow, fast = measure.measure([Sleep(0.05), Sleep(0.01)], rounds=5, memory=False)
    assert len(slow.times_ms) == 5
    # A step never takes less than it sleeps; the order of the two is safe on any machine.
    assert min(slow.times_ms) >= 50
    assert min(fast.times_ms) >= 10
    assert slow.ratio == 1
    assert fast.ratios == tuple(a / b for a, b in zip(slow.times_ms, fast.times_ms, strict=True))


@pytest.mark.skipif(not measure.CLEAR_REFS.exists(), reason="the peak is read from Linux's /proc")
def test_peak_memory_is_that_of_the_step() -> None:
    small, large = measure.measure([Sleep(0, 50), Sleep(0, 400)], rounds=1)
    # The interpreter and the allocator take and give a few pages of their own.
    assert small.peak_mb == pytest.approx(50, abs=20)
    assert large.peak_mb == pytest.approx(400, abs=20)


def test_time_of_the_processor_is_not_spent_asleep() -> None:
    (asleep,) = measure.measure([Sleep(0.2)], rounds=1, memory=False, cpu_time=True)
    assert asleep.median_ms < 100
    text = report.Report([], cpu_time=True).to_text()
    assert "Times are those of the processor" in text


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds and candidates must be at least 1, got 3 and 0"):
        measure.measure([], rounds=3)


def test_quartiles() -> None:
    assert measure.quartiles([7.0]) == (7.0, 7.0)
    assert measure.quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 4.0)


@pytest.mark.parametrize("span", [None, 7])
def test_general_attention_computes_the_content_output(span: int | None) -> None:
    shape = Shape(2, 12, 3, 2, 4, 8, span)
    arguments = attention.random_arguments(shape, torch.float64, "cpu")
    content, _ = axial_attention(*arguments, span=span, impl="reference")
    (general,) = attention._sdpa(*arguments, span=span)
    torch.testing.assert_close(general, content.permute(0, 2, 3, 1, 4).flatten(0, 1))


def test_prepared_attention_computes_the_sum_of_both_outputs() -> None:
    shape = Shape(2, 12, 3, 8, 4, 8, span=7)
    arguments = attention.random_arguments(shape, torch.float32, "cpu")
    content, positional = axial_attention(*arguments, span=7, impl="reference")
    assert positional is not None
    prepared = attention._prepared(shape, *arguments)()
    assert isinstance(prepared, torch.Tensor)
    expected = (content + positional).transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(prepared, expected, rtol=1e-5, atol=1e-5)


def test_attention_report_has_all_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[list[str]] = []

    def measure_nothing(candidates: list[AttentionCandidate], **options: object) -> list[Measurement]:
        timed.append([candidate.label for candidate in candidates])
        return [Measurement(candidate.label, (1.0,), (1.0,)) for candidate in candidates]

    monkeypatch.setattr(suites, "measure", measure_nothing)
    monkeypatch.setattr(suites, "measure_ceiling", lambda *args, **options: Ceiling(1e9, 1e9))
    shapes = [Shape(1, 5, 2, 8, 4, 8), attention.SHAPES_OF_GROWTH[0]]
    result = suites.benchmark_attention(suites.Settings(compiled=True), shapes)
    forward = ["reference", "reference, compiled", "numba", "prepared", "sdpa", "flex"]
    assert timed == [forward, ["reference", "reference, compiled", "numba", "sdpa"]] * 2
    assert [section.size for section in result.sections] == [None, None, 33, 33]
    timed.clear()
    suites.benchmark_attention(suites.Settings(), [Shape(1, 5, 2, 4, 4, 8)], backward=False)
    assert timed == [["reference", "numba", "sdpa"]]


def test_compiled_networks_are_timed_with_and_without_the_fused_kernel() -> None:
    candidates = suites._networks(
        NetworkCandidate("resnet50"), ["axial_resnet_nano", "resnet50"], None, True, True
    )
    assert [candidate.label for candidate in candidates] == [
        "axial_resnet_nano",
        "axial_resnet_nano (reference, not folded)",
        "axial_resnet_nano (compiled)",
        "axial_resnet_nano (reference, not folded, compiled)",
        "resnet50",
        "resnet50 (compiled)",
    ]


@pytest.mark.parametrize("impl", ["reference", "numba", "sdpa"])
@pytest.mark.parametrize("backward", [False, True])
def test_candidates_of_attention_run(impl: str, backward: bool) -> None:
    AttentionCandidate(Shape(1, 8, 2, 2, 4, 8), impl, backward).prepare()()


def test_operations_are_those_of_the_existing_logits() -> None:
    # 5 positions, reach 1: 2 + 3 + 3 + 3 + 2 logits for each of 2 lines and 3 heads.
    shape = Shape(1, 5, 2, 3, 4, 8, span=3)
    assert shape.logits == 13 * 6
    assert shape.operations(backward=False) == 2 * 13 * 6 * (3 * 4 + 2 * 8)
    assert shape.traffic(backward=False, item_size=4) == 4 * 30 * (4 + 4 + 8 + 2 * 8)


def test_ceiling_is_set_by_the_slower_of_memory_and_arithmetic() -> None:
    shape = Shape(1, 8, 1, 1, 4, 8)
    bytes_moved, operations = shape.traffic(False, 4), shape.operations(False)
    assert Ceiling(bytes_moved, 1e18).least_seconds(shape, False, 4) == 1
    assert Ceiling(1e18, operations / 2).least_seconds(shape, False, 4) == 2


@pytest.mark.parametrize("training", [False, True])
def test_networks_are_built_as_they_are_timed(training: bool) -> None:
    candidate = NetworkCandidate(
        "axial_deeplab_nano", 1, 33, 33, training, span=5, num_classes=3, impl="reference"
    )
    assert "span 5, 3 classes, reference" in candidate.label
    model = candidate.build()
    assert model.get_submodule("semantic_head.final").out_channels == 3
    assert model.training == training
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()) == training
    attention_layers = [module for module in model.modules() if hasattr(module, "impl")]
    assert attention_layers
    assert all((module.impl, module.span) == ("reference", 5) for module in attention_layers)
    candidate.prepare()()


def test_a_plain_network_has_pytorchs_convolutions() -> None:
    candidate = NetworkCandidate("resnet50", training=True)
    kinds = [{type(x) for x in replace(candidate, plain=plain).build().modules()} for plain in (False, True)]
    assert kinds[0] - kinds[1] == {Conv2d}
    assert replace(candidate, plain=True).label == "resnet50 (PyTorch's convolutions)"


def test_first_authors_code_is_imported_from_its_folder(tmp_path: Path) -> None:
    models = tmp_path / "lib" / "models"
    models.mkdir(parents=True)
    (models / "__init__.py").write_text("from .axialnet import *\n")
    (models / "axialnet.py").write_text("from torch import nn\ndef axial50s():\n    return nn.Identity()\n")
    with pytest.raises(ValueError, match="must be a network of the first author's code, got axial99"):
        NetworkCandidate("first_author:axial99", checkout=tmp_path).build()
    candidate = NetworkCandidate("first_author:axial50s", checkout=tmp_path)
    assert isinstance(candidate.build(), torch.nn.Identity)
    assert candidate.label == "axial50s (first author)"


def test_a_folder_without_his_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="first_author must be a checkout"):
        first_authors_models(tmp_path)


def test_command_prints_table_json_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "benchmark",
        "model",
        "axial_deeplab_nano",
        "--input",
        "17x17",
        "33x33",
        "--batch",
        "1",
        "--rounds",
        "2",
        "--no-memory",
    ]
    assert main([*words, "--json", str(tmp_path / "t.json"), "--plot", str(tmp_path / "t.png")]) == 0
    assert "axial_deeplab_nano (reference, not folded)" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "t.json").read_text())
    assert [section["title"] for section in numbers["sections"]] == [
        "inference, float32, 1 image: 17 x 17",
        "inference, float32, 1 image: 33 x 33",
    ]
    assert numbers["machine"]["versions"]["torch"] == torch.__version__
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_runtime_names_the_machine_and_the_published_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "runtime", "axial_resnet_nano", "--rounds", "1", "--no-memory"]) == 0
    text = capsys.readouterr().out
    assert "inference with standardization, float32, 1 image: 224 x 224" in text
    assert "| axial_resnet_nano |" in text
    assert f"torch {torch.__version__}" in text
    assert "Published: Conv-Stem Axial-ResNet-L on a V100, TensorFlow, mean of 5 runs, 16.54 ms." in text


def test_standardization_is_what_the_network_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr("axial_deeplab.benchmark.network.NetworkCandidate.build", lambda _: seen.append)
    torch.manual_seed(0)
    NetworkCandidate("resnet50", height=4, width=4, standardize=True).prepare()()
    torch.manual_seed(0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.rand(1, 3, 4, 4) - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("runtime --batch 8", "benchmark runtime must be without --input, --batch"),
        ("runtime no_such_net", "name must be a network of list_models"),
        ("model --input 17by3", "input must be HEIGHTxWIDTH"),
        ("model --rounds 0", "rounds must be at least 1"),
        ("model --dtype int8", "dtype must be one of"),
        ("model --cpu-time --device cuda", "cpu_time must be False on another device"),
        ("model no_such_net", "name must be a network of list_models"),
    ],
)
def test_wrong_words_are_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_plot_needs_two_sizes(tmp_path: Path) -> None:
    section = report.Section("inference", "x", [Measurement("a", (1.0,), (1.0,))], size=5)
    with pytest.raises(ValueError, match="at least two sizes"):
        report.draw(report.Report([section]), tmp_path / "a.png")


def test_a_plot_names_the_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    rows = [Measurement("a", (1.0,), (1.0,))]
    sections = [report.Section("inference", "x", rows, size=size) for size in (5, 6)]
    with pytest.raises(ValueError, match=r'pip install "axial-deeplab\[plot\]"'):
        report.draw(report.Report(sections), tmp_path / "a.png")


def test_other_runtimes_are_timed_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []

    def measure_nothing(candidates: list[Candidate], **options: object) -> list[Measurement]:
        timed.extend(candidate.label for candidate in candidates)
        return [Measurement(candidate.label, (1.0,), (1.0,)) for candidate in candidates]

    monkeypatch.setattr(suites, "measure", measure_nothing)
    monkeypatch.setattr(runtimes, "find_spec", lambda package: package)
    names = ["axial_resnet_nano", "resnet50"]
    both = ("onnxruntime", "openvino")
    suites.benchmark_model(suites.Settings(), names, batches=[1], runtimes=both)
    assert timed == [
        "axial_resnet_nano",
        "axial_resnet_nano (reference, not folded)",
        "resnet50",
        *(f"{name} in {runtime}" for name in names for runtime in both),
    ]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_computes_what_the_network_does(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(runtime)
    written: list[bool] = []
    network = NetworkCandidate("resnet50", height=64, width=64, num_classes=5)

    def open_file(path: Path) -> Callable[[Any], Any]:
        run = opened(path)

        def compare(images: Any) -> None:
            expected = network.build()(torch.from_numpy(images)).detach()
            torch.testing.assert_close(torch.from_numpy(run(images)[0]), expected, rtol=1e-3, atol=1e-3)
            written.append(True)

        return compare

    opened = runtimes.RUNTIMES[runtime]
    monkeypatch.setitem(runtimes.RUNTIMES, runtime, open_file)
    RuntimeCandidate(network, runtime).prepare()()
    assert written == [True]


def test_runtimes_that_cannot_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkCandidate("resnet50")
    with pytest.raises(ValueError, match="runtime must be one of onnxruntime, openvino, got tract; choose"):
        RuntimeCandidate(network, "tract")
    monkeypatch.setattr(runtimes, "find_spec", lambda package: package)
    with pytest.raises(ValueError, match="runtime openvino must be for inference in float32 on the CPU"):
        RuntimeCandidate(NetworkCandidate("resnet50", dtype="bfloat16"), "openvino")
    monkeypatch.setattr(runtimes, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match="runtime openvino needs the package of that name, which"):
        RuntimeCandidate(network, "openvino")
