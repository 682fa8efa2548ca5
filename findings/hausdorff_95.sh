#!/usr/bin/env bash
# MedPy 0.5.2, MONAI 1.6.1, surface-distance 0.1: the 95th percentile of distances is 0, 25.4 and 25.2 for one result.
#
# Seen: a square of 30 x 30 pixels is found whole, beside it a false alarm of 4 x 4 in 20 pixels' distance. MedPy's hd95 is 0: it
# takes the percentile of the distances of both outlines together, 5% of which may be anything. MONAI (percentile=95) and
# surface-distance take it for each outline, and the greater one: 25.4 and 25.2. With pixels of 2.0 x 0.5 and the square 3 columns
# beside its place, surface Dice at 1 is 0.50 by MONAI, which counts pixels of outlines, and 0.21 by surface-distance, which counts
# their length. A missed object is an error in MedPy, infinite in surface-distance, nan in MONAI (with a warning), whose mean leaves it out: with
# a second object that is 3 columns off it is 3, as if nothing had been missed.
#
# Remedy: say with each number by which program it is; give missed objects a distance, or count them beside the mean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    medpy==0.5.2 surface-distance==0.1 monai==1.6.1 numpy==1.26.4 scipy==1.13.1 torch==2.13.0 typing-extensions==4.16.0 \
    sympy==1.14.0 mpmath==1.3.0 networkx==3.6.1 jinja2==3.1.6 markupsafe==3.0.4 fsspec==2026.9.0 filelock==4.2.11
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import torch
from medpy.metric.binary import hd95
from monai.metrics import HausdorffDistanceMetric, compute_hausdorff_distance, compute_surface_dice
from surface_distance import metrics

truth = np.zeros((64, 80), bool)
truth[10:40, 10:40] = True
found, moved, missed = truth.copy(), np.roll(truth, 3, axis=1), np.zeros_like(truth)
found[50:54, 60:64] = True


def batch(*masks):
    return torch.from_numpy(np.stack(masks))[:, None].float()


def google(result, spacing=(1, 1)):
    return metrics.compute_surface_distances(truth, result, spacing)


options = {"include_background": True, "percentile": 95}
robust = (
    hd95(found, truth),
    compute_hausdorff_distance(batch(found), batch(truth), **options).item(),
    metrics.compute_robust_hausdorff(google(found), 95),
)
print("HD95 with a false alarm:", [round(float(each), 1) for each in robust])
assert np.allclose(robust, (0, 25.4, 25.2), atol=0.05)
for result in (
    hd95(moved, truth),
    compute_hausdorff_distance(batch(moved), batch(truth), **options).item(),
    metrics.compute_robust_hausdorff(google(moved), 95),
):
    assert result == 3, "all agree on a square that is moved"
spacing = (2.0, 0.5)
dice = (
    compute_surface_dice(batch(moved), batch(truth), [1.0], include_background=True, spacing=spacing).item(),
    metrics.compute_surface_dice_at_tolerance(google(moved, spacing), 1.0),
)
print("surface Dice of long pixels:", [round(float(each), 2) for each in dice])
assert np.allclose(dice, (0.5, 0.21), atol=0.005)

try:
    error = hd95(missed, truth)
except RuntimeError as raised:
    error = raised
metric = HausdorffDistanceMetric(reduction="mean", **options)
alone = metric(batch(missed), batch(truth)).item()
metric.reset()
metric(batch(missed, moved), batch(truth, truth))
mean, infinite = metric.aggregate().item(), metrics.compute_robust_hausdorff(google(missed), 95)
print("missed:", repr(error), alone, infinite, "mean of it and of 3 by MONAI:", mean)
assert isinstance(error, RuntimeError) and np.isnan(alone) and np.isinf(infinite) and mean == 3
PYTHON
