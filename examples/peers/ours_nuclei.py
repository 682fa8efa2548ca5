"""Segment nuclei with weights of ours: see README.md.

    python ours_nuclei.py --weights axial_deeplab_nano_nuclei --data data/nuclei/val_dsb2018_nuclei \
        --output runs/shipped
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from common import predict

from axial_deeplab import Predictor


def main() -> None:
    """Write the label maps of a part and the scores that the network gives."""
    parser = argparse.ArgumentParser(description="Segment nuclei with weights of this package.")
    parser.add_argument("--weights", required=True, help="name or file")
    parser.add_argument("--scales", nargs="+", type=float, help="in place of those of the weights")
    parser.add_argument("--data", type=Path, required=True, help="part of the data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the peer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(options.weights, "cpu", scales=options.scales)

    def one(image):
        prediction = predictor(image)
        nuclei = [info for info in prediction.segments_info if info["isthing"]]
        labels = np.zeros(prediction.size, np.uint16)
        for number, nucleus in enumerate(nuclei, 1):
            labels[prediction.segmentation == nucleus["id"]] = number
        return labels, [nucleus["score"] for nucleus in nuclei]

    predict(options.data, options.output / options.data.name, one)


if __name__ == "__main__":
    main()
