"""The rule that decides about claims, and the page that tells."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from axial_deeplab.experiments.reproduction import claims
from axial_deeplab.experiments.reproduction.claims import Claim, judge, student_t
from axial_deeplab.experiments.reproduction.networks import TABLES
from axial_deeplab.experiments.reproduction.page import SCENES_RECIPE, page
from axial_deeplab.experiments.reproduction.results import Results, read_results
from axial_deeplab.experiments.reproduction.tables import comma_separated, markdown


def results(**qualities: list[float]) -> Results:
    """Return the runs of three seeds, or fewer, whose scores are all the given numbers."""
    settings = {
        "model": {"overrides": {"width_multiplier": 25 / 64, "stem_multiplier": 0.25}},
        "optim": {"max_steps": 10},
        "trainer": {"batch_size": 4},
    }
    fixed: dict[str, Any] = {
        "settings": settings, "parameters": 2_000_000, "madds": 404_000_000, "base_madds": 400_000_000,
        "image_size": [32, 48], "num_train_images": 1000, "num_test_images": 7, "num_stress_images": 5,
        "scenes_version": "1", "cpu_seconds": 90.0, "versions": {"torch": "2"}, "machine": "m",
    }  # fmt: skip
    measures = {measure for table in TABLES.values() for measure in table.columns}
    measures |= {measure for claim in claims.CLAIMS for measure in claim.measures or ()}
    runs = {
        key: {
            seed: {**fixed, "network": key, "seed": seed, "scores": dict.fromkeys(measures, value)}
            for seed, value in enumerate(values)
        }
        for key, values in qualities.items()
    }
    return Results(Path(), runs, (0, 1, 2))


def test_intervals_are_those_of_students_t() -> None:
    # From printed tables of the distribution.
    assert student_t(1) == pytest.approx(12.706, abs=2e-3)
    assert student_t(4) == pytest.approx(2.776, abs=1e-3)
    assert student_t(30) == pytest.approx(2.042, abs=1e-3)
    assert student_t(2, 0.6) == pytest.approx(1.061, abs=1e-3)


def test_two_networks_are_compared_seed_by_seed() -> None:
    # Differences 3, 4, 2: those of a paired test, of standard deviation 1.
    table = {("a", 0): 34.0, ("a", 1): 46.0, ("a", 2): 15.0, ("b", 0): 31.0, ("b", 1): 42.0, ("b", 2): 13.0}
    assert claims.compare(table, "a", "b") == pytest.approx((3, (1 / 3) ** 0.5, 2))
    assert claims.compare(table, "b", "a")[0] == pytest.approx(-3)


def test_chance_comes_from_all_networks() -> None:
    # Of network + seed remain +-1 in c and d, nothing in a and b: 8 in all, of 12 - 4 - 3 + 1 degrees.
    rest = {"a": (0, 0, 0), "b": (0, 0, 0), "c": (1, -1, 0), "d": (-1, 1, 0)}
    worth = {"a": 30, "b": 28, "c": 10, "d": 50}
    table = {(key, seed): worth[key] + 5.0 * seed + rest[key][seed] for key in worth for seed in range(3)}
    assert claims.compare(table, "a", "b") == pytest.approx((2, (4 / 6 * 2 / 3) ** 0.5, 6))
    # A seed that a network lacks says nothing about the other one.
    del table["b", 2]
    difference, error, freedom = claims.compare(table, "a", "b")
    assert (difference, freedom) == (pytest.approx(2), 5)
    assert error > (4 / 5 * 2 / 3) ** 0.5


@pytest.mark.parametrize(
    ("first", "second", "changes", "verdict"),
    [
        ([34.0, 36.0, 35.0], [31.0, 32.0, 33.0], {}, "holds"),
        ([31.0, 32.0, 33.0], [34.0, 36.0, 35.0], {}, "does not hold"),
        ([33.0, 36.0, 34.5], [31.0, 32.0, 33.0], {}, "cannot be told"),
        ([31.0, 32.0, 33.0], [34.0, 36.0, 35.0], {"lower_is_better": True}, "holds"),
        ([34.0], [31.0, 32.0, 33.0], {}, "cannot be told"),
        ([], [31.0, 32.0, 33.0], {}, "not run"),
        ([32.0, 32.5, 33.0], [32.0, 32.6, 33.1], {"alike": True}, "holds"),
        ([32.0, 35.0, 32.0], [32.0, 33.0, 34.0], {"alike": True}, "cannot be told"),
        ([42.0, 44.0, 43.0], [32.0, 33.0, 34.0], {"alike": True}, "does not hold"),
    ],
)
def test_the_rule(first: list[float], second: list[float], changes: dict[str, Any], verdict: str) -> None:
    claim = dataclasses.replace(Claim("spans", "It helps", "axial_deeplab", "span_5"), **changes)
    present = {key: values for key, values in (("axial_deeplab", first), ("span_5", second)) if values}
    assert judge(claim, "PQ", results(**present)).verdict == verdict


def test_the_papers_differences_come_from_its_scores() -> None:
    one = {"axial_deeplab": [1.0], "resnet": [1.0]}
    by_measure = {
        finding.measure: finding.paper
        for finding in claims.findings(results(**one))
        if finding.claim == claims.CLAIMS[0]
    }
    assert by_measure == pytest.approx({"PQ": 62.6 - 58.1, "mIoU": 80.5 - 73.3, "AP": 34.9 - 30.0})
    assert all(claim.table in TABLES for claim in claims.CLAIMS)
    for claim in claims.CLAIMS:
        assert {claim.first, claim.second} <= set(TABLES[claim.table].networks)


def test_tables_mark_what_is_missing() -> None:
    found = results(axial_deeplab=[30.0, 32.0, 31.0], resnet=[20.0, 22.0])
    lines = markdown(TABLES["networks"], found).splitlines()
    assert lines[0].split(" | ")[3:8] == ["PQ", "mIoU", "AP", "PQ things", "PQ stuff"]
    assert lines[2] == f"| Axial-DeepLab | 2.00 | 404 |{' 31.0 ± 1.0 |' * 5} 3 | 10 | 1.5 |"
    assert lines[3].startswith("| Axial-DeepLab, ASPP | - | - |")
    assert lines[3].endswith("| 0 of 3 | - | - |")
    assert "| 21.0 ± 1.4 | 2 of 3 |" in lines[4]
    assert (
        comma_separated(TABLES["networks"], found)
        .splitlines()[2]
        .startswith("resnet,2000000,404000000,21,1.41421,2,21,1.41421,2,")
    )


def test_the_page_says_what_the_numbers_say() -> None:
    seeds = {"axial_deeplab": [30.0, 32.0, 31.0], "resnet": [20.0, 22.0, 21.0], "span_5": [31.0, 31.1, 31.2]}
    text = page(results(**seeds), "page.md", list(TABLES), SCENES_RECIPE)
    words = " ".join(text.split())
    assert "`axial-deeplab experiment reproduce all --output . --page page.md` trains the networks" in words
    assert "Here are 9 of 54 runs: 18 networks, seeds 0, 1, 2." in words
    assert "Each run is 10 steps of 4 crops from random weights, on 1,000 of the built-in scenes" in words
    without_aspp = "Axial-DeepLab is better than Panoptic-DeepLab without ASPP"
    assert f"| {without_aspp} | PQ | +4.5 | +10.0 ± 1.2 | 1.7 | holds |" in text
    assert f"* {without_aspp} (mIoU)" in text
    assert "| The whole axis is better than span 5 | PQ | +5.1 | -0.1 ± 1.2 | 1.7 | cannot be told |" in text
    assert "Panoptic-DeepLab, ResNet: 25 and 16 (+1.0% M-Adds)" in words
    # Losses were set equal to the scores, so those of Axial-DeepLab are the higher ones.
    lower = "Axial-DeepLab has a lower offset loss than Panoptic-DeepLab without ASPP"
    assert f"| {lower} | offset loss |  | +10 ± 1.2 | 1.7 | does not hold |" in text
    assert "On the first 5 of the images held out." in text


def test_a_page_of_one_table_on_other_data() -> None:
    seeds = {"axial_deeplab": [30.0, 32.0, 31.0], "resnet": [20.0, 22.0, 21.0], "span_5": [31.0, 31.1, 31.2]}
    found = results(**seeds)
    for run in found.all():
        run["scenes_version"] = None
    text = page(found, "page.md", ["networks"], "mine.yaml")
    words = " ".join(text.split())
    assert (
        "`axial-deeplab experiment reproduce networks --config mine.yaml --output . --page page.md` trains"
        in words
    )
    assert "Here are 6 of 18 runs: 6 networks" in words
    assert "on 1,000 images: " in words
    assert "All share `mine.yaml`, which names the data." in words
    assert "scenes" not in text
    assert text.startswith("# The paper's claims in small: mine\n")
    assert "| PQ | mIoU | AP | PQ things | PQ stuff |" in text
    assert text.count("\n## ") == 2
    assert "span 5" not in text
    text = page(found, "page.md", ["networks", "losses"], "mine.yaml")
    assert "reproduce networks losses --config mine.yaml --output . --page page.md`" in " ".join(text.split())
    assert text.count("\n## ") == 3


def test_the_published_page_has_the_numbers_of_the_published_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    published = read_results(Path("docs/experiments/camvid_runs"), range(5))
    tables, path = ["networks", "spans", "stress"], "docs/reproduction_camvid.md"
    assert page(published, path, tables, "reproduction/camvid") == Path(path).read_text(encoding="utf-8")
