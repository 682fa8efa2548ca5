#!/usr/bin/env bash
# MedPy 0.5.2: obj_tpr and obj_fpr exchange result and reference: one of four nuclei found has a true positive rate of 1.
#
# Seen: four objects, of which one is found and nothing else: obj_tpr(result, reference) is 1 and obj_fpr 0.75, where
# 0.25 and 0 are right; four objects found where there is one: 0.25 and 0, where 1 and 0.75 are right. The examples of
# the documentation have the right numbers, 2/3 and 0 for one of them, which gives 1 and 1/3.
#
# Remedy: obj_tpr(reference, result) and obj_fpr(reference, result), or count objects by their overlaps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    medpy==0.5.2 numpy==2.2.6 scipy==1.15.3
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from medpy.metric.binary import obj_fpr, obj_tpr

four, one = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
for left in (2, 12, 22, 32):
    four[2:8, left : left + 6] = True
one[2:8, 2:8] = True
documented = np.array([1, 0, 1, 0, 0]), np.array([1, 0, 1, 0, 1])
seen = {
    "one of four found": (obj_tpr(one, four), obj_fpr(one, four)),
    "one of one found, and three more": (obj_tpr(four, one), obj_fpr(four, one)),
    "of the documentation, 2/3 and 0": (obj_tpr(*documented), round(obj_fpr(*documented), 2)),
}
for name, rates in seen.items():
    print(name, "(true positive rate, false positive rate):", rates)
assert list(seen.values()) == [(1, 0.75), (0.25, 0), (1, 0.33)]
PYTHON
