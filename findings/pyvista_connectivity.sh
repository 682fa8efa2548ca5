#!/usr/bin/env bash
# pyvista 0.49.1 (VTK 9.7.2): ImageData.label_connectivity numbers 254 objects, the rest become background.
#
# Seen: of 400 objects 254 have a number, the others are 0 in "RegionId", which has 8 bits, and are missing in the lists
# of labels and sizes, too, without a word. With label_mode="constant" 300 is written as 255. 200 objects are right.
#
# Remedy: scipy.ndimage.label or skimage.measure.label of the array.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    pyvista==0.49.1 vtk==9.7.2 numpy==2.2.6 packaging==26.4 platformdirs==4.14.8 pooch==1.9.0 \
    pyvista-validation==0.2.2 scooby==0.12.1 typing-extensions==4.16.0
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
import pyvista


def labeled(mask, **options):
    image = pyvista.ImageData(dimensions=(mask.shape[1], mask.shape[0], 1))
    image.point_data["mask"] = mask.ravel()
    result, labels, sizes = image.label_connectivity(scalar_range="foreground", **options)
    return np.asarray(result.point_data["RegionId"]).reshape(mask.shape), labels, sizes


mask = np.zeros((60, 80), np.uint8)
mask[1::3, 1::4] = 1
labels, listed, sizes = labeled(mask)
print("objects:", int(mask.sum()), "numbered:", len(np.unique(labels)) - 1, labels.dtype, "listed:", len(listed))
assert mask.sum() == 400 and labels.dtype == np.uint8 and labels.max() == len(listed) == len(sizes) == 254
assert ((labels == 0) & (mask == 1)).sum() == 146
few, _, _ = labeled(mask[:30])
constant, _, _ = labeled(mask[:30], label_mode="constant", constant_value=300)
print("of 200:", int(few.max()), "300 as a constant:", int(constant.max()))
assert few.max() == 200 and constant.max() == 255
PYTHON
