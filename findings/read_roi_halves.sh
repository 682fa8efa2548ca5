#!/usr/bin/env bash
# read-roi 1.6.0: places of subpixel ImageJ outlines are rounded, halves to even numbers.
#
# Seen: roifile 2026.2.10 writes and reads (1.5, 2.5) and (40000.5, 9.5) exactly; read-roi gives (2, 2) and
# (40000, 10).
#
# Remedy: read outlines with roifile.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 roifile==2026.2.10 read-roi==1.6.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import roifile
from read_roi import read_roi_file

places = np.array([[1.5, 2.5], [40000.5, 2.5], [40000.5, 9.5]])
roifile.ImagejRoi.frompoints(places).tofile("a.roi")
kept = roifile.ImagejRoi.fromfile("a.roi").coordinates()
read = next(iter(read_roi_file("a.roi").values()))
print("roifile:", kept.tolist(), "read-roi:", read["x"], read["y"])
assert (kept == places).all() and read["x"] == [2, 40000, 40000] and read["y"] == [2, 2, 10]
PYTHON
