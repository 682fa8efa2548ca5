"""Outlines that are plausible but wrong are told: boxes, and those of another picture."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axial_deeplab.data.convert.odd_outlines import is_outside, warn_of_boxes
from dataset_conversion import convert, save

BOX = np.array([[2.0, 1], [8, 1], [8, 5], [2, 5]])
TURNED = np.array([[4.0, 0], [8, 3], [5, 7], [1, 4]])


@pytest.mark.parametrize(
    ("outline", "is_told"),
    [
        ((BOX,), True),
        ((np.concatenate([BOX, BOX[:1]]),), True),
        ((TURNED,), True),
        ((TURNED + 0.05 * np.eye(4, 2),), True),
        ((BOX + np.eye(4, 2),), False),
        ((BOX[:3],), False),
        ((BOX, BOX / 2), False),
        ((), False),
    ],
)
def test_boxes(outline: tuple[np.ndarray, ...], is_told: bool, recwarn: pytest.WarningsRecorder) -> None:
    warn_of_boxes([(BOX,), (TURNED / 100,), outline], "a.json")
    assert [str(each.message)[:40] for each in recwarn] == [
        "a.json: all 3 outlines are boxes, and al"
    ] * is_told


def test_two_boxes_are_not_told(recwarn: pytest.WarningsRecorder) -> None:
    warn_of_boxes([(BOX,), (BOX,)], "a.json")
    assert not recwarn


def test_outside() -> None:
    assert not is_outside([BOX], (3, 5))
    assert not is_outside([BOX, BOX - 6], (3, 5))
    assert is_outside([BOX], (2, 9))
    assert is_outside([BOX], (9, 4))
    assert is_outside([BOX - 6], (9, 9))


def box(x: float, y: float) -> list[list[float]]:
    return [[x, y], [x + 4, y], [x + 4, y + 3], [x, y + 3], [x, y + 1]]


def via(places: list[tuple[float, float]]) -> dict[str, Any]:
    regions = [
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": [point[0] for point in box(*place)],
                "all_points_y": [point[1] for point in box(*place)],
            },
            "region_attributes": {"class": "cell"},
        }
        for place in places
    ]
    return {"a.png1": {"filename": "a.png", "size": 1, "regions": regions}}


def coco(places: list[tuple[float, float]]) -> dict[str, Any]:
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "segmentation": [np.ravel(box(*place)).tolist()]}
        for number, place in enumerate(places)
    ]
    images, categories = [{"id": 1, "file_name": "a.png"}], [{"id": 1, "name": "cell"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("document", [via, coco])
def test_outlines_of_a_larger_picture_are_told(
    document: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if document is coco:
        pytest.importorskip("pycocotools")
    save(tmp_path / "source/a.png", np.zeros((20, 30, 3), np.uint8))
    path = tmp_path / "source/all.json"
    text = "outlines whose middle lies outside of the picture of 20 x 30 pixels (height x width), such as"
    path.write_text(json.dumps(document([(2, 2), (27, 5), (10, 18)])))
    code, printed = convert(capsys, tmp_path / "source", "--output", tmp_path / "out")
    assert (code, text in printed) == (0, False), printed
    path.write_text(json.dumps(document([(2, 2), (29, 5), (10, 19)])))
    code, printed = convert(capsys, tmp_path / "source", "--output", tmp_path / "out2")
    assert (code, f"has 2 {text}" in printed) == (0, True), printed


@pytest.mark.parametrize("document", [via, coco])
def test_outlines_in_parts_of_the_picture_are_refused(
    document: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if document is coco:
        pytest.importorskip("pycocotools")
    save(tmp_path / "source/a.png", np.zeros((20, 30, 3), np.uint8))
    path = tmp_path / "source/all.json"
    path.write_text(re.sub(r"\b(\d)\.5\b", r"0.\1", json.dumps(document([(2.5, 2.5), (4.5, 3.5)]))))
    code, printed = convert(capsys, tmp_path / "source", "--output", tmp_path / "out")
    wanted = "must have outlines in pixels, got all from 0 to 1, such as (0.2, 0.3), as parts"
    assert (code, wanted in printed) == (2, True), printed
