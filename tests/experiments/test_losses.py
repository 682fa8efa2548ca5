"""Loss curves are read from metrics.csv, averaged and drawn; other files are refused by line."""

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.experiments.losses import draw_losses, losses_table, read_losses

HEADER = "step,train/semantic,train/center,train/offset,train/total,train/lr,val/PQ"


def write_run(folder, name, values):
    lines = [
        HEADER,
        *(f"{10 * i + 9},{value},{2 * value},{3 * value},0,0.1," for i, value in enumerate(values)),
    ]
    lines.insert(2, "14,,,,,,50.5")  # a validation
    (folder / name).mkdir()
    (folder / name / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder / name


def test_curves(tmp_path):
    curves = read_losses(write_run(tmp_path, "run", [8, 4, 2, 2]))
    assert curves.name == "run"
    assert curves.steps.tolist() == [9, 19, 29, 39]
    assert curves.losses["train/center"].tolist() == [16, 8, 4, 4]
    assert curves.smoothed("train/semantic", 1).tolist() == [8, 4, 2, 2]
    np.testing.assert_allclose(curves.smoothed("train/semantic", 3), [8, 6, 14 / 3, 8 / 3])
    assert curves.final("train/offset") == 6
    assert read_losses(write_run(tmp_path, "long", range(20))).final("train/semantic") == 18.5


def test_the_command_draws_runs_and_prints_the_last_losses(tmp_path, capsys):
    runs = [write_run(tmp_path, "a", [4, 2]), write_run(tmp_path, "b", [5, 1]) / "metrics.csv"]
    output = tmp_path / "losses.png"
    words = ["experiment", "losses", *map(str, runs), "--names", "axial", "b", "--output", str(output)]
    assert main(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["axial", "19", "2", "4", "6"], ["b", "19", "1", "2", "3"]]
    with Image.open(output) as picture:
        assert picture.width > 2 * picture.height
    assert main([*words[:-1], str(tmp_path / "losses.svg")]) == 0
    assert main(["experiment", "losses", str(runs[0]), "--names", "a", "b", "--output", "x.png"]) == 2
    assert "--names must be 1, one for each run, got 2" in capsys.readouterr().err


def test_other_files_are_refused(tmp_path):
    curves = [read_losses(write_run(tmp_path, "run", [1]))]
    assert "run" in losses_table(curves)
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/loss\n9,1\n")
    with pytest.raises(ValueError, match=r"metrics.csv must have the columns train/semantic, .* got no line"):
        read_losses(path)
    path.write_text(f"{HEADER}\n9,1,x,3,4,0.1,\n")
    with pytest.raises(ValueError, match=r"metrics.csv line 2 must have step, .* got \['9', '1', 'x', '3'\]"):
        read_losses(path)
    with pytest.raises(FileNotFoundError):
        read_losses(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"window must be at least 1 logged value, got 0"):
        draw_losses(curves, tmp_path / "a.png", window=0)
    with pytest.raises(ValueError, match=r"output must end in .png, .pdf or .svg, got .*a.gif"):
        draw_losses(curves, tmp_path / "a.gif")
