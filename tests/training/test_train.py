"""Training: what it leaves, resuming exactly, kills, several processes, refusals."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from axial_deeplab.config import Config, config_from_dict, config_to_dict, read_config
from axial_deeplab.training.checkpoints import BEST, LAST, Checkpoints
from axial_deeplab.training.train import train
from axial_deeplab.weights import load_weights

MakeConfig = Callable[..., Config]


@pytest.fixture
def kept_checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Keep a copy of every checkpoint that a run writes."""
    copies: list[Path] = []
    write = Checkpoints._write

    def write_and_copy(self: Checkpoints, trainer: Any, name: str) -> None:
        write(self, trainer, name)
        copy = self.folder / "kept" / f"{len(copies)}-step{trainer.global_step}-{name}"
        copy.parent.mkdir(exist_ok=True)
        copies.append(copy)
        shutil.copy(self.folder / name, copy)

    monkeypatch.setattr(Checkpoints, "_write", write_and_copy)
    return copies


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def without_run(path: Path) -> str:
    return path.read_text()


def test_leaves_weights_checkpoints_settings_and_logs(tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config()
    weights = train(config)
    output = Path(config.trainer.output)
    assert weights == output / "weights.safetensors"
    loaded = load_weights(weights)
    assert loaded.metadata["post_processing"] == vars(config.post_processing)
    assert loaded.categories.names == ("ground", "box", "disc")
    for name in (LAST, BEST):
        load_weights(output / name)
    checkpoint = torch.load(output / LAST, weights_only=True)
    assert checkpoint["global_step"] == 10
    assert config_from_dict(checkpoint["axial_deeplab"]["config"]) == config
    assert read_config(str(output / "config.yaml")) == config
    assert list((output / "tensorboard").glob("events.*"))
    lines = (output / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("step,train/semantic,train/center,train/offset,train/total,train/lr,val/PQ")
    assert [line.split(",")[0] for line in lines[1:]] == [*"01234", "4", *"56789", "9"]
    printed = capsys.readouterr().out
    assert "batch size 4 images in total = 1 devices x 1 accumulated x 4; learning rate 0.01" in printed


@pytest.mark.parametrize("variant", ["plain", "accumulated"])
def test_resuming_from_any_checkpoint_is_exact(
    variant: str, tiny_config: MakeConfig, kept_checkpoints: list[Path], tmp_path: Path
) -> None:
    trainer: dict[str, Any] = {"checkpoint_interval": 2, "val_interval": 4}
    if variant == "accumulated":
        trainer |= {"accumulate": 2, "num_workers": 1}
    optim = {"lookahead_steps": 2, "gradient_clip": 1.0, "weight_decay": 0.01}
    train(_merged(tiny_config(), trainer=trainer, optim=optim))
    output = tmp_path / "run"
    starts = list(kept_checkpoints)
    steps = {int(path.name.split("step")[1].split("-")[0]) for path in starts}
    assert steps == {2, 4, 6, 8, 10}
    # One in the middle, one after a validation, one by PQ, the last; all kinds within the time of a test.
    chosen = [starts[0], next(p for p in starts if "step4-last" in p.name), next(p for p in starts if "best" in p.name), starts[-1]]
    for number, start in enumerate(chosen):
        again = tmp_path / f"again{number}"
        shutil.copytree(output, again)
        (again / LAST).unlink()
        settings = trainer | {"output": str(again), "resume": str(start)}
        assert_same_weights(train(_merged(tiny_config(), trainer=settings, optim=optim)), output / "weights.safetensors")
        assert (again / "metrics.csv").read_text() == (output / "metrics.csv").read_text(), start.name


def test_kill_at_a_write_leaves_the_checkpoint_before(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(trainer={**config_to_dict(tiny_config())["trainer"]})
    train(config)
    output = Path(config.trainer.output)
    (output / f".{LAST}.abc{LAST[4:]}").write_bytes(b"half a checkpoint")
    load_weights(output / LAST)
    train(_merged(config, trainer={"resume": "last"}))
    assert not list(output.glob(f".{LAST}.*"))


def _merged(config: Config, **sections: dict[str, Any]) -> Config:
    settings = config_to_dict(config)
    for section, values in sections.items():
        settings[section] |= values
    return config_from_dict(settings)
