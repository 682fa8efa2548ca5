#!/usr/bin/env bash
# scikit-image 0.26.0: graph.cut_threshold and graph.merge_hierarchical give the first region the number 0.
#
# Seen: three regions 1, 2 and 3, of which the last two are joined: the result is 0 and 1, so that the first one is
# background to regionprops, label2rgb and every tool behind, and one object of two is left. A map with background has 0
# for that, if it is a node of the graph.
#
# Remedy: add 1 to the result, and set it to 0 where the map was 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 scipy==1.17.1 scikit-image==0.26.0 networkx==3.6.1 imageio==2.38.1 pillow==13.0.0 \
    lazy-loader==0.6 packaging==26.4 tifffile==2026.3.3
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from skimage import graph
from skimage.measure import regionprops

labels = np.repeat([[1, 2, 3]], 10, axis=1).repeat(10, axis=0)
picture = np.repeat([[0.0, 0.5, 0.52]], 10, axis=1).repeat(10, axis=0)[..., None].repeat(3, axis=2)


def weight(rag, source, target, node):
    return {"weight": 1}


def merge(rag, source, target):
    pass


cut = graph.cut_threshold(labels, graph.rag_mean_color(picture, labels), 0.1)
rag = graph.rag_mean_color(picture, labels)
merged = graph.merge_hierarchical(labels, rag, 0.1, False, True, merge, weight)
print("of 1, 2, 3:", cut[0, ::10], merged[0, ::10], "objects:", len(regionprops(cut)), "by the remedy:",
      len(regionprops(np.where(labels > 0, cut + 1, 0))))
assert cut[0, ::10].tolist() == merged[0, ::10].tolist() == [0, 1, 1] and len(regionprops(cut)) == 1
assert len(regionprops(np.where(labels > 0, cut + 1, 0))) == 2
PYTHON
