#!/usr/bin/env bash
# SimpleITK 2.5.7: ConnectedComponent joins touching labels, RelabelComponent orders by size, Cast wraps ids.
#
# Seen: labels 1 1 2 2 become one component; corners do not join. RelabelComponent gives the largest object the
# number 1, whatever it was. Cast of 300 to UInt8 is 44.
#
# Remedy: relabel each label apart, pass sortByObjectSize=False, cast to a type that holds the ids.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 simpleitk==2.5.7
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

def run(function, values, *arguments):
    image = sitk.GetImageFromArray(np.array(values, np.int32))
    return sitk.GetArrayFromImage(function(image, *arguments)).tolist()

touching = run(lambda image: sitk.ConnectedComponent(sitk.Cast(image, sitk.sitkUInt8)), [[1, 1, 2, 2]])
order = run(sitk.RelabelComponent, [[1, 0, 2, 2], [3, 3, 2, 2]])
wrapped = run(sitk.Cast, [[7, 300]], sitk.sitkUInt8)
print("touching:", touching, "relabeled:", order, "cast:", wrapped)
assert touching == [[1, 1, 1, 1]] and order == [[3, 0, 1, 1], [2, 2, 1, 1]] and wrapped == [[7, 44]]
PYTHON
