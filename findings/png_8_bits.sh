#!/usr/bin/env bash
# pyvips 3.2.0, OpenCV 5.0.0.93, DIPlib 3.6.1: PNG of labels gets 8 bits, and all ids from 255 on become 255.
#
# Seen: a map with the ids 200, 300 and 70000 is read again as 200 and 255. pyvips does so with uint16, too, as
# new_from_array calls every map of one channel an 8-bit picture; OpenCV and DIPlib with int32 and uint32, OpenCV with a
# line on the error output at the first such file. uint16 is right in OpenCV and DIPlib.
#
# Remedy: pyvips.Image.new_from_array(labels, interpretation="grey16") and astype(np.uint16) up to 65535; TIFF above.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pyvips==3.2.0 pyvips-binary==8.18.7 cffi==2.1.1 pycparser==3.12 opencv-python-headless==5.0.0.93 \
    diplib==3.6.1
PYTHONPATH=packages python3 - <<'PYTHON'
import cv2
import diplib
import numpy as np
import pyvips


def by_pyvips(labels, path, **options):
    pyvips.Image.new_from_array(labels, **options).write_to_file(path)


def by_diplib(labels, path):
    diplib.ImageWrite(diplib.Image(labels), path)


def by_opencv(labels, path):
    assert cv2.imwrite(path, labels)


def ids(write, dtype, **options):
    labels = np.zeros((10, 12), dtype)
    labels[1, 1], labels[2, 2], labels[3, 3] = 200, 300, 300 if dtype == "uint16" else 70000
    path = f"{write.__name__}-{dtype}-{len(options)}.png"
    write(labels, path, **options)
    return np.unique(cv2.imread(path, cv2.IMREAD_UNCHANGED)).tolist()


types = ("uint16", "int32", "uint32")
found = {write.__name__[3:]: {each: ids(write, each) for each in types} for write in (by_pyvips, by_opencv)}
found["diplib"] = {dtype: ids(by_diplib, dtype) for dtype in ("uint16", "uint32")}
told = ids(by_pyvips, "uint16", interpretation="grey16")
print(found, "pyvips with grey16:", told)
small, whole = [0, 200, 255], [0, 200, 300]
assert found["pyvips"] == {"uint16": small, "int32": small, "uint32": small} and told == whole
assert found["opencv"] == {"uint16": whole, "int32": small, "uint32": small}
assert found["diplib"] == {"uint16": whole, "uint32": small}
PYTHON
