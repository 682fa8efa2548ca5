"""SIGTERM and Ctrl-C end a training in one line, with its checkpoint, and without a success."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from axial_deeplab.config.schema import config_to_dict
from axial_deeplab.util.termination import EXIT_STATUS, Terminated
from lazy_modules import LazyModule

checkpoints = LazyModule("axial_deeplab.training.checkpoints")
training = LazyModule("axial_deeplab.training.train")

MakeConfig = Callable[..., Any]


def start(config: Any, path: Path) -> subprocess.Popen[str]:
    path.write_text(yaml.safe_dump(config_to_dict(config)))
    words = [sys.executable, "-m", "axial_deeplab", "train", "--config", str(path)]
    return subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    )


def heed_ctrl_c() -> None:
    """Handle SIGINT as in the foreground; what runs in the background may ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def endless_training(tiny_config: MakeConfig, folder: Path, num_workers: int) -> subprocess.Popen[str]:
    """Start a training that writes no checkpoint of its own, and return it after its first steps."""
    trainer = {
        "num_workers": num_workers,
        "checkpoint_interval": 100_000,
        "val_interval": 100_000,
        "output": str(folder / "run"),
    }
    process = start(tiny_config(trainer=trainer, optim={"max_steps": 100_000}), folder / "config.yaml")
    metrics = folder / "run" / "metrics.csv"
    end = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("num_workers", "whole_group"), [(0, False), (1, False), (1, True)])
def test_sigterm(tiny_config: MakeConfig, tmp_path: Path, num_workers: int, whole_group: bool) -> None:
    process = endless_training(tiny_config, tmp_path, num_workers)
    if whole_group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    _, words = process.communicate(timeout=60)
    assert process.returncode == EXIT_STATUS == 143
    assert "Traceback" not in words
    (line,) = [line for line in words.splitlines() if "stopped by SIGTERM" in line]
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    if not whole_group:  # there, the step may end for want of images
        step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
        assert line == f"axial-deeplab: stopped by SIGTERM at step {step}; go on with --resume"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ctrl_c_ends_after_the_step(tiny_config: MakeConfig, tmp_path: Path, num_workers: int) -> None:
    process = endless_training(tiny_config, tmp_path, num_workers)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in words
    step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert step > 0
    assert words.endswith(f"\naxial-deeplab: stopped at step {step}; go on with --resume\n")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_second_ctrl_c_ends_at_once(
    tiny_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def press_twice(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the step went on")

    monkeypatch.setattr(checkpoints.Checkpoints, "on_train_batch_end", press_twice)
    config = tiny_config(trainer={"output": str(tmp_path / "run")}, optim={"max_steps": 10})
    before = signal.getsignal(signal.SIGINT)
    heed_ctrl_c()
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped at step 1; there is no checkpoint yet"):
            training.train(config)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Ctrl-C again ends at once" in capsys.readouterr().err
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_sigterm_after_the_last_look_at_a_step(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_of_batch = checkpoints.Checkpoints.on_train_batch_end

    def end_of_batch_and_sigterm(self: Any, trainer: Any, *arguments: Any) -> None:
        end_of_batch(self, trainer, *arguments)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(checkpoints.Checkpoints, "on_train_batch_end", end_of_batch_and_sigterm)
    output = tmp_path / "run"
    config = tiny_config(
        trainer={"output": str(output), "checkpoint_interval": 1000, "val_interval": 1000},
        optim={"max_steps": 10},
    )
    with pytest.raises(Terminated) as stopped:
        training.train(config)
    assert stopped.value.message == "stopped by SIGTERM at step 3; go on with --resume"
    assert torch.load(output / "last.ckpt", weights_only=True)["global_step"] == 3


def test_validation_set_without_a_score_is_told(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "axial_deeplab.evaluation.panoptic_quality.PanopticQuality.update", lambda *_, **__: None
    )
    config = tiny_config(
        trainer={"output": str(tmp_path / "run"), "val_interval": 5}, optim={"max_steps": 10}
    )
    with pytest.warns(UserWarning, match="of the validation set is not defined") as warned:
        training.train(config)
    assert len([w for w in warned if "not defined" in str(w.message)]) == 1
    assert not (tmp_path / "run" / "best.ckpt").exists()
