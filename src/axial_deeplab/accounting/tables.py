"""The table of all networks and the paper's tables, counted again, beside the published digits."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from axial_deeplab.accounting.accuracies import accuracy_tables, read_reports
from axial_deeplab.accounting.counting import (
    MaddsCounter,
    count_activations,
    count_parameters,
    count_parameters_by_the_rule,
)
from axial_deeplab.accounting.published import CITYSCAPES, IMAGENET, TABLES, PublishedRow
from axial_deeplab.models.backbones.xception import Xception71
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.registry import create_model, list_models
from axial_deeplab.util.files import write_text
from axial_deeplab.util.text import format_size, markdown_table, parse_size
from axial_deeplab.weights.metadata import arguments_of

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Counts:
    """What a network costs at an input size.

    Attributes:
        params: parameters by the paper's rule.
        params_plain: all parameters.
        madds: multiply-adds by the paper's rule, as its tables count them.
        madds_as_it_runs: multiply-adds by the same rule, of the network as it runs here.
        madds_matmul: those of convolutions and matrix products alone, of the network as it runs here.
    """

    params: int
    params_plain: int
    madds: int
    madds_as_it_runs: int
    madds_matmul: int


@dataclass(frozen=True)
class ModelRow:
    """A row of the table of networks: counts beside published digits.

    Attributes:
        row: the network and what the paper prints of it.
        counts: what we count.
        activation_bytes: what training keeps for one image in float32, with the reference implementation of
            attention and with one that recomputes its logits; None is not asked for.
    """

    row: PublishedRow
    counts: Counts
    activation_bytes: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row for a program: parameters in millions, multiply-adds in billions, memory in GB.

        `create_model(name, **overrides)` builds the network. Multiply-adds of multi-scale testing have the
        `scales` beside them.
        """
        counts = self.counts
        numbers: dict[str, Any] = {
            "name": self.row.name,
            "overrides": dict(self.row.overrides),
            "input_size": format_size(self.row.input_size),
            "params_m": round(counts.params / 1e6, 4),
            "params_plain_m": round(counts.params_plain / 1e6, 4),
            "madds_b": round(counts.madds / 1e9, 4),
            "madds_matmul_b": round(counts.madds_matmul / 1e9, 4),
            "published_params_m": self.row.params_m,
            "published_madds_b": self.row.madds_b,
        }
        if self.row.scales:
            numbers["scales"] = list(self.row.scales)
        if self.activation_bytes is not None:
            reference, recomputing = self.activation_bytes
            numbers["activations_gb"] = round(reference / 1e9, 4)
            numbers["activations_recomputing_gb"] = round(recomputing / 1e9, 4)
        return numbers


MODEL_COLUMNS = (
    "name", "overrides", "input", "params M", "plain M", "published", "diff", "M-Adds B", "matmul B",
    "published", "diff",
)  # fmt: skip
MEMORY_COLUMNS = ("activations GB", "recomputing GB")
TABLE_COLUMNS = (
    "network", "name", "overrides", "params M", "published", "diff", "M-Adds B", "published", "diff",
    "as it runs B", "matmul B",
)  # fmt: skip


def all_rows() -> list[ModelRow]:
    """Count all published networks, then the others at the input size of their kind."""
    rows = _distinct(row for table in TABLES.values() for row in table)
    named = {row.name for row in rows}
    return [
        _count_row(row) for row in (*rows, *(_usual_row(name) for name in list_models() if name not in named))
    ]


