import math

import numpy as np
import pytest

from axial_deeplab.evaluation.semantic_iou import SemanticIoU
from axial_deeplab.panoptic.map import semantic_map

VOID = 255


def test_a_map_drawn_by_hand():
    ground_truth = np.array([[0, 0, 0, 0], [1, 1, VOID, VOID]])
    prediction = np.array([[0, 0, 1, VOID], [1, 0, 1, 3]])
    metric = SemanticIoU(4)
    metric.update(ground_truth, prediction)
    result = metric.compute()
    # Class 0: 2 of 4 + 1 wrong pixel; class 1: 1 of 2 + 1 wrong; 2 nowhere; 3 only on void.
    assert result.per_class[:2] == pytest.approx((100 * 2 / 5, 100 * 1 / 3), abs=1e-12)
    assert all(math.isnan(iou) for iou in result.per_class[2:])
    assert result.mean_iou == pytest.approx((40 + 100 / 3) / 2, abs=1e-12)


def test_a_predicted_class_that_is_nowhere_true_counts_as_zero():
    metric = SemanticIoU(2)
    metric.update(np.zeros((2, 2), int), np.array([[0, 0], [0, 1]]))
    assert metric.compute().per_class == (75, 0)
    assert metric.compute().mean_iou == 37.5


def test_images_add_up_and_shards_merge():
    rng = np.random.default_rng(0)
    whole, first, second = SemanticIoU(5), SemanticIoU(5), SemanticIoU(5)
    truths, predictions = [], []
    for index in range(6):
        truth, prediction = rng.integers(0, 6, (2, 7, 9)).astype(np.uint8)
        truth[truth == 5] = VOID
        prediction[prediction == 5] = VOID
        truths.append(truth)
        predictions.append(prediction)
        whole.update(truth, prediction)
        (first if index % 2 else second).update(truth, prediction)
    first += second
    np.testing.assert_array_equal(first.confusion, whole.confusion)
    truth, prediction = np.stack(truths), np.stack(predictions)
    for label, iou in enumerate(whole.compute().per_class):
        both = ((truth == label) & (prediction == label)).sum()
        either = ((truth == label) | ((prediction == label) & (truth != VOID))).sum()
        assert iou == pytest.approx(100 * both / either, abs=1e-12)


def test_more_than_255_classes_need_another_ignore_label():
    with pytest.raises(ValueError, match=r"ignore_label must be no class, got 255 of 300 classes; use -1"):
        SemanticIoU(300)
    metric = SemanticIoU(300, ignore_label=-1)
    panoptic = np.array([[0, (255 + 1) * 10_000, (299 + 1) * 10_000 + 7]], dtype=np.int32)
    labels = semantic_map(panoptic, ignore_label=-1)
    metric.update(labels, labels)
    result = metric.compute()
    assert (result.per_class[255], result.per_class[299], result.mean_iou) == (100, 100, 100)


def test_nothing_seen_is_nan_and_null_in_json():
    result = SemanticIoU(2).compute()
    assert math.isnan(result.mean_iou)
    assert result.to_json() == {"unit": "percent", "mean_iou": None, "per_class": [None, None]}


def test_bad_arguments_are_refused():
    metric = SemanticIoU(3)
    image = np.zeros((2, 2), int)
    with pytest.raises(ValueError, match=r"num_classes must be at least 1, got 0"):
        SemanticIoU(0)
    with pytest.raises(
        ValueError, match=r"pred_labels must have the shape of gt_labels, got \(1, 2\) for \(2, 2\)"
    ):
        metric.update(image, image[:1])
    with pytest.raises(ValueError, match=r"gt_labels must be from 0 to 2 or ignore_label 255, got 202"):
        metric.update(image + 202, image)
    with pytest.raises(ValueError, match=r"pred_labels must be from 0 to 2 or ignore_label 255, got -1"):
        metric.update(image, image - 1)
    with pytest.raises(ValueError, match=r"pred_labels must be whole numbers, got float64; take the argmax"):
        metric.update(image, image + 0.5)
    with pytest.raises(ValueError, match=r"other must have 3 classes, got 4"):
        metric += SemanticIoU(4)
