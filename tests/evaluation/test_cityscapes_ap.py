"""Cityscapes' AP, PQ and mIoU equal cityscapesScripts; the rules of AP by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.evaluation.cityscapes_ap import CityscapesAP, InstanceMask, average_precision
from axial_deeplab.evaluation.panoptic_quality import evaluate_files
from axial_deeplab.evaluation.semantic_iou import SemanticIoU
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.coco_json import PanopticJson
from axial_deeplab.panoptic.map import Panoptic, Segment

# Labels that cityscapesScripts marks ignoreInEval.
VOID_LABELS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)

CATEGORIES = Categories([Category(1, "road", False), Category(2, "car", True), Category(3, "bus", True)])
ROAD, CAR, BUS = range(3)


# --- the golden mini set


@pytest.fixture(scope="module")
def mini(golden):
    return golden("cityscapes_mini_a")


@pytest.fixture(scope="module")
def expected(mini):
    return json.loads((mini / "expected.json").read_text())


@pytest.fixture(scope="module")
def categories(mini):
    return PanopticJson.read(mini / "gtFine" / "cityscapes_panoptic_val.json").categories


def true_instances(path: Path, categories: Categories) -> Panoptic:
    """Read instanceIds; caravans and trailers (29000 and more) are neither instances nor void."""
    ids = np.array(Image.open(path)).astype(np.int32)
    ids[np.isin(ids, VOID_LABELS)] = 0
    segments = []
    for value in np.unique(ids).tolist():
        label, is_group = (value, True) if value < 1000 else (value // 1000, False)
        if categories.has_id(label):
            segments.append(Segment(id=value, train_id=categories.train_id(label), area=0, is_crowd=is_group))
    return Panoptic(ids, segments)


def predicted_masks(path: Path, categories: Categories) -> list[InstanceMask]:
    masks = []
    for line in path.read_text().splitlines():
        name, label, score = line.split()
        if categories.has_id(int(label)):
            mask = np.array(Image.open(path.parent / name).convert("L")) != 0
            masks.append(InstanceMask(mask, categories.train_id(int(label)), float(score)))
    return masks


def test_ap_equals_cityscapes_scripts(mini, expected, categories):
    paths = sorted(mini.glob("gtFine/val/golden/*_instanceIds.png"))
    whole, first, second = (CityscapesAP(categories) for _ in range(3))
    for index, path in enumerate(paths):
        name = path.name.replace("_gtFine_instanceIds.png", "_pred.txt")
        image = (
            true_instances(path, categories),
            predicted_masks(mini / "results" / "instance" / name, categories),
        )
        whole.update_masks(*image)
        (second if index else first).update_masks(*image)
    result = whole.compute()
    averages = expected["instance"]["averages"]
    assert result.ap == pytest.approx(100 * averages["allAp"], abs=1e-9)
    assert result.ap50 == pytest.approx(100 * averages["allAp50%"], abs=1e-9)
    for category in categories:
        if category.is_thing:
            theirs = averages["classes"][category.name]["ap"]
            ours = result.per_class[category.id]
            assert math.isnan(ours) if theirs is None else ours == pytest.approx(100 * theirs, abs=1e-9)
    second.state += first.state
    assert second.compute().to_json() == result.to_json()


def test_pq_equals_cityscapes_scripts(mini, expected):
    result = evaluate_files(
        mini / "gtFine" / "cityscapes_panoptic_val.json",
        None,
        mini / "results" / "cityscapes_panoptic_val.json",
        None,
    ).to_json()
    for group in ("All", "Things", "Stuff"):
        for key in ("pq", "sq", "rq"):
            assert result[group][key] == pytest.approx(100 * expected["panoptic"][group][key], abs=1e-9)
        assert result[group]["n"] == expected["panoptic"][group]["n"]
    for category_id, theirs in expected["panoptic"]["per_class"].items():
        ours = result["per_class"][category_id]["pq"]
        # cityscapesScripts says 0 of a class that never occurs.
        assert (ours or 0) == pytest.approx(100 * theirs["pq"], abs=1e-9)


def test_miou_equals_cityscapes_scripts(mini, expected, categories):
    train_ids = np.full(256, -1)
    train_ids[list(categories.ids)] = range(len(categories))
    measure = SemanticIoU(len(categories), ignore_label=-1)
    for path in sorted(mini.glob("gtFine/val/golden/*_labelIds.png")):
        prediction = mini / "results" / "semantic" / path.name.replace("_gtFine_labelIds", "_pred")
        measure.update(*(train_ids[np.array(Image.open(each))] for each in (path, prediction)))
    result = measure.compute()
    scores = expected["pixel"]["classScores"]
    assert result.mean_iou == pytest.approx(100 * expected["pixel"]["averageScoreClasses"], abs=1e-9)
    for category, ours in zip(categories, result.per_class, strict=True):
        assert ours == pytest.approx(100 * scores[category.name], abs=1e-9)


# --- by hand: maps of 20 x 100 pixels, a column of 20 pixels being the unit


def strip(**widths: int) -> np.ndarray:
    """Return a map (20, 100) of the ids 1, 2, ... from left to right, each so many columns wide; x is 0."""
    ids, value = [], 0
    for name, width in widths.items():
        value += not name.startswith("x")
        ids += [0 if name.startswith("x") else value] * width
    return np.tile(np.array(ids + [0] * (100 - len(ids)), dtype=np.int32), (20, 1))


def truth(ids: np.ndarray, *train_ids: int, groups: tuple[int, ...] = ()) -> Panoptic:
    segments = [
        Segment(id=number, train_id=train_id, area=0, is_crowd=number in groups)
        for number, train_id in enumerate(train_ids, start=1)
    ]
    return Panoptic(ids, segments)


def found(ids: np.ndarray, *train_ids_and_scores: tuple[int, float]) -> Panoptic:
    segments = [
        Segment(id=number, train_id=train_id, area=0, score=score)
        for number, (train_id, score) in enumerate(train_ids_and_scores, start=1)
    ]
    return Panoptic(ids, segments)


def ap(*images: tuple[Panoptic, Panoptic]) -> list[float]:
    measure = CityscapesAP(CATEGORIES)
    for image in images:
        measure.update(*image)
    return list(measure.compute().per_class.values())


def test_thresholds_are_passed_one_by_one():
    # IoU 0.72 is above 0.5, 0.55, 0.6, 0.65 and 0.7.
    one_car = truth(strip(a=25), CAR)
    assert ap((one_car, found(strip(a=18), (CAR, 0.3))))[0] == pytest.approx(50)
    assert ap((one_car, found(strip(a=25), (CAR, 0.3))))[0] == 100
    assert ap((one_car, found(strip(a=25), (BUS, 0.3))))[0] == 0
    assert ap((one_car, found(strip(x=100)))) == [0, pytest.approx(math.nan, nan_ok=True)]


def test_of_two_masks_on_one_instance_the_less_confident_is_wrong():
    car = np.ones((20, 100), dtype=bool)
    measure = CityscapesAP(CATEGORIES)
    measure.update_masks(
        truth(np.ones((20, 100), np.int32), CAR),
        [InstanceMask(car, CAR, 0.4), InstanceMask(car, CAR, 0.9), InstanceMask(car, ROAD, 1.0)],
    )
    # The curve: precision 1/2 and 1 at recall 1, 1 at recall 0.
    assert measure.compute().per_class[2] == pytest.approx(100 * (0.5 * 0 + 1 * 0.5 + 1 * 0.5))


def test_groups_small_instances_and_void_excuse():
    right = (CAR, 0.5)
    for ids, segments, groups in (
        (strip(a=20, b=20), (CAR, CAR), (2,)),  # a group
        (strip(a=20, b=4), (CAR, CAR), ()),  # 80 pixels
        (strip(a=20), (CAR,), ()),  # void
    ):
        guess = found(strip(a=20, b=4), right, (CAR, 0.9))
        assert ap((truth(ids, *segments, groups=groups), guess))[0] == 100
    # On a bus or on road it is wrong, and more confident than the right one: precision 1/2 at recall 1.
    for other in (BUS, ROAD):
        image = truth(strip(a=20, b=20), CAR, other), found(strip(a=20, b=4), right, (CAR, 0.9))
        assert ap(image)[0] == pytest.approx(25)
    # Three quarters in void are more than the thresholds 0.5 to 0.7, a half is more than none.
    for on_road, expected in ((1, 50 + 12.5), (2, 25)):
        image = truth(strip(a=20, b=on_road), CAR, ROAD), found(strip(a=20, b=4), right, (CAR, 0.9))
        assert ap(image)[0] == pytest.approx(expected)


def test_curve_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    is_right = np.array([True, False, True, False])
    # Falling thresholds: precision 1, 2/3, 1/2 at recall 1/4, 1/2, 1/2 of four instances.
    expected = (
        1 / 2 * (1 / 2 - 1 / 2) / 2 + 2 / 3 * (1 / 2 - 1 / 4) / 2 + 1 * (1 / 2 - 0) / 2 + 1 * (1 / 4) / 2
    )
    assert average_precision(scores, is_right, 4) == pytest.approx(expected)
    assert average_precision(scores[:0], is_right[:0], 4) == 0
    assert math.isnan(average_precision(scores, is_right, 0))


def test_predictions_without_scores_and_masks_of_other_sizes_are_refused():
    measure = CityscapesAP(CATEGORIES)
    ids = strip(a=20)
    with pytest.raises(ValueError, match=r"segments of a prediction must have scores for AP, got none for 1"):
        measure.update(truth(ids, CAR), truth(ids, CAR))
    with pytest.raises(ValueError, match=r"must have the size \(H, W\) of gt_map, got \(2, 2\)"):
        measure.update_masks(truth(ids, CAR), [InstanceMask(np.ones((2, 2), bool), CAR, 1.0)])
