"""Axial-ResNet nano against a ResNet of as many multiply-adds: the same photographs, schedule and seeds.

Trains both networks for each seed on one thread, counts their accuracy after the last step (no step is chosen
by it), and writes a page and the numbers. A run that was stopped goes on where it was.

    python benchmarks/classification.py --data data/caltech101_20 --page docs/experiments/classification.md
"""

import argparse
import json
import platform
import resource
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from axial_deeplab.accounting.counting import MaddsCounter, count_parameters
from axial_deeplab.cli.training import parse_config
from axial_deeplab.config.schema import Config
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.evaluation.classification import evaluate_classifier
from axial_deeplab.models.registry import create_model
from axial_deeplab.training.train import train

CONFIGS = Path(__file__).parent.parent / "src/axial_deeplab/config/recipes/caltech101_20"
NETWORKS = ("axial_resnet_nano", "resnet_nano")


@dataclass(frozen=True)
class Run:
    """One training: its accuracy in percent, and the CPU time that it took in this process."""

    network: str
    seed: int
    top1: float
    top5: float
    num_images: int
    cpu_seconds: float


def settings(network: str, data: str, output: Path, seed: int) -> Config:
    """Return the settings of a network's training."""
    return parse_config(
        [f"--config={CONFIGS / network}.yaml", f"--data.train.root={data}", f"--data.val.root={data}",
         f"--trainer.seed={seed}", f"--trainer.output={output / f'{network}_{seed}'}",
         "--trainer.resume=last", "--trainer.progress_bar=false"]
    )  # fmt: skip


def run(network: str, data: str, output: Path, seed: int) -> Run:
    """Train a network, or take the finished run that is there, and count its accuracy."""
    config = settings(network, data, output, seed)
    finished = Path(config.trainer.output) / "run.json"
    if finished.exists():
        return Run(**json.loads(finished.read_text()))
    start = resource.getrusage(resource.RUSAGE_SELF)
    weights = train(config)
    result = evaluate_classifier(weights, config.data, device="cpu")
    end = resource.getrusage(resource.RUSAGE_SELF)
    seconds = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    done = Run(network, seed, result.top1, result.top5, result.num_images, seconds)
    finished.write_text(json.dumps(asdict(done)))
    return done


def size_of(network: str, num_classes: int) -> tuple[float, float]:
    """Return parameters in millions and multiply-adds in millions, at the size of the crops."""
    config = parse_config([f"--config={CONFIGS / network}.yaml"])
    model = create_model(config.model.name, num_classes=num_classes, **config.model.overrides)
    madds = MaddsCounter(model).as_it_runs(*config.augmentation.crop_size)
    return count_parameters(model) / 1e6, madds.by_the_rule / 1e6


def page(runs: list[Run], data: str) -> str:
    """Return the results as Markdown."""
    photographs = ImageFolder(Path(data) / "train")
    classes, images = len(photographs.classes), len(photographs)
    config = settings(NETWORKS[0], data, Path(), 0)
    size = " x ".join(map(str, config.augmentation.crop_size))
    epochs = config.optim.max_steps * config.trainer.batch_size / images
    rows, means, spreads = [], [], []
    for network in NETWORKS:
        own = [r for r in runs if r.network == network]
        top1 = [r.top1 for r in own]
        params, madds = size_of(network, classes)
        spreads.append(statistics.stdev(top1) if len(own) > 1 else 0.0)
        means.append(statistics.mean(top1))
        rows.append(
            f"| `{network}` | {params:.2f} | {madds:.1f} | {', '.join(f'{value:.1f}' for value in top1)} "
            f"| {means[-1]:.1f} ± {spreads[-1]:.1f} | {statistics.mean(r.top5 for r in own):.1f} "
            f"| {statistics.mean(r.cpu_seconds for r in own):.0f} |"
        )
    seeds = ", ".join(str(r.seed) for r in runs if r.network == NETWORKS[0])
    difference = means[0] - means[1]
    verdict = f"`{NETWORKS[difference < 0]}` is ahead by {abs(difference):.1f} points of top-1."
    if abs(difference) <= max(spreads):
        verdict += " The scatter over the seeds is larger: no difference is shown."
    judged = runs[0].num_images
    lines = [
        "# Classification: Axial-ResNet nano against a ResNet of equal multiply-adds",
        "",
        f"Written by `python benchmarks/classification.py --data {Path(data).name}`: {classes} classes,",
        f"{images} photographs to learn from, {judged} to be judged by, at {size} pixels; {epochs:.1f}",
        "epochs of the same schedule from random weights (`caltech101_20/`), tuned for neither.",
        "Accuracy in percent after the last step, of the averaged weights; ± is the standard deviation over",
        f"the seeds {seeds}. CPU seconds are those of training and evaluation on one thread of a processor",
        f"({platform.machine()}) that other programs used, too; PyTorch {version('torch')}.",
        "",
        "| network | parameters, M | M-Adds, M | top-1 of each seed | top-1 | top-5 | CPU seconds |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
        *rows,
        "",
        verdict,
        f"One photograph is {100 / judged:.2f} points. So few photographs, so small, for so few epochs, tell",
        "how the networks start to learn and nothing about ImageNet, where the paper compares them at",
        "224 x 224 pixels after 130 epochs (`imagenet/`, not run here).",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Train, count and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data/caltech101_20", help="folder with train/ and val/")
    parser.add_argument("--output", type=Path, default=Path("runs/classification"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--page", type=Path, help="write the results as Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [
        run(network, options.data, options.output, seed) for seed in options.seeds for network in NETWORKS
    ]
    text = page(runs, options.data)
    print(text)
    if options.page:
        options.page.write_text(text)
        numbers = json.dumps([asdict(r) for r in runs], indent=2)
        options.page.with_suffix(".json").write_text(f"{numbers}\n")


if __name__ == "__main__":
    main()
