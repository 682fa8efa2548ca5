#!/usr/bin/env bash
# porespy 3.2.0: regionprops_3D has wrong surface areas and sphericities: 6.93 for a cube of any size.
#
# Seen: cubes of 2, 6 and 20 voxels a side all have a surface_area of 6.93 (24, 216 and 2400), and a sphericity of 2.8 to
# 279, which is at most 1. A ball of radius 15 has 3560 (2827), sphericity 0.79. The mesh is drawn around a mask of bool
# that is grown by one voxel, up to the border of the box, where it stays open. region_surface_areas has 2855 for the ball.
#
# Remedy: porespy.metrics.region_surface_areas, whose entry of label n is n - 1; volumes of regionprops_3D are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    porespy==3.2.0 numpy==2.2.6 attrs==26.1.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 click==8.5.1 \
    cloudpickle==3.1.3 connected-components-3d==4.1.1 contourpy==1.3.3 cycler==0.12.1 cyclopts==5.5.2 dask==2026.8.0 \
    deprecated==1.3.1 docstring-parser==0.18.0 edt==3.0.0 fonttools==4.68.0 fsspec==2026.9.0 idna==3.20 \
    imageio==2.38.1 importlib-metadata==10.2.0 kiwisolver==1.5.1 lazy-importer==0.1.0 lazy-loader==0.6 \
    llvmlite==0.50.0 locket==1.0.0 markdown-it-py==4.3.0 matplotlib==3.11.2 matplotlib-inline==0.2.2 mdurl==0.1.2 \
    networkx==3.6.1 numba==0.68.1 packaging==26.4 pandas==3.1.1 partd==1.4.2 pillow==11.3.0 platformdirs==4.14.8 \
    pooch==1.9.0 psutil==7.2.2 pyevtk==1.7.0 pygments==2.21.0 pyparsing==3.3.3 python-dateutil==2.9.0.post0 \
    six==1.17.0 pyvista==0.49.1 pyvista-validation==0.2.2 pyyaml==6.0.4 requests==2.34.2 rich==15.0.0 \
    rich-rst==2.2.0 scikit-image==0.26.0 scipy==1.17.1 scooby==0.12.1 tifffile==2026.3.3 toolz==1.2.0 tqdm==4.70.1 \
    traitlets==5.16.1 typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0 vtk==9.7.2 wrapt==2.5.2 zipp==4.1.2
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import numpy as np
from porespy.metrics import region_surface_areas, regionprops_3D
from skimage.morphology import ball

seen = {}
for side in (2, 6, 20):
    cube = np.zeros((30, 30, 30), int)
    cube[4 : 4 + side, 4 : 4 + side, 4 : 4 + side] = 1
    (measured,) = regionprops_3D(cube)
    seen[side] = round(float(measured.surface_area), 2), round(float(measured.sphericity), 1), float(measured.volume)
round_one = np.pad(ball(15), 10).astype(int)
(measured,) = regionprops_3D(round_one)
of_ball, right = float(measured.surface_area), float(region_surface_areas(round_one)[0])
print("cubes (surface, sphericity, volume):", seen, "ball:", of_ball, float(measured.sphericity), "right:", right)
assert seen == {2: (6.93, 2.8, 8), 6: (6.93, 25.1, 216), 20: (6.93, 279.2, 8000)}
assert 3550 < of_ball < 3570 and abs(right - 4 * np.pi * 15**2) < 40
PYTHON
