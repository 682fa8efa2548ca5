"""The things of a segmentation as objects of other packages."""

from typing import Any

import numpy as np

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.save.coco_instances import coco_annotation
from axial_deeplab.prediction.save.instances import each_instance
from axial_deeplab.util.packages import require_package


def to_coco_instances(labels: Labels, categories: Categories, image_id: ImageId) -> list[dict[str, Any]]:
    """Return what `Prediction.to_coco_instances` does."""
    require_package("pycocotools", "coco", "to_coco_instances needs")
    annotations = [coco_annotation(each, labels.size, image_id) for each in each_instance(labels, categories)]
    # pycocotools' loadRes takes the area of a box that is given for that of the mask, and adds boxes itself.
    return [{key: value for key, value in each.items() if key != "bbox"} for each in annotations]


def to_supervision(labels: Labels, categories: Categories) -> Any:
    """Return what `Prediction.to_supervision` does."""
    require_package("supervision", None, "to_supervision needs")
    import supervision

    found = list(each_instance(labels, categories))
    boxes = np.array([each.bbox for each in found], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [each.full_mask(labels.size) for each in found]
    return supervision.Detections(
        xyxy=boxes,
        mask=np.array(masks, dtype=bool).reshape(-1, *labels.size),
        class_id=np.array([each.train_id for each in found], dtype=int),
        confidence=np.array([np.nan if each.score is None else each.score for each in found], dtype=float),
        data={"class_name": np.array([each.category.name for each in found], dtype=str)},
    )


def to_fiftyone(labels: Labels, categories: Categories) -> Any:
    """Return what `Prediction.to_fiftyone` does."""
    require_package("fiftyone", None, "to_fiftyone needs")
    import fiftyone

    height, width = labels.size
    return fiftyone.Detections(
        detections=[
            fiftyone.Detection(
                label=each.category.name,
                bounding_box=(np.array(each.bbox) / (width, height, width, height)).tolist(),
                mask=each.mask,
                confidence=each.score,
            )
            for each in each_instance(labels, categories)
        ]
    )
