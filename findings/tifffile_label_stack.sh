#!/usr/bin/env bash
# tifffile 2026.3.3: a stack of three label slices is written as one RGB page.
#
# Seen: imwrite of (3, 16, 16), of uint8, uint16 or int32, makes 1 page with photometric RGB; readers show a
# color picture.
#
# Remedy: pass photometric="minisblack", which writes three pages.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 tifffile==2026.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import tifffile

def pages(**options):
    tifffile.imwrite("a.tif", np.zeros((3, 16, 16), dtype), **options)
    with tifffile.TiffFile("a.tif") as file:
        return len(file.pages), file.pages[0].photometric.name

for dtype in (np.uint8, np.uint16, np.int32):
    print(np.dtype(dtype).name, pages(), pages(photometric="minisblack"))
    assert pages() == (1, "RGB") and pages(photometric="minisblack") == (3, "MINISBLACK")
PYTHON
