"""Segment nuclei by the watershed of `examples/watershed_baseline.py`, which learns nothing: see README.md.

python watershed_nuclei.py --data data/nuclei/val_dsb2018_nuclei --output runs/watershed
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from common import predict

sys.path.append(str(Path(__file__).parents[1]))
from watershed_baseline import segment


def main() -> None:
    """Write the label maps of a part; the score of each nucleus is 1."""
    parser = argparse.ArgumentParser(description="Segment nuclei by a watershed.")
    parser.add_argument("--data", type=Path, required=True, help="part of the data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the peer")
    options = parser.parse_args()

    def one(image):
        labels = segment(image, sigma=1, min_distance=5, smallest=20)
        return labels, np.ones(labels.max()).tolist()

    predict(options.data, options.output / options.data.name, one)


if __name__ == "__main__":
    main()
