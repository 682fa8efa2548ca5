#!/usr/bin/env bash
# label-studio-sdk 2.1.2: COCO stretches the outlines of photographs that EXIF turns.
#
# Seen: of a JPEG of 16 x 12 pixels that is shown as 12 x 16 (orientation 6), an outline from (1, 1) to (7, 7), percents of the upright
# picture as the window stores them. COCO has a picture of 16 x 12 and a box of 8 x 4.5 instead of 6 x 6; its JSON is right.
#
# Remedy: the export JSON, which `axial-deeplab dataset convert` reads; or photographs that are turned before they are uploaded.
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

from label_studio_sdk.converter import Converter
from PIL import Image, ImageOps

exif = Image.Exif()
exif[274] = 6
Image.new("RGB", (16, 12)).save("a.jpg", exif=exif)
width, height = ImageOps.exif_transpose(Image.open("a.jpg")).size
assert (width, height) == (12, 16)
corners = [(1, 1), (7, 1), (7, 7), (1, 7)]
points = [[100 * x / width, 100 * y / height] for x, y in corners]
result = {"id": "a", "from_name": "polygon", "to_name": "image", "type": "polygonlabels", "original_width": width,
          "original_height": height, "image_rotation": 0, "value": {"points": points, "polygonlabels": ["car"]}}
Path("tasks").mkdir()
task = {"id": 1, "data": {"image": f"{Path.cwd()}/a.jpg"}, "annotations": [{"id": 1, "result": [result]}]}
Path("tasks/a.json").write_text(json.dumps([task]))
controls = '<PolygonLabels name="polygon" toName="image"><Label value="car"/></PolygonLabels>'
converter = Converter(f'<View><Image name="image" value="$image"/>{controls}</View>', ".", upload_dir=".",
                      download_resources=False)
converter.convert("tasks", "coco", "COCO", is_dir=True)
document = json.loads(Path("coco/result.json").read_text())
size = [(each["width"], each["height"]) for each in document["images"]]
boxes = [[round(number, 3) for number in each["bbox"]] for each in document["annotations"]]
print("size and boxes:", size, boxes)
assert size == [(16, 12)] and boxes == [[1.333, 0.75, 8.0, 4.5]], "drawn: 12 x 16, [1, 1, 6, 6]"
PYTHON
