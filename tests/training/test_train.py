"""Training: what it leaves, resuming exactly, kills, several processes, refusals."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from axial_deeplab.config.parse import read_config
from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.evaluation.evaluate import evaluate
from axial_deeplab.prediction.doubts import Certainty, doubt_of_scores
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.training.panoptic import panoptic_task
from axial_deeplab.training.train import _precision
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
    # What is usual on the validation images is not low, so that these are not doubted.
    predictor = Predictor(weights, "cpu")
    certainties = [predictor(path).certainty for path in sorted(Path(config.data.val.images or "").iterdir())]
    usual = Certainty(*Certainty.usual_lowest(certainties)[:2]).to_json()
    assert loaded.metadata["low_scores"] == pytest.approx(usual, abs=0.011)
    assert doubt_of_scores(certainties, predictor.low_scores) == ""
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


@pytest.fixture
def five_channels(tiny_config: MakeConfig, tmp_path: Path) -> Config:
    """Return the settings of a training on channels 2, 1 and 5 of TIFF files."""
    data = dict(vars(tiny_config().data.train))
    (tmp_path / "tiff").mkdir()
    document = Path(data["json"]).read_text()
    for path in sorted(Path(data["images"]).iterdir()):
        with Image.open(path) as image:
            color = np.asarray(image)
        values = np.concatenate([color, 40 * color[..., 1:]], axis=2).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"tiff/{path.stem}.tif", values, planarconfig="contig", photometric="rgb")
        document = document.replace(
            f'"file_name": "{path.name}", "height"', f'"file_name": "{path.stem}.tif", "height"'
        )
    (tmp_path / "tiff.json").write_text(document)
    data |= {"images": str(tmp_path / "tiff"), "json": str(tmp_path / "tiff.json")}
    return tiny_config(
        data={"train": data, "val": data, "channels": [2, 1, 5, 4], "value_range": "0 255"},
        augmentation={
            "crop_size": [65, 33],
            "color_jitter": 0.0,
            "rotation": 10.0,
            "intensity": {"stain": 0.2},
        },
    )


def test_channels_of_tiff_files(
    five_channels: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = training.train(five_channels)
    metadata = load_weights(weights).metadata
    assert metadata["view"]["channels"] == [2, 1, 5, 4]
    assert metadata["view"]["num_channels"] == 5
    assert metadata["model"]["in_channels"] == 4
    files = sorted((tmp_path / "tiff").iterdir())
    values = np.concatenate([tifffile.imread(path).reshape(-1, 5)[:, [1, 0, 4, 3]] for path in files])
    np.testing.assert_allclose(metadata["model"]["pixel_mean"], values.clip(0, 255).mean(axis=0), atol=6e-4)
    np.testing.assert_allclose(metadata["model"]["pixel_std"], values.clip(0, 255).std(axis=0), atol=6e-4)
    # The validation of the training, and that of the weights alone, read the same.
    last = (Path(five_channels.trainer.output) / "metrics.csv").read_text().splitlines()[-1]
    assert last.split(",")[6:] == [
        f"{value:.6g}" for value in evaluate(weights, five_channels.data).summary().values()
    ]
    predictor = Predictor(weights, "cpu")
    found = predictor(files[0])
    assert found.image.shape == (40, 52, 4)
    assert found.draw().size == (52, 40)
    np.testing.assert_array_equal(predictor(found.image).segmentation, found.segmentation)
    tifffile.imwrite(tmp_path / "four.tif", values[: 40 * 52].reshape(40, 52, 4), planarconfig="contig")
    with pytest.raises(
        ValueError, match=r"four\.tif must have 5 channels as the pictures of the training, got 4"
    ):
        predictor(tmp_path / "four.tif")
    with pytest.raises(
        ValueError, match=r"array \(H, W, 4\) .* got shape \(40, 52, 3\); .* channels of the net"
    ):
        predictor(np.zeros((40, 52, 3), np.uint8))
    chosen = Predictor(weights, "cpu", channels=(1, 2, 3, 4))(tmp_path / "four.tif")
    np.testing.assert_array_equal(chosen.segmentation, found.segmentation)
    with pytest.raises(
        ValueError, match=r"channels must be 4 for axial_deeplab_nano with these weights, got 2"
    ):
        Predictor(weights, "cpu", channels=(1, 2))
    # Weights of RGB start a network of four channels, and say how.
    again = {"output": str(tmp_path / "again")}
    capsys.readouterr()
    model = {"weights": "axial_deeplab_nano_scenes", "overrides": {}}
    training.train(
        _merged(five_channels, model=model, trainer=again, optim={"max_steps": 5, "warmup_steps": 1})
    )
    assert re.search(r"1 resized: backbone\.stem\.\S+ \S+x3x3x3 -> \S+x4x3x3", capsys.readouterr().out)
    # What the channels were normalized by is a part of the run.
    resumed = {"trainer": {"resume": "last"}, "optim": {"max_steps": 15}}
    assert training.train(_merged(five_channels, **resumed)) == weights
    tifffile.imwrite(files[0], np.zeros((40, 52, 5), np.uint16), planarconfig="contig")
    with pytest.raises(
        ValueError, match=r"data\.train must have the images whose channels \S+ was normalized by"
    ):
        training.train(_merged(five_channels, trainer={"resume": "last"}))


def test_channels_that_contradict_each_other_are_refused(five_channels: Config, tmp_path: Path) -> None:
    def refused(**changes: Any) -> str:
        with pytest.raises(ValueError, match="must") as caught:
            training.train(_merged(five_channels, **changes))
        return str(caught.value)

    overrides = five_channels.model.overrides
    three = refused(model={"overrides": {**overrides, "in_channels": 3}})
    assert "model.overrides.in_channels must be 4, as many as data.channels, got 3; leave it out" in three
    none = refused(model={"overrides": {**overrides, "in_channels": 4}}, data={"channels": None})
    assert "data.channels must be 4 numbers of channels for model.overrides.in_channels 4, got null" in none
    jitter = refused(augmentation={"color_jitter": 0.1})
    assert "augmentation.color_jitter must be 0 for images of 4 channels, got 0.1" in jitter
    assert "data.channels must be null or numbers from 1 on" in refused(data={"channels": [0]})
    assert "0.tif must have channel 6, got 5 channels (40 x 52 pixels" in refused(data={"channels": [6]})
    tifffile.imwrite(tmp_path / "tiff/3.tif", np.zeros((40, 52, 6), np.uint16), planarconfig="contig")
    assert "3.tif must have 5 channels as " in refused()


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


@pytest.mark.parametrize("val", [{}, None])
def test_a_training_that_diverges_is_stopped_before_it_is_written(
    val: dict[str, Any] | None, tiny_config: MakeConfig
) -> None:
    config = tiny_config(
        optim={"lr": 1e9, "warmup_steps": 0}, **({} if val is None else {"data": {"val": val}})
    )
    with pytest.raises(ValueError, match=r"weights must stay finite, got NaN .* has diverged; give a lower"):
        training.train(config)
    for name in (checkpoints.LAST, checkpoints.BEST, "weights.safetensors"):
        assert not (Path(config.trainer.output) / name).exists()


def test_a_set_without_stuff_is_told(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config()
    document = json.loads(Path(config.data.train.json or "").read_text())
    for category in document["categories"]:
        category["isthing"] = 1
    (tmp_path / "things.json").write_text(json.dumps(document))
    data = {
        part: {**vars(getattr(config.data, part)), "json": str(tmp_path / "things.json")}
        for part in ("train", "val")
    }
    with pytest.warns(UserWarning, match=r"things.json: no category is stuff, so that .* --background NAME"):
        panoptic_task(_merged(config, data=data))


def test_nothing_to_learn_from_is_refused(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config()
    document = json.loads(Path(config.data.train.json or "").read_text())
    for annotation in document["annotations"]:
        annotation["segments_info"] = []
    (tmp_path / "void.json").write_text(json.dumps(document))
    data = {"train": {**vars(config.data.train), "json": str(tmp_path / "void.json")}}
    with pytest.raises(ValueError, match=r"void.json must have segments to learn from, got none in 7 images"):
        training.train(_merged(config, data=data))


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
    steps = config.optim.max_steps
    with pytest.raises(ValueError, match=rf"max_steps must be at least {steps}, the step of .*, got 5;"):
        training.train(_merged(config, trainer={"resume": last}, optim={"max_steps": 5}))
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


@pytest.mark.parametrize("kind", ["bf16", "16"])
def test_moving_averages_in_half_precision_are_told(kind: str) -> None:
    with pytest.warns(UserWarning, match=f"averages in half precision, which .*; take {kind}-mixed"):
        assert _precision(f"{kind}-true", "cpu") == f"{kind}-true"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [_precision(each, "cpu") for each in (f"{kind}-mixed", "auto")] == [f"{kind}-mixed", "32-true"]
