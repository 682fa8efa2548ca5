"""Images to convert as a data set, to be examined before anything is written."""

from collections.abc import Sequence

from axial_deeplab.data.convert.convert import UnwrittenImage
from axial_deeplab.data.panoptic_dataset import ImageRecord, PanopticDataset
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic


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
