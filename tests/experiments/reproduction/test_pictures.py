"""What the pictures of the report show: each run where it belongs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from axial_deeplab.experiments.reproduction import pictures
from axial_deeplab.experiments.reproduction.pictures import caption, picture_name, write_pictures
from axial_deeplab.experiments.reproduction.results import Results


def results(folder: Path, scores: Mapping[str, Sequence[Mapping[str, float]]]) -> Results:
    """Return runs with these scores, a mapping for each seed."""
    runs = {key: {seed: {"scores": dict(run)} for seed, run in enumerate(of)} for key, of in scores.items()}
    return Results(folder, runs, (0, 1, 2))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep the panels of each picture."""
    kept: list[Any] = []
    panels = pictures.panels

    def keep(*arguments: Any, **options: Any) -> tuple[Any, list[Any]]:
        drawing, axes = panels(*arguments, **options)
        kept.append(axes)
        return drawing, axes

    monkeypatch.setattr(pictures, "panels", keep)
    return kept


def test_scores_have_a_dot_for_each_run_and_a_line_at_the_mean(tmp_path: Path, drawn: list[Any]) -> None:
    found = results(
        tmp_path,
        {
            "axial_deeplab": [{"PQ": 30.0, "mIoU": 40.0}, {"PQ": 32.0, "mIoU": 41.0}],
            "resnet": [{"PQ": 20.0, "mIoU": 44.0}],
        },
    )
    write_pictures(found, tmp_path / "page.md", ["networks"])
    with Image.open(tmp_path / "images" / "page_networks.png") as image:
        assert min(image.size) > 200
    pq = [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn[0][0].lines]
    assert ([30.0, 32.0], [0, 0]) in pq
    assert ([31.0], [0]) in pq
    assert ([20.0], [2]) in pq  # the row of the table; networks without a run have theirs, too
    labels = [label.get_text() for label in drawn[0][0].get_yticklabels()]
    assert labels[0] == "Axial-DeepLab"
    assert labels[2] == "Panoptic-DeepLab, ResNet"
    assert [list(line.get_xdata()) for line in drawn[0][2].lines] == [[]] * 6  # nothing has an AP


def test_the_stress_test_is_drawn_over_the_magnification(tmp_path: Path, drawn: list[Any]) -> None:
    runs = [{"PQ at 0.5x": 10.0, "PQ at 2x": 20.0}, {"PQ at 0.5x": 14.0, "PQ at 2x": 20.0}]
    write_pictures(results(tmp_path, {"axial_deeplab": runs}), tmp_path / "page.md", ["stress"])
    line = drawn[0][0].containers[0].lines[0]
    assert list(line.get_xdata()) == [0.5, 2.0]
    assert list(line.get_ydata()) == [12.0, 20.0]


def test_losses_are_drawn_with_their_range(tmp_path: Path, drawn: list[Any]) -> None:
    # The second run was stopped and lacks the line of step 2.
    for seed, values in enumerate(([4.0, 3.0, 2.0], [6.0, None, 4.0])):
        folder = tmp_path / "resnet" / f"seed{seed}"
        folder.mkdir(parents=True)
        rows = [f"{step},{value},{value},{value}" for step, value in enumerate(values, start=1) if value]
        header = "step,train/semantic,train/center,train/offset"
        (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    found = results(tmp_path, {"resnet": [{}, {}]})
    write_pictures(found, tmp_path / "page.md", ["losses"])
    (line,) = drawn[0][1].lines
    assert list(line.get_xdata()) == [1, 2, 3]
    # Means of all values so far: 4, 3.5, 3 and 6, (5.5), 5.
    assert list(line.get_ydata()) == pytest.approx([5.0, 4.5, 4.0])
    (band,) = drawn[0][1].collections
    assert band.get_datalim(drawn[0][1].transData).intervaly == pytest.approx([3.0, 6.0])


def test_the_page_says_what_a_picture_shows() -> None:
    assert picture_name("docs/mine.md", "spans") == "images/mine_spans.png"
    assert len({caption(table) for table in ("spans", "stress", "losses")}) == 3
