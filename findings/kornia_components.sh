#!/usr/bin/env bash
# kornia 0.9.0: `connected_components` gives a long object hundreds of labels.
#
# Seen: a bar of 5 x 380 pixels has 280 labels; one of 5 x 100 has one. Labels spread by a pixel a step, and 100 steps
# are the default (num_iterations): any object that is farther than this from end to end, along itself, falls into
# pieces of one pixel's width. Counts, areas and panoptic quality go wrong without a word.
#
# Remedy: num_iterations of at least the longest way within an object (all pixels, for windings), or scikit-image's
# `label`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 kornia-rs==0.2.0 kornia==0.9.0 markupsafe==3.0.4 \
    mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 packaging==26.4 sympy==1.14.0 torch==2.13.0 \
    typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import torch
from kornia.contrib import connected_components


def labels(length, **options):
    mask = torch.zeros((1, 1, 64, 400))
    mask[0, 0, 20:25, 10 : 10 + length] = 1
    return len(connected_components(mask, **options).unique()) - 1


short, long, enough = labels(100), labels(380), labels(380, num_iterations=400)
print("labels of a bar of 100 pixels:", short, "of 380:", long, "with 400 iterations:", enough)
assert short == enough == 1 and long == 280
PYTHON
