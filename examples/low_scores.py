"""Below which scores `predict` doubts that a picture is of the kind of the training: measured and stored.

    python examples/low_scores.py --weights axial_deeplab_nano_objects --output objects.safetensors \
        --images grains particles nuclei

Each folder has training images of one kind. Of the mean scores of pixels and of things, the value is taken
that 90 % of a kind exceed; of the agreement of pixels on centers (`axial_deeplab.prediction.doubts`), which
differs more from image to image, the lowest. Of the kind where it is lowest, nine tenths are stored. The
tensors stay as they are.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from axial_deeplab import Predictor, load_weights, save_weights
from axial_deeplab.data.image_files import find_images
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.weights.factory import path_of
from axial_deeplab.weights.file import read_weights


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description="Store which scores are low in a copy of a file of weights.")
    parser.add_argument("--weights", required=True, help="file or name")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="a folder of each kind")
    parser.add_argument("--most", type=int, default=30, help="images of a kind, evenly spaced")
    parser.add_argument("--output", required=True, help="file to write")
    options = parser.parse_args()
    loaded = load_weights(options.weights)
    predictor = Predictor(loaded)
    lowest = []
    for folder in options.images:
        files = list(find_images([folder]).values())
        chosen = files[:: -(-len(files) // options.most)]
        found = [predictor(path).certainty for path in chosen]
        print(f"{folder}: {len(chosen)} images, lowest {np.nanmin(found, axis=0).round(3)}")
        lowest.append(Certainty.usual_lowest(found))
    low_scores = Certainty(*np.nanmin(lowest, axis=0).tolist()).to_json()
    print(f"low scores: {low_scores}")
    extra = {name: value for name, value in loaded.metadata.items() if name not in ("model", "categories")}
    extra["low_scores"] = low_scores
    half = any(tensor.dtype == torch.float16 for tensor in read_weights(path_of(options.weights))[0].values())
    save_weights(options.output, loaded.model, loaded.categories, half=half, extra=extra)


if __name__ == "__main__":
    main()
