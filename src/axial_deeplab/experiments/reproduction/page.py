"""The report: how the networks were trained, what holds of the paper's claims, and the tables."""

import os
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Any

from axial_deeplab.experiments.reproduction.claims import RULE, Finding, findings
from axial_deeplab.experiments.reproduction.equal_madds import RULE as WIDTH_RULE
from axial_deeplab.experiments.reproduction.networks import NETWORKS, TABLES
from axial_deeplab.experiments.reproduction.results import Results
from axial_deeplab.experiments.reproduction.tables import chosen_widths, markdown
from axial_deeplab.files import atomic_path

VERDICTS = ("holds", "does not hold", "cannot be told", "not run")
COLUMNS = ("claim", "by", "paper", "here", "verdict")


def write_page(results: Results, path: str | os.PathLike[str]) -> None:
    """Write the report.

    Args:
        results: of the runs.
        path: the page, *.md.

    Raises:
        ValueError: there is no finished run.
        OSError: the file cannot be written.
    """
    text = page(results)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(results: Results) -> str:
    """Return the report as Markdown.

    Raises:
        ValueError: there is no finished run.
    """
    runs = results.all()
    if not runs:
        raise ValueError("page must have a finished run, got none; train first")
    found = findings(results)
    parts = [_introduction(results, runs), f"## What holds\n\n{_summary(found)}\n\n{_wrapped(RULE)}\n"]
    for name, table in TABLES.items():
        parts.append(
            f"## {table.title}\n\n```console\n$ axial-deeplab experiment reproduce {name}\n```\n\n"
            f"{markdown(table, results)}\n{_remark(name, results)}"
            f"{_claims(finding for finding in found if finding.claim.table == name)}"
        )
    return "\n".join(parts)


def _introduction(results: Results, runs: list[dict[str, Any]]) -> str:
    run = runs[0]
    settings = run["settings"]
    steps, batch_size = settings["optim"]["max_steps"], settings["trainer"]["batch_size"]
    num_images = run["num_train_images"]
    height, width = run["image_size"]
    hours = sum(each["cpu_seconds"] for each in runs) / 3600
    versions = ", ".join(sorted({each["versions"]["torch"] for each in runs}))
    machines = ", ".join(sorted({each["machine"] for each in runs}))
    paragraphs = (
        "`axial-deeplab experiment reproduce all --page docs/reproduction.md` trains the networks and writes "
        f"this page from the files of their runs. Here are {len(runs)} of "
        f"{len(NETWORKS) * len(results.seeds)} runs: {len(NETWORKS)} networks, seeds "
        f"{', '.join(map(str, results.seeds))}.",
        f"Each run is {steps:,} steps of {batch_size} crops from random weights, on {num_images:,} of the "
        f"built-in scenes (version {run['scenes_version']}, {height} x {width} pixels): "
        f"{steps * batch_size / num_images:.1f} epochs. All share `configs/reproduction/scenes.yaml`, tuned "
        "for Axial-DeepLab alone in a few short trials on other scenes. Scores are those of the last step on "
        f"{run['num_test_images']} scenes that no training and no choice has seen; AP is that of Cityscapes. "
        "± is the sample standard deviation over the seeds, which change weights, order and augmentation, "
        "not the scenes. M-Adds, by the paper's rule, are for one image. CPU minutes are of training and "
        f"measuring on processors ({machines}) that other programs used, too; PyTorch {versions}; "
        f"{hours:.1f} CPU hours in all.",
        "Drawn scenes, networks of a few hundred million M-Adds and minutes of training show how the "
        "networks start to learn. They say nothing about photographs, nor about the ends of the paper's "
        "trainings.",
    )
    return "\n\n".join(["# The paper's claims in small", *(_wrapped(each) for each in paragraphs)]) + "\n"


def _summary(found: list[Finding]) -> str:
    counts = Counter(finding.verdict for finding in found)
    numbers = ", ".join(f"{verdict} {counts[verdict]}" for verdict in VERDICTS if counts[verdict])
    lines = [f"{len(found)} comparisons: {numbers}."]
    for verdict in ("holds", "does not hold"):
        texts = [f"{each.claim.text} ({each.measure})" for each in found if each.verdict == verdict]
        if texts:
            lines += ["", f"**{verdict.capitalize()}:**", "", *(f"* {text}" for text in texts)]
    return "\n".join(lines)


def _remark(name: str, results: Results) -> str:
    if name == "networks":
        widths = chosen_widths(results)
        text = f"Equal M-Adds: {WIDTH_RULE}. Channels of the first stage and of the stem: {widths}."
        return f"{_wrapped(text)}\n\n"
    if name == "stress":
        images = [run["num_stress_images"] for run in results.all() if "num_stress_images" in run]
        return f"On the first {images[0]} of the scenes held out.\n\n" if images else ""
    if name == "losses":
        return "Means of the last tenth of the steps that were logged.\n\n"
    return ""


def _claims(found: Iterable[Finding]) -> str:
    rows = [COLUMNS, ("---", "---", "---:", "---:", "---")]
    rows += [
        (
            finding.claim.text,
            finding.measure,
            _signed(finding.paper),
            _difference(finding),
            finding.verdict,
        )
        for finding in found
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 118, break_long_words=False, break_on_hyphens=False)


def _difference(finding: Finding) -> str:
    text = _signed(finding.difference, finding.measure)
    return text if finding.interval is None else f"{text} ± {_number(finding.interval, finding.measure)}"


def _signed(value: float | None, measure: str = "PQ") -> str:
    return "" if value is None else f"{'+' if value >= 0 else ''}{_number(value, measure)}"


def _number(value: float, measure: str) -> str:
    return f"{value:.2g}" if "loss" in measure else f"{value:.1f}"