def select_rows(
    names: Sequence[str] = (),
    *,
    input_size: str | None = None,
    span: int | None = None,
    settings: Sequence[str] = (),
) -> list[ModelRow]:
    """Count what the command line asks for.

    Without an input size, span or settings these are the published rows, and otherwise each named network as
    it is set, with the memory of its activations.

    Args:
        names: names of networks; empty is all.
        input_size: height and width of the image in pixels, such as "1025x2049"; None is that of the
            network's first published row.
        span: positions that a query attends to; None is the network's own default, the whole axis.
        settings: further arguments of `create_model`, each as "key=value" with a value in JSON.

    Raises:
        ValueError: a name, size or setting is not as above.
    """
    options = {**parse_settings(settings), **({} if span is None else {"span": span})}
    if not (options or input_size):
        return all_rows() if not names else [row for name in names for row in _rows_of(name)]
    size = None if input_size is None else parse_size(input_size)
    return [_chosen_row(name, size, options) for name in names or list_models()]


def models_table(rows: Sequence[ModelRow], *, markdown: bool = False) -> str:
    """Lay out rows of the table of networks, as aligned text or as Markdown."""
    memory = any(row.activation_bytes for row in rows)
    lines = [_model_cells(row) for row in rows]
    header = (*MODEL_COLUMNS, *MEMORY_COLUMNS) if memory else MODEL_COLUMNS
    return markdown_table(header, lines, texts=2) if markdown else _aligned(header, lines, texts=2)


def write_tables(path: str | Path, text: str | None = None) -> Path:
    """Write Markdown, by default the paper's tables, counted again."""
    write_text(path, paper_tables() if text is None else text)
    return Path(path)


def paper_tables() -> str:
    """Return the paper's tables as Markdown."""
    parts = []
    for title, rows in TABLES.items():
        cells = [_table_cells(_count_row(row)) for row in rows]
        parts.append(f"## {title}\n\n{markdown_table(TABLE_COLUMNS, cells, texts=3)}\n")
    page = Path(__file__).with_name("tables.md").read_text(encoding="utf-8")
    return page.replace("{tables}", "\n".join(parts)).replace("{accuracies}", accuracy_tables())


def results_tables(folder: str | Path) -> str:
    """Return the paper's accuracies as Markdown, beside those of the reports in a folder.

    Raises:
        ValueError: there is no report in it.
    """
    return accuracy_tables(read_reports(folder), folder)


def _rows_of(name: str) -> list[ModelRow]:
    """Count the published rows of a network; if there are none, the network at the input size of its kind."""
    return [_count_row(row) for row in _published(name) or [_usual_row(name)]]


def _chosen_row(name: str, input_size: tuple[int, int] | None, options: Mapping[str, Any]) -> ModelRow:
    """Count a network at any input size with any options, with the memory of its activations."""
    if input_size is None:
        input_size = (_published(name) or [_usual_row(name)])[0].input_size
    chosen = PublishedRow(name, name, input_size, overrides=options)
    for row in _published(name):
        if _key(row) == _key(chosen):
            chosen = row
    activations = count_activations(_build(name, _hashable(options)), *input_size)
    return ModelRow(chosen, _count_row(chosen).counts, (activations.reference, activations.recomputing))


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of "key=value" words; what is no JSON is a string.

    Raises:
        ValueError: a word has another form.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not (key and separator):
            raise ValueError(f"setting must be KEY=VALUE, got {setting}; write it as aspp=false")
        try:
            values[key] = json.loads(value)
        except (ValueError, RecursionError):
            values[key] = value
    return values


def _published(name: str) -> list[PublishedRow]:
    return _distinct(row for table in TABLES.values() for row in table if row.name == name)


