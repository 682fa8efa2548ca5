"""Predictions as objects of other packages hold the same things."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from saved_predictions import CATEGORIES, as_prediction, awkward, empty, find_instances

FOUND = awkward()
INSTANCES = find_instances(FOUND, CATEGORIES)
PREDICTION = as_prediction(FOUND)


def test_coco_instances():
    decode = pytest.importorskip("pycocotools.mask", reason="needs the extra coco").decode
    annotations = PREDICTION.to_coco_instances("a")
    assert len(annotations) == len(INSTANCES)
    for instance, entry in zip(INSTANCES, annotations, strict=True):
        assert np.array_equal(decode(entry["segmentation"]).astype(bool), instance.full_mask(FOUND.size))
        assert (entry["image_id"], entry["category_id"]) == ("a", instance.category.id)
        assert entry["score"] == pytest.approx(instance.score)
    assert as_prediction(empty()).to_coco_instances() == []


def test_coco_instances_keep_areas_and_boxes_as_results():
    coco = pytest.importorskip("pycocotools.coco", reason="needs the extra coco").COCO()
    coco.dataset = {"images": [{"id": 7}], "categories": []}
    coco.createIndex()
    results = coco.loadRes(PREDICTION.to_coco_instances(7)).dataset["annotations"]
    assert [each["area"] for each in results] == [each.area for each in INSTANCES]
    assert [each["bbox"].tolist() for each in results] == [list(each.bbox) for each in INSTANCES]


def test_supervision():
    pytest.importorskip("supervision", reason="the package supervision is not installed")
    found = PREDICTION.to_supervision()
    assert len(found) == len(INSTANCES)
    for place, instance in enumerate(INSTANCES):
        left, top, width, height = instance.bbox
        assert np.array_equal(found.mask[place], instance.full_mask(FOUND.size))
        assert found.xyxy[place].tolist() == [left, top, left + width, top + height]
        assert (found.class_id[place], found.data["class_name"][place]) == (
            instance.train_id,
            instance.category.name,
        )
        assert found.confidence[place] == instance.score
    assert found.area.tolist() == [each.area for each in INSTANCES]
    assert len(as_prediction(empty()).to_supervision()) == 0


def test_fiftyone(monkeypatch):
    # FiftyOne is too heavy to install here; benchmarks/saved_files.py tries the package itself.
    stand_in = SimpleNamespace(Detection=SimpleNamespace, Detections=SimpleNamespace, __spec__=object())
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    found = PREDICTION.to_fiftyone().detections
    height, width = FOUND.size
    for instance, each in zip(INSTANCES, found, strict=True):
        left, top = round(each.bounding_box[0] * width), round(each.bounding_box[1] * height)
        assert (left, top) == instance.bbox[:2]
        assert np.array_equal(each.mask, instance.mask)
        assert (each.label, each.confidence) == (instance.category.name, instance.score)


@pytest.mark.parametrize(
    ("name", "package"),
    [("coco_instances", "pycocotools"), ("supervision", "supervision"), ("fiftyone", "fiftyone")],
)
def test_missing_packages(monkeypatch, name, package):
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"to_{name} needs the package {package}, which is missing; pip"):
        getattr(PREDICTION, f"to_{name}")()
