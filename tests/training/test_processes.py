"""Several processes: they learn what one does, share the validation, and survive the loss of one."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from axial_deeplab.config.schema import Config, config_from_dict, config_to_dict
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.training.sample_stream import SampleStream, ValidationShare
from axial_deeplab.weights.loaded import load_weights
from lazy_modules import LazyModule

checkpoints = LazyModule("axial_deeplab.training.checkpoints")
training = LazyModule("axial_deeplab.training.train")

MakeConfig = Callable[..., Config]
TINY_MODEL = {
    "name": "axial_deeplab_nano",
    "overrides": {"width_multiplier": 0.0625, "depths": [1, 1, 1, 1], "num_heads": 2, "max_span": 9},
}
COMMAND = [sys.executable, "-m", "axial_deeplab.cli.main", "train", "--config"]
# Long enough for the busiest machine; what should end ends within seconds.
PATIENCE = 240


@pytest.fixture(scope="session")
def one_image_an_item(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write so many scenes that five batches of four see each at most once."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(output=folder, num_images=20, seed=3, height=40, width=48)
    return {name: str(folder / name) for name in ("images", "panoptic")} | {
        "json": str(folder / "panoptic.json")
    }


@pytest.fixture(scope="session")
def five_steps(one_image_an_item: dict[str, str]) -> MakeConfig:
    """Return a function that makes settings of five steps and writes them to a file.

    In float64 what runs differ by is what they do, not how they round.
    """

    def make(output: Path, *, lr: float = 1e-3, precision: str = "64-true", **trainer: Any) -> Config:
        settings = {
            "model": TINY_MODEL,
            "data": {"train": one_image_an_item, "val": one_image_an_item, "val_limit": 3},
            "augmentation": {"crop_size": [33, 33], "color_jitter": 0.2},
            "optim": {"lr": lr, "max_steps": 5, "warmup_steps": 0, "lookahead_steps": 1},
            "trainer": {"batch_size": 4, "accelerator": "cpu", "num_workers": 0, "log_interval": 1,
                        "val_interval": 5, "checkpoint_interval": 2, "progress_bar": False,
                        "output": str(output), "precision": precision, **trainer},
        }  # fmt: skip
        output.with_suffix(".yaml").write_text(yaml.safe_dump(settings))
        return config_from_dict(settings)

    return make


def run_alone(config: Config) -> None:
    """Run the command, which starts the other process itself."""
    settings = Path(config.trainer.output).with_suffix(".yaml")
    done = subprocess.run(
        [*COMMAND, str(settings)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 images in total = 2 devices x 1 accumulated x 2") == 1


def start_as_torchrun_does(*configs: Config) -> list[subprocess.Popen[str]]:
    """Start two processes with the environment that torchrun gives them, or one on each of two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = len(configs) > 1
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1" if several else "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    ranks = [{"GROUP_RANK": str(rank if several else 0), "LOCAL_RANK": str(0 if several else rank),
              "RANK": str(rank)} for rank in range(2)]  # fmt: skip
    return [
        subprocess.Popen(
            [*COMMAND, str(Path(configs[rank % len(configs)].trainer.output).with_suffix(".yaml"))],
            env={**os.environ, **shared, **ranks[rank]},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def metrics(folder: Path) -> dict[str, list[float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def assert_close(one: Path, other: Path) -> None:
    """Compare losses, scores and weights of two runs to 1e-5."""
    a, b = metrics(one), metrics(other)
    assert a.keys() == b.keys()
    for name, values in a.items():
        # The file has six digits.
        assert b[name] == pytest.approx(values, rel=1e-5, abs=1e-5), name
    for name, tensor in load_file(one / "weights.safetensors").items():
        other_tensor = load_file(other / "weights.safetensors")[name]
        torch.testing.assert_close(
            other_tensor, tensor, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_two_processes_learn_what_one_does(five_steps: MakeConfig, tmp_path: Path) -> None:
    training.train(five_steps(tmp_path / "one"))
    run_alone(five_steps(tmp_path / "two", devices=2, strategy="ddp"))
    assert_close(tmp_path / "one", tmp_path / "two")


def test_loss_of_a_process_ends_the_run_with_an_error_and_the_run_resumes(
    five_steps: MakeConfig, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = {"devices": 2, "strategy": "ddp", "precision": "32-true"}
    run_alone(five_steps(whole, **settings))
    config = five_steps(killed, **settings, resume="last")
    last = killed / "last.ckpt"
    # In the fourth step the second process waits for an image that never comes, until it is killed.
    stream = SampleStream(20, batch_size=2, num_batches=5, seed=config.trainer.seed, rank=1, world_size=2)
    image = Path(config.data.train.images or "") / f"{stream.sample(3 * 4 + 2)[1]:06d}.jpg"
    kept = image.rename(image.parent.parent / image.name)
    os.mkfifo(image)
    processes = start_as_torchrun_does(config)
    try:
        wait_for(last.exists, processes)
        processes[1].send_signal(signal.SIGKILL)
        _, message = processes[0].communicate(timeout=PATIENCE)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        image.unlink()
        kept.rename(image)
    assert processes[0].returncode == 2
    assert "error: the 2 training processes must all run to the end, got a process that ended" in message
    assert "then go on with --resume" in message
    assert "Traceback" not in message
    assert torch.load(last, weights_only=True)["global_step"] == 2
    for process in start_as_torchrun_does(config):
        _, message = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, message
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    # The line of the step of the checkpoint may be lost, if the kill came right after it.
    lines, all_lines = ((folder / "metrics.csv").read_text().splitlines() for folder in (killed, whole))
    assert set(lines) <= set(all_lines)
    assert len(all_lines) - len(lines) <= 1


@pytest.mark.parametrize(
    ("num_images", "message"),
    [
        (19, "number of images must be the same on all machines, got 20, 19; give all the same data.train"),
        (None, "the 2 training processes must all run to the end, got a process that ended or cannot be"),
    ],
)
def test_what_is_wrong_on_one_machine_ends_both(
    five_steps: MakeConfig, tmp_path: Path, num_images: int | None, message: str
) -> None:
    one, other = (
        five_steps(tmp_path / name, devices=1, num_nodes=2, strategy="ddp") for name in ("one", "other")
    )
    document = json.loads(Path(one.data.train.json or "").read_text())
    for name in ("images", "annotations"):
        document[name] = document[name][:num_images]
    path = tmp_path / "fewer.json"
    if num_images is not None:
        path.write_text(json.dumps(document))
    settings = (tmp_path / "other.yaml").read_text()
    (tmp_path / "other.yaml").write_text(settings.replace(one.data.train.json or "", str(path)))
    processes = start_as_torchrun_does(one, other)
    errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert message in errors[0]
    assert not any("Traceback" in error for error in errors)


def test_processes_with_a_part_of_the_parameters_each_learn_what_one_does(
    five_steps: MakeConfig, tmp_path: Path
) -> None:
    # Sharded training has no float64; small steps keep rounding from growing.
    settings = {"lr": 1e-5, "precision": "32-true"}
    whole, sharded = tmp_path / "whole", tmp_path / "sharded"
    training.train(five_steps(whole, **settings))
    run_alone(five_steps(sharded, devices=2, strategy="fsdp", **settings))
    assert_close(whole, sharded)
    load_weights(sharded / "last.ckpt")
    with pytest.raises(ValueError, match=r"trainer.strategy must be fsdp as in .*last.ckpt, got auto"):
        training.train(five_steps(sharded, resume="last", **settings))


def wait_for(condition: Callable[[], bool], processes: Sequence[subprocess.Popen[str]]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        assert all(process.poll() is None for process in processes), "a process ended too early"
        time.sleep(0.05)


def test_shared_validation_is_exactly_that_of_one_process(one_image_an_item: dict[str, str]) -> None:
    data = CocoPanopticDataset(*one_image_an_item.values(), limit=7)
    loaded = load_weights("axial_deeplab_nano_scenes")
    post_processing = PostProcessing(data.categories.thing_ids, stuff_area=8, center_threshold=0.1)

    def evaluate(world_size: int) -> dict[str, Any]:
        states = []
        for rank in range(world_size):
            evaluator = PanopticEvaluator(data.categories, post_processing)
            for batch in ValidationShare(len(data), rank=rank, world_size=world_size):
                for index in batch:
                    evaluator.update(loaded.model, data[index])
            states.append(evaluator.state())
        evaluator.load_states(states)
        result = evaluator.compute()
        assert result.num_images == 7
        return {"panoptic": result.panoptic.to_json(), "semantic": result.semantic.to_json()}

    alone = evaluate(1)
    assert 0 < alone["panoptic"]["All"]["pq"] < 100
    for world_size in (2, 3, 8):
        assert evaluate(world_size) == alone


def test_number_of_workers_and_open_files_stays_the_same_over_epochs(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[tuple[int, int]] = []
    write = checkpoints.Checkpoints._write

    def write_and_count(self: Any, trainer: Any, name: str) -> None:
        write(self, trainer, name)
        if name == "last.ckpt":
            counts.append((len(children()), num_open_files()))

    monkeypatch.setattr(checkpoints.Checkpoints, "_write", write_and_count)
    before = children()
    settings = config_to_dict(tiny_config())
    # Seven images, seven in a batch: each step is an epoch, and each is followed by a validation.
    settings["optim"] |= {"max_steps": 6, "lookahead_steps": 1, "warmup_steps": 0}
    settings["trainer"] |= {"batch_size": 7, "num_workers": 2, "val_interval": 1, "checkpoint_interval": 1}
    training.train(config_from_dict(settings))
    assert len(counts) == 6
    assert counts[0][0] == len(before) + 4, "two workers read for the training, two for the validation"
    assert len(set(counts[1:])) == 1, counts
    assert children() <= before, "workers outlive the training"


def num_open_files() -> int:
    """Return how many files, pipes and sockets are open, but for the batches that wait in shared memory."""
    targets = []
    for number in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(os.readlink(number))
    return sum("/dev/shm/" not in target for target in targets)


def children() -> set[int]:
    """Return the ids of this process's children."""
    return {
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
    }
