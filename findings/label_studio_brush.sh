#!/usr/bin/env bash
# label-studio-sdk 2.1.2: COCO leaves brush masks out, BRUSH_TO_COCO makes an object of each of their parts.
#
# Seen: a car in two parts, one with a hole and a line beside them: the export COCO has the polygon beside it alone, with
# annotation id 0, which pycocotools never matches. BRUSH_TO_COCO has two cars, the hole filled, the line lost, each a row
# and a column short (areas 361 and 171 for 300 and 200 pixels); ids from 0, too.
#
# Remedy: the export JSON, which `axial-deeplab dataset convert` reads with all parts and holes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 appdirs==1.4.4 argcomplete==3.7.2 \
    attrs==26.1.0 black==26.10.1 certifi==2026.10.19.post1 charset-normalizer==3.5.3 click==8.5.1 \
    cloudpickle==3.1.3 datamodel-code-generator==0.89.0 defusedxml==0.7.1 doclang==0.8.0 faker==40.63.0 \
    genson==1.4.0 h11==0.16.0 httpcore==1.0.9 httpx==0.28.1 idna==3.20 ijson==3.6.0 inflect==7.6.0 \
    isort==8.0.1 jaraco-functools==4.6.0 jinja2==3.1.6 joblib==1.6.0 jsf==0.11.2 \
    jsonschema-specifications==2025.9.1 jsonschema==4.26.0 label-studio-sdk==2.1.2 lxml==6.1.3 \
    markdown-it-py==4.3.0 markupsafe==3.0.4 mdurl==0.1.2 more-itertools==11.2.1 mypy-extensions==1.2.0 \
    nltk==3.10.4 numpy==2.2.6 opencv-python-headless==4.12.0.88 packaging==26.4 pandas==3.1.1 \
    pathspec==1.1.1 pillow==13.0.0 platformdirs==4.14.8 pydantic-core==2.50.5 pydantic==2.14.4 \
    pygments==2.21.0 pyjwt==2.13.0 python-dateutil==4.0.0 pytokens==0.4.1 pyyaml==6.0.4 referencing==0.37.0 \
    regex==2026.11.19 requests-mock==1.12.1 requests==2.34.2 rich==15.0.0 rpds-py==2026.9.1 rstr==3.2.2 \
    shellingham==1.5.4 smart-open==9.0.2 tqdm==4.70.1 typeguard==4.6.1 typer==0.29.2 \
    typing-extensions==4.16.0 typing-inspection==0.4.5 tzdata==2026.6 ujson==6.1.0 urllib3==2.8.0 \
    watchfiles==1.3.0 wrapt==2.5.2 xmljson==0.2.1
PYTHONPATH=packages python3 - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter, brush
from PIL import Image

mask = np.zeros((40, 60), np.uint8)
mask[5:25, 5:25], mask[10:20, 10:20], mask[5:25, 40:50], mask[35, 2:9] = 255, 0, 255, 255
common = {"to_name": "image", "original_width": 60, "original_height": 40, "image_rotation": 0}
painted = {"format": "rle", "rle": brush.mask2rle(mask), "brushlabels": ["car"]}
drawn = {"points": [[50, 70], [75, 70], [75, 90], [50, 90]], "polygonlabels": ["car"]}
results = [{"id": "a", "from_name": "brush", "type": "brushlabels", "value": painted, **common},
           {"id": "b", "from_name": "polygon", "type": "polygonlabels", "value": drawn, **common}]
Path("tasks").mkdir()
Image.new("RGB", (60, 40)).save("a.png")
task = {"id": 1, "data": {"image": f"{Path.cwd()}/a.png"}, "annotations": [{"id": 1, "result": results}]}
Path("tasks/a.json").write_text(json.dumps([task]))
names = {"BrushLabels": "brush", "PolygonLabels": "polygon"}
controls = "".join(f'<{kind} name="{name}" toName="image"><Label value="car"/></{kind}>' for kind, name in names.items())
converter = Converter(f'<View><Image name="image" value="$image"/>{controls}</View>', ".", upload_dir=".",
                      download_resources=False)
found = {}
for form in ("COCO", "BRUSH_TO_COCO"):
    converter.convert("tasks", form, form, is_dir=True)
    (file,) = Path(form).glob("result*.json")
    found[form] = [(each["id"], each["area"]) for each in json.loads(file.read_text())["annotations"]]
print("id and area:", found)
assert found == {"COCO": [(0, 120.0)], "BRUSH_TO_COCO": [(0, 171), (1, 361), (2, 120)]}
PYTHON
