#!/usr/bin/env bash
# panoptica 2.1.7: instances match at an IoU of 0.5 exactly, where panopticapi asks for more.
#
# Seen: half of an object found is 1 true positive with panoptic quality 0.5.
#
# Remedy: `axial-deeplab pq --rule stardist` gives this number, without it that of panopticapi.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    annotated-doc==0.0.7 annotated-types==0.8.0 connected-components-3d==3.29.0 imageio==2.38.1 \
    lazy-loader==0.6 markdown-it-py==4.3.0 mdurl==0.1.2 networkx==3.6.1 numpy==2.2.6 packaging==26.4 \
    pandas==2.3.3 panoptica==2.1.7 pillow==13.0.0 plotly==5.24.1 pydantic==2.14.4 pydantic-core==2.50.5 \
    pygments==2.21.0 python-dateutil==2.9.0.post0 pytz==2026.6 rich==13.9.4 ruamel-yaml==0.19.1 \
    scikit-image==0.26.0 scipy==1.17.1 shellingham==1.5.4 tenacity==9.2.1 tifffile==2026.3.3 tqdm==4.70.1 \
    typer==0.29.2 typing-extensions==4.16.0 typing-inspection==0.4.5 tzdata==2026.6 six==1.17.0
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from panoptica import InputType, NaiveThresholdMatching, Panoptica_Evaluator

whole = np.zeros((8, 8), np.uint8)
whole[1:5, 1:5] = 1
half = whole.copy()
half[:, 3:] = 0
evaluator = Panoptica_Evaluator(InputType.UNMATCHED_INSTANCE, instance_matcher=NaiveThresholdMatching())
(result,) = evaluator.evaluate(half, whole, verbose=False).values()
print("true, false positives, missed, quality:", result.tp, result.fp, result.fn, result.pq)
assert (result.tp, result.fp, result.fn, result.pq) == (1, 0, 0, 0.5)
PYTHON
