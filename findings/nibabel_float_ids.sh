#!/usr/bin/env bash
# nibabel 5.4.2: get_fdata with float32, which saves memory, joins ids above 2^24; int64 is refused.
#
# Seen: an int32 map with the id 16777217 is exact through `dataobj`; get_fdata(dtype=float32) reads 16777216.
# An int64 map raises without dtype=.
#
# Remedy: np.asanyarray(image.dataobj) for labels; write int32.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 nibabel==5.4.2 packaging==26.4 typing-extensions==4.16.0 importlib-resources==7.1.0
PYTHONPATH=packages python3 - <<'PYTHON'
import nibabel
import numpy as np

ids = np.array([[[2**24 + 1, 3]]], np.int32)
nibabel.save(nibabel.Nifti1Image(ids, np.eye(4)), "a.nii")
exact = int(np.asanyarray(nibabel.load("a.nii").dataobj).max())
floats = int(nibabel.load("a.nii").get_fdata(dtype=np.float32).max())
try:
    nibabel.Nifti1Image(ids.astype(np.int64), np.eye(4))
    wide = "accepted"
except ValueError:
    wide = "refused"
print("dataobj:", exact, "get_fdata(float32):", floats, "int64:", wide)
assert (exact, floats, wide) == (2**24 + 1, 2**24, "refused")
PYTHON
