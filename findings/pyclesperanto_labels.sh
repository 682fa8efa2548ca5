#!/usr/bin/env bash
# pyclesperanto 0.25.1: closing_labels with an even radius only dilates; eroding, opening and smoothing number anew.
#
# Seen: a rectangle of 200 pixels, which a closing leaves as it is, has 332 after closing_labels with radius 2, 336
# with 3 and 492 with 4; with radius 2 and 4 the map is that of dilate_labels. Radius 1 is right, closing_box, too.
# erode_labels (with relabel=False, its default), opening_labels and smooth_labels give 1, 2, 3 for 5, 300, 900;
# dilate_labels keeps them. Run with PoCL on the CPU.
#
# Remedy: dilate_labels, then erode_labels with the same radius; find the numbers by the pixels that are in both maps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    pyclesperanto==0.25.1 pyclesperanto-opencl==0.25.1 pocl-binary-distribution==3.0 numpy==2.2.6 cycler==0.12.1 \
    kiwisolver==1.5.1 matplotlib==3.11.2 packaging==26.4 pillow==13.0.0 pyparsing==3.3.3 python-dateutil==4.0.0 \
    toolz==1.2.0
libraries=$work/packages/pyopencl/.libs
export OCL_ICD_VENDORS=$libraries LD_LIBRARY_PATH=$libraries PYTHONPATH=packages
python3 -W ignore - <<'PYTHON'
import numpy as np
import pyclesperanto as cle

rectangle = np.zeros((40, 60), np.uint32)
rectangle[15:25, 20:40] = 1


def after(operation, labels, **options):
    return np.asarray(cle.pull(operation(labels, **options)))


closed = {radius: int(after(cle.closing_labels, rectangle, radius=radius).sum()) for radius in (0, 1, 2, 3, 4)}
box = int(after(cle.closing_box, rectangle.astype(np.uint8), radius_x=2, radius_y=2).sum())
print("200 pixels after closing_labels, by radius:", closed, "closing_box:", box)
assert closed == {0: 200, 1: 200, 2: 332, 3: 336, 4: 492} and box == 200
for radius in (2, 4):
    dilated = after(cle.dilate_labels, rectangle, radius=radius)
    assert (after(cle.closing_labels, rectangle, radius=radius) == dilated).all()
    remedy = after(cle.erode_labels, cle.dilate_labels(rectangle, radius=radius), radius=radius)
    assert (remedy == rectangle).all()
three = np.zeros((40, 60), np.uint32)
three[4:14, 4:24], three[14:24, 4:24], three[20:32, 30:50] = 5, 300, 900
seen = {}
for name in ("erode_labels", "opening_labels", "smooth_labels", "dilate_labels"):
    seen[name] = np.unique(after(getattr(cle, name), three, radius=2)).tolist()
print("5, 300 and 900 become", seen)
assert seen.pop("dilate_labels") == [0, 5, 300, 900] and set(map(tuple, seen.values())) == {(0, 1, 2, 3)}
PYTHON
