#!/usr/bin/env bash
# datumaro 1.13.12: COCO panoptic data read and written again has no things; as Cityscapes it has crowds alone.
#
# Seen: the categories 10 (sky) and 20 (car, isthing 1) come back as 1 and 2, both with isthing 0, without
# colors. Exported as Cityscapes, two cars get one value, that of their class, which there is a crowd.
#
# Remedy: `axial-deeplab dataset convert DIR --things car --output NEW` makes things of the first; keep the
# original for Cityscapes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 datumaro==1.13.12 attrs==26.1.0 cachetools==7.3.3 defusedxml==0.7.1 imagesize==2.0.1 \
    json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 lxml==6.1.3 opencv-python-headless==4.14.0.94 \
    orjson==3.13.0 pandas==2.3.3 pillow==12.3.0 pyarrow==25.0.1 pycocotools==2.0.11 \
    python-dateutil==2.9.0.post0 six==1.17.0 pytz==2026.6 tzdata==2026.6 pyyaml==6.0.4 ruamel-yaml==0.19.1 \
    shapely==2.2.0 tqdm==4.70.1 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path
import numpy as np
import datumaro
from PIL import Image

for name in ("images/val", "annotations/panoptic_val"):
    Path("in", name).mkdir(parents=True)
ids = np.zeros((20, 20, 3), np.uint8)
ids[..., 0], ids[2:8, 2:8, 0], ids[10:16, 10:16, 0] = 1, 2, 3
Image.fromarray(ids).save("in/annotations/panoptic_val/a.png")
Image.new("RGB", (20, 20)).save("in/images/val/a.png")
segments = [dict(id=1, category_id=10, area=328, bbox=[0, 0, 20, 20], iscrowd=0)]
segments += [dict(id=n, category_id=20, area=36, bbox=[x, x, 6, 6], iscrowd=0) for n, x in ((2, 2), (3, 10))]
document = dict(images=[dict(id=1, file_name="a.png", height=20, width=20)],
                annotations=[dict(image_id=1, file_name="a.png", segments_info=segments)],
                categories=[dict(id=10, name="sky", isthing=0, color=[1, 2, 3]),
                            dict(id=20, name="car", isthing=1, color=[4, 5, 6])])
Path("in/annotations/panoptic_val.json").write_text(json.dumps(document))
data = datumaro.Dataset.import_from("in", "coco_panoptic")
data.export("out", "coco_panoptic", save_media=True)
categories = json.loads(next(Path("out/annotations").glob("*.json")).read_text())["categories"]
data.export("cityscapes", "cityscapes", save_media=True)
values = np.unique(np.array(Image.open(next(Path("cityscapes").rglob("*_instanceIds.png"))))).tolist()
print(categories, "instanceIds:", values)
assert [(each["id"], each["isthing"], "color" in each) for each in categories] == [(1, 0, False), (2, 0, False)]
assert values == [1, 2]
PYTHON
