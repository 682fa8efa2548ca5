"""From the command to the report: two networks, one seed, two steps, killed in between."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from axial_deeplab.cli.main import main
from axial_deeplab.config.parse import read_config
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.experiments.reproduction import networks, runs, schedule
from axial_deeplab.experiments.reproduction.networks import Network, Table

RECIPE = """
augmentation: {crop_size: [33, 49]}
target: {sigma: 2, small_instance_area: 16}
optim: {lr: 0.001, warmup_steps: 1, max_steps: 2, lookahead_steps: 1, lookahead_alpha: 1}
trainer: {accelerator: cpu, batch_size: 2, checkpoint_interval: 1, log_interval: 1, num_workers: 0}
post_processing: {stuff_area: 1}
"""
SMALL = {"depths": (1, 1, 1, 1), "width_multiplier": 0.0625, "num_heads": 2}
ONE = Network("axial_deeplab", "One", options=SMALL)
OTHER = Network("span_5", "Other", span=5, options=SMALL)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Make a folder that has its scenes already: three smaller ones."""
    for seed, part in enumerate(("train", "test")):
        write_scenes(tmp_path / "out" / "scenes" / part, 3, seed, height=32, width=48, progress_bar=False)
    return tmp_path / "out"


@pytest.fixture
def two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tables have two networks, one of which is stressed."""
    of_both = {"axial_deeplab": "One", "span_5": "Other"}
    tables = {
        "spans": Table("Spans", of_both),
        "stress": Table("Stress", {"axial_deeplab": "One"}, ("PQ at 0.5x", "PQ at 2x")),
    }
    for name, table in tables.items():
        monkeypatch.setitem(networks.TABLES, name, table)
    monkeypatch.setattr(schedule, "NETWORKS", {"axial_deeplab": ONE, "span_5": OTHER})
    monkeypatch.setattr(schedule, "STRESSED", (ONE,))
    monkeypatch.setattr(runs, "STRESS_SCALES", (0.5, 2.0))


def words(table: str, output: Path, recipe: Path, *more: object) -> list[str]:
    given = ["experiment", "reproduce", table, "--output", output, "--config", recipe, *more]
    return [str(word) for word in given]


def read_run(output: Path, key: str, seed: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / key / f"seed{seed}" / "run.json").read_text())
    return content


@pytest.mark.usefixtures("two_networks")
def test_a_table_is_trained_measured_and_reported(
    output: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert main(words("spans", output, recipe, "--seeds", 0, "--page", page)) == 0
    printed = capsys.readouterr().out
    assert "[1/2] axial_deeplab, seed 0\n" in printed
    assert "[2/2] span_5, seed 0\n" in printed
    with (output / "spans.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], row["PQ seeds"], row["steps"]) for row in rows] == [
        ("axial_deeplab", "1", "2"),
        ("span_5", "1", "2"),
    ]
    run = read_run(output, "axial_deeplab")
    assert float(rows[0]["mIoU mean"]) == pytest.approx(run["scores"]["mIoU"], rel=1e-5)
    assert rows[0]["PQ spread"] == ""
    assert int(rows[0]["madds"]) == run["madds"]
    text = page.read_text()
    assert "Here are 2 of 2 runs" in text
    assert "on 3 of the built-in scenes" in text
    assert f"--output {output} --page {page}" in " ".join(text.split())
    assert (output / "spans.md").read_text() in text

    # What is done stays as it is; what another table needs of it is only added.
    before = (output / "axial_deeplab" / "seed0" / "run.json").stat().st_mtime_ns
    assert main(words("stress", output, recipe, "--seeds", 0, 1, "--page", page)) == 0
    printed = capsys.readouterr().out
    assert "[1/4] axial_deeplab, seed 0: done before\n" in printed
    assert "[2/4] axial_deeplab, seed 0, stress test\n" in printed
    assert (output / "axial_deeplab" / "seed0" / "run.json").stat().st_mtime_ns == before
    stress = json.loads((output / "axial_deeplab" / "seed1" / "stress.json").read_text())
    assert stress["scores"].keys() == {"PQ at 0.5x", "PQ at 2x"}
    assert (output / "stress.md").read_text() in page.read_text()
    assert "| Other |" in (output / "spans.md").read_text()
    assert "| 1 of 2 |" in (output / "spans.md").read_text()

    with (output / "spans.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    values = [read_run(output, "axial_deeplab", seed)["scores"]["mIoU"] for seed in (0, 1)]
    assert float(first["mIoU mean"]) == pytest.approx(sum(values) / 2, rel=1e-5)
    assert float(first["mIoU spread"]) == pytest.approx(abs(values[0] - values[1]) / 2**0.5, rel=1e-4)

    # Another recipe must not be mixed in, nor a run on other images; run.json alone tells.
    for path in (output / "axial_deeplab" / "seed0").iterdir():
        if path.name != "run.json":
            path.unlink() if path.is_file() else shutil.rmtree(path)
    assert main(words("spans", output, recipe, "--steps", 3)) == 2
    assert "optim.max_steps must be 2 as in" in capsys.readouterr().err
    shutil.rmtree(output / "scenes" / "test")
    write_scenes(output / "scenes" / "test", 2, 1, height=32, width=48, progress_bar=False)
    assert main(words("spans", output, recipe)) == 2
    assert "number of images held out must be 3 as in" in capsys.readouterr().err


KILLED = """
import os, signal
from pathlib import Path
from axial_deeplab.config.parse import read_config
from axial_deeplab.experiments.reproduction.networks import Network
from axial_deeplab.experiments.reproduction.runs import Reproduction
from axial_deeplab.training.checkpoints import Checkpoints

