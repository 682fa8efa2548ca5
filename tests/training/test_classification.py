"""Training a classification network: what it learns and leaves, averages, exact resuming, refusals."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from axial_deeplab.cli.main import main
from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.evaluation.classification import evaluate_classifier
from axial_deeplab.weights.loaded import load_weights
from lazy_modules import LazyModule

checkpoints = LazyModule("axial_deeplab.training.checkpoints")
training = LazyModule("axial_deeplab.training.train")

CLASSES = {"blue": (20, 40, 200), "green": (30, 200, 40), "red": (210, 30, 20)}
TINY_OVERRIDES = {"width_multiplier": 0.0625, "depths": [1, 1, 1, 1], "num_heads": 2, "max_span": 9}

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write images of three colors, in class folders, for training and validation."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for name, color in CLASSES.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = rng.integers(-20, 21, (24, 30, 3))
                Image.fromarray((np.array(color) + noise).astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def color_config(colors: Path, tmp_path: Path) -> MakeConfig:
    """Return a function that makes settings; arguments replace keys of a section."""

    def make(**sections: dict[str, Any]) -> Config:
        root = str(colors)
        settings: dict[str, Any] = {
            "model": {"name": "axial_resnet_nano", "overrides": TINY_OVERRIDES},
            "data": {
                "format": "image_folder",
                "train": {"root": root, "split": "train"},
                "val": {"root": root, "split": "val"},
            },
            "augmentation": {"crop_size": [16, 16], "color_jitter": 0.1},
            "classification": {"label_smoothing": 0.1, "val_size": 18, "val_batch_size": 4},
            "optim": {"optimizer": "sgd", "schedule": "cosine", "lr": 0.2, "warmup_steps": 2, "max_steps": 12,
                      "weight_decay": 1e-4, "ema_decay": 0.7},
            "trainer": {
                "batch_size": 6,
                "accelerator": "cpu",
                "num_workers": 0,
                "val_interval": 4,
                "checkpoint_interval": 3,
                "log_interval": 1,
                "output": str(tmp_path / "run"),
                "progress_bar": False,
            },
        }  # fmt: skip
        for section, values in sections.items():
            settings[section] |= values
        return config_from_dict(settings)

    return make


def _metrics(folder: Path) -> dict[str, list[float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def test_learns_colors_and_leaves_weights_that_evaluate_alike(
    color_config: MakeConfig, colors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # At the rate of the other tests the outcome is a matter of chance: of rounding, too.
    config = color_config(optim={"max_steps": 48, "lr": 0.02})
    weights = training.train(config)
    assert "axial_resnet_nano: 0." in capsys.readouterr().out
    metrics = _metrics(weights.parent)
    assert list(metrics) == ["step", "train/loss", "train/lr", "val/top1", "val/top5"]
    assert metrics["train/loss"][-1] < 0.8 * metrics["train/loss"][0]
    assert metrics["val/top5"][-1] == 100, "there are but three classes"
    assert metrics["val/top1"][-1] > 60
    loaded = load_weights(weights)
    assert loaded.categories.names == ("blue", "green", "red")
    assert loaded.metadata["classification"] == {"crop_size": [16, 16], "shorter_side": 18}
    result = evaluate_classifier(weights, config.data, device="cpu", batch_size=2)
    assert result.num_images == 9
    assert result.top1 == pytest.approx(metrics["val/top1"][-1], abs=1e-4)
    assert evaluate_classifier(weights, config.data, device="cpu", limit=2).num_images == 2
    best = evaluate_classifier(weights.parent / checkpoints.BEST, config.data, device="cpu")
    capsys.readouterr()
    words = ["--format", "image_folder", "--root", str(colors), "--split", "val", "--device", "cpu"]
    assert main(["evaluate", "--weights", str(weights), *words]) == 0
    assert capsys.readouterr().out == f"{result.to_text()}\nmeasured on {colors} val\n"
    assert main(["evaluate", "--weights", str(weights), *words, "--report", str(weights.parent)]) == 2
    assert "with --format image_folder, got --report; leave it out" in capsys.readouterr().err
    assert best.top1 == pytest.approx(max(metrics["val/top1"]), abs=1e-4)


def test_network_of_one_channel_sees_grey(color_config: MakeConfig) -> None:
    overrides = {**TINY_OVERRIDES, "in_channels": 1}
    config = color_config(model={"name": "axial_resnet_nano", "overrides": overrides})
    weights = training.train(config)
    assert load_weights(weights).metadata["model"]["in_channels"] == 1
    top1 = evaluate_classifier(weights, config.data, device="cpu").top1
    assert top1 == pytest.approx(_metrics(weights.parent)["val/top1"][-1], abs=1e-4)


def test_average_is_validated_and_left(color_config: MakeConfig) -> None:
    output = training.train(color_config()).parent
    state = torch.load(output / checkpoints.LAST, weights_only=True)["state_dict"]
    left = load_file(output / "weights.safetensors")
    kernel = "stem.conv1.conv.weight"
    assert torch.equal(left[kernel], state[f"average.{kernel}"])
    assert not torch.equal(left[kernel], state[f"model.{kernel}"])
    assert torch.equal(load_weights(output / checkpoints.LAST).model.state_dict()[kernel], left[kernel])


def test_resuming_is_exact_also_with_other_workers(
    color_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []
    write = checkpoints.Checkpoints._write

    def write_and_copy(self: Any, trainer: Any, name: str) -> None:
        write(self, trainer, name)
        copy = tmp_path / f"step{trainer.global_step}-{name}"
        kept.append(copy)
        shutil.copy(self.folder / name, copy)

    monkeypatch.setattr(checkpoints.Checkpoints, "_write", write_and_copy)
    trainer = {"accumulate": 2}
    straight = training.train(color_config(trainer=trainer))
    for num_workers, name in enumerate(("step12-last.ckpt", "step3-last.ckpt")):
        again = tmp_path / f"again-{name}"
        shutil.copytree(straight.parent, again)
        (again / checkpoints.LAST).unlink()
        settings = {"output": str(again), "resume": str(tmp_path / name), "num_workers": num_workers}
        resumed = training.train(color_config(trainer=trainer | settings))
        one, other = load_file(straight), load_file(resumed)
        assert all(torch.equal(one[key], other[key]) for key in one), name
        assert (again / "metrics.csv").read_text() == (straight.parent / "metrics.csv").read_text()


def test_refuses(color_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"data\.format must be image_folder for classification, got coco"):
        training.train(color_config(data={"format": "coco"}))
    with pytest.raises(ValueError, match=r"data\.train\.root must be a path, got null"):
        training.train(color_config(data={"train": {}}))
    with pytest.raises(ValueError, match=r"shorter_side must be at least the crop .*, got 12"):
        training.train(color_config(classification={"val_size": 12}))
    with pytest.raises(ValueError, match=r"area_range must be two numbers in \(0, 1\] in rising order"):
        training.train(color_config(classification={"area_range": (0.5, 2.0)}))
    with pytest.raises(ValueError, match=r"aspect_range must be two positive numbers in rising order"):
        training.train(color_config(classification={"aspect_range": (2.0, 1.0)}))
    with pytest.raises(ValueError, match=r"weights must be of a classification network .* got axial_deeplab"):
        evaluate_classifier("axial_deeplab_nano_scenes", color_config().data, device="cpu")


def test_pretrained_backbone_starts_a_panoptic_network(
    color_config: MakeConfig,
    tiny_config: MakeConfig,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    weights = training.train(color_config())
    settings = config_to_dict(tiny_config(optim={"max_steps": 5}))
    settings["model"]["weights"] = str(weights)
    # Another length of the tables, as the change from small to large images asks for.
    settings["model"]["overrides"]["max_span"] = 33
    settings["trainer"]["output"] = str(tmp_path / "panoptic")
    capsys.readouterr()
    training.train(config_from_dict(settings))
    printed = capsys.readouterr().out
    assert f"{weights}: " in printed
    assert "250 tensors loaded" in printed
    assert "24 resized: " in printed
    assert "126 reinitialized: " in printed
    assert "2 unused: classifier.bias, classifier.weight" in printed
