"""`axial-deeplab evaluate` with a network that needs no weights, alone or started by torchrun."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from axial_deeplab.cli.main import main
from axial_deeplab.evaluation import evaluate
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights

CATEGORIES = Categories([Category(1, "ground", False), Category(2, "box", True)])
GROUND, BOX = 10_000, 20_001


class RedIsBox(nn.Module):
    """Calls red pixels a box with its center where the blue pixel is, all others ground."""

    def __init__(self) -> None:
        super().__init__()
        self.semantic_head = nn.Linear(1, 1)

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        red, _, blue = (images.float() / 255).unbind(dim=1)
        return {
            "semantic_logits": torch.stack([1 - red, red], dim=1),
            "center_heatmap": blue[:, None],
            "offsets": torch.zeros(len(images), 2, *images.shape[2:]),
        }


class WithoutWeights(Predictor):
    """A predictor that ignores what weights it is given."""

    def __init__(self, weights: str, *arguments: object, **options: object) -> None:
        metadata = {"model": {"name": "red_is_box"}, "post_processing": {"stuff_area": 0}}
        super().__init__(LoadedWeights(RedIsBox(), CATEGORIES, metadata), *arguments, **options)


def write_boxes(folder: Path, num_images: int) -> None:
    """Write images whose red box covers another part of the true box each."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    with PanopticWriter(folder / "panoptic", folder / "panoptic.json", CATEGORIES) as writer:
        for number in range(num_images):
            top, left = random.integers(0, 10, 2)
            truth = np.full((41, 53), GROUND, np.int32)
            truth[top : top + 25, left : left + 31] = BOX
            image = np.zeros((41, 53, 3), np.uint8)
            shown_top, shown_left = (side + random.integers(0, 6) for side in (top, left))
            image[shown_top : shown_top + 25, shown_left : shown_left + 31, 0] = 255
            image[shown_top, shown_left, 2] = 255
            name = f"{number}.png"
            Image.fromarray(image).save(folder / "images" / name)
            segments = [Segment(id=GROUND, train_id=0, area=0), Segment(id=BOX, train_id=1, area=0)]
            writer.add(Panoptic(truth, segments), image_file_name=name)


def run(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    original = evaluate.Predictor
    evaluate.Predictor = WithoutWeights  # type: ignore[misc]
    try:
        return main(["evaluate", "--weights", "none", "--device", "cpu", *words])
    finally:
        evaluate.Predictor = original  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
