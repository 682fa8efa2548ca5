#!/usr/bin/env bash
# nuscenes-devkit 1.2.0: a class that never occurs counts with 0: a perfect result has panoptic quality 0.19.
#
# Seen: a result that is its own truth, with 3 classes of 100 points and two objects each. Among 3 classes PanopticEval
# gives PQ, SQ and RQ 1; among nuScenes' 16, of which 13 never occur, 0.188 = 3 / 16, and so does its mean IoU. Panoptic
# quality of panopticapi leaves such classes out, with 1. The whole validation set has all 16, one scene or v1.0-mini
# does not; the evaluator prints no count.
#
# Remedy: the mean of the classes with pan_tp + pan_fp + pan_fn > 0, from getPQ()[3]; `axial-deeplab pq`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 nuscenes-devkit==1.2.0
PYTHONPATH=packages python3 - <<'PYTHON'
import importlib.util

import numpy as np

# The evaluator alone: the package imports drawing.
path = "packages/nuscenes/eval/panoptic/panoptic_seg_evaluator.py"
specification = importlib.util.spec_from_file_location("evaluator", path)
evaluator = importlib.util.module_from_spec(specification)
specification.loader.exec_module(evaluator)

classes, numbers = np.repeat([1, 2, 3], 100), np.arange(300) // 50
means = {}
for num_classes in (3, 16):
    evaluation = evaluator.PanopticEval(num_classes + 1, ignore=[0])
    evaluation.addBatch(classes, numbers, classes, numbers)
    means[num_classes] = [round(float(value), 4) for value in (*evaluation.getPQ()[:3], evaluation.getSemIoU()[0])]
occur = evaluation.pan_tp + evaluation.pan_fp + evaluation.pan_fn > 0
mended = float(evaluation.getPQ()[3][occur].mean())
print("PQ, SQ, RQ, mean IoU by number of classes:", means, "of those that occur:", mended)
assert means == {3: [1, 1, 1, 1], 16: [0.1875] * 4} and mended == 1
PYTHON
