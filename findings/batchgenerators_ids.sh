#!/usr/bin/env bash
# batchgenerators 0.25.5: SpatialTransform gives maps of ids as float32, which joins ids above 2^24.
#
# Seen: an int32 map with the ids 3, 70000 and 16777217 comes back as float32 with 3, 70000 and 16777216.
#
# Remedy: renumber the instances of each image before, or transform with axial_deeplab.data.transforms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 batchgenerators==0.25.5 scipy==1.17.1 scikit-image==0.26.0 scikit-learn==1.7.2 joblib==1.5.2 \
    threadpoolctl==3.6.0 pillow==13.0.0 networkx==3.6.1 imageio==2.38.1 tifffile==2026.3.3 packaging==26.4 \
    lazy-loader==0.6 pandas==2.3.3 python-dateutil==2.9.0.post0 six==1.17.0 pytz==2026.6 tzdata==2026.6
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from batchgenerators.transforms.spatial_transforms import SpatialTransform

np.random.seed(1)
ids = np.zeros((1, 1, 32, 32), np.int32)
ids[0, 0, 4:16, 4:16], ids[0, 0, 16:28, 6:28], ids[0, 0, 4:10, 20:30] = 2**24 + 1, 70000, 3
turned = SpatialTransform((32, 32))(data=np.zeros((1, 1, 32, 32), np.float32), seg=ids)["seg"]
print(turned.dtype, np.unique(turned).astype(int).tolist())
assert turned.dtype == np.float32 and np.unique(turned).tolist() == [0, 3, 70000, 2**24]
PYTHON
