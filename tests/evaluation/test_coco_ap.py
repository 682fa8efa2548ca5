"""COCO's AP of panoptic maps equals what pycocotools says of the same masks; the protocols' refusals."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest

from axial_deeplab.evaluation.coco_ap import CocoAP
from axial_deeplab.evaluation.instance_ap import create_instance_ap
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.png import read_panoptic_png

CATEGORIES = Categories(
    [
        Category(3, "road", False),
        Category(7, "car", True),
        Category(9, "bus", True),
        Category(11, "tram", True),
    ]
)
ROAD, CAR, BUS, TRAM = range(4)


def image(columns: str, **segments: Segment) -> Panoptic:
    """Return a map of 40 rows, 10 pixels for each letter; dots are void."""
    names = list(segments)
    row = [0 if letter == "." else names.index(letter) + 1 for letter in columns for _ in range(10)]
    return Panoptic(np.tile(np.array(row, np.int32), (40, 1)), list(segments.values()))


def segment(number: int, train_id: int, score: float | None = None, *, is_crowd: bool = False) -> Segment:
    return Segment(id=number, train_id=train_id, area=0, score=score, is_crowd=is_crowd)


IMAGES = {
    # Equal scores in two images: the order of the ids decides.
    5: (
        image("aaaaabbbcccc", a=segment(1, CAR), b=segment(2, CAR), c=segment(3, ROAD)),
        image("aaaa.bbbbccc", a=segment(1, CAR, 0.5), b=segment(2, BUS, 0.9), c=segment(3, ROAD, 0.4)),
    ),
    12: (
        image("aaaabbbbcccc", a=segment(1, BUS), b=segment(2, CAR), c=segment(3, CAR, is_crowd=True)),
        image("aabb.bccdd..", a=segment(1, BUS, 0.2), b=segment(2, CAR, 0.5), c=segment(3, CAR, 0.5),
              d=segment(4, CAR, 0.7)),
    ),
}  # fmt: skip


def by_pycocotools() -> list[float]:
    """Score the same masks by documents written by hand."""
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, predictions = [], []
    for image_id, sides in IMAGES.items():
        for side, entries in zip(sides, (truths, predictions), strict=True):
            for each in side.segments:
                if each.train_id == ROAD:
                    continue
                code = mask.encode(np.asfortranarray(side.map == each.id, dtype=np.uint8))
                entries.append(
                    {
                        "id": len(entries) + 1,
                        "image_id": image_id,
                        "category_id": CATEGORIES[each.train_id].id,
                        "iscrowd": int(each.is_crowd),
                        "area": int(mask.area(code)),
                        "segmentation": code,
                        "score": each.score,
                    }
                )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n, "height": 40, "width": 120} for n in IMAGES],
            "categories": [{"id": category.id} for category in CATEGORIES if category.is_thing],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(predictions), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)


def test_numbers_are_those_of_pycocotools_whatever_the_order_of_the_images():
    whole, first, second = (CocoAP(CATEGORIES) for _ in range(3))
    for image_id, sides in IMAGES.items():
        whole.update(*sides, image_id=image_id)
        (first if image_id == 5 else second).update(*sides, image_id=image_id)
    result = whole.compute()
    expected = [100 * value for value in by_pycocotools()]
    assert 0 < expected[0] < 100
    assert [result.ap, result.ap50, result.further["ap75"]] == pytest.approx(expected[:3], abs=1e-9)
    numbers = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert numbers["per_class"].keys() == {"7", "9", "11"}
    assert numbers["per_class"]["11"] is None
    assert numbers["ap"] == pytest.approx((numbers["per_class"]["7"] + numbers["per_class"]["9"]) / 2)
    second.state += first.state
    assert second.compute().to_json() == numbers


def test_nothing_found_and_nothing_to_find():
    truth, _ = IMAGES[5]
    nothing = Panoptic(np.zeros_like(truth.map), [])
    measure = CocoAP(CATEGORIES)
    measure.update(truth, nothing, image_id=1)
    assert measure.compute().ap == 0
    assert measure.compute().to_text() == "AP 0.0, AP50 0.0 (instances, coco protocol)"
    empty = CocoAP(CATEGORIES)
    empty.update(nothing, nothing, image_id="a")
    assert empty.compute().to_text() == "AP -, AP50 - (instances, coco protocol)"


def test_the_true_map_against_itself_is_perfect(golden):
    ids = read_panoptic_png(golden("pq_coco_a") / "gt" / "000000000001.png")
    segments = [segment(value, CAR, 0.5) for value in np.unique(ids).tolist() if value]
    for protocol in ("coco", "cityscapes"):
        measure = create_instance_ap(protocol, CATEGORIES)
        measure.update(Panoptic(ids, segments), Panoptic(ids, segments), image_id=1)
        assert measure.compute().per_class[7] == pytest.approx(100)


def test_refusals(monkeypatch):
    truth, prediction = IMAGES[5]
    with pytest.raises(ValueError, match=r"prediction must have the size \(40, 120\) .*, got \(40, 20\)"):
        CocoAP(CATEGORIES).update(truth, image("..", a=prediction.segments[0]), image_id=1)
    with pytest.raises(ValueError, match=r"must have scores for AP, got none for 1; take those"):
        CocoAP(CATEGORIES).update(prediction, truth, image_id=1)
    with pytest.raises(ValueError, match=r"ap must be one of cityscapes, coco, got 'voc'"):
        create_instance_ap("voc", CATEGORIES)
    with pytest.raises(ValueError, match=r"ap must be left out where no category is a thing, got 'coco'"):
        create_instance_ap("coco", Categories([CATEGORIES[ROAD]]))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r"needs the package pycocotools, .* \"axial-deeplab\[coco\]\""):
        create_instance_ap("coco", CATEGORIES)
