#!/usr/bin/env bash
# MONAI 1.6.1: spatial transforms give maps of ids as float32; panoptic quality of two empty maps is 0.
#
# Seen: Resized(mode="nearest") of an int32 map with the ids 3, 70000 and 16777217: float32 with 16777216. The quality is 0 where
# truth and prediction have nothing, as where the prediction has a false alarm; half of an object (IoU 0.5) is no match.
#
# Remedy: number the instances of each image from 1, cast back; leave empty pairs out of a mean, as `pq` does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    monai==1.6.1 numpy==2.2.6 scipy==1.17.1 torch==2.13.0 typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 \
    networkx==3.6.1 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11
PYTHONPATH=packages python3 - <<'PYTHON'
import torch
from monai.metrics.panoptic_quality import compute_panoptic_quality
from monai.transforms import Resized

ids = torch.zeros((1, 32, 32), dtype=torch.int32)
ids[0, 4:16, 4:16], ids[0, 16:28, 6:28], ids[0, 4:10, 20:30] = 2**24 + 1, 70000, 3
resized = Resized(keys="seg", spatial_size=(48, 48), mode="nearest")({"seg": ids})["seg"].as_tensor()
print(resized.dtype, resized.unique().int().tolist())
assert resized.dtype == torch.float32 and resized.unique().tolist() == [0, 3, 70000, 2**24]
empty = torch.zeros((10, 10), dtype=torch.int32)
row, half = empty.clone(), empty.clone()
row[0], half[0, :5] = 1, 1
pairs = {"whole": (row, row), "half": (half, row), "both empty": (empty, empty), "false alarm": (row, empty)}
found = {name: round(float(compute_panoptic_quality(*pair, metric_name="pq")), 3) for name, pair in pairs.items()}
print(found)
assert found == {"whole": 1, "half": 0, "both empty": 0, "false alarm": 0}
PYTHON
