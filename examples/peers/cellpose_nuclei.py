"""Train cellpose 3.1.1.3 from scratch with its size model, then segment: see README.md.

    python cellpose_nuclei.py train --minutes 10 --steps 75 --data data/nuclei/train --output runs/cellpose
    python cellpose_nuclei.py predict --data data/nuclei/val_dsb2018_nuclei --output runs/cellpose

The settings are those of its command line: SGD, rate 0.2, decay 1e-5, eights of 224 x 224, images of 5
nuclei or more, rescaled to the diameter of its nuclei model, 17 pixels. An epoch is one step here, since its
schedule counts in epochs, of which there would be two.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from cellpose import models, train
from common import predict, processor_seconds, read, repeats

CHANNELS = [0, 0]  # gray
DIAMETER = 17.0  # of its nuclei model


class OutOfTimeError(Exception):
    """The budget is spent."""


def fit(options: argparse.Namespace) -> None:
    """Train the network until the budget is spent, then the size model."""
    pictures = read(options.data)
    times = repeats(options.data)
    # What it would leave out itself, and then not know the probabilities of.
    names = [name for name, (_, labels) in pictures.items() if labels.max() >= 5]
    weights = np.array([times[name] for name in names], float)
    torch.manual_seed(0)
    model = models.CellposeModel(gpu=False, pretrained_model=None, diam_mean=DIAMETER, nchan=2)
    net, steps = model.net, 0
    set_to_train = net.train

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
    shared = {
        "train_data": [pictures[name][0] for name in names],
        "train_labels": [pictures[name][1] for name in names],
        "channels": CHANNELS,
        "channel_axis": 2,
    }
    try:
        train.train_seg(
            net,
            **shared,
            train_probs=weights / weights.sum(),
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
        steps -= 1
    net.save_model(str(options.output / "models" / "nuclei"))
    spent = {"steps": steps, "processor_seconds": processor_seconds()}
    train.train_size(
        net,
        options.output / "models" / "nuclei",
        **shared,
        train_probs=weights / weights.sum(),
        nimg_per_epoch=options.size_images,
        n_epochs=1,
        batch_size=8,
    )
    spent["processor_seconds_of_the_size_model"] = processor_seconds() - spent["processor_seconds"]
    (options.output / "spent.json").write_text(json.dumps(spent), encoding="utf-8")


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
    parser.add_argument("what", choices=("train", "predict"))
    parser.add_argument("--data", type=Path, required=True, help="part of the data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=10, help="processor time of the network's training")
    parser.add_argument("--steps", type=int, default=75, help="length of the schedule")
    parser.add_argument(
        "--size-images", type=int, default=250, help="for the size model, outside of the budget"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    (fit if options.what == "train" else segment)(options)


if __name__ == "__main__":
    main()
