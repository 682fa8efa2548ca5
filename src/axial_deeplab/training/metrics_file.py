"""metrics.csv: one line for each logged step, continued when a run is resumed.

Lightning logs a step after its checkpoint was written: a kill in the moment between loses the step's line.
"""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from axial_deeplab.util.files import atomic_path, opened


class MetricsFile(Logger):
    """Append metrics to a CSV file whose columns are known from the start.

    Args:
        path: the file.
        columns: names of the metrics, without the leading `step`; other metrics are not written.
        first_step: what a killed run left of this step and later ones is removed: the run will repeat it.
    """

    def __init__(self, path: str | Path, columns: tuple[str, ...], *, first_step: int = 0) -> None:
        super().__init__()
        self.path = Path(path)
        self.columns = ("step", *columns)
        self.first_step = first_step
        self._started = False

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.path.name

    @property
    def version(self) -> str:
        """Return nothing: a folder has one such file."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one line if a metric has a column."""
        row = {name: f"{float(value):.6g}" for name, value in metrics.items() if name in self.columns}
        if not row:
            return
        if not self._started:
            self._start()
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow({"step": step, **row})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the settings are in config.yaml."""

    def _start(self) -> None:
        rows = []
        if self.path.exists():
            with io.TextIOWrapper(opened(self.path), newline="") as file:
                # A kill may have cut the last line short, but never one of a step before the checkpoint.
                rows = [
                    row
                    for row in csv.DictReader(file)
                    if (row.get("step") or "").isdigit() and int(row["step"]) < self.first_step
                ]
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        self._started = True
