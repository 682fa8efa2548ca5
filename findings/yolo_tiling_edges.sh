#!/usr/bin/env bash
# yolo-tiling 0.0.31: an object that ends where a tile ends is an object without area in the next tile, too.
#
# Seen: three squares in a picture of 200 x 200, and tiles of 100 x 100: one ends at the right edge of its tile, one in its lower
# right corner, one lies in the middle of a tile. The four label files have seven lines for these three: each edge that a
# square touches gives one of dozens of points on a straight line in the tile beyond, the corner a line with the class alone,
# without a point. Tiles are asked whether they intersect an object, and what they share of an edge is widened by 1e-10.
#
# Remedy: remove lines of fewer than 7 numbers, or whose outline is thinner than a pixel, as `axial-deeplab dataset convert`
# does with a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    yolo-tiling==0.0.31 numpy==2.2.6 opencv-python-headless==5.0.0.93 pandas==2.3.3 rasterio==1.4.4 shapely==2.2.0 \
    matplotlib==3.11.2 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 kiwisolver==1.5.1 pyparsing==3.3.3 pillow==13.0.0 \
    packaging==26.4 python-dateutil==2.9.0.post0 pytz==2026.6 six==1.17.0 tzdata==2026.6 affine==3.0.1 attrs==26.1.0 \
    certifi==2026.10.19.post1 click==8.5.1 click-plugins==1.1.1.2 cligj==0.7.2 pyyaml==6.0.4 tqdm==4.70.1
cat > tile.py <<'PYTHON'
from pathlib import Path

import numpy as np
from PIL import Image
from shapely.geometry import Polygon
from yolo_tiler import TileConfig, YoloTiler

SQUARES = ((60, 20, 100, 60), (80, 80, 100, 100), (130, 30, 160, 60))


def written(left, top, right, bottom):
    """Return the line of a square: class 0 and its corners, in parts of 200 pixels."""
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return "0 " + " ".join(f"{x / 200} {y / 200}" for x, y in corners)


if __name__ == "__main__":
    for part in ("train", "valid", "test"):
        for folder in ("images", "labels"):
            Path("whole", part, folder).mkdir(parents=True)
        Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(f"whole/{part}/images/a.png")
        Path(f"whole/{part}/labels/a.txt").write_text("\n".join(written(*square) for square in SQUARES) + "\n")
    config = TileConfig(slice_wh=(100, 100), overlap_wh=(0, 0), annotation_type="instance_segmentation")
    YoloTiler("whole", "tiles", config, show_processing_status=False).run()
    found = {}
    for path in sorted(Path("tiles/train/labels").iterdir()):
        numbers = [np.array(line.split()[1:], float) for line in path.read_text().splitlines()]
        areas = [Polygon(each.reshape(-1, 2) * 100).area if each.size else None for each in numbers]
        found[path.name] = [area and round(area) for area in areas]
        print(path.name, "areas:", found[path.name], "numbers:", [each.size for each in numbers])
    lines = [area for areas in found.values() for area in areas]
    assert len(lines) == 7 and sorted(lines, key=str) == [0, 0, 0, 1600, 400, 900, None], lines
PYTHON
PYTHONPATH=packages python3 -W ignore tile.py
