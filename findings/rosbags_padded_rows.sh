#!/usr/bin/env bash
# rosbags-image 0.10.4: of an Image whose rows are padded, each row but the first is read from the wrong place.
#
# Seen: a label picture of 5 x 7 pixels with step 7 is read right in mono8, mono16, 16UC1 and 32SC1. With step 8, as a
# driver writes it that aligns rows, image_to_cvimage gives the first row right and the others shifted by 1, 2, 3 and 4
# pixels, with the padding within, without a word. sensor_msgs/Image says that step is the full row length in bytes;
# image_to_cvimage does not look at it.
#
# Remedy: np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :bytes of a row].view(dtype),
# where step is more than that.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    lz4==4.4.5 numpy==2.2.6 opencv-python-headless==5.0.0.93 rosbags==0.11.9 rosbags-image==0.10.4 \
    ruamel-yaml==0.18.16 typing-extensions==4.16.0 zstandard==0.25.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from rosbags.image import image_to_cvimage, message_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_HUMBLE).types
header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "camera")


def message(labels, encoding, padding):
    """Return an Image whose rows have so many more bytes."""
    rows = np.pad(labels.view(np.uint8), ((0, 0), (0, padding)), constant_values=99)
    return types["sensor_msgs/msg/Image"](header, *labels.shape, encoding, 0, rows.shape[1], rows.reshape(-1))


right = {}
for encoding, dtype in {"mono8": np.uint8, "16UC1": np.uint16, "mono16": np.uint16, "32SC1": np.int32}.items():
    labels = np.arange(1, 36, dtype=dtype).reshape(5, 7)
    for padding in (0, labels.itemsize):
        found = image_to_cvimage(message(labels, encoding, padding))
        right[encoding, padding > 0] = (found == labels).all(axis=1).tolist()
        if encoding == "mono8":
            print(f"step {7 + padding}:\n{found}")
print("rows that are right, by encoding and padding:", right)
labels = np.arange(1, 36, dtype=np.uint8).reshape(5, 7)
padded = message(labels, "mono8", 1)
mended = np.frombuffer(padded.data, np.uint8).reshape(padded.height, padded.step)[:, : padded.width]
assert all(rows == [True, not padding, not padding, not padding, not padding] for (_, padding), rows in right.items())
assert (mended == labels).all() and (message_to_cvimage(padded)[1] == [99, 8, 9, 10, 11, 12, 13]).all()
PYTHON