def _distinct(rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """Return the first row of each network, input size and way of testing."""
    first: dict[Any, PublishedRow] = {}
    for row in rows:
        first.setdefault(_key(row), row)
    return list(first.values())


def _key(row: PublishedRow) -> tuple[Any, ...]:
    return row.name, _hashable(row.overrides), row.input_size, row.scales


def _usual_row(name: str) -> PublishedRow:
    segmentation = isinstance(_build(name, ()), PanopticDeepLab)
    return PublishedRow(name, name, CITYSCAPES if segmentation else IMAGENET)


def _count_row(row: PublishedRow) -> ModelRow:
    options = _hashable(row.overrides)
    if not row.scales:
        return ModelRow(row, _count(row.name, options, row.input_size))
    passes = [
        _count(row.name, options, (_scaled(row.input_size[0], scale), _scaled(row.input_size[1], scale)))
        for scale in row.scales
    ]
    return ModelRow(
        row,
        Counts(
            passes[0].params,
            passes[0].params_plain,
            *(
                2 * sum(getattr(single, name) for single in passes)  # each scale with and without a flip
                for name in ("madds", "madds_as_it_runs", "madds_matmul")
            ),
        ),
    )


@cache
def _count(name: str, options: Options, input_size: tuple[int, int]) -> Counts:
    model, counter = _build(name, options), _counter(name, options)
    runs = counter.as_it_runs(*input_size)
    # The digits of Xception-71 fit without the conventions; presumably they are Panoptic-DeepLab's own.
    xception = isinstance(model, PanopticDeepLab) and isinstance(model.backbone, Xception71)
    classifier = not isinstance(model, PanopticDeepLab)
    madds = runs if xception or classifier else counter.as_published(*input_size)
    return Counts(
        count_parameters_by_the_rule(model),
        count_parameters(model),
        madds.by_the_rule,
        runs.by_the_rule,
        runs.products,
    )


@cache
def _counter(name: str, options: Options) -> MaddsCounter:
    return MaddsCounter(_build(name, options))


@cache
def _build(name: str, options: Options) -> nn.Module:
    with arguments_of(name, "--set", dict(options)), torch.device("meta"), _NoRandomNumbers():
        return create_model(name, **dict(options))


class _NoRandomNumbers(TorchFunctionMode):
    """Leaves weights as they are allocated: without memory, too, drawing them takes longer than counting."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _hashable(options: Mapping[str, Any]) -> Options:
    return tuple(
        (key, tuple(value) if isinstance(value, list) else value) for key, value in sorted(options.items())
    )


def _overrides_text(row: PublishedRow) -> str:
    """Return the overrides as `--set` takes them."""
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        for key, value in row.overrides.items()
    )


def _scaled(length: int, scale: float) -> int:
    """Return a length whose aligned grid has `scale` times the steps."""
    return round((length - 1) * scale) + 1


def _model_cells(model: ModelRow) -> list[str]:
    row, counts = model.row, model.counts
    cells = [
        row.name,
        _overrides_text(row),
        format_size(row.input_size) + (" multi-scale" if row.scales else ""),
        f"{counts.params / 1e6:.2f}",
        f"{counts.params_plain / 1e6:.2f}",
        row.params or "",
        _difference(counts.params / 1e6, row.params_m),
        f"{counts.madds / 1e9:.2f}",
        f"{counts.madds_matmul / 1e9:.2f}",
        row.madds or "",
        _difference(counts.madds / 1e9, row.madds_b),
    ]
    if model.activation_bytes is not None:
        cells += [f"{size / 1e9:.2f}" for size in model.activation_bytes]
    return cells


def _table_cells(model: ModelRow) -> list[str]:
    row, counts = model.row, model.counts
    return [
        row.label,
        f"`{row.name}`",
        _code(_overrides_text(row)),
        f"{counts.params / 1e6:.2f}",
        row.params or "",
        _difference(counts.params / 1e6, row.params_m),
        f"{counts.madds / 1e9:.2f}",
        row.madds or "",
        _difference(counts.madds / 1e9, row.madds_b),
        f"{counts.madds_as_it_runs / 1e9:.2f}",
        f"{counts.madds_matmul / 1e9:.2f}",
    ]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _difference(ours: float, published: float | None) -> str:
    return "" if published is None else f"{100 * (ours / published - 1):+.2f} %"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    widths = [max(len(cells[i]) for cells in (header, *rows)) for i in range(len(header))]
    lines = []
    for cells in (header, *rows):
        aligned = (
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        lines.append("  ".join(aligned))
    return "\n".join(lines)
