"""The table of networks, the paper's tables and their commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from axial_deeplab import create_model, list_models
from axial_deeplab.accounting.counting import count_parameters
from axial_deeplab.accounting.published import TABLES
from axial_deeplab.accounting.tables import (
    ModelRow,
    all_rows,
    models_table,
    paper_tables,
    select_rows,
)
from axial_deeplab.cli.main import main

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"
KEYS = [
    "name",
    "overrides",
    "input_size",
    "params_m",
    "params_plain_m",
    "madds_b",
    "madds_matmul_b",
    "published_params_m",
    "published_madds_b",
]
IDENTITY = ("name", "overrides", "input_size", "scales")
# Two digits are printed, which these counts reach (5.05 to 5.15, 1.15 to 1.25, 2.25 to 2.35) or nearly reach.
TWO_DIGITS = {
    "ps_attention_resnet50_x0_5": (5.05, 1.18),
    "ps_attention_resnet50_x0_75": (10.55, 2.26),
    "full_axial_resnet_s": (12.44, 3.36),
}


@pytest.fixture(scope="module")
def rows() -> list[ModelRow]:
    return all_rows()


def test_docs_are_in_step_with_the_code() -> None:
    assert DOCS.read_text(encoding="utf-8") == paper_tables(), (
        "run `axial-deeplab tables --output docs/tables.md`"
    )


def test_published_digits_are_reached(rows: list[ModelRow]) -> None:
    compared = 0
    for row in rows:
        numbers = row.to_json()
        if numbers["name"] in TWO_DIGITS:
            reached = round(numbers["params_m"], 2), round(numbers["madds_b"], 2)
            assert reached == TWO_DIGITS[numbers["name"]]
            continue
        if row.row.params_m is not None:
            assert numbers["params_m"] == pytest.approx(row.row.params_m, rel=0.006), numbers
            compared += 1
        if row.row.madds_b is not None:
            assert numbers["madds_b"] == pytest.approx(row.row.madds_b, rel=0.015), numbers
            compared += 1
            if "panoptic" not in numbers["name"] or row.row.overrides.get("aspp") is False:
                assert numbers["madds_matmul_b"] <= 1.01 * row.row.madds_b
    assert compared == 72


def test_xception_71_on_cityscapes(rows: list[ModelRow]) -> None:
    (row,) = (row for row in rows if row.row.madds == "547.49")
    assert row.counts.params / 1e6 == pytest.approx(46.54, abs=0.01)
    assert row.counts.madds / 1e9 == pytest.approx(547.49, rel=0.014)


def test_every_network_and_every_published_row_has_a_row(rows: list[ModelRow]) -> None:
    assert {row.row.name for row in rows} == set(list_models())
    keys = [json.dumps([row.to_json().get(key) for key in IDENTITY]) for row in rows]
    assert len(set(keys)) == len(keys)
    shown = {(row.row.params, row.row.madds) for row in rows}
    for table in TABLES.values():
        for published in table:
            # The span of 65 in table 7 is the network of table 6, where its parameters are printed, too.
            assert (published.params, published.madds) in shown or published.madds == "687.4"


def test_json(rows: list[ModelRow]) -> None:
    numbers = [row.to_json() for row in rows]
    assert all([key for key in row if key != "scales"] == KEYS for row in numbers)

    def find(name: str, input_size: str, **overrides: Any) -> dict[str, Any]:
        (row,) = (
            row
            for row in numbers
            if (row["name"], row["input_size"], row["overrides"]) == (name, input_size, overrides)
            and "scales" not in row
        )
        return row

    assert find("axial_deeplab_l", "1025x2049", span=65)["published_madds_b"] == 687.4
    assert find("axial_deeplab_l", "1025x2049", span=33)["published_madds_b"] == 650.2
    assert find("axial_deeplab_l", "2177x2177", span=65)["published_madds_b"] == 1550.0
    assert find("axial_resnet26_s", "224x224")["published_params_m"] is None
    assert find("axial_deeplab_nano", "1025x2049")["params_plain_m"] == pytest.approx(1.68, abs=0.01)
    assert [row["published_madds_b"] for row in numbers if "scales" in row] == [3081.4, 3867.7, 31350, 39350]


def test_overrides_build_the_counted_network(rows: list[ModelRow]) -> None:
    of_each_kind = {tuple(row.row.overrides): row for row in rows}
    assert set(of_each_kind) >= {("span",), ("aspp",), ("span", "output_stride", "decoder")}
    for numbers in json.loads(json.dumps([row.to_json() for row in of_each_kind.values()])):
        with torch.device("meta"):
            model = create_model(numbers["name"], **numbers["overrides"])
        assert count_parameters(model) / 1e6 == pytest.approx(numbers["params_plain_m"], abs=1e-4), numbers


def test_text_and_markdown(rows: list[ModelRow]) -> None:
    lines = models_table(rows[:2]).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "resnet50", "sasa_resnet50"]
    assert len({len(line) for line in lines}) == 1
    markdown = models_table(rows[:2], markdown=True).splitlines()
    assert markdown[1].startswith("| --- | --- | ---: |")
    assert markdown[2] == (
        "| resnet50 |  | 224x224 | 25.50 | 25.56 | 25.6 | -0.38 % | 4.10 | 4.09 | 4.1 | +0.01 % |"
    )
    (multi_scale,) = (row for row in rows if row.row.madds == "39.35T")
    assert models_table([multi_scale]).splitlines()[1].split()[:4] == [
        "axial_deeplab_l",
        "span=65",
        "2177x2177",
        "multi-scale",
    ]


def test_any_choice_and_its_memory() -> None:
    (row,) = select_rows(["axial_deeplab_l"], input_size="1025x2049", span=33)
    assert row.row.madds == "650.2"
    numbers = row.to_json()
    assert (numbers["name"], numbers["overrides"]) == ("axial_deeplab_l", {"span": 33})
    assert list(numbers) == [*KEYS, "activations_gb", "activations_recomputing_gb"]
    assert 10 < numbers["activations_recomputing_gb"] < numbers["activations_gb"] < 50
    assert "recomputing GB" in models_table([row])
    (row,) = select_rows(["panoptic_deeplab_resnet50"], settings=["aspp=false"])
    assert row.row.input_size == (1025, 2049)
    assert row.row.params == "24.8"
    (unpublished,) = select_rows(
        ["resnet50"], input_size="64", settings=["stem=three_conv", "depths=[1,1,1,1]"]
    )
    assert "resnet50  stem=three_conv depths=[1,1,1,1]" in models_table([unpublished])
    assert unpublished.row.params is None


def test_published_rows_of_one_network() -> None:
    sizes = [row.row.input_size for row in select_rows(["axial_deeplab_s"])]
    assert sizes == [(1025, 1025), (1025, 2049)]
    assert [row.row.name for row in select_rows(["axial_resnet26_s"])] == ["axial_resnet26_s"]


def test_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["models", "resnet50", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["published_params_m"] == 25.6
    assert main(["models", "resnet50", "--input", "65x97", "--markdown"]) == 0
    assert "| resnet50 |  | 65x97 |" in capsys.readouterr().out
    assert main(["tables"]) == 0
    assert capsys.readouterr().out == paper_tables()
    assert list(tmp_path.iterdir()) == []
    assert main(["tables", "--output", "docs/tables.md"]) == 0
    assert capsys.readouterr().out == f"{Path('docs', 'tables.md')}\n"
    assert (tmp_path / "docs" / "tables.md").read_text(encoding="utf-8") == paper_tables()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["axial_deeplab_x"], "name must be a network of list_models"),
        (["resnet50", "--input", "65by97"], "input must be HEIGHTxWIDTH in pixels, got 65by97"),
        (["resnet50", "--input", "0x97"], "input must be HEIGHTxWIDTH in pixels, got 0x97"),
        (["resnet50", "--set", "aspp"], "setting must be KEY=VALUE, got aspp"),
        (["resnet50", "--set", "aspp=true"], "overrides must be arguments of resnet50, got 'aspp'"),
        (["resnet50", "--span", "5"], "span must be None for resnet50, got 5"),
    ],
)
def test_refuses(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *words]) == 2
    error: Any = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
