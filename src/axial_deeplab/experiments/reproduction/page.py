"""The report: how the networks were trained, what holds of the paper's claims, and the tables."""

import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from axial_deeplab.experiments.reproduction.claims import RULE, Finding, findings
from axial_deeplab.experiments.reproduction.equal_madds import RULE as WIDTH_RULE
from axial_deeplab.experiments.reproduction.networks import TABLES
from axial_deeplab.experiments.reproduction.pictures import caption, picture_name, write_pictures
from axial_deeplab.experiments.reproduction.results import Results
from axial_deeplab.experiments.reproduction.tables import chosen_widths, markdown
from axial_deeplab.util.files import write_text

SCENES_RECIPE = "reproduction/scenes"
VERDICTS = ("holds", "does not hold", "cannot be told", "not run")
PAPER_COLUMN = (
    "The column *paper* has the differences that the paper prints for Cityscapes, in points: table 6 "
    "(Axial-DeepLab-S) for networks, table 7 (Axial-DeepLab-L, whose span 65 is the whole axis here) for "
    "spans."
)
COLUMNS = ("claim", "by", "paper", "here", "visible", "verdict")


def write_page(results: Results, path: str | os.PathLike[str], tables: Sequence[str], recipe: str) -> None:
    """Write the report, and its pictures beside it, see `write_pictures`.

    Args:
        results: results of the runs.
        path: the page, *.md.
        tables: names of those that it has.
        recipe: what the runs were trained by, as it was given to the command.

    Raises:
        ValueError: there is no finished run, or matplotlib is missing.
        OSError: a file cannot be read or written.
    """
    text = page(results, str(path), tables, recipe)
    write_pictures(results, path, tables)
    write_text(path, text)


def page(results: Results, path: str, tables: Sequence[str], recipe: str) -> str:
    """Return the report as Markdown, see `write_page`.

    Raises:
        ValueError: there is no finished run.
    """
    keys = {key for name in tables for key in TABLES[name].networks}
    results = replace(results, runs={key: runs for key, runs in results.runs.items() if key in keys})
    if not results.runs:
        raise ValueError("page must have a finished run, got none; train first")
    options, data = ("", "") if recipe == SCENES_RECIPE else (f" --config {recipe}", f": {Path(recipe).stem}")
    what = "all" if len(tables) == len(TABLES) else " ".join(tables)
    introduction = _introduction(results, len(keys), recipe)
    folder = results.folder.as_posix()
    command = f"`axial-deeplab experiment reproduce {what}{options} --output {folder} --page {path}`"
    found = [finding for finding in findings(results) if finding.claim.table in tables]
    parts = [
        f"# The paper's claims in small{data}\n\n{_wrapped(f'{command} {introduction[0]}')}\n\n"
        + "\n\n".join(_wrapped(each) for each in introduction[1:])
        + "\n",
        f"## What holds\n\n{_summary(found)}\n\n{_wrapped(f'{RULE} {PAPER_COLUMN}')}\n",
    ]
    for name in tables:
        table = TABLES[name]
        parts.append(
            f"## {table.title}\n\n```console\n$ axial-deeplab experiment reproduce {name}{options}\n```\n\n"
            f"{markdown(table, results)}\n{_picture(name, path)}{_remark(name, results)}"
            f"{_claims(finding for finding in found if finding.claim.table == name)}"
        )
    return "\n".join(parts)


def _introduction(results: Results, num_networks: int, recipe: str) -> tuple[str, ...]:
    """Return the paragraphs that say what was done, the first of which goes on behind the command."""
    runs = results.all()
    run = runs[0]
    settings = run["settings"]
    steps, batch_size = settings["optim"]["max_steps"], settings["trainer"]["batch_size"]
    num_images = run["num_train_images"]
    height, width = run["image_size"]
    hours = sum(each["cpu_seconds"] for each in runs) / 3600
    versions = ", ".join(sorted({each["versions"]["torch"] for each in runs}))
    machines = ", ".join(sorted({each["machine"] for each in runs}))
    on_scenes = run["scenes_version"] is not None
    if on_scenes:
        data = f"of the built-in scenes (version {run['scenes_version']}, {height} x {width} pixels)"
        share = f"All share `{recipe}`, tuned for Axial-DeepLab alone in a few short trials on other scenes."
        unseen, one, limits = (
            "scenes that no training and no choice has seen",
            "image",
            "Drawn scenes, networks",
        )
    else:
        data, share = "images", f"All share `{recipe}`, which names the data."
        unseen, one, limits = (
            "images that no training has seen",
            f"crop of {height} x {width} pixels",
            "Networks",
        )
    return (
        f"trains the networks and writes this page from the files of their runs. Here are {len(runs)} of "
        f"{num_networks * len(results.seeds)} runs: {num_networks} networks, seeds "
        f"{', '.join(map(str, results.seeds))}.",
        f"Each run is {steps:,} steps of {batch_size} crops from random weights, on {num_images:,} {data}: "
        f"{steps * batch_size / num_images:.1f} epochs. {share} Scores are those of the last step on "
        f"{run['num_test_images']} {unseen}: PQ as the mean over all categories, "
        "also over things and over stuff; AP is that of Cityscapes. "
        "± is the sample standard deviation over the seeds, which change weights, order and augmentation, "
        f"not the data. M-Adds, by the paper's rule, are for one {one}. CPU minutes are of training and "
        f"measuring on processors ({machines}) that other programs used, too; PyTorch {versions}; "
        f"{hours:.1f} CPU hours in all.",
        f"{limits} of a few hundred million M-Adds and minutes of training show how the networks start to "
        f"learn. They say nothing about {'photographs, nor about ' if on_scenes else ''}the ends of the "
        "paper's trainings.",
    )


def _summary(found: list[Finding]) -> str:
    counts = Counter(finding.verdict for finding in found)
    numbers = ", ".join(f"{verdict} {counts[verdict]}" for verdict in VERDICTS if counts[verdict])
    lines = [f"{len(found)} comparisons: {numbers}."]
    for verdict in ("holds", "does not hold"):
        texts = [f"{each.claim.text} ({each.measure})" for each in found if each.verdict == verdict]
        if texts:
            lines += ["", f"**{verdict.capitalize()}:**", "", *(f"* {text}" for text in texts)]
    return "\n".join(lines)


def _picture(name: str, path: str) -> str:
    return f"![{TABLES[name].title}]({picture_name(path, name)})\n\n*{caption(name)}*\n\n"


def _remark(name: str, results: Results) -> str:
    if name == "networks":
        widths = chosen_widths(results)
        text = f"Equal M-Adds: {WIDTH_RULE}. Channels of the first stage and of the stem: {widths}."
        return f"{_wrapped(text)}\n\n"
    if name == "stress":
        images = [run["num_stress_images"] for run in results.all() if "num_stress_images" in run]
        return f"On the first {images[0]} of the images held out.\n\n" if images else ""
    if name == "losses":
        return "Means of the last tenth of the steps that were logged.\n\n"
    return ""


def _claims(found: Iterable[Finding]) -> str:
    rows = [COLUMNS, ("---", "---", "---:", "---:", "---:", "---")]
    rows += [
        (
            finding.claim.text,
            finding.measure,
            _signed(finding.paper),
            _difference(finding),
            "" if finding.visible is None else _number(finding.visible, finding.measure),
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
