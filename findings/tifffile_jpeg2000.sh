#!/usr/bin/env bash
# tifffile 2026.3.3 with imagecodecs 2026.3.6: JPEG 2000 without a level is not lossless for large uint32 ids.
#
# Seen: 64 x 64 ids from 2^16, 2^24 and 2^25 come back equal; from 2^26 on every pixel differs, without a
# warning.
#
# Remedy: compress ids with zlib or zstd.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 tifffile==2026.3.3 imagecodecs==2026.3.6
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import tifffile

wrong = {}
for power in (16, 24, 25, 26, 30):
    ids = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) + np.uint32(2**power)
    tifffile.imwrite("a.tif", ids, compression="jpeg2000")
    wrong[power] = int((tifffile.imread("a.tif") != ids).sum())
    tifffile.imwrite("b.tif", ids, compression="zlib")
    assert (tifffile.imread("b.tif") == ids).all()
print("wrong pixels of 4096, by the power of two that ids begin at:", wrong)
assert wrong == {16: 0, 24: 0, 25: 0, 26: 4096, 30: 4096}
PYTHON
