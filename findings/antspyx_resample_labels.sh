#!/usr/bin/env bash
# antspyx 0.6.3: resample_image_to_target makes up numbers of integer labels: 1 becomes 1065353216, or 63 in 8 bits.
#
# Seen: labels 0 to 255, resampled to their own grid by "nearestNeighbor" or "genericLabel". Of uint32, 1 becomes
# 1065353216 and 2 becomes 1073741824, the bits of the floats 1.0 and 2.0; of uint8 the 256 numbers become 58, so that
# objects are joined. The type of the labels decides, not that of the target. apply_transforms with no transforms is
# right. resample_image with nearest neighbors computes in float32: 2^24 + 1 becomes 2^24.
#
# Remedy: ants.apply_transforms(target, labels, [], interpolator="genericLabel"), with numbers of at most 2^24.
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

numbers = np.arange(256).reshape(16, 16)
for kind in (np.uint8, np.uint32, np.float32):
    labels = ants.from_numpy(numbers.astype(kind))
    for target in (labels, labels.clone("float")):
        for rule in ("nearestNeighbor", "genericLabel"):
            seen = ants.resample_image_to_target(labels, target, interp_type=rule).numpy()
            right = ants.apply_transforms(target, labels, [], interpolator=rule).numpy()
            assert (right == numbers).all() and (seen == numbers).all() == (kind == np.float32)
            assert kind != np.uint8 or (len(np.unique(seen)) == 58 and seen.ravel()[-1] == 67)
            assert kind != np.uint32 or (seen == numbers.astype(np.float32).view(np.uint32)).all()
    print(np.dtype(kind), "of 256 numbers:", len(np.unique(seen)), "the last three:", seen.ravel()[-3:].astype(int))
large = np.full((16, 16), 2**24, np.uint32)
large[4:12, 4:12] += 1
halved = ants.resample_image(ants.from_numpy(large), (2, 2), interp_type=1).numpy()
print("resample_image:", np.unique(large), "becomes", np.unique(halved))
assert np.unique(halved).tolist() == [2**24]
PYTHON
