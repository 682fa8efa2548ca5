#!/usr/bin/env bash
# mahotas 1.4.19: sums of an 8-bit picture over labels wrap at 256, and the greatest of negative values is about 0.
#
# Seen: two objects of 100 and 200 pixels, all of brightness 200: labeled_sum gives 32 and 64 (20000 and 40000), as it
# counts in the type of the picture; 16 bits wrap at 65536. labeled_max of a picture of floats that is -200 throughout is
# 1.2e-38, the least positive float32, as a distance or a difference may be. labeled_size and labeled_min are right.
#
# Remedy: labeled_sum(picture.astype(np.int64), labels); -labeled_min(-picture, labels) for floats.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 mahotas==1.4.19
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from mahotas.labeled import labeled_max, labeled_min, labeled_size, labeled_sum

labels = np.zeros((30, 30), np.int32)
labels[2:12, 2:12] = 1
labels[15:25, 5:25] = 2
bright = np.full(labels.shape, 200, np.uint8)
dark = np.full(labels.shape, -200, np.float32)
sizes, sums = labeled_size(labels).tolist(), labeled_sum(bright, labels).tolist()
wide = labeled_sum(bright.astype(np.int64), labels).tolist()
of_16_bits = labeled_sum(1000 * np.ones(labels.shape, np.uint16), labels).tolist()
greatest, least = labeled_max(dark, labels).tolist(), labeled_min(dark, labels).tolist()
print("sizes:", sizes, "sums of 200 in 8 bits:", sums, "in 64:", wide, "of 1000 in 16:", of_16_bits)
print("greatest of -200:", greatest, "least:", least, "by the remedy:", (-labeled_min(-dark, labels)).tolist())
assert sizes == [600, 100, 200] and sums[1:] == [32, 64] and wide[1:] == [20000, 40000]
assert of_16_bits[1:] == [100_000 - 65536, 200_000 - 3 * 65536]
assert all(0 < each < 1e-30 for each in greatest) and least == [-200] * 3
PYTHON
