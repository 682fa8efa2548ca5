#!/usr/bin/env bash
# datumaro 1.13.12: in Pascal VOC the 256th object of an image is lost, and those behind it join the first ones.
#
# Seen: 300 objects of 16 pixels are exported as voc_instance_segmentation and read again: 255 are left, 44 of them of
# 32 pixels in two places. The picture of instances has 8 bits, and numbers begin again at 0, the background. Nothing
# warns.
#
# Remedy: coco_instances or coco_panoptic, or tiles with at most 255 objects.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    attrs==26.1.0 cachetools==7.3.3 datumaro==1.13.12 defusedxml==0.7.1 imagesize==2.0.1 \
    json-stream-rs-tokenizer==0.5.4 json-stream==2.5.1 lxml==6.1.3 numpy==2.2.6 \
    opencv-python-headless==4.14.0.94 orjson==3.13.0 pandas==2.3.3 pillow==12.3.0 pyarrow==25.0.1 \
    pycocotools==2.0.11 python-dateutil==2.9.0.post0 pytz==2026.6 pyyaml==6.0.4 ruamel-yaml==0.19.1 \
    shapely==2.2.0 six==1.17.0 tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6
PYTHONPATH=packages python3 - <<'PYTHON'
from collections import Counter

import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image


def cell(place):
    """An object of 4 x 4 pixels; 20 of them stand in a row."""
    row, column = divmod(place, 20)
    pixels = np.zeros((150, 200), bool)
    pixels[10 * row + 2 : 10 * row + 6, 10 * column + 2 : 10 * column + 6] = True
    return Mask(pixels, label=0, id=place + 1, group=place + 1)


def again(form):
    picture = Image.from_numpy(np.zeros((150, 200, 3), np.uint8))
    item = DatasetItem("a", subset="train", media=picture, annotations=[cell(place) for place in range(300)])
    Dataset.from_iterable([item], categories=["cell"]).export(form, form, save_media=True)
    (read,) = Dataset.import_from(form, form)
    return Counter(int(each.image.sum()) for each in read.annotations if isinstance(each, Mask))


voc, coco = again("voc_instance_segmentation"), again("coco_panoptic")
print("objects by their pixels, of 300: VOC", dict(voc), "COCO panoptic", dict(coco))
assert voc == {16: 211, 32: 44} and coco == {16: 300}
PYTHON
