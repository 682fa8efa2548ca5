"""Train cellpose 3.1.1.3 from scratch with its size model, then segment: see README.md.

    python cellpose_nuclei.py train --minutes 40 --steps 125 --data data/nuclei/train --output runs/cellpose
    python cellpose_nuclei.py size --data data/nuclei/train --output runs/cellpose
    python cellpose_nuclei.py predict --data data/nuclei/val_dsb2018_nuclei --output runs/cellpose

The settings are those of its command line: SGD, rate 0.2, decay 1e-5, eights of 224 x 224, images of 5
nuclei or more, rescaled to the diameter of its nuclei model, 17 pixels. An epoch is one step here, since its
schedule counts in epochs, of which there would be two.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cellpose import models, train
from common import predict, processor_seconds, read, repeats

CHANNELS = [0, 0]  # gray
DIAMETER = 17.0  # of its nuclei model


class OutOfTimeError(Exception):
    """The budget is spent."""


def training_set(folder: Path) -> dict[str, Any]:
    """Return the images as `train_seg` and `train_size` take them, rare ones more probable."""
    pictures, times = read(folder), repeats(folder)
    # What has fewer would be left out there, but not its probability.
    names = [name for name, (_, labels) in pictures.items() if labels.max() >= 5]
    weights = np.array([times[name] for name in names], float)
    return {
        "train_data": [pictures[name][0] for name in names],
        "train_labels": [pictures[name][1] for name in names],
        "train_probs": weights / weights.sum(),
        "channels": CHANNELS,
        "channel_axis": 2,
    }


def fit(options: argparse.Namespace) -> None:
    """Train the network to the end of its schedule, or until the budget is spent."""
    torch.manual_seed(0)
    net = models.CellposeModel(gpu=False, pretrained_model=None, diam_mean=DIAMETER, nchan=2).net
    steps, set_to_train = 0, net.train

    def count(mode: bool = True) -> torch.nn.Module:
        nonlocal steps
        if mode:
            if processor_seconds() > 60 * options.minutes:
                raise OutOfTimeError
            if steps % 10 == 0:
                logging.info("step %d, %.0f processor seconds", steps, processor_seconds())
            steps += 1
        return set_to_train(mode)

    net.train = count
    try:
        train.train_seg(
            net,
            **training_set(options.data),
            SGD=True,
            learning_rate=0.2,
            weight_decay=1e-5,
            batch_size=8,
            n_epochs=options.steps,
            nimg_per_epoch=8,
            save_path=options.output,
            save_every=20,
            model_name="nuclei",
        )
    except OutOfTimeError:
        net.save_model(str(options.output / "models" / "nuclei"))
    logging.info("%d steps, %.0f processor seconds", steps, processor_seconds())


def fit_size(options: argparse.Namespace) -> None:
    """Train the size model, which is not counted in the budget."""
    path = options.output / "models" / "nuclei"
    net = models.CellposeModel(gpu=False, pretrained_model=str(path), nchan=2).net
    data = training_set(options.data)
    train.train_size(net, path, **data, nimg_per_epoch=options.size_images, n_epochs=1, batch_size=8)
    logging.info("%.0f processor seconds", processor_seconds())


def segment(options: argparse.Namespace) -> None:
    """Write the label maps of a part; the score of a nucleus is its mean probability."""
    path = str(options.output / "models" / "nuclei")
    model = models.CellposeModel(gpu=False, pretrained_model=path, nchan=2)
    size = models.SizeModel(model, pretrained_size=f"{path}_size.npy")

    def one(image):
        diameter = size.eval(image, channels=CHANNELS, channel_axis=2)[0]
        labels, flows, _ = model.eval(image, channels=CHANNELS, channel_axis=2, diameter=diameter)
        probability = 1 / (1 + np.exp(-flows[2]))
        sums = np.bincount(labels.ravel(), probability.ravel())[1:]
        return labels, (sums / np.maximum(np.bincount(labels.ravel())[1:], 1)).tolist()

    predict(options.data, options.output / options.data.name, one)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train cellpose, or segment with it.")
    parser.add_argument("what", choices=("train", "size", "predict"))
    parser.add_argument("--data", type=Path, required=True, help="part of the data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=40, help="processor time of the network's training")
    parser.add_argument("--steps", type=int, default=125, help="length of the schedule")
    parser.add_argument("--size-images", type=int, default=100, help="for the size model")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    {"train": fit, "size": fit_size, "predict": segment}[options.what](options)


if __name__ == "__main__":
    main()
