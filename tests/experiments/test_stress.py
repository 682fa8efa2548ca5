"""The stress test measures every weights at every scale, and writes what it measured."""

import csv
import math
import sys

import pytest
from PIL import Image

import sharded_evaluation
from axial_deeplab.cli.main import main
from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.evaluation import evaluate
from axial_deeplab.experiments import stress
from axial_deeplab.experiments.stress import StressTest, stress_test


@pytest.fixture
def boxes(tmp_path, monkeypatch):
    sharded_evaluation.write_boxes(tmp_path / "data", 2)
    monkeypatch.setattr(evaluate, "Predictor", sharded_evaluation.WithoutWeights)
    return tmp_path / "data"


def test_the_command_writes_numbers_and_a_plot(boxes, tmp_path, capsys):
    words = ["experiment", "stress", "--weights", "a.ckpt", "b.ckpt", "--root", str(boxes)]
    words += ["--scales", "0.5", "1", "--output", str(tmp_path / "out"), "--device", "cpu", "--limit", "1"]
    assert main(words) == 0
    with (tmp_path / "out" / "stress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["weights"], row["scale"]) for row in rows] == [
        ("a", "0.5"),
        ("a", "1"),
        ("b", "0.5"),
        ("b", "1"),
    ]
    # At half the size the only pixel that marks a center is lost; both weights are the same toy.
    assert float(rows[0]["PQ_things"]) == 0 < float(rows[1]["PQ_things"])
    assert 0 < float(rows[0]["PQ"]) == float(rows[2]["PQ"]) < float(rows[1]["PQ"])
    with Image.open(tmp_path / "out" / "stress.png") as picture:
        assert picture.width > 4 * picture.height
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PQ", "0.5x", "1x"]
    assert lines[3].split() == ["gain,", "%", "+0.0", "+0.0"]


def test_gains_and_absent_numbers():
    first = {"PQ": 30.0, "PQ_things": math.nan, "PQ_stuff": 1.0}
    second = {"PQ": 20.0, "PQ_things": math.nan, "PQ_stuff": 0.0}
    result = StressTest(("ours", "theirs"), (1.0,), ((first,), (second,)))
    assert result.gains() == [pytest.approx(50)]
    assert result.to_text().splitlines()[3].split() == ["gain,", "%", "+50.0"]
    assert result.to_text().splitlines()[7].split() == ["gain,", "%", "-"]
    assert result.to_text().splitlines()[11].split() == ["gain,", "%", "-"]
    *_, gains = stress._draw(result).axes
    assert gains.get_title() == "ours over theirs"
    lines = {line.get_label(): list(line.get_ydata()) for line in gains.get_lines()}
    assert lines["PQ"] == [pytest.approx(50)]
    assert math.isnan(lines["PQ (stuff)"][0])
    alone = StressTest(("ours",), (1.0,), ((first,),))
    assert "gain" not in alone.to_text()
    assert len(stress._draw(alone).axes) == len(stress.MEASURES)


def test_refusals(boxes, monkeypatch):
    data = DataConfig(val=SplitConfig(root=str(boxes)))
    with pytest.raises(ValueError, match=r"weights must be at least one, got none"):
        stress_test([], data)
    with pytest.raises(ValueError, match=r"names must be 1, one for each weights, got 2"):
        stress_test(["a"], data, names=["a", "b"])
    with pytest.raises(ValueError, match=r"scales must be positive numbers"):
        stress_test(["a"], data, scales=[-1])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = StressTest(("a",), (1.0,), ((dict.fromkeys(stress.MEASURES, 1.0),),))
    with pytest.raises(ValueError, match=r"needs the package matplotlib, .* \"axial-deeplab\[plot\]\""):
        stress.write_stress_test(result, boxes)


def test_an_unknown_figure_is_refused(capsys):
    assert main(["experiment", "figure10"]) == 2
    assert "invalid choice: 'figure10'" in capsys.readouterr().err
