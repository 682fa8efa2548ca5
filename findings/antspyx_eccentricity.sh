#!/usr/bin/env bash
# antspyx 0.6.3: label_geometry_measures has the eccentricity 0.97 for an ellipse of 2 to 1, which is 0.87.
#
# Seen: ellipses with axes of 160 and 144, 128, 80 and 40 pixels have 0.59, 0.77, 0.97 and 1.00 in place of 0.44, 0.60,
# 0.87 and 0.97: these are the numbers of the squared ratio of axes. And AxesLength_x is the shorter axis, AxesLength_y
# the longer one, wherever they point to: an ellipse along x has the numbers of one along y. The lengths are right.
#
# Remedy: eccentricity = sqrt(1 - (AxesLength_x / AxesLength_y)**2), or regionprops of scikit-image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    antspyx==0.6.3 numpy==2.2.6 certifi==2026.10.19.post1 charset-normalizer==3.5.3 cloudpickle==3.1.3 \
    cycler==0.12.1 fonttools==4.68.0 formulaic==1.2.2 idna==3.20 interface-meta==2.0.1 joblib==1.6.0 \
    kiwisolver==1.5.1 matplotlib==3.11.2 narwhals==2.29.0 packaging==26.4 pandas==2.3.3 patsy==1.0.3 pillow==13.0.0 \
    pyparsing==3.3.3 python-dateutil==4.0.0 pytz==2026.6 requests==2.34.2 scikit-learn==1.9.1 scipy==1.15.3 \
    statsmodels==0.15.0 threadpoolctl==3.8.0 typing-extensions==4.16.0 urllib3==2.8.0 wrapt==2.5.2
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import ants
import numpy as np

first, second = np.mgrid[:200, :200] - 100


def measured(half_first, half_second):
    ellipse = ((first / half_first) ** 2 + (second / half_second) ** 2 < 1).astype(np.uint32)
    return ants.label_geometry_measures(ants.from_numpy(ellipse)).iloc[0]


seen = {short: round(float(measured(80, short).Eccentricity), 2) for short in (72, 64, 40, 20)}
right = {short: round((1 - (short / 80) ** 2) ** 0.5, 2) for short in seen}
lengths = [[round(float(each[f"AxesLength_{axis}"])) for axis in "xy"] for each in (measured(80, 40), measured(40, 80))]
print("eccentricity by half of the short axis:", seen, "right:", right, "axes x and y, along x and along y:", lengths)
assert seen == {72: 0.59, 64: 0.77, 40: 0.97, 20: 1.0} and right == {72: 0.44, 64: 0.6, 40: 0.87, 20: 0.97}
assert lengths == [[80, 160], [80, 160]]
PYTHON
