#!/usr/bin/env bash
# deeplake 4.7.4: a column of type SegmentMask has 8 bits, and ids above 255 wrap without a word.
#
# Seen: of masks of uint16, int32 and int64 the id 256 becomes 0, which is nothing, 300 becomes 44 and 60000 becomes 96,
# other objects.
#
# Remedy: deeplake.types.SegmentMask(dtype="uint16") or "uint32".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 deeplake==4.7.4
PYTHONPATH=packages python3 - <<'PYTHON'
import deeplake
import numpy as np

ids = np.array([[0, 1, 255], [256, 300, 60000]])
data = deeplake.create("mem://labels")
data.add_column("default", deeplake.types.SegmentMask())
data.add_column("wide", deeplake.types.SegmentMask(dtype="uint16"))
for dtype in ("uint16", "int32", "int64"):
    data.append({"default": [ids.astype(dtype)], "wide": [ids.astype("uint16")]})
    default, wide = (np.asarray(data[len(data) - 1][name]).ravel().tolist() for name in ("default", "wide"))
    print(dtype, "default:", default, "uint16:", wide)
    assert default == [0, 1, 255, 0, 44, 96] and wide == ids.ravel().tolist()
PYTHON
