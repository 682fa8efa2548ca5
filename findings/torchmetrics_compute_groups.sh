#!/usr/bin/env bash
# torchmetrics 1.9.0: in a MetricCollection, metrics whose first batch gives equal counts share one state from then on.
#
# Seen: JaccardIndex with and without ignore_index=0 over four pictures, the first of which has no class 0. Alone they
# are 0.741 and 0.811, in a MetricCollection 0.741 and 0.769. F1Score at the thresholds 0.5 and 0.8, with a first
# picture in which all pixels are sure: alone 0.62 and 0.51, in a collection 0.62 and 0.62. With the first picture last
# all are right. By default the collection puts metrics into a group whose states are equal after the first update,
# whatever their options are, and updates the first of a group alone. Calling the collection in place of `update` gives
# the right values.
#
# Remedy: MetricCollection(..., compute_groups=False), where metrics differ in ignore_index, threshold or the like.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 lightning-utilities==0.15.3 markupsafe==3.0.4 mpmath==1.3.0 \
    networkx==3.6.1 numpy==2.2.6 packaging==26.4 sympy==1.14.0 torch==2.13.0 torchmetrics==1.9.0 \
    typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import torch
from torchmetrics import F1Score, JaccardIndex, MetricCollection

generator = torch.Generator().manual_seed(0)


def jaccard():
    options = {"task": "multiclass", "num_classes": 3}
    return {"all": JaccardIndex(**options), "ignored": JaccardIndex(**options, ignore_index=0)}


def f1():
    return {"at_0_5": F1Score(task="binary"), "at_0_8": F1Score(task="binary", threshold=0.8)}


def classes(lowest):
    """Return a map of classes and a result in which some pixels have another one, unless class 0 is left out."""
    truth = torch.randint(lowest, 3, (1, 32, 32), generator=generator)
    other = torch.rand(truth.shape, generator=generator) > 0.7
    guess = torch.randint(0, 3, truth.shape, generator=generator)
    return (truth, truth) if lowest else (torch.where(other, guess, truth), truth)


def probabilities(sure):
    """Return probabilities and their truth, which they meet if they are sure."""
    truth = torch.randint(0, 2, (1, 32, 32), generator=generator)
    return (torch.where(truth > 0, 0.95, 0.05) if sure else torch.rand(truth.shape, generator=generator)), truth


def scores(make, batches, **options):
    """Return the values of metrics in a collection, each as a float."""
    collection = MetricCollection(make(), **options)
    for predicted, truth in batches:
        collection.update(predicted, truth)
    return {name: round(float(value), 3) for name, value in collection.compute().items()}


def alone(make, batches):
    """Return the values of metrics that are updated one by one."""
    metrics = make()
    for metric in metrics.values():
        for predicted, truth in batches:
            metric.update(predicted, truth)
    return {name: round(float(metric.compute()), 3) for name, metric in metrics.items()}


for make, batches in (
    (jaccard, [classes(1), *(classes(0) for _ in range(3))]),
    (f1, [probabilities(True), *(probabilities(False) for _ in range(3))]),
):
    wanted, found = alone(make, batches), scores(make, batches)
    called = MetricCollection(make())
    for batch in batches:
        called(*batch)
    called = {name: round(float(value), 3) for name, value in called.compute().items()}
    print("alone:", wanted, "in a collection:", found, "called:", called)
    first, second = wanted
    assert found[first] == wanted[first] and abs(found[second] - wanted[second]) > 0.04
    assert called == scores(make, batches, compute_groups=False) == wanted
    assert scores(make, [*batches[1:], batches[0]]) == wanted
PYTHON
