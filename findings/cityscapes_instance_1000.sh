#!/usr/bin/env bash
# cityscapesscripts 2.3.0: the 1001st car of an image is written as a truck.
#
# Seen: 1200 cars (label 26) get the values 26000 to 27199; 27 is truck. Nothing warns.
#
# Remedy: at most 1000 instances of a class in an image; ours refuses to write more.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 cityscapesscripts==2.3.0 pillow==13.0.0 matplotlib==3.11.2 appdirs==1.4.4 pyquaternion==0.9.9 \
    tqdm==4.70.1 coloredlogs==15.0.1 humanfriendly==10.0 requests==2.34.2 packaging==26.4 pyparsing==3.3.3 \
    cycler==0.12.1 kiwisolver==1.5.1 contourpy==1.3.3 python-dateutil==2.9.0.post0 six==1.17.0
PYTHONPATH=packages python3 - <<'PYTHON'
import json
import numpy as np
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage

objects = []
for place in range(1200):
    y, x = divmod(place, 40)
    objects.append(dict(label="car", polygon=[[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]]))
with open("a.json", "w") as file:
    json.dump(dict(imgHeight=40, imgWidth=50, objects=objects), file)
annotation = Annotation()
annotation.fromJsonFile("a.json")
highest = int(np.array(createInstanceImage(annotation, "ids")).max())
print("highest value of 1200 cars:", highest)
assert highest == 27199
PYTHON
