#!/usr/bin/env bash
# tensorflow 2.21.0, keras 3.15.1: of PNG labels of 16 bits decode_png gives the upper 8 bits, of a palette colors.
#
# Seen: a PNG with the labels 1, 255, 256, 300 and 1000 in 16 bits. tf.io.decode_png, tf.io.decode_image and keras'
# image_dataset_from_directory give 0, 0, 1, 1 and 3, without a word: all of the first 255 objects are background.
# decode_image(dtype=tf.int32) gives the labels times 32768. Of a PNG with palette, as Pascal VOC and labelme have them,
# decode_png(channels=1) gives the brightness of the colors, for 1, 2, 3 here 38, 75 and 113, as does
# image_dataset_from_directory with color_mode="grayscale". The documentation of decode_png says that uint8 is the
# default, and nothing of either.
#
# Remedy: tf.io.decode_png(file, dtype=tf.uint16); palettes with Pillow, in tf.numpy_function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    absl-py==2.5.1 astunparse==1.6.3 certifi==2026.10.19.post1 charset-normalizer==3.5.3 flatbuffers==25.12.19 \
    gast==0.7.0 google-pasta==0.2.0 grpcio==1.85.3 h5py==3.14.0 idna==3.20 keras==3.15.1 libclang==18.1.1 \
    markdown-it-py==4.3.0 mdurl==0.1.2 ml-dtypes==0.6.0 namex==0.1.0 numpy==2.2.6 opt-einsum==3.4.0 optree==0.20.0 \
    packaging==26.4 pillow==13.0.0 protobuf==7.36.2 pygments==2.21.0 requests==2.34.2 rich==15.0.0 six==1.17.0 \
    tensorflow-cpu==2.21.0 termcolor==3.3.0 typing-extensions==4.16.0 urllib3==2.8.0 wrapt==2.5.2
TF_CPP_MIN_LOG_LEVEL=3 PYTHONPATH=packages python3 - <<'PYTHON'
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

ids = [1, 255, 256, 300, 1000]
Path("labels").mkdir()
Image.fromarray(np.array([ids], np.uint16)).save("labels/16_bits.png")
palette = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
# The first colors of Pascal VOC: black, dark red, dark green, olive.
palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
palette.save("labels/palette.png")


def of_folder(kind):
    """Return the labels of one picture as keras reads it in a folder."""
    Path(kind).mkdir()
    Path(kind, "labels.png").write_bytes(Path(f"labels/{kind}.png").read_bytes())
    width = {"16_bits": 5, "palette": 4}[kind]
    pictures = keras.utils.image_dataset_from_directory(
        kind, labels=None, color_mode="grayscale", image_size=(1, width), interpolation="nearest", verbose=0
    )
    return next(iter(pictures)).numpy()[0, 0, :, 0].astype(int).tolist()


wide = tf.io.read_file("labels/16_bits.png")
found = {
    "decode_png": tf.io.decode_png(wide),
    "decode_image": tf.io.decode_image(wide),
    "decode_image to int32": tf.io.decode_image(wide, dtype=tf.int32),
    "decode_png to uint16": tf.io.decode_png(wide, dtype=tf.uint16),
    "palette, decode_png of one channel": tf.io.decode_png(tf.io.read_file("labels/palette.png"), channels=1),
}
found = {name: labels.numpy()[0, :, 0].tolist() for name, labels in found.items()}
found |= {f"{kind}, keras": of_folder(kind) for kind in ("16_bits", "palette")}
print("labels", ids, "and 0, 1, 2, 3 of a palette:")
for name, labels in found.items():
    print(f"{name}: {labels}")
assert found["decode_png"] == found["decode_image"] == found["16_bits, keras"] == [0, 0, 1, 1, 3]
assert found["decode_image to int32"] == [32768 * label for label in ids] and found["decode_png to uint16"] == ids
assert found["palette, decode_png of one channel"] == found["palette, keras"] == [0, 38, 75, 113]
PYTHON
