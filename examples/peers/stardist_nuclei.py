"""Train StarDist 0.9.2 from scratch, then segment: see README.md.

    python stardist_nuclei.py train --minutes 40 --data data/nuclei/train --choose data/nuclei/choose \
        --output runs/stardist
    python stardist_nuclei.py predict --data data/nuclei/val_dsb2018_nuclei --output runs/stardist

The settings are those of its example of training (32 rays, grid of 2, 256 x 256 in fours, rate 3e-4, turns,
flips, intensity and noise, percentiles 1 and 99.8); the best epoch by its loss on `choose` is kept, and its
thresholds are chosen there, outside of the budget.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from common import predict, processor_seconds, read, repeats
from csbdeep.utils import normalize
from stardist.models import Config2D, StarDist2D

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
RANDOM = np.random.default_rng(0)


class Budget(keras.callbacks.Callback):
    """Stop at the end of the step at which the processor time is spent."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.steps = seconds, 0

    def on_train_batch_end(self, batch, logs=None) -> None:
        """Count the step."""
        self.steps += 1
        if self.steps % 10 == 0:
            print(f"step {self.steps}, {processor_seconds():.0f} processor seconds", flush=True)
        if processor_seconds() > self.seconds:
            self.model.stop_training = True


def scaled(image):
    """Return the image with each channel's percentiles 1 and 99.8 at 0 and 1."""
    return normalize(image, 1, 99.8, axis=(0, 1)).astype(np.float32)


def augment(image, labels):
    """Turn, flip, and change the intensity."""
    turns = RANDOM.integers(4)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if RANDOM.random() < 0.5:
        image, labels = image[::-1], labels[::-1]
    noise = RANDOM.normal(0, 0.02 * RANDOM.random(), image.shape)
    return image * RANDOM.uniform(0.6, 2) + RANDOM.uniform(-0.2, 0.2) + noise, labels


def fit(options: argparse.Namespace) -> None:
    """Train until the budget is spent, then choose the thresholds."""
    keras.utils.set_random_seed(0)
    times = repeats(options.data)
    images, labels = [], []
    for name, (image, truth) in read(options.data).items():
        images += [scaled(image)] * times[name]
        labels += [truth] * times[name]
    chosen = read(options.choose).values()
    validation = [scaled(image) for image, _ in chosen], [truth for _, truth in chosen]
    config = Config2D(
        n_rays=32, grid=(2, 2), n_channel_in=3, train_tensorboard=False, train_steps_per_epoch=options.epoch
    )
    model = StarDist2D(config, name="nuclei", basedir=str(options.output))
    model.prepare_for_training()
    budget = Budget(60 * options.minutes)
    model.callbacks.append(budget)
    history = model.train(images, labels, validation_data=validation, augmenter=augment, seed=0)
    spent = {"steps": budget.steps, "processor_seconds": processor_seconds()}
    model.optimize_thresholds(*validation)
    spent["processor_seconds_of_the_thresholds"] = processor_seconds() - spent["processor_seconds"]
    spent["history"] = {key: [float(value) for value in values] for key, values in history.history.items()}
    (options.output / "spent.json").write_text(json.dumps(spent), encoding="utf-8")


def segment(options: argparse.Namespace) -> None:
    """Write the label maps of a part, and the probabilities as scores."""
    model = StarDist2D(None, name="nuclei", basedir=str(options.output))

    def one(image):
        labels, details = model.predict_instances(scaled(image))
        return labels, [float(score) for score in details["prob"]]

    predict(options.data, options.output / options.data.name, one)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train StarDist, or segment with it.")
    parser.add_argument("what", choices=("train", "predict"))
    parser.add_argument("--data", type=Path, required=True, help="part of the data")
    parser.add_argument("--choose", type=Path, help="part for the best epoch and the thresholds")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=40, help="processor time of the training")
    parser.add_argument("--epoch", type=int, default=100, help="steps of an epoch")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    (fit if options.what == "train" else segment)(options)


if __name__ == "__main__":
    main()
