"""Score the label maps of the peers by kind of image, and print a table: see README.md.

    python score.py --data data/nuclei --runs runs --peers watershed cellpose stardist ours shipped

PQ is that of `axial-deeplab pq --pred-labels`, AP50 that of pycocotools (100 nuclei of an image at most).
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.evaluation.coco_ap import CocoAP
from axial_deeplab.evaluation.foreign import from_labels
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality

sys.path.append(str(Path(__file__).parents[1]))
from nuclei_data_set import kind_of


def print_rows(peer: Path, data: Path) -> None:
    """Print the rows of a peer for a part of the data: all images, then those of each kind."""
    truth = CocoPanopticDataset(data / "images", data / "panoptic", data / "panoptic.json")
    cost = json.loads((peer / data.name / "cost.json").read_text(encoding="utf-8"))
    measures: dict[str, tuple[PanopticQuality, CocoAP]] = {}
    for index in range(len(truth)):
        sample = truth[index]
        labels = np.asarray(Image.open(peer / data.name / "labels" / sample.file_name))
        scores = cost["scores"][Path(sample.file_name).stem]
        found = from_labels(labels, truth.categories, thing="nucleus")
        values = np.unique(labels[labels > 0])
        segments = [
            replace(segment, score=scores[value - 1])
            for segment, value in zip(found.segments, values, strict=True)
        ]
        kind = kind_of(UnwrittenImage(truth.images_folder / sample.file_name, sample.file_name, None))
        for name in ("all", kind):
            if name not in measures:
                measures[name] = PanopticQuality(truth.categories), CocoAP(truth.categories)
            quality, precision = measures[name]
            quality.update(sample.truth, found)
            precision.update(sample.truth, replace(found, segments=tuple(segments)), image_id=sample.image_id)
    for name, (quality, precision) in sorted(measures.items()):
        nucleus = quality.compute().things
        numbers = (nucleus.pq, nucleus.sq, nucleus.rq, precision.compute().ap50)
        columns = [peer.name, data.name, name, len(precision.state), *(f"{number:.1f}" for number in numbers)]
        if name == "all":
            columns += [
                f"{cost['processor_seconds'] / cost['images']:.2f} s",
                f"{cost['peak_bytes'] / 1e6:.0f} MB",
            ]
        print(f"| {' | '.join(map(str, columns))} |", flush=True)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description="Score the label maps of the peers.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the parts")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the peers' folders")
    parser.add_argument("--peers", nargs="+", required=True, help="names of those")
    options = parser.parse_args()
    for part in sorted(options.data.glob("val_*")):
        for peer in options.peers:
            if (options.runs / peer / part.name / "cost.json").is_file():
                print_rows(options.runs / peer, part)


if __name__ == "__main__":
    main()
