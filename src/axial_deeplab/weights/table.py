"""The table of all weights that have a name, for people and for programs."""

from dataclasses import asdict
from typing import Any

from axial_deeplab.weights.file import read_metadata
from axial_deeplab.weights.names import cached_path, pretrained_names, public_weights, shipped_path
from axial_deeplab.weights.public import recorded

COLUMNS = ("name", "network", "scores", "here")


def rows() -> list[dict[str, Any]]:
    """Return what is known of all weights, shipped ones first; of downloaded ones also what was recorded."""
    shipped = []
    for name in pretrained_names():
        metadata = read_metadata(shipped_path(name))
        known = {key: value for key, value in metadata.items() if key not in ("model", "categories")}
        shipped.append({"name": name, "network": metadata["model"]["name"], "here": "shipped", **known})
    public = [
        {
            "name": name,
            "network": weights.network,
            "here": "downloaded" if cached_path(name).is_file() else "no",
            **asdict(weights),
            **recorded(name),
        }
        for name, weights in public_weights().items()
    ]
    return shipped + public


def as_text() -> str:
    """Return the table as aligned text."""
    lines = [COLUMNS, *((row["name"], row["network"], _scores(row), row["here"]) for row in rows())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _scores(row: dict[str, Any]) -> str:
    labels = {"pq": "PQ", "pq_things": "PQ of things", "miou": "mIoU", "top1": "top-1"}
    published = row.get("published") or row.get("metrics") or {}
    return ", ".join(f"{label} {published[key]:.1f}" for key, label in labels.items() if key in published)
