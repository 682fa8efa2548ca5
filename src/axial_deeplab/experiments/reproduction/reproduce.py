"""The command `axial-deeplab experiment reproduce`: runs, then tables, then the report."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from axial_deeplab.config.parse import read_config
from axial_deeplab.experiments.plots import require_matplotlib
from axial_deeplab.experiments.reproduction.networks import TABLES
from axial_deeplab.experiments.reproduction.page import write_page
from axial_deeplab.experiments.reproduction.results import read_results
from axial_deeplab.experiments.reproduction.runs import Reproduction
from axial_deeplab.experiments.reproduction.schedule import do_jobs, jobs
from axial_deeplab.experiments.reproduction.tables import markdown, write_tables


def reproduce(
    tables: Sequence[str],
    seeds: Sequence[int],
    *,
    output: str | os.PathLike[str],
    recipe: str,
    steps: int | None = None,
    threads: int | None = None,
    only_report: bool = False,
    page: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> None:
    """Train and measure what some tables need, write all tables, and print those.

    Args:
        tables: names of `TABLES`.
        seeds: seeds of the runs.
        output: folder of scenes, runs and tables.
        recipe: YAML file of the settings that all runs share.
        steps: steps of each training; None takes those of the recipe.
        threads: threads of the processor; None takes PyTorch's number.
        only_report: train nothing.
        page: write the report of these tables to this file.
        progress: show progress bars.

    Raises:
        ValueError: a number or a setting is not valid, the folder has runs of another recipe, or for a page
            there is no finished run or no matplotlib.
        OSError: a file cannot be read or written.
    """
    if len(set(seeds)) != len(seeds) or min(seeds, default=-1) < 0:
        raise ValueError(f"seeds must be different numbers from 0 on, got {list(seeds)}; correct them")
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}; leave it out for PyTorch's number")
        torch.set_num_threads(threads)
    if page is not None:
        require_matplotlib()
    folder = Path(output)

    def write() -> None:
        results = read_results(folder, seeds)
        write_tables(results, folder)
        if page is not None:
            write_page(results, page, tables, recipe)

    if not only_report:
        config = read_config(recipe)
        if steps is not None:
            config = replace(config, optim=replace(config.optim, max_steps=steps))
        do_jobs(
            jobs(tables, seeds),
            Reproduction(folder, config, progress),
            report=lambda line: print(line, flush=True),
            after_each=write,
        )
    write()
    results = read_results(folder, seeds)
    for name in tables:
        print(f"\n{TABLES[name].title}\n\n{markdown(TABLES[name], results)}", end="")
