"""Images to convert as a data set, to be examined before anything is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from axial_deeplab.data.panoptic_dataset import ImageRecord, PanopticDataset
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import Panoptic


class UnwrittenImage(NamedTuple):
    """An image to convert.

    Args:
        path: image file.
        file_name: path of the image in the data set that is written.
        annotate: makes its panoptic map.
        image_id: None numbers the images 1, 2, ...
        page: page of the file, from 1 on; None takes the first.
        part: `train`, `val` ... where the source has parts that are to stay apart.
        annotation: map of this image that lies beside it; None if there is none.
    """

    path: Path
    file_name: str
    annotate: Callable[[], Panoptic]
    image_id: ImageId | None = None
    page: int | None = None
    part: str = ""
    annotation: Path | None = None


class UnwrittenDataset(PanopticDataset):
    """The images of the files of a tool.

    Args:
        images: what a reader found.
        categories: the label space.

    Raises:
        FileNotFoundError: an image is missing.
    """

    def __init__(self, images: Sequence[UnwrittenImage], categories: Categories) -> None:
        # One file may have the annotations of all images: the image stands for its own.
        super().__init__(
            [
                ImageRecord(
                    place if image.image_id is None else image.image_id,
                    image.file_name,
                    image.path,
                    image.annotation or image.path,
                )
                for place, image in enumerate(images, 1)
            ],
            categories,
        )
        self._images = tuple(images)

    def read_ground_truth(self, index: int) -> Panoptic:
        """Draw what an image has.

        Raises:
            ValueError: the image or its annotation is damaged.
            OSError: a file cannot be opened.
        """
        return self._images[index].annotate()
