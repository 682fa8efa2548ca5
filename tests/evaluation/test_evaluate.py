"""The evaluator's sums add up over processes; label spaces that differ are refused."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.data.coco import Sample
from axial_deeplab.evaluation.evaluate import PanopticEvaluator, close_writer
from axial_deeplab.evaluation.processes import Processes
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.post_processing import PostProcessing

CATEGORIES = Categories([Category(1, "ground", False), Category(2, "box", True)])


class RedIsBox(nn.Module):
    """Calls red pixels a box with its center at (4, 4), all others ground."""

    def __init__(self) -> None:
        super().__init__()
        self.device_of = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        red = (images[:, :1] > 128).float()
        heatmap = torch.zeros_like(red)
        heatmap[..., 4, 4] = 1
        zeros = torch.zeros(len(images), 2, *images.shape[2:])
        return {"semantic_logits": torch.cat([1 - red, red], 1), "center_heatmap": heatmap, "offsets": zeros}


def sample(box: slice, shown: slice) -> Sample:
    """Make an image whose true box is at `box` and whose red square is at `shown`."""
    image = np.zeros((12, 12, 3), np.uint8)
    image[shown, shown, 0] = 255
    panoptic = np.full((12, 12), 10_000, np.int32)
    panoptic[box, box] = 20_001
    values, areas = np.unique(panoptic, return_counts=True)
    segments = [
        Segment(id=int(v), train_id=int(v) // 10_000 - 1, area=int(a))
        for v, a in zip(values, areas, strict=True)
    ]
    return Sample(image, Panoptic(panoptic, segments), 1, "a.png", (12, 12))


def test_scores_by_hand_and_shards_add_up() -> None:
    # The second box is seen with 4 x 4 of its 6 x 6 pixels: IoU 16/36 is no match; ground has 108 of 128.
    samples = [sample(slice(2, 8), slice(2, 8)), sample(slice(2, 8), slice(2, 6))]
    post_processing = PostProcessing(CATEGORIES.thing_ids, stuff_area=0)
    whole, first, second = (PanopticEvaluator(CATEGORIES, post_processing) for _ in range(3))
    model = RedIsBox().eval()
    for each in samples:
        whole.update(model, each)
    first.update(model, samples[0])
    second.update(model, samples[1])
    result = whole.compute()
    assert result.num_images == 2
    assert result.panoptic.things.pq == pytest.approx(100 / (1 + 0.5 + 0.5))
    assert result.panoptic.stuff.pq == pytest.approx(100 * (1 + 108 / 128) / 2)
    assert result.semantic.mean_iou == pytest.approx(50 * ((36 + 16) / 72 + (108 + 108) / (108 + 128)))
    first.load_states([first.state(), second.state()])
    merged = first.compute()
    assert merged.panoptic == result.panoptic
    assert merged.semantic == result.semantic
    assert merged.summary()["PQ"] == result.panoptic.all.pq
    whole.reset()
    assert whole.compute().num_images == 0


def test_several_processes_refuse_to_write_one_file_twice(tmp_path, monkeypatch):
    panoptic = np.full((2, 2), 10_000, np.int32)
    writers = [
        PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", CATEGORIES) for _ in range(2)
    ]
    segments = [Segment(id=10_000, train_id=0, area=4)]
    for writer, name in zip(writers, ("a.jpg", "a.png"), strict=True):
        writer.add(Panoptic(panoptic, segments), image_file_name=name, image_id=name)
    shares = [[list(writer.written()) for writer in writers]]
    monkeypatch.setattr(Processes, "gather", lambda self, items: shares.pop(0))
    with pytest.raises(ValueError, match=r"must have different names, .* got 1 names of 2 images; take one"):
        close_writer(writers[0], Processes(0, 2))
    assert not (tmp_path / "panoptic.json").exists()


def test_colors_may_differ_but_nothing_else() -> None:
    CATEGORIES.require_same_classes(
        Categories([Category(1, "ground", False, (9, 9, 9)), CATEGORIES[1]]), "a", "b"
    )
    for other in (Category(2, "crate", True), Category(2, "box", False), Category(3, "box", True)):
        with pytest.raises(
            ValueError, match=r"a must have the categories of b, got 2 for 2; they differ in id 2 \(box\)"
        ):
            CATEGORIES.require_same_classes(Categories([CATEGORIES[0], other]), "a", "b")
    with pytest.raises(ValueError, match=r"got 1 for 2; they differ in id 2 \(box\)"):
        Categories([CATEGORIES[0]]).require_same_classes(CATEGORIES, "a", "b")
