"""Writing panoptic segmentations as COCO panoptic data: PNG files and a JSON."""

import json
import os
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import ImageId, path_in_folder
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.panoptic.png import to_coco_annotation, write_panoptic_png
from axial_deeplab.util.files import atomic_path


class PanopticWriter:
    """Write panoptic segmentations one by one as COCO panoptic data: PNG files at once, the JSON at the end.

    The JSON has `images`, `annotations` and `categories`, the document that panopticapi and the COCO server
    accept. It is written when the `with` block ends without an error.

    Args:
        folder: for the PNG files; made if it is missing.
        json_path: the JSON file.
        categories: the label space.

    Raises:
        OSError: the folder or a file cannot be written.
    """

    def __init__(
        self, folder: str | os.PathLike[str], json_path: str | os.PathLike[str], categories: Categories
    ) -> None:
        self.folder = Path(folder)
        self.json_path = Path(json_path)
        self.categories = categories
        self.images: dict[ImageId, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self._png_names: set[str] = set()

    def __enter__(self) -> Self:
        # The folders appear with their first file: a failure before leaves nothing.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(
        self, panoptic: Panoptic, *, image_file_name: str, image_id: ImageId | None = None
    ) -> dict[str, Any]:
        """Write the PNG of one image and remember its annotation.

        Args:
            panoptic: our map (H, W) and its segments.
            image_file_name: path of the photo relative to its folder; the PNG takes its name.
            image_id: None numbers the images 1, 2, ...

        Returns:
            The annotation as it will stand in the JSON.

        Raises:
            ValueError: an image id occurs twice, or the map has a value without segment.
            OSError: the PNG cannot be written.
        """
        if image_id is None:
            image_id = len(self.images) + 1
        if image_id in self.images:
            raise ValueError(f"image_id must be unique, got {image_id!r} twice; give every image its own")
        png_name = self._png_name(image_file_name)
        annotation, ids = to_coco_annotation(panoptic, self.categories, image_id, png_name)
        write_panoptic_png(path_in_folder(self.folder, png_name), ids)
        height, width = (int(length) for length in panoptic.map.shape)
        self.images[image_id] = {
            "id": annotation["image_id"],
            "file_name": image_file_name,
            "height": height,
            "width": width,
        }
        self.annotations.append(annotation)
        return annotation

    def close(self) -> None:
        """Write the JSON."""
        document = {
            "images": list(self.images.values()),
            "annotations": self.annotations,
            "categories": self.categories.to_json(),
        }
        with atomic_path(self.json_path) as temporary:
            temporary.write_text(json.dumps(document), encoding="utf-8")

    def _png_name(self, image_file_name: str) -> str:
        # a.jpg and a.png are two images: the second keeps its whole name.
        name = PurePosixPath(image_file_name).with_suffix(".png").as_posix()
        if name in self._png_names:
            name = f"{image_file_name}.png"
        self._png_names.add(name)
        return name
