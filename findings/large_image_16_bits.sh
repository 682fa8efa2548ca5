#!/usr/bin/env bash
# large-image 1.35.6: the PIL source gives 16-bit labels in 8 bits, and 256 neighboring ids become one.
#
# Seen: of the ids 0 to 399 in a PNG, opened with large_image.open, 0 and 1 are left, as uint8; up to 65535, 256 are.
# getPixel gives the same. The same labels in a TIFF are cut, too, where no other source is installed. Nothing warns.
#
# Remedy: TIFF, with large-image-source-tifffile (1.35.6), which keeps 16 bits.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    cachetools==7.3.3 large-image-source-pil==1.35.6 large-image==1.35.6 numpy==2.2.6 packaging==26.4 \
    pillow==12.3.0 psutil==7.2.2 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import large_image
import numpy as np
from PIL import Image

ids = np.arange(160 * 160, dtype=np.uint16).reshape(160, 160) % 400
read = {}
for name in ("labels.png", "labels.tif"):
    Image.fromarray(ids).save(name)
    source = large_image.open(name)
    pixels, pixel = source.getRegion(format="numpy")[0][..., 0], source.getPixel(region={"left": 0, "top": 2})
    read[name] = pixels.dtype.name, np.unique(pixels).tolist(), pixel["value"]
print("type, ids, the pixel of id", ids[2, 0], "-", read)
assert ids[2, 0] == 320 and all(each == ("uint8", [0, 1], [1]) for each in read.values())
PYTHON
