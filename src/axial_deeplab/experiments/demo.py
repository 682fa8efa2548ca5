"""The demonstration: scenes that training never saw, their panoptic quality, the time, and a picture."""

import os
import tempfile
from pathlib import Path

from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util.files import atomic_path
from axial_deeplab.visualization import draw_overlay, legend_entries, side_by_side
from axial_deeplab.visualization.legend import LegendEntry

SHIPPED_WEIGHTS = "axial_deeplab_nano_scenes"
# The recipe trains on seed 0 and validates on seed 1.
HELD_OUT_SEED = 2
NUM_ROWS = 6


def run_demo(
    output: str | os.PathLike[str] = "demo",
    *,
    weights: str | os.PathLike[str] = SHIPPED_WEIGHTS,
    num_images: int = 50,
    device: str = "auto",
) -> str:
    """Draw scenes, predict them, and write demo.png: input, ground truth and prediction side by side.

    Args:
        output: folder of the picture.
        weights: file, checkpoint or name of shipped weights, of a network trained on the built-in scenes.
        num_images: how many scenes.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...

    Returns:
        The table of panoptic quality in percent, the time for an image, and where the picture is.

    Raises:
        ValueError: `num_images` is below 1, or the weights are no weights for the scenes.
        OSError: there are no such weights, or the folder cannot be written.
    """
    predictor = Predictor(weights, device)
    categories = predictor.categories
    picture = Path(output) / "demo.png"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "scenes"
        write_scenes(folder, num_images, seed=HELD_OUT_SEED)
        dataset = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
        categories.require_same_classes(dataset.categories, f"weights {weights}", "the built-in scenes")
        evaluator = PanopticEvaluator(categories, predictor.post_processing)
        rows: list[list[Image.Image]] = []
        entries: dict[LegendEntry, None] = {}
        predictor.warm_up()
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample.truth is not None
            prediction = evaluator.update(predictor.model, sample)
            if index < NUM_ROWS:
                both = (sample.truth, prediction.result)
                drawn = (draw_overlay(sample.image, each, categories) for each in both)
                rows.append([Image.fromarray(sample.image), *drawn])
                entries |= dict.fromkeys(legend_entries(sample.truth, categories))
    result = evaluator.compute()
    table = side_by_side(rows, ["input", "ground truth", "prediction"], legend=list(entries))
    with atomic_path(picture) as path:
        table.save(path, format="PNG")
    return (
        f"{result.to_text(classwise=True)}\n"
        f"scenes of seed {HELD_OUT_SEED}, which training never saw; device {predictor.device}\n"
        f"picture: {picture}"
    )