write = Checkpoints._write

def write_and_die(self, trainer, name):
    write(self, trainer, name)
    if trainer.global_step == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints._write = write_and_die
network = Network("axial_deeplab", "One", options={options!r})
Reproduction(Path({output!r}), read_config({recipe!r})).train_and_measure(network, 0)
"""


def test_a_killed_run_goes_on_and_gives_the_same_network(
    output: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill the training after a checkpoint; compare with a run in one go."""
    recipe.write_text(RECIPE.replace("max_steps: 2", "max_steps: 4"))
    words = (("{options!r}", SMALL), ("{output!r}", str(output)), ("{recipe!r}", str(recipe)))
    code = KILLED
    for place, value in words:
        code = code.replace(place, repr(value))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = output / "axial_deeplab" / "seed0"
    assert (folder / "last.ckpt").exists()
    assert not (folder / "run.json").exists()
    settings = read_config(str(recipe))
    runs.Reproduction(output, settings).train_and_measure(ONE, 0)
    assert "last.ckpt at step 2" in capsys.readouterr().out
    assert not (folder / "last.ckpt").exists()
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "scenes").symlink_to(output / "scenes")
    runs.Reproduction(whole, settings).train_and_measure(ONE, 0)
    for result in ("scores", "losses"):
        assert read_run(whole, "axial_deeplab")[result] == read_run(output, "axial_deeplab")[result]


@pytest.mark.usefixtures("two_networks")
def test_a_run_that_another_process_is_at_is_left_alone(
    output: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with schedule._lock(output / "axial_deeplab" / "seed0" / schedule.LOCK) as free:
        assert free
        assert main(words("spans", output, recipe, "--seeds", 0)) == 0
    assert "[1/2] axial_deeplab, seed 0: another process is at it\n" in capsys.readouterr().out
    assert not (output / "axial_deeplab" / "seed0" / "run.json").exists()
    assert (output / "span_5" / "seed0" / "run.json").exists()


def test_scenes_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRAIN_SCENES", "TEST_SCENES"):
        monkeypatch.setitem(getattr(runs, name), "num_images", 1)
    reproduction = runs.Reproduction(tmp_path, runs.Config())
    reproduction.draw_scenes()
    drawn = tmp_path / "scenes" / "train" / "panoptic.json"
    before = drawn.stat().st_mtime_ns
    reproduction.draw_scenes()
    assert drawn.stat().st_mtime_ns == before
    assert reproduction.image_size == (runs.HEIGHT, runs.WIDTH)


@pytest.mark.usefixtures("two_networks")
def test_data_of_the_recipe(output: Path, recipe: Path, tmp_path: Path) -> None:
    roots = {
        split: {"root": str(output / "scenes" / part)}
        for split, part in (("train", "train"), ("val", "test"))
    }
    recipe.write_text(f"{RECIPE}data: {json.dumps(roots)}\n")
    mine, page = tmp_path / "mine", tmp_path / "page.md"
    assert main(words("spans", mine, recipe, "--seeds", 0, "--page", page)) == 0
    assert not (mine / "scenes").exists()
    run = read_run(mine, "axial_deeplab")
    assert run["image_size"] == [33, 49]
    assert run["num_test_images"] == 3
    assert f"All share `{recipe}`" in " ".join(page.read_text().split())


def test_refusals(tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {
        "seeds must be different numbers from 0 on, got [1, 1]": ("--seeds", 1, 1),
        "threads must be at least 1, got 0": ("--threads", 0),
        "page must have a finished run, got none": ("--only-report", "--page", tmp_path / "page.md"),
    }
    for message, more in refused.items():
        assert main(words("spans", tmp_path / "out", recipe, *more)) == 2
        assert message in capsys.readouterr().err
    assert main(words("colors", tmp_path / "out", recipe)) == 2
    assert "invalid choice: 'colors'" in capsys.readouterr().err
