#!/usr/bin/env bash
# libpysal 4.14.1: Rook and Queen miss neighbors whose outlines have no corner in common: 129 of 148 in a map of cells.
#
# Seen: outlines along the edges of pixels have no point where a border of two others ends in their straight side. Of 60
# cells in 100 x 100 pixels, Rook finds 129 of 148 pairs with a common edge, Queen 143 of 152 that touch; of a wall of 16
# bricks 12 of 33. It says "share at least one edge". Graph.build_contiguity does the same by default, and says so.
#
# Remedy: Graph.build_contiguity(table, rook=True, strict=True), which finds all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    libpysal==4.14.1 numpy==2.2.6 affine==3.0.1 attrs==26.1.0 beautifulsoup4==4.15.0 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 click==8.5.1 cloudpickle==3.1.3 geopandas==1.2.0 idna==3.20 joblib==1.6.0 \
    narwhals==2.29.0 packaging==26.4 pandas==3.1.1 platformdirs==4.14.8 pyproj==3.7.2 python-dateutil==4.0.0 \
    rasterio==1.4.4 requests==2.34.2 scikit-learn==1.9.1 scipy==1.17.1 shapely==2.2.0 soupsieve==4.1.3 \
    threadpoolctl==3.8.0 typing-extensions==4.16.0 urllib3==2.8.0
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import geopandas
import numpy as np
import shapely
from libpysal.graph import Graph
from libpysal.weights import Queen, Rook
from rasterio.features import shapes

seeds = np.random.default_rng(0).uniform(0, 100, (60, 2))
rows, columns = np.mgrid[:100, :100]
distances = (rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2
labels = (distances.argmin(-1) + 1).astype(np.int32)
outlines = [(int(number), shapely.geometry.shape(outline)) for outline, number in shapes(labels)]
cells = geopandas.GeoDataFrame(outlines, columns=["id", "geometry"], geometry="geometry").dissolve("id")
places = [(4 * column + 2 * (row % 2), 2 * row) for row in range(4) for column in range(4)]
bricks = geopandas.GeoDataFrame(geometry=[shapely.box(x, y, x + 4, y + 2) for x, y in places])


def pairs_of_pixels(*neighbors):
    found = set()
    for first, second in neighbors:
        found |= {tuple(sorted(map(int, pair))) for pair in zip(first[first != second], second[first != second])}
    return found


def pairs(weights):
    return {tuple(sorted((int(one), int(other)))) for one, others in weights.neighbors.items() for other in others}


def pairs_of_graph(table, rook):
    adjacency = Graph.build_contiguity(table, rook=rook, strict=True).adjacency
    return {tuple(sorted((int(one), int(other)))) for one, other in adjacency.index if one != other}


sides = pairs_of_pixels((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
corners = sides | pairs_of_pixels((labels[1:, 1:], labels[:-1, :-1]), (labels[1:, :-1], labels[:-1, 1:]))
rook, queen, wall = (
    pairs(kind.from_dataframe(table, use_index=True)) for kind, table in ((Rook, cells), (Queen, cells), (Rook, bricks))
)
print("cells:", len(rook), "of", len(sides), "and", len(queen), "of", len(corners), "bricks:", len(wall),
      "of", len(pairs_of_graph(bricks, True)))
assert rook < sides and queen < corners and (len(rook), len(sides), len(queen), len(corners)) == (129, 148, 143, 152)
assert pairs_of_graph(cells, True) == sides and pairs_of_graph(cells, False) == corners
assert len(wall) == 12 and len(pairs_of_graph(bricks, True)) == 33
PYTHON
