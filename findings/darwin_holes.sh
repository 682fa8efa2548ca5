#!/usr/bin/env bash
# darwin-py 3.6.3: the COCO export makes crowds of area 0 of objects with holes or parts, and hashes of all ids.
#
# Seen: a square is a polygon of area 16; a square with a hole has run lengths, iscrowd 1 and area 0, and a row
# and a column more than the square has. Categories and images have CRC-32 numbers, up to 2^32.
#
# Remedy: `axial-deeplab dataset convert EXPORT --crowds-are-objects`, which reads such ids and counts areas.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-types==0.8.0 argcomplete==3.7.2 attrs==26.1.0 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 darwin-py==3.6.3 deprecation==2.1.0 humanize==4.17.0 idna==3.20 \
    json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 jsonschema==4.26.0 jsonschema-specifications==2025.9.1 \
    markdown-it-py==4.3.0 mdurl==0.1.2 mpire==2.10.2 natsort==8.4.0 numpy==2.2.6 orjson==3.13.0 \
    packaging==26.4 pillow==12.3.0 pydantic==2.14.4 pydantic-core==2.50.5 pygments==2.21.0 pyyaml==6.0.4 \
    referencing==0.37.0 requests==2.34.2 rich==13.9.4 rpds-py==2026.9.1 tenacity==8.5.0 toml==0.10.2 \
    tqdm==4.70.1 types-pyyaml==6.0.12.20261122 types-requests==2.33.0.20261030 typing-extensions==4.16.0 \
    typing-inspection==0.4.5 upolygon==0.2.3 urllib3==2.8.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path
import darwin.datatypes as dt
from darwin.exporter.formats import coco

def square(low, high):
    return [dict(x=x, y=y) for x, y in ((low, low), (high, low), (high, high), (low, high))]

drawn = [dt.make_polygon("cell", square(2, 6)), dt.make_polygon("cell", [square(8, 14), square(10, 12)])]
image = dt.AnnotationFile(path=Path("a.json"), filename="a.png", annotations=drawn, image_width=30,
                          annotation_classes={each.annotation_class for each in drawn}, image_height=20)
Path("out").mkdir()
coco.export([image], Path("out"))
solid, ring = json.loads(next(Path("out").glob("*.json")).read_text())["annotations"]
print("solid:", solid["iscrowd"], solid["area"], "with a hole:", ring["iscrowd"], ring["area"], ring["bbox"],
      "ids:", solid["category_id"], solid["image_id"])
assert (solid["iscrowd"], solid["area"], ring["iscrowd"], ring["area"]) == (0, 16, 1, 0)
assert ring["bbox"] == [8, 8, 7, 7] and solid["category_id"] > 2**31
PYTHON
