"""Pictures with awkward things in them, and a stand-in for a network that finds just these."""

import numpy as np
import torch
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment, panoptic_id
from axial_deeplab.panoptic.png import to_coco_annotation
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.prediction.batch import View
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.prediction.save.instances import each_instance
from outline_cases import NAMED, region

CATEGORIES = Categories(
    [
        Category(0, "ground", False),
        Category(7, "Zelle, \u00e4/b", True, (200, 30, 40)),
        Category(9, "disc", True, (20, 180, 60)),
    ]
)


def find_instances(panoptic, categories):
    """Return the things of a segmentation in memory."""
    return list(each_instance(Labels.of(panoptic), categories))


def awkward(height=64, width=83):
    """Return a segmentation with one thing for each region of `NAMED`, of two classes, ground and void."""
    panoptic = np.full((height, width), panoptic_id(0), np.int32)
    panoptic[:3] = 0
    segments = [Segment(id=panoptic_id(0), train_id=0, area=0, score=0.75)]
    left, top = 1, 5
    for number, mask in enumerate(map(region, NAMED.values()), start=1):
        mask = mask.repeat(2, axis=1) if number % 3 == 0 else mask
        if left + mask.shape[1] >= width:
            left, top = 1, top + 9
        train_id = 1 + number % 2
        segment = Segment(id=panoptic_id(train_id, number), train_id=train_id, area=0, score=number / 16)
        panoptic[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = segment.id
        segments.append(segment)
        left += mask.shape[1] + 3
    return Panoptic(panoptic, segments).measured()


def empty(height=20, width=30):
    """Return a segmentation of ground alone."""
    panoptic = np.full((height, width), panoptic_id(0), np.int32)
    return Panoptic(panoptic, [Segment(id=panoptic_id(0), train_id=0, area=0, score=0.5)]).measured()


def photo(path, size, seed=0):
    """Write a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def as_prediction(result, image=None, categories=CATEGORIES):
    """Return what `Predictor` returns, for a segmentation."""
    annotation, ids = to_coco_annotation(result, categories, 1, "")
    image = np.zeros((*result.size, 3), np.uint8) if image is None else image
    infos = [
        {"name": category.name, "isthing": category.is_thing, **entry}
        for entry in annotation["segments_info"]
        for category in [categories[categories.train_id(entry["category_id"])]]
    ]
    return Prediction(ids, infos, ids, result, categories, image, 1.0, 1.0)


def numbered_map(instances, size):
    """Return a map of (height, width) with the number of the instance of each pixel, 0 for none."""
    numbers = np.zeros(size, np.int32)
    for instance in instances:
        numbers[instance.window.slices][instance.mask] = instance.number
    return numbers


def write_things(path, picture, open_file):
    """Write a file of a kind that takes things one by one."""
    with open_file(path, picture) as add:
        for instance in picture.instances():
            add(instance)


class Finder:
    """Finds in each picture what it was told by the picture's name; otherwise nothing but ground."""

    def __init__(self, results, categories=CATEGORIES):
        self.results = results
        self.categories = categories
        self.settings = "finder"
        self.post_processing = PostProcessing([1, 2])
        self.view = View(max_size=2**20)
        self.device = torch.device("cpu")
        self.low_scores = Certainty.lowest_of({})
        self.calls = []

    def warm_up(self):
        pass

    def read(self, path):
        self.calls.append(path.name)
        image = np.asarray(Image.open(path).convert("RGB")).view(NamedImage)
        image.name = path.name
        return image

    def __call__(self, image):
        return as_prediction(self.results.get(image.name, empty(*image.shape[:2])), image, self.categories)


class NamedImage(np.ndarray):
    """Pixels that know their file, as a stand-in for a network must."""
