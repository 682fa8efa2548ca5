#!/usr/bin/env bash
# webdataset 1.0.2: decode("pil") makes colors of 8 bits of label maps.
#
# Seen: of a PNG of 16 bits with the ids 0, 1, 255, 256, 300, 60000 all from 255 on become 255: one instance. A PNG with a
# palette, as VOC, DAVIS and ADE20K have it, becomes its colors, and with "l8" grey levels of these colors: the classes
# 0, 1, 2, 3 are 0, 38, 75, 113. No decoder by name gives ids.
#
# Remedy: a handler of one's own: .decode(wds.handle_extension("png", lambda data: Image.open(io.BytesIO(data)))).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pillow==13.0.0 webdataset==1.0.2 braceexpand==0.1.7 pyyaml==6.0.4
PYTHONPATH=packages python3 - <<'PYTHON'
import io

import numpy as np
import webdataset
from PIL import Image

wide = Image.fromarray(np.array([[0, 1, 255], [256, 300, 60000]], np.uint16))
classes = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
classes.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
files = {}
for name, picture in (("png", wide), ("class.png", classes)):
    file = io.BytesIO()
    picture.save(file, "PNG")
    files[name] = file.getvalue()
with webdataset.TarWriter("labels.tar") as writer:
    writer.write({"__key__": "a", **files})


def read(decoder):
    sample = next(iter(webdataset.WebDataset("labels.tar", shardshuffle=False).decode(decoder)))
    return np.asarray(sample["png"]), np.asarray(sample["class.png"])


ids, colors = read("pil")
grey = read("l8")[1]
own = read(webdataset.handle_extension("png", lambda data: Image.open(io.BytesIO(data))))
print("ids:", ids[..., 0].ravel().tolist(), "classes:", colors.reshape(-1, 3).tolist(), "l8:", grey.ravel().tolist())
assert ids[..., 0].ravel().tolist() == [0, 1, 255, 255, 255, 255]
assert colors.shape == (2, 2, 3) and grey.ravel().tolist() == [0, 38, 75, 113]
assert own[0].ravel().tolist() == [0, 1, 255, 256, 300, 60000] and own[1].ravel().tolist() == [0, 1, 2, 3]
PYTHON
