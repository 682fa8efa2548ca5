#!/usr/bin/env bash
# mapcalc 0.2.2: scores of detections are not read: average precision goes by the order of the list.
#
# Seen: two objects found with scores of 0.9 and 0.8 and two false alarms of 0.2 and 0.1 have an average precision of 1
# in this order, and 0.5 if the false alarms are listed first, with the same scores. With 0.2 and 0.1 for the objects
# and 0.9 and 0.8 for the false alarms it is 1, where 0.5 is right. The documentation speaks of no order.
#
# Remedy: sort boxes, labels and scores by falling score before, as numpy.argsort(-scores) gives it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    mapcalc==0.2.2 numpy==2.2.6
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
from mapcalc import calculate_map, calculate_map_range

objects, alarms = [[0, 0, 10, 10], [20, 0, 30, 10]], [[50, 50, 60, 60], [70, 50, 80, 60]]
truth = {"boxes": objects, "labels": [1, 1]}


def precision(boxes, scores):
    result = {"boxes": boxes, "labels": [1] * len(boxes), "scores": scores}
    both = calculate_map(truth, result, 0.5), calculate_map_range(truth, result, 0.5, 0.95, 0.05)
    return tuple(round(float(value), 6) for value in both)


seen = {
    "objects first, with high scores": precision(objects + alarms, [0.9, 0.8, 0.2, 0.1]),
    "false alarms first, the same scores": precision(alarms + objects, [0.2, 0.1, 0.9, 0.8]),
    "objects first, with low scores": precision(objects + alarms, [0.2, 0.1, 0.9, 0.8]),
}
for name, values in seen.items():
    print(name, "(average precision at 0.5, at 0.5 to 0.95):", values)
assert list(seen.values()) == [(1, 1), (0.5, 0.5), (1, 1)]
PYTHON
