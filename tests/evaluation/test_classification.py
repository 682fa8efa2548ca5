"""Top-1 and top-5 by hand."""

import pytest
import torch

from axial_deeplab.evaluation.classification import ClassificationEvaluator, central_crop, classify


def test_counts_by_hand() -> None:
    evaluator = ClassificationEvaluator()
    logits = torch.tensor([[9.0, 1, 2, 3, 4, 5, 6], [9.0, 1, 2, 3, 4, 5, 6], [9.0, 1, 2, 3, 4, 5, 6]])
    evaluator.update(logits, torch.tensor([0, 3, 2]))  # ranks 0, 4 and 5
    result = evaluator.compute()
    assert (result.top1, result.top5, result.num_images) == pytest.approx((100 / 3, 200 / 3, 3))
    assert result.to_text() == "top-1 33.33, top-5 66.67, percent of 3 images"
    assert result.to_json() == {"top1": result.top1, "top5": result.top5, "num_images": 3}
    evaluator.reset()
    assert evaluator.compute().num_images == 0


def test_no_opinion_and_nan_are_no_success() -> None:
    evaluator = ClassificationEvaluator()
    evaluator.update(torch.zeros(10, 10), torch.arange(10))
    assert (evaluator.compute().top1, evaluator.compute().top5) == (10, 50)
    evaluator.reset()
    evaluator.update(torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2, 0]))
    assert (evaluator.compute().top5, evaluator.compute().num_images) == (0, 4)


def test_counts_of_processes_add_up() -> None:
    parts = [ClassificationEvaluator() for _ in range(2)]
    whole = ClassificationEvaluator()
    logits, labels = torch.randn(11, 8, generator=torch.Generator().manual_seed(0)), torch.arange(11) % 8
    whole.update(logits, labels)
    for rank, part in enumerate(parts):
        part.update(logits[rank::2], labels[rank::2])
    parts[0].load_counts([part.counts for part in parts])
    assert parts[0].compute() == whole.compute()


def test_images_are_normalized_once() -> None:
    mean = torch.tensor([123.675, 116.28, 103.53])[None, :, None, None].expand(2, 3, 4, 4)
    assert classify(torch.nn.Identity(), mean).abs().max() == 0
    white = classify(torch.nn.Identity(), torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(white, torch.tensor([2.2489, 2.4286, 2.64]), atol=1e-4, rtol=0)


def test_crop_of_weights_that_say_nothing_is_the_usual_one() -> None:
    assert vars(central_crop({})) == {"crop_size": (224, 224), "shorter_side": 256}
