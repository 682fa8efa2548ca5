#!/usr/bin/env bash
# rosbags-image 0.10.4: of a CompressedImage with a PNG of 16 bits one gets the upper 8 bits.
#
# Seen: labels 1, 255, 256, 300, 1000 and 65535, written as PNG of 16 bits, as image transports do with 16UC1 and
# mono16. message_to_cvimage gives 0, 0, 1, 1, 3 and 255 in uint8: the first 255 objects are background, 256 others have
# one number. This is so for the formats "png", "16UC1; png compressed" and "mono16; png compressed", without a word; of
# PNG with 8 bits and of Image with 16 the labels are right. Its introduction calls it the image without any
# conversions.
#
# Remedy: cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    lz4==4.4.5 numpy==2.2.6 opencv-python-headless==5.0.0.93 rosbags==0.11.9 rosbags-image==0.10.4 \
    ruamel-yaml==0.18.16 typing-extensions==4.16.0 zstandard==0.25.0
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import numpy as np
from rosbags.image import message_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_HUMBLE).types
header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "camera")
ids = [1, 255, 256, 300, 1000, 65535]


def compressed(labels, form):
    """Return labels as a CompressedImage that holds a PNG."""
    png = np.frombuffer(cv2.imencode(".png", labels)[1].tobytes(), np.uint8)
    return types["sensor_msgs/msg/CompressedImage"](header, form, png)


wide, narrow = np.array([ids], np.uint16), np.array([[0, 1, 2, 100, 254, 255]], np.uint8)
found = {}
for form in ("png", "16UC1; png compressed", "mono16; png compressed"):
    image = message_to_cvimage(compressed(wide, form))
    found[form] = (str(image.dtype), image[0].tolist())
print("labels", ids, "by format:", found)
plain = types["sensor_msgs/msg/Image"](header, 1, 6, "16UC1", 0, 12, wide.view(np.uint8).reshape(-1))
mended = cv2.imdecode(np.frombuffer(compressed(wide, "png").data, np.uint8), cv2.IMREAD_UNCHANGED)
assert all(values == ("uint8", [0, 0, 1, 1, 3, 255]) for values in found.values())
assert (message_to_cvimage(compressed(narrow, "png")) == narrow).all()
assert (message_to_cvimage(plain) == wide).all() and (mended == wide).all()
PYTHON
