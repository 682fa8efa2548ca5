#!/usr/bin/env bash
# pynrrd 1.1.3 and SimpleITK 2.5.7: a map of labels comes back transposed.
#
# Seen: a map of 4 rows and 6 columns that SimpleITK wrote as NRRD is read as (6, 4), and the other way round. A square
# picture lies on its side without an error: labels and predictions then agree by chance alone.
#
# Remedy: nrrd.read(..., index_order="C"), and the same for nrrd.write.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 pynrrd==1.1.3 simpleitk==2.5.7 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import nrrd
import numpy as np
import SimpleITK

labels = np.zeros((4, 6), np.int32)
labels[0, 5] = 3
SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), "labels.nrrd")
default, rows_first = nrrd.read("labels.nrrd")[0], nrrd.read("labels.nrrd", index_order="C")[0]
nrrd.write("again.nrrd", labels)
other_way = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("again.nrrd"))
print("written", labels.shape, "read", default.shape, "with C", rows_first.shape, "the other way", other_way.shape)
assert default.shape == other_way.shape == (6, 4) and default[5, 0] == 3 and (rows_first == labels).all()
PYTHON
