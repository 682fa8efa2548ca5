"""The published accuracies, and which reports stand beside them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from axial_deeplab.accounting.accuracies import Report, accuracy_tables, read_reports
from axial_deeplab.accounting.published import ACCURACIES, COCO_SCALES, MAPILLARY_SCALES, TABLES
from axial_deeplab.cli.main import main
from axial_deeplab.data.labels import cityscapes, coco
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.weights.file import save_weights

S = {"name": "axial_deeplab_s", "span": 65, "num_classes": 133, "in_channels": 3, "features_only": False}


def panoptic(categories: Categories, pq: float = 41.0, **more: Any) -> dict[str, Any]:
    names = {str(category.id): {"name": category.name, "pq": 1.0} for category in categories}
    groups = {name: {"pq": pq + step} for step, name in enumerate(("All", "Things", "Stuff"))}
    return {"unit": "percent", **groups, "per_class": names, **more}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_weights(
    path: Path, categories: Categories, name: str = "axial_deeplab_nano", **options: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    save_weights(path, create_model(name, num_classes=len(categories), **options), categories)


def line_of(text: str, label: str, table: str) -> list[str]:
    part = text.split(f"### {table}")[1].split("###")[0]
    (line,) = (line for line in part.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_an_evaluation_stands_beside_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    semantic = {"semantic": {"mean_iou": 79.0}, "instances": {"ap": 30.5}}
    write(tmp_path / "a/coco.json", panoptic(coco.CATEGORIES, network=S, scales=[1.0], num_images=100))
    write(tmp_path / "b.json", panoptic(cityscapes.CATEGORIES, 60.0, network=S, num_images=500, **semantic))
    assert main(["tables", "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert line_of(text, "Axial-DeepLab-S", "Table 2")[2:] == [
        *("41.8", "46.1", "35.2", "41.0", "-0.8", "42.0", "-4.1", "43.0", "+7.8"),
        "a/coco.json, 100 of 5000 images",
    ]
    assert line_of(text, "Axial-DeepLab-S", "Tables 5")[2:] == [
        *("62.6", "34.9", "80.5", "60.0", "-2.6", "30.5", "-4.4", "79.0", "-1.5", "b.json"),
    ]
    assert "2 of 2 reports" in text
    assert main(["tables", "--results", str(tmp_path), "--output", str(tmp_path / "own.md")]) == 0
    assert (tmp_path / "own.md").read_text() == text


@pytest.mark.parametrize(
    ("change", "belongs"),
    [
        ({}, True),
        ({"network": {**S, "impl": "reference"}}, True),
        ({"network": {**S, "output_stride": 16}}, True),
        ({"network": {**S, "output_stride": 32}}, False),
        ({"network": {**S, "span": None}}, False),
        ({"network": {**S, "name": "axial_deeplab_m"}}, False),
        ({"network": None}, False),
        ({"flip": True}, False),
        ({"scales": COCO_SCALES}, False),
        ({"classes": coco.CATEGORIES.names[:-1]}, False),
        ({"classes": cityscapes.CATEGORIES.names}, False),
        ({"start": "runs/mapillary_axial_deeplab_s/weights.safetensors"}, False),
    ],
)
def test_the_rule(change: dict[str, Any], belongs: bool) -> None:
    (row,) = (row for row in ACCURACIES["Table 2: COCO, 1025 x 1025"] if row.label == "Axial-DeepLab-S")
    settings: dict[str, Any] = {"classes": coco.CATEGORIES.names, "network": S, **change}
    assert Report(Path("a.json"), {"PQ": 41.0}, **settings).belongs_to(row) is belongs


def test_scales_and_pretraining_choose_the_row() -> None:
    network = {**S, "name": "axial_deeplab_l"}
    report = Report(Path("a"), {"PQ": 1.0}, cityscapes.CATEGORIES.names, network, MAPILLARY_SCALES, True)
    rows = ACCURACIES["Tables 5 and 6: Cityscapes, 1025 x 2049"]
    assert [row.label for row in rows if report.belongs_to(row)] == ["Axial-DeepLab-L, multi-scale"]
    begun = Report(*vars(report).values())
    object.__setattr__(begun, "start", "runs/mapillary_axial_deeplab_l/weights.safetensors")
    labels = [row.label for row in rows if begun.belongs_to(row)]
    assert labels == ["Axial-DeepLab-L, from Mapillary Vistas, multi-scale"]


def test_training_and_pq_take_the_network_of_the_weights_above(tmp_path: Path) -> None:
    small = {"depths": (1, 1, 1, 1), "width_multiplier": 0.0625, "num_heads": 2, "max_span": 9}
    write_weights(tmp_path / "run/weights.safetensors", cityscapes.CATEGORIES, "axial_deeplab_nano", **small)
    write(tmp_path / "run/config.yaml", "model: {weights: runs/mapillary_x/weights.safetensors}\n")
    write(tmp_path / "run/metrics.csv", "step,val/PQ,val/mIoU\n1,10,20\n2,,\n3,11.5,21\n4,,\n")
    write(tmp_path / "run/predictions/pq.json", panoptic(cityscapes.CATEGORIES, 12.0))
    write(tmp_path / "lonely.json", panoptic(coco.CATEGORIES))
    lonely, training, pq = read_reports(tmp_path)
    assert training.scores == {"PQ": 11.5, "mIoU": 21.0}
    assert training.start == pq.start == "runs/mapillary_x/weights.safetensors"
    assert training.network == pq.network
    assert training.network is not None
    assert training.network["name"] == "axial_deeplab_nano"
    assert training.classes == pq.classes == cityscapes.CATEGORIES.names
    assert lonely.network is None
    text = accuracy_tables((lonely, training, pq), tmp_path)
    assert "None of 3 reports" in text
    assert "* lonely.json: names no network" in text
    assert "* run/metrics.csv: axial_deeplab_nano " in text


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("pq.json", '{"All": {"pq": 41', "delimiter"),
        ("pq.json", '{"PQ": "x"}', "no number from 0 to 100"),
        ("pq.json", '{"All": {"pq": 141}}', "no number from 0 to 100"),
        ("metrics.csv", "step,val/PQ\n1,x\n", "could not convert string to float: 'x'"),
    ],
)
def test_broken_reports_are_named(tmp_path: Path, name: str, text: str, cause: str) -> None:
    write(tmp_path / "broken" / name, text)
    with pytest.raises(ValueError, match=rf"got none in .*broken/{name}: .*{cause}"):
        read_reports(tmp_path)
    write(tmp_path / "whole.json", panoptic(coco.CATEGORIES))
    write(tmp_path / "other.json", {"images": []})
    with pytest.warns(UserWarning, match=rf"broken/{name}: .*{cause}.*; the report is passed over") as told:
        (report,) = read_reports(tmp_path)
    assert (report.path.name, len(told)) == ("whole.json", 1)


def test_classifiers(tmp_path: Path) -> None:
    numbers = {"top1": 77.0, "top5": 93.0, "num_images": 50000}
    write(tmp_path / "a.json", {**numbers, "network": {"name": "axial_resnet_s", "num_classes": 1000}})
    write(tmp_path / "b.json", {**numbers, "network": {"name": "axial_resnet_s", "num_classes": 10}})
    text = accuracy_tables(read_reports(tmp_path), tmp_path)
    assert line_of(text, "Conv-Stem + Axial-Attention (S)", "Table 10")[2:] == [
        "77.5",
        "77.0",
        "-0.5",
        "a.json",
    ]
    assert "* b.json: axial_resnet_s on 10 classes of other data" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "results must be a folder of reports"),
        ({}, "results must hold reports"),
        (
            {"a.json": "{", "b.json": "[1]", "c.json": '{"All": 3}', "metrics.csv": "x,val/PQ\n1,two\n"},
            "got none",
        ),
        ({"a.json": {"All": {"pq": "50"}}}, "got none"),
        ({"metrics.csv": "step,train/loss\n1,2\n"}, "metrics.csv with a validation"),
    ],
)
def test_refuses(content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (content or {}).items():
        write(tmp_path / name, text)
    folder = tmp_path / "missing" if content is None else tmp_path
    assert main(["tables", "--results", str(folder)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_every_accuracy_has_its_network() -> None:
    assert sum(len(rows) for rows in ACCURACIES.values()) == 52
    assert all(
        0 < score < 100 for rows in ACCURACIES.values() for row in rows for score in row.scores.values()
    )
    assert set(ACCURACIES) < set(TABLES)
