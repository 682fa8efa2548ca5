#!/usr/bin/env bash
# bdd100k 1.0.1: from the 256th object of an image on, bitmasks give each the class and number of the next one.
#
# Seen: 300 objects, the first 256 are of class car, the rest persons. The 255th is not written; the pixels of the 256th, a
# car, belong to the 257th, a person, and so on; the number of the 256th is missing, the last one's own pixels are
# background. The objects are drawn with numbers of two digits to the base 256, the lower one of which is taken modulo 255.
# panseg_to_bitmasks and segtrack_to_bitmasks draw in the same way.
#
# Remedy: at most 254 objects in an image; pieces of stuff count, too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    bdd100k==1.0.1 blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 click==8.5.1 cloudpickle==3.1.3 contourpy==1.3.3 cycler==0.12.1 flask==3.1.3 \
    fonttools==4.68.0 gmplot==1.4.1 gunicorn==27.0.1 idna==3.20 itsdangerous==2.2.0 jinja2==3.1.6 \
    jmespath==1.1.0 joblib==1.6.0 kiwisolver==1.5.1 markupsafe==3.0.4 matplotlib==3.7.5 motmetrics==1.4.0 \
    nanoid==2.0.0 numpy==1.26.4 opencv-python-headless==4.10.0.84 packaging==26.4 pandas==3.1.1 \
    pascal-voc-writer==0.1.4 pillow==10.4.0 plyfile==1.1.5 psutil==7.2.2 pycocotools==2.0.11 \
    pydantic==1.10.27 pyparsing==3.3.3 pyquaternion==0.9.9 python-dateutil==4.0.0 pytz==2026.6 pyyaml==6.0.4 \
    requests==2.34.2 s3transfer==0.19.3 scalabel==0.3.1 scikit-image==0.24.0 scikit-learn==1.9.1 \
    scipy==1.13.1 six==1.17.0 tabulate==0.9.0 threadpoolctl==3.8.0 toml==0.10.2 tqdm==4.70.1 \
    typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0 werkzeug==3.1.9
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from bdd100k.label.to_mask import insseg_to_bitmasks
from PIL import Image
from scalabel.label.typing import Category, Config, Frame, ImageSize, Label, Poly2D


def square(place):
    """An object of 4 x 4 pixels; 20 of them stand in a row."""
    row, column = divmod(place, 20)
    left, top = 10 * column + 2, 10 * row + 2
    corners = [(left, top), (left + 4, top), (left + 4, top + 4), (left, top + 4)]
    shape = Poly2D(vertices=corners, types="LLLL", closed=True)
    return Label(id=str(place), category="car" if place < 256 else "person", poly2d=[shape])


def written(pixels, number):
    """Class and number at the middle of an object, which are counted from 1."""
    row, column = divmod(number - 1, 20)
    color = pixels[10 * row + 4, 10 * column + 4].astype(int)
    return int(color[0]), int(color[2] * 256 + color[3])


config = Config(imageSize=ImageSize(width=200, height=150), categories=[Category(name="car"), Category(name="person")])
insseg_to_bitmasks([Frame(name="a.jpg", labels=[square(place) for place in range(300)])], "masks", config, nproc=1)
pixels = np.array(Image.open("masks/a.png"))
seen = {number: written(pixels, number) for number in (1, 254, 255, 256, 257, 299, 300)}
numbers = np.unique(pixels[..., 2].astype(int) * 256 + pixels[..., 3])
print("class and number by object:", seen, "missing:", sorted(set(range(1, 301)) - set(numbers.tolist())))
assert seen == {
    1: (1, 1), 254: (1, 254), 255: (0, 0), 256: (2, 257), 257: (2, 258), 299: (2, 300), 300: (0, 0),
}
PYTHON
