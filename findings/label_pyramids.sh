#!/usr/bin/env bash
# pyvips 3.2.0 (libvips 8.18) and ngff-zarr 0.50.0: pyramids of labels with made-up ids.
#
# Seen: with their defaults both average the ids: a pixel between the instances 3000 and 7000 belongs to 5000, which
# may be another one elsewhere. At half the size 7% (pyvips) and half (ngff-zarr, a Gaussian) of the pixels are made up, at
# a quarter 27% and 94%. That the type is one of integers changes nothing.
#
# Remedy: region_shrink="nearest" of pyvips, Methods.ITKWASM_LABEL_IMAGE of ngff-zarr.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-types==0.8.0 cffi==2.1.1 click==8.5.1 cloudpickle==3.1.3 dask==2026.8.0 fsspec==2026.9.0 \
    importlib-metadata==10.2.0 importlib-resources==7.1.0 itkwasm-downsample-wasi==2.0.2 \
    itkwasm-downsample==2.0.2 itkwasm==1.0b201 lazy-importer==0.1.0 locket==1.0.0 markdown-it-py==4.3.0 \
    mdurl==0.1.2 ngff-zarr==0.50.0 numcodecs==0.16.6 numpy==2.2.6 packaging==26.4 partd==1.4.2 \
    platformdirs==4.14.8 psutil==7.2.2 pycparser==3.12 pygments==2.21.0 pyvips-binary==8.18.7 pyvips==3.2.0 \
    pyyaml==6.0.4 rich-argparse==1.8.0 rich==15.0.0 toolz==1.2.0 typing-extensions==4.16.0 wasmtime==50.0.1 \
    zarr-metadata==0.6.0 zarrista==0.1.0 zipp==4.1.2
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
import pyvips
from ngff_zarr import Methods, to_multiscales, to_ngff_image

ids = np.zeros((256, 256), np.uint16)
for number in range(1, 101):
    row, column = 25 * ((number - 1) // 10), 25 * ((number - 1) % 10)
    ids[row + 2 : row + 23, column + 1 : column + 22] = 600 * number


def vips(level, **options):
    image = pyvips.Image.new_from_array(ids)
    image.tiffsave("a.tif", pyramid=True, tile=True, tile_width=32, tile_height=32, compression="deflate", **options)
    return pyvips.Image.new_from_file("a.tif", page=level).numpy()


def ngff(level, **options):
    return np.asarray(to_multiscales(to_ngff_image(ids, dims=["y", "x"]), [2, 4], chunks=64, **options).images[level].data)


def made_up(write, **options):
    return [round(float((~np.isin(write(level, **options), ids)).mean()), 2) for level in (1, 2)]


defaults = {"pyvips": made_up(vips), "ngff-zarr": made_up(ngff)}
labels = {"pyvips": made_up(vips, region_shrink="nearest"), "ngff-zarr": made_up(ngff, method=Methods.ITKWASM_LABEL_IMAGE)}
print("made up at a half and a quarter of the size:", defaults, "with the remedy:", labels)
assert all(half > 0.05 and quarter > 0.2 for half, quarter in defaults.values())
assert all(shares == [0, 0] for shares in labels.values())
PYTHON
