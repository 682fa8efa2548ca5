#!/usr/bin/env bash
# btrack 0.7.0: a crescent's number goes to the cell that lies in its middle.
#
# Seen: a cell in the shape of a crescent around another one, and a third apart. update_segmentation(), which gives the
# cells of a map the numbers of their tracks, looks for the old number at the center of mass, which lies in the inner
# cell. The inner cell gets the crescent's number 20 instead of 10, or its own, as the order of tracks wills; the
# crescent becomes background. In a map of 8 bits the track 300 is 44.
#
# Remedy: match objects and tracks by number (keep the label as a property), in a map of 32 bits.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-types==0.8.0 btrack==0.7.0 cvxopt==1.3.3 h5py==3.16.0 imageio==2.38.1 lazy-loader==0.6 \
    networkx==3.6.1 numpy==2.2.6 packaging==26.4 pandas==2.3.3 pillow==13.0.0 pydantic-core==2.50.5 \
    pydantic==2.14.4 python-dateutil==2.9.0.post0 pytz==2026.6 scikit-image==0.26.0 scipy==1.17.1 \
    six==1.17.0 tifffile==2026.3.3 tqdm==4.70.1 typing-extensions==4.16.0 typing-inspection==0.4.5 \
    tzdata==2026.6
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from btrack.btypes import Tracklet
from btrack.utils import segmentation_to_objects, update_segmentation

rows, columns = np.mgrid[:60, :60]
distance = np.hypot(rows - 30, columns - 30)
cells = np.zeros((2, 60, 60), np.uint8)
cells[:, distance < 10] = 1
cells[:, (distance < 20) & (distance > 14) & (columns < 40)] = 2
cells[:, 2:8, 2:8] = 3
objects = segmentation_to_objects(cells, properties=("area",))
areas = [int((cells[0] == number).sum()) for number in (1, 2, 3)]


def renumbered(*tracks):
    """The numbers that the cells 1, 2 and 3 have after tracks of (cell, number)."""
    of_cell = {cell: [each for each in objects if each.properties["area"] == areas[cell - 1]] for cell in (1, 2, 3)}
    result = update_segmentation(cells, [Tracklet(number, of_cell[cell]) for cell, number in tracks])
    return [np.unique(result[cells == cell]).tolist() for cell in (1, 2, 3)]


one_way, other_way = renumbered((1, 10), (2, 20), (3, 300)), renumbered((2, 20), (1, 10), (3, 30))
print("inner cell, crescent, third; wanted 10, 20, 300:", one_way, "wanted 10, 20, 30:", other_way)
assert one_way == [[20], [0], [44]] and other_way == [[10], [0], [30]]
PYTHON
