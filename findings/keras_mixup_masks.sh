#!/usr/bin/env bash
# keras 3.15.1: MixUp gives masks values of the first pixels of the batch, CutMix three channels.
#
# Seen: 4 pictures with one-hot masks of 4 classes, 8 x 8 pixels. MixUp mixes the pictures, but 23% of the pixels of their
# masks alone are right: where it takes whole pictures for the images, it takes single numbers, those of the first pixels,
# for the masks (take without an axis). It goes on without a word where the shapes fit, as with as many classes as
# pictures. A map of one channel comes back with as many channels as there are pictures, 4 here. CutMix gives a map of
# int32 and one channel as three equal ones of float32.
#
# Remedy: mix masks by hand, with the weights and the order of get_random_transformation; of CutMix the first channel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    absl-py==2.5.1 filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 keras==3.15.1 markdown-it-py==4.3.0 \
    markupsafe==3.0.4 mdurl==0.1.2 ml-dtypes==0.6.0 mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 packaging==26.4 \
    pygments==2.21.0 rich==15.0.0 sympy==1.14.0 torch==2.13.0 typing-extensions==4.16.0
KERAS_BACKEND=torch PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from keras import layers

generator = np.random.default_rng(0)
classes = generator.integers(0, 4, (4, 8, 8))
one_hot = np.eye(4, dtype=np.float32)[classes]
# A picture whose channels are the first three classes, so that its own mixture tells that of the masks.
pictures = one_hot[..., :3].copy()


def mixed(layer, masks):
    """Return pictures and masks as one call of the layer gives them."""
    result = layer({"images": pictures, "segmentation_masks": masks})
    return [np.asarray(result[name]) for name in ("images", "segmentation_masks")]


found_pictures, found_masks = mixed(layers.MixUp(alpha=1.0, seed=4), one_hot)
changed = np.abs(found_pictures - pictures).max(axis=(1, 2, 3)) > 0.01
right = np.isclose(found_pictures, found_masks[..., :3], atol=1e-4).all(axis=-1)[changed].mean()
print("MixUp, pictures that were mixed:", changed.sum(), "pixels of their masks that are right:", round(float(right), 2))
_, one_channel = mixed(layers.MixUp(alpha=1.0, seed=4), classes[..., None].astype(np.float32))
_, cut = mixed(layers.CutMix(seed=4), classes[..., None].astype(np.int32))
print("one channel, from MixUp:", one_channel.shape, "from CutMix:", cut.shape, cut.dtype)
assert changed.sum() >= 2 and right < 0.5 and one_channel.shape == (4, 8, 8, 4)
assert cut.shape == (4, 8, 8, 3) and cut.dtype == np.float32 and (cut == cut[..., :1]).all()
PYTHON
