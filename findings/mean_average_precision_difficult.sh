#!/usr/bin/env bash
# mean-average-precision 2024.1.5.0: objects marked "difficult" count as missed, and classes that never occur with 0.
#
# Seen: two boxes that are both found have an average precision of 1, and of 0.5 if one of them is difficult, where 1 is
# right: in Pascal VOC, from which the word comes, such an object is neither to be found nor missed. Here the box that
# finds it is passed over, but it is counted among the objects. Two classes of four that occur, with a perfect result,
# have a mean of 0.5, as the other two count with 0.
#
# Remedy: leave out difficult objects and the boxes that find them; the mean of "ap" over the classes that occur.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    mean-average-precision==2024.1.5.0 numpy==2.2.6 pandas==2.3.3 python-dateutil==4.0.0 pytz==2026.6
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from mean_average_precision import MetricBuilder

places = (0, 0, 10, 10), (20, 0, 30, 10)


def evaluate(classes, difficult, number):
    metric = MetricBuilder.build_evaluation_metric("map_2d", async_mode=False, num_classes=number)
    found = [(*place, kind, 0.9) for place, kind in zip(places, classes, strict=True)]
    truth = [(*place, kind, mark, 0) for place, kind, mark in zip(places, classes, difficult, strict=True)]
    metric.add(np.array(found), np.array(truth))
    return round(float(metric.value(iou_thresholds=0.5)["mAP"]), 6)


plain, marked = evaluate((0, 0), (0, 0), 1), evaluate((0, 0), (0, 1), 1)
absent = evaluate((0, 1), (0, 0), 4)
print("perfect results: mAP", plain, "one of two objects difficult:", marked, "two of four classes:", absent)
assert (plain, marked, absent) == (1, 0.5, 0.5)
PYTHON
