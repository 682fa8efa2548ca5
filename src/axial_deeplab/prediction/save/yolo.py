"""Labels of YOLO segmentation: a line for each thing, class and outline in parts of the picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.outlines import joined
from axial_deeplab.prediction.save.picture import Picture


@contextmanager
def open_yolo(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write the things of a picture; holes and parts are bridged into one line, as ultralytics does.

    The file is empty where nothing was found.
    """
    classes = {train_id: place for place, train_id in enumerate(picture.categories.thing_ids)}
    size = picture.labels.size[::-1]
    with path.open("w", encoding="utf-8") as file:

        def add(instance: Instance) -> None:
            parts = (joined(instance.polygons) / size).ravel().tolist()
            words = [str(classes[instance.train_id]), *(f"{part:.9g}" for part in parts)]
            file.write(f"{' '.join(words)}\n")

        yield add


def write_yolo_names(path: Path, categories: Categories) -> None:
    """Write the names of the classes as the YAML of a data set has them."""
    names = {place: categories[train_id].name for place, train_id in enumerate(categories.thing_ids)}
    path.write_text(yaml.safe_dump({"names": names}, allow_unicode=True, sort_keys=False), encoding="utf-8")
