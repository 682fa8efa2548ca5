"""The scripts of `examples/peers` read the data, and score label maps, as this package does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.convert.convert import write_panoptic
from axial_deeplab.data.convert.map_files import maps_to_convert
from axial_deeplab.panoptic.categories import Categories, Category

EXAMPLES = Path(__file__).parent.parent / "examples"
CATEGORIES = Categories([Category(1, "background", is_thing=False), Category(2, "nucleus", is_thing=True)])
LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:8, 3:9], LABELS[10:18, 12:25] = 5, 2


@pytest.fixture
def part(tmp_path):
    """A part of the data with one image of two nuclei, which it has twice."""
    for folder, pixels in (("images", np.zeros((20, 30, 3), np.uint8)), ("instances", LABELS)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    (image,) = maps_to_convert(tmp_path / "images", CATEGORIES, instances=tmp_path / "instances")
    again = image._replace(file_name="a_2.png")
    write_panoptic([image, again], CATEGORIES, tmp_path / "data" / "val_nuclei", copy_images=True)
    return tmp_path / "data" / "val_nuclei"


def test_a_repeated_image_is_read_once_and_counted(part, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "peers"))
    from common import read, repeats

    ((name, (image, labels)),) = read(part).items()
    assert (name, image.shape, repeats(part)) == ("a", (20, 30, 3), {"a": 2})
    for value in (5, 2):
        assert len(np.unique(labels[value == LABELS])) == 1
    assert labels.max() == 2
    assert ((labels == 0) == (LABELS == 0)).all()


def test_a_nucleus_that_one_of_two_images_lacks_costs_half_of_its_recall(part, tmp_path):
    pytest.importorskip("pycocotools")
    folder = tmp_path / "runs" / "peer" / part.name
    (folder / "labels").mkdir(parents=True)
    for name, labels in (("a", LABELS), ("a_2", np.where(LABELS == 5, 0, LABELS).astype(np.uint16))):
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    scores = {"a": [0, 0.9, 0, 0, 0.8], "a_2": [0, 0.7]}
    cost = {"images": 2, "processor_seconds": 3, "peak_bytes": 2e6, "scores": scores}
    (folder / "cost.json").write_text(json.dumps(cost))
    words = ["--data", part.parent, "--runs", tmp_path / "runs", "--peers", "peer"]
    run = subprocess.run(
        [sys.executable, EXAMPLES / "peers" / "score.py", *words], capture_output=True, text=True, check=True
    )
    # 3 of 4 found, none false: RQ = 3 / (3 + 1/2).
    row = "| peer | val_nuclei | all | 2 | 85.7 | 100.0 | 85.7 | 75.2 | 1.50 s | 2 MB |"
    assert run.stdout.splitlines()[0] == row
