#!/usr/bin/env bash
# seg-metrics 1.2.8: the surface distances of an object that was missed are 0, the best that there is.
#
# Seen: a truth of 100 pixels and an empty prediction: hd, hd95 and msd are 0, as for a perfect result; so they are for a
# false alarm. One found 3 pixels beside it has 3, so that the mean distance of two images falls from 3 to 1.5 where the
# second object is missed. A log line speaks of precision and recall alone.
#
# Remedy: take labels out whose dice is 0 before distances are averaged, and count them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    cloudpickle==3.1.3 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 formulaic==1.2.2 interface-meta==2.0.1 \
    joblib==1.6.0 kiwisolver==1.5.1 matplotlib==3.11.2 medutils==0.1.21 narwhals==2.29.0 numpy==2.2.6 \
    packaging==26.4 pandas-flavor==0.8.1 pandas==3.1.1 patsy==1.0.3 pillow==13.0.0 pingouin==0.7.0 \
    pyparsing==3.3.3 python-dateutil==2.9.0.post0 scikit-learn==1.9.1 scipy==1.17.1 seaborn==0.13.2 \
    seg-metrics==1.2.8 simpleitk==2.5.7 six==1.17.0 statsmodels==0.15.0 tabulate==0.10.0 threadpoolctl==3.8.0 \
    tqdm==4.70.1 typing-extensions==4.16.0 tzdata==2026.6 wrapt==2.5.2 xarray==2026.9.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from seg_metrics.seg_metrics import write_metrics

nothing = np.zeros((40, 60), np.int32)
truth, shifted = nothing.copy(), nothing.copy()
truth[5:15, 5:15] = shifted[8:18, 5:15] = 1


def measured(truth, found):
    (result,) = write_metrics(labels=[1], gdth_img=truth, pred_img=found, csv_file=None)
    return {name: round(float(result[name][0]), 2) for name in ("dice", "hd", "hd95", "msd")}


perfect, beside = measured(truth, truth), measured(truth, shifted)
missed, false_alarm = measured(truth, nothing), measured(nothing, truth)
print("perfect:", perfect, "3 pixels beside:", beside, "missed:", missed, "false alarm:", false_alarm)
assert perfect == {"dice": 1, "hd": 0, "hd95": 0, "msd": 0} and beside == {"dice": 0.7, "hd": 3, "hd95": 3, "msd": 1.5}
assert missed == false_alarm == {"dice": 0, "hd": 0, "hd95": 0, "msd": 0}
PYTHON
