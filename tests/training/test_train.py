"""Training: what it leaves, resuming exactly, kills, several processes, refusals."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from axial_deeplab.config.parse import read_config
from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.evaluation.evaluate import evaluate
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import load_weights
from lazy_modules import LazyModule

checkpoints = LazyModule("axial_deeplab.training.checkpoints")
training = LazyModule("axial_deeplab.training.train")

MakeConfig = Callable[..., Config]


@pytest.fixture
def kept_checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Keep a copy of every checkpoint that a run writes."""
    copies: list[Path] = []
    write = checkpoints.Checkpoints._write

    def write_and_copy(self: Any, trainer: Any, name: str) -> None:
        write(self, trainer, name)
        copy = self.folder / "kept" / f"{len(copies)}-step{trainer.global_step}-{name}"
        copy.parent.mkdir(exist_ok=True)
        copies.append(copy)
        shutil.copy(self.folder / name, copy)

    monkeypatch.setattr(checkpoints.Checkpoints, "_write", write_and_copy)
    return copies


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_leaves_weights_checkpoints_settings_and_logs(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _merged(tiny_config(), data={"long_side": 48, "max_size": 64})
    weights = training.train(config)
    output = Path(config.trainer.output)
    assert weights == output / "weights.safetensors"
    loaded = load_weights(weights)
    assert loaded.metadata["post_processing"] == vars(config.post_processing)
    assert loaded.metadata["view"] == {"long_side": 48, "max_size": 64}
    assert loaded.categories.names == ("ground", "box", "disc")
    for name in (checkpoints.LAST, checkpoints.BEST):
        load_weights(output / name)
    checkpoint = torch.load(output / checkpoints.LAST, weights_only=True)
    assert checkpoint["global_step"] == 10
    assert config_from_dict(checkpoint["axial_deeplab"]["config"]) == config
    assert read_config(str(output / "config.yaml")) == config
    assert list((output / "tensorboard").glob("events.*"))
    lines = (output / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("step,train/semantic,train/center,train/offset,train/total,train/lr,val/PQ")
    assert [line.split(",")[0] for line in lines[1:]] == [*"01234", "4", *"56789", "9"]
    # The weights know at which size the training has validated them.
    measured = evaluate(weights, config.data, device="cpu").summary().values()
    assert lines[-1].split(",")[6:] == [f"{value:.6g}" for value in measured]
    printed = capsys.readouterr().out
    assert "batch size 4 images in total = 1 devices x 1 accumulated x 4; learning rate 0.01" in printed


def test_network_of_one_channel_sees_grey(tiny_config: MakeConfig) -> None:
    overrides = {**tiny_config().model.overrides, "in_channels": 1}
    weights = training.train(_merged(tiny_config(), model={"overrides": overrides}))
    predictor = Predictor(weights, "cpu")
    assert predictor.model.config["in_channels"] == 1
    assert evaluate(weights, tiny_config().data, device="cpu").num_images == 2
    # Colors of the same average, a multiple of 3 each, are the same grey.
    rng = np.random.default_rng(0)
    colors = 3 * rng.integers(0, 40, (33, 41, 3), dtype=np.uint8)
    grey = np.repeat(colors.sum(axis=2, keepdims=True) // 3, 3, axis=2).astype(np.uint8)
    np.testing.assert_array_equal(predictor(colors).segmentation, predictor(grey).segmentation)


@pytest.mark.parametrize("variant", ["plain", "accumulated"])
def test_resuming_from_any_checkpoint_is_exact(
    variant: str, tiny_config: MakeConfig, kept_checkpoints: list[Path], tmp_path: Path
) -> None:
    trainer: dict[str, Any] = {"checkpoint_interval": 2, "val_interval": 4}
    if variant == "accumulated":
        trainer |= {"accumulate": 2, "num_workers": 1}
    optim = {"lookahead_steps": 2, "gradient_clip": 1.0, "weight_decay": 0.01}
    training.train(_merged(tiny_config(), trainer=trainer, optim=optim))
    output = tmp_path / "run"
    starts = list(kept_checkpoints)
    steps = {int(path.name.split("step")[1].split("-")[0]) for path in starts}
    assert steps == {2, 4, 6, 8, 10}
    # One in the middle, one after a validation, one by PQ, the last; all kinds within the time of a test.
    chosen = [
        starts[0],
        next(p for p in starts if "step4-last" in p.name),
        next(p for p in starts if "best" in p.name),
        starts[-1],
    ]
    for number, start in enumerate(chosen):
        again = tmp_path / f"again{number}"
        shutil.copytree(output, again)
        (again / checkpoints.LAST).unlink()
        settings = trainer | {"output": str(again), "resume": str(start)}
        assert_same_weights(
            training.train(_merged(tiny_config(), trainer=settings, optim=optim)),
            output / "weights.safetensors",
        )
        assert (again / "metrics.csv").read_text() == (output / "metrics.csv").read_text(), start.name


def test_kill_at_a_random_moment_loses_nothing(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = _merged(
        tiny_config(),
        optim={"max_steps": 60, "lookahead_steps": 1},
        # A checkpoint at each step, so that the kill often hits the writing of one.
        trainer={"checkpoint_interval": 1, "val_interval": 30, "resume": "last"},
    )
    straight = training.train(_merged(config, trainer={"output": str(tmp_path / "straight")}))
    last = Path(config.trainer.output) / checkpoints.LAST
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(config_to_dict(config)))
    command = [sys.executable, "-m", "axial_deeplab.cli.main", "train", "--config", str(settings)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not last.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert 0 < torch.load(last, weights_only=True)["global_step"] < 60
    assert_same_weights(training.train(config), straight)
    assert not list(last.parent.glob(".axial-deeplab-*")), "half-written files are cleared away"
    assert (last.parent / "metrics.csv").read_text() == (straight.parent / "metrics.csv").read_text()


def _metrics(folder: Path) -> dict[str, list[float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def test_new_run_does_not_overwrite_a_run(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    training.train(config)
    with pytest.raises(
        ValueError, match=r"trainer.output must be a folder without last.ckpt, got .*; give --resume"
    ):
        training.train(config)
    before = (Path(config.trainer.output) / checkpoints.LAST).read_bytes()
    # A finished run that is resumed has nothing left to do but to write its weights.
    weights = training.train(_merged(config, trainer={"resume": "last"}))
    assert (Path(config.trainer.output) / checkpoints.LAST).read_bytes() == before
    load_weights(weights)


def test_training_shorter_than_the_interval_is_scored_at_its_end(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(trainer={"val_interval": 500}, optim={"max_steps": 5})
    training.train(config)
    assert len(_metrics(Path(config.trainer.output))["val/PQ"]) == 1
    told = capsys.readouterr().out
    assert (
        f"learns from {config.data.train.json}, 7 images; is validated on {config.data.val.json}, 2 images"
        in told
    )


def test_no_validation_data_no_validation(tiny_config: MakeConfig) -> None:
    config = tiny_config(data={"val": {}})
    training.train(config)
    output = Path(config.trainer.output)
    assert (output / checkpoints.LAST).exists()
    assert not (output / checkpoints.BEST).exists()


def test_starts_from_weights(
    tiny_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = training.train(tiny_config())
    again = _merged(
        tiny_config(), model={"weights": str(weights)}, trainer={"output": str(tmp_path / "fine")}
    )
    training.train(again)
    assert "tensors loaded" in capsys.readouterr().out
    first_loss = {folder: _metrics(tmp_path / folder)["train/total"][0] for folder in ("run", "fine")}
    assert first_loss["fine"] < first_loss["run"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"trainer": {"batch_size": 5, "accumulate": 2}},
            "trainer.batch_size must be a multiple of .* 1 x 2, got 5",
        ),
        ({"trainer": {"devices": 0}}, "trainer must be settings that this machine can run, got: "),
        ({"trainer": {"accelerator": "gpuu"}}, "trainer must be settings that this machine can run, got: "),
        ({"trainer": {"strategy": "dpp"}}, "trainer must be settings that this machine can run, got: "),
        ({"trainer": {"precision": "17"}}, "trainer must be settings that this machine can run, got: "),
        ({"trainer": {"resume": "nowhere.ckpt"}}, "trainer.resume must be a checkpoint, got nowhere.ckpt"),
        ({"model": {"name": "axial_deeplab_q"}}, "name must be a network of list_models"),
        ({"data": {"train": {}}}, "data.train.images must be a path, got null"),
    ],
)
def test_refuses(sections: dict[str, Any], message: str, tiny_config: MakeConfig) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        training.train(tiny_config(**sections))


def test_refuses_a_checkpoint_of_another_run(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config()
    training.train(config)
    last = str(Path(config.trainer.output) / checkpoints.LAST)
    with pytest.raises(
        ValueError, match=r"optim.lr must be 0.01 as in .*last.ckpt, got 0.5; leave it, or start"
    ):
        training.train(_merged(config, trainer={"resume": last}, optim={"lr": 0.5}))
    with pytest.raises(ValueError, match=r"model.overrides.num_heads must be 2 as in"):
        training.train(_merged(config, trainer={"resume": last}, model={"overrides": {"num_heads": 4}}))
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(Path(last).read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"trainer\.resume must be a checkpoint of `axial-deeplab train`, got .*broken"
    ):
        training.train(_merged(config, trainer={"resume": str(broken)}))
    other = tmp_path / "other.json"
    other.write_text(Path(config.data.train.json or "").read_text().replace("disc", "ball"))
    data = {"train": {**vars(config.data.train), "json": str(other)}, "val": {}}
    with pytest.raises(
        ValueError,
        match=r"data.train.json must have the categories of trainer.resume .*; they differ in id 8 \(ball\)",
    ):
        training.train(_merged(config, trainer={"resume": last}, data=data))
    data = {"train": {**vars(config.data.train), "json": str(other)}}
    with pytest.raises(ValueError, match=r"data.val.json must have the categories of data.train.json"):
        training.train(_merged(config, trainer={"output": str(tmp_path / "new")}, data=data))


def test_broken_image_is_one_line_also_from_a_worker(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(trainer={"num_workers": 1})
    images = tmp_path / "images"
    shutil.copytree(config.data.train.images or "", images)
    for path in images.iterdir():
        path.write_bytes(path.read_bytes()[:300])
    data = {"train": {**vars(config.data.train), "images": str(images)}}
    with pytest.raises(ValueError, match=r"images/\d\.png") as caught:
        training.train(_merged(config, data=data))
    assert "Traceback" not in str(caught.value)


def _merged(config: Config, **sections: dict[str, Any]) -> Config:
    settings = config_to_dict(config)
    for section, values in sections.items():
        settings[section] |= values
    return config_from_dict(settings)
