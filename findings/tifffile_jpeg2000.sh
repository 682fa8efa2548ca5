#!/usr/bin/env bash
# tifffile 2026.3.3 with imagecodecs 2026.3.6: JPEG 2000 without a level is not lossless for uint32 ids, small ones included.
#
# Seen: of a map of 40 x 60 with the ids 1 and 2 1686 of 2400 pixels come back as others of these; of 300 discs in 400 x
# 600, two thirds, with ids that the map never had. Ids of noise or of a ramp come back equal below 2^26, from there on
# every pixel differs. The same maps in uint8, uint16, int16 and int32 are right. There is no warning.
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


def wrong(ids, compression="jpeg2000"):
    tifffile.imwrite("ids.tif", ids, compression=compression)
    return int((tifffile.imread("ids.tif") != ids).sum())


ramp = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64)
of_ramps = {power: wrong(ramp + np.uint32(2**power)) for power in (16, 24, 25, 26, 30)}
two = np.zeros((40, 60), np.uint32)
two[5:15, 5:15], two[20:35, 20:50] = 1, 2
discs, (y, x) = np.zeros((400, 600), np.uint32), np.mgrid[:400, :600]
random = np.random.default_rng(0)
for number in range(1, 301):
    center_y, center_x, radius = random.integers(400), random.integers(600), random.integers(5, 14)
    discs[(y - center_y) ** 2 + (x - center_x) ** 2 < radius**2] = number
of_maps = {dtype: (wrong(two.astype(dtype)), wrong(discs.astype(dtype))) for dtype in ("uint16", "int32", "uint32")}
print("wrong pixels of 4096, by the power of two that ids begin at:", of_ramps)
print("wrong pixels of two blocks and of 300 discs:", of_maps)
assert of_ramps == {16: 0, 24: 0, 25: 0, 26: 4096, 30: 4096}
assert of_maps["uint16"] == of_maps["int32"] == (0, 0) and of_maps["uint32"][0] == 1686
assert of_maps["uint32"][1] > 120_000
assert wrong(two, "zlib") == wrong(discs, "zlib") == 0
PYTHON
