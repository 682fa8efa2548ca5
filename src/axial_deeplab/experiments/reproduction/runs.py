"""One run: a network trained with one seed by the shared recipe, then measured on images held out.

A run is a folder. It goes on where it was stopped; when it is finished it has run.json, from which alone the
tables are made: that file is enough to add seeds on another machine.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

from axial_deeplab.config.files import read_settings
from axial_deeplab.config.schema import (
    Config,
    DataConfig,
    ModelConfig,
    SplitConfig,
    config_from_dict,
    config_to_dict,
)
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.scenes import SCENES_VERSION, write_scenes
from axial_deeplab.evaluation.evaluate import evaluate
from axial_deeplab.experiments.losses import read_losses
from axial_deeplab.experiments.reproduction.equal_madds import madds, model_arguments, parameters
from axial_deeplab.experiments.reproduction.networks import BASE, LOSSES, STRESS_SCALES, Network
from axial_deeplab.experiments.stress import stress_test
from axial_deeplab.util.files import write_text

SETTINGS = "config.yaml"
RUN = "run.json"
STRESS = "stress.json"
CPU_SECONDS = "cpu_seconds.txt"

HEIGHT, WIDTH = 128, 192
# The scenes of seed 1 chose the recipe; those of seed 2 nobody has seen. There are as many as half a minute
# can measure: over 100 of them, chance in the scenes alone moves a difference of two networks by 1.1 in PQ.
TRAIN_SCENES = {"num_images": 1000, "seed": 0}
TEST_SCENES = {"num_images": 500, "seed": 2}
STRESS_IMAGES = 50

# What may differ between two runs that are compared, or between a run and what is asked of it.
OWN_SETTINGS = ("output", "resume", "seed", "progress_bar")


@dataclass(frozen=True)
class Reproduction:
    """Where the runs are, and the recipe that they share.

    Args:
        output: folder of the scenes, the runs and the tables.
        recipe: the settings but for network and seed; without data sets, scenes are drawn.
        progress: show progress bars.
    """

    output: Path
    recipe: Config
    progress: bool = False

    @property
    def on_scenes(self) -> bool:
        """Return whether the data sets are the built-in scenes."""
        return self.recipe.data == DataConfig()

    @property
    def data(self) -> DataConfig:
        """Return the settings of the data sets."""
        if not self.on_scenes:
            return self.recipe.data
        train, test = (SplitConfig(root=str(self.output / "scenes" / part)) for part in ("train", "test"))
        return DataConfig(train=train, val=test)

    def folder(self, network: Network, seed: int) -> Path:
        """Return the folder of a run."""
        return self.output / network.key / f"seed{seed}"

    def draw_scenes(self) -> None:
        """Draw the scenes that are not there yet, if they are wanted."""
        if not self.on_scenes:
            return
        for part, choice in (("train", TRAIN_SCENES), ("test", TEST_SCENES)):
            folder = self.output / "scenes" / part
            if not folder.exists():
                write_scenes(folder, **choice, height=HEIGHT, width=WIDTH, progress_bar=self.progress)

    def settings(self, network: Network, seed: int) -> Config:
        """Return the settings of a run."""
        dataset = open_dataset(self.data, "val")
        options = model_arguments(network, len(dataset.categories), self.image_size)
        # Scores after the last step: none is chosen on the scenes that measure them.
        return replace(
            self.recipe,
            model=ModelConfig(network.name, network.span, options),
            data=replace(self.data, val=SplitConfig()),
            trainer=replace(
                self.recipe.trainer,
                seed=seed,
                output=str(self.folder(network, seed)),
                resume="last",
                progress_bar=self.progress,
            ),
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """Return the height and width in pixels for which M-Adds are counted: of scenes, or of crops."""
        if not self.on_scenes:
            return self.recipe.augmentation.crop_size
        dataset = open_dataset(self.data, "val")
        height, width = dataset[0].image.shape[:2]
        return height, width

    def train_and_measure(self, network: Network, seed: int) -> None:
        """Train a network, or go on with it, and measure it; a finished run stays as it is.

        Raises:
            ValueError: the folder has a run of other settings, or one measured on more or fewer images.
            OSError: a file cannot be read or written.
        """
        # Needs an extra; pages and tables of finished runs do not.
        from axial_deeplab.training.checkpoints import LAST
        from axial_deeplab.training.train import train

        folder, config = self.folder(network, seed), self.settings(network, seed)
        if (folder / RUN).exists():
            record = json.loads((folder / RUN).read_text(encoding="utf-8"))
            _require_same_settings(folder / RUN, record["settings"], config)
            num_test_images = len(open_dataset(self.data, "val"))
            if record["num_test_images"] != num_test_images:
                raise ValueError(
                    f"number of images held out must be {record['num_test_images']} as in {folder / RUN}, "
                    f"got {num_test_images}; give another --output, or the images of that run"
                )
            return
        if (folder / SETTINGS).exists():
            _require_same_settings(folder / SETTINGS, read_settings(folder / SETTINGS), config)
        with _cpu_clock(folder / CPU_SECONDS) as cpu_seconds:
            weights = train(config)
            result = evaluate(
                weights, self.data, device="cpu", ap="cityscapes", num_workers=1, progress=self.progress
            )
        curves = read_losses(folder)
        num_classes = len(open_dataset(self.data, "val").categories)
        counted: tuple[Any, ...] = (network, config.model.overrides, num_classes, self.image_size)
        record = {
            "network": network.key,
            "seed": seed,
            "settings": _comparable(config),
            "scores": result.summary(),
            "losses": {f"{loss} loss": curves.final(f"train/{loss}") for loss in LOSSES},
            "parameters": parameters(*counted),
            "madds": madds(*counted),
            "base_madds": madds(BASE, BASE.options, num_classes, self.image_size),
            "image_size": self.image_size,
            "num_train_images": len(open_dataset(self.data, "train")),
            "num_test_images": result.num_images,
            "scenes_version": SCENES_VERSION if self.on_scenes else None,
            "cpu_seconds": cpu_seconds(),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": version("torch")},
            "machine": platform.machine(),
        }
        _write_json(folder / RUN, record)
        # Three times as large as the weights, and there is nothing to go on with.
        (folder / LAST).unlink(missing_ok=True)

    def stress(self, network: Network, seed: int) -> None:
        """Measure a finished run on magnified scenes, unless that was done."""
        folder = self.folder(network, seed)
        if (folder / STRESS).exists():
            return
        result = stress_test(
            [folder / "weights.safetensors"],
            self.data,
            scales=STRESS_SCALES,
            limit=STRESS_IMAGES,
            device="cpu",
            progress=self.progress,
        )
        scores = {
            f"PQ at {scale:g}x": quality["PQ"]
            for scale, quality in zip(result.scales, result.qualities[0], strict=True)
        }
        num_images = min(STRESS_IMAGES, len(open_dataset(self.data, "val")))
        _write_json(folder / STRESS, {"scores": scores, "num_test_images": num_images})


def _require_same_settings(path: Path, settings: dict[str, Any], config: Config) -> None:
    before, now = (_comparable(each) for each in (config_from_dict(settings), config))
    for section, settings in now.items():
        for name, value in settings.items():
            if before[section][name] != value:
                raise ValueError(
                    f"{section}.{name} must be {before[section][name]} as in {path}, got {value}; "
                    "give another --output, or the recipe of that run"
                )


def _comparable(config: Config) -> dict[str, Any]:
    """Return the settings on which the outcome depends, as JSON has them, but for data and seed."""
    settings: dict[str, Any] = json.loads(json.dumps(config_to_dict(config)))
    del settings["data"]
    for name in OWN_SETTINGS:
        del settings["trainer"][name]
    return settings


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


@contextmanager
def _cpu_clock(path: Path, interval: float = 5.0) -> Iterator[Callable[[], float]]:
    """Keep in a file how many CPU seconds all the processes of a run have taken, killed ones, too.

    It is written every `interval` seconds.
    """
    before = float(path.read_text()) if path.exists() else 0.0
    start = time.process_time()
    ended = Event()

    def seconds() -> float:
        return before + time.process_time() - start

    def write() -> None:
        write_text(path, f"{seconds():.1f}\n")

    def keep() -> None:
        while not ended.wait(interval):
            write()

    thread = Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join()
        write()
