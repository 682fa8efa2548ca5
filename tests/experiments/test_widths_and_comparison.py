"""Figure 3 from the published numbers and one's own, figure 6 from two networks and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.experiments import comparison
from axial_deeplab.experiments.widths import width_families, widths_table
from sharded_evaluation import WithoutWeights


def test_families_are_those_of_the_figure() -> None:
    families = {name: [row.scores["top-1"] for row in rows] for name, rows in width_families().items()}
    assert families == {
        "ResNet-50": [76.9],
        "Conv-Stem + Attention": [77.4, 77.7],
        "PS-Attention": [75.5, 77.4, 78.1, 78.5, 79.0],
        "Conv-Stem + Axial-Attention": [77.5, 78.6, 79.0],
        "Full Attention": [77.6],
        "Full Axial-Attention": [78.1, 79.2, 79.3],
    }
    assert "ResNet-50" in widths_table().splitlines()[1]


def test_widths_with_own_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"top1": 77.25, "network": {"name": "axial_resnet_s", "num_classes": 1000}}
    (tmp_path / "s.json").write_text(json.dumps(report))
    picture = tmp_path / "out" / "widths.png"
    assert main(["experiment", "widths", "--results", str(tmp_path), "--output", str(picture)]) == 0
    own = [line.split() for line in capsys.readouterr().out.splitlines() if "Conv-Stem + Axial" in line]
    assert own[0][-4:] == ["12.4", "2.8", "77.5", "77.2"]
    with Image.open(picture) as image:
        assert image.width > image.height


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(comparison, "Predictor", WithoutWeights)
    for name, columns in (("a.png", 10), ("b.png", 20)):
        image = np.zeros((32, 48, 3), dtype=np.uint8)
        image[8:24, :columns, 0] = 255
        Image.fromarray(image).save(tmp_path / name)
    return tmp_path


def test_two_networks_side_by_side(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["experiment", "compare", str(pictures / "a.png"), str(pictures / "b.png"), "--device", "cpu"]
    words += ["--weights", "x.ckpt", "y.ckpt", "--output", str(pictures / "out" / "both.png")]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "segments of x" in lines[0]
    with Image.open(pictures / "out" / "both.png") as image:
        drawn = np.asarray(image.convert("RGB")).astype(int)
    width = drawn.shape[1]
    # Three columns: the picture, then what each network sees, which is the same for the same network.
    gap = 10
    second, third = (drawn[40:800, gap + k * (640 + gap) :][:, :640] for k in (1, 2))
    assert width == gap + 3 * (640 + gap)
    assert np.array_equal(second, third)
    assert not np.array_equal(second, drawn[40:800, gap : gap + 640])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "a.png", "--weights", "x", "--output", "c.png"], "weights must be two or more"),
        (["compare", "a.png", "--weights", "x", "y", "--output", "c.gif"], "output must end in .png"),
        (["compare", "a.png", "--weights", "x", "y", "--names", "x", "--output", "c.png"], "names must be 2"),
        (
            ["compare", "no.png", "--weights", "x", "y", "--output", "c.png"],
            "inputs must be files or folders",
        ),
        (
            ["compare", *[f"{n}.png" for n in range(25)], "--weights", "x", "y", "--output", "c.png"],
            "at most 24",
        ),
        (["widths", "--output", "w.txt"], "output must end in .png"),
        (["widths", "--results", "none", "--output", "w.png"], "results must be a folder"),
    ],
)
def test_refuses(
    words: list[str],
    message: str,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pictures)
    for number in range(25):
        Image.new("RGB", (8, 8)).save(f"{number}.png")
    assert main(["experiment", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
