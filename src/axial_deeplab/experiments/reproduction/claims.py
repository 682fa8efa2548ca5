"""What the paper claims, what the runs say of it, and the rule that decides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from axial_deeplab.experiments.reproduction.networks import (
    BASE,
    BASE_ASPP,
    PS_ATTENTION,
    RESNET,
    RESNET_ASPP,
    SASA,
    SPANS,
    STRIDES,
    TABLES,
    TERMS,
)
from axial_deeplab.experiments.reproduction.results import Results

SIMILAR = 2.0
RULE = (
    "A score is taken for what its network is worth, plus what its seed is worth to all, plus chance. "
    "Networks are thus compared at the same seeds, and how large chance is comes from all runs that have the "
    "measure, as if it were as large for each network. A difference is given with its 95 % confidence "
    "interval by Student's t. A claim that one is better **holds** if the interval lies on its side of zero, "
    "and **does not hold** if it lies on the other side. A claim that two are alike holds if the interval "
    f"lies within {SIMILAR:g} points of zero, and does not if it lies outside. Otherwise it **cannot be "
    "told**. The column *visible* has the least true difference that such runs tell from none in four of "
    "five repetitions. The rule takes each comparison alone: of twenty without a true difference, one would "
    "be told wrongly."
)


@dataclass(frozen=True)
class Claim:
    """That one network is better than another, or like it.

    Args:
        table: table that it belongs to.
        text: text of the claim.
        first: key of the network that is claimed to be better.
        second: key of the other one.
        measures: measures that are compared; None takes those of the table.
        lower_is_better: so it is for losses.
        alike: the claim is that there is no difference.
    """

    table: str
    text: str
    first: str
    second: str
    measures: tuple[str, ...] | None = None
    lower_is_better: bool = False
    alike: bool = False


@dataclass(frozen=True)
class Finding:
    """What the runs say of a claim by one measure.

    Args:
        claim: claim in question.
        measure: measure by which it is judged.
        paper: the paper's difference, None where it prints no numbers.
        difference: difference of the means, None where a network has no run.
        interval: half the width of the 95 % interval, None with fewer than two seeds of either.
        visible: least true difference that such runs tell from zero four times of five, None as above.
        verdict: "holds", "does not hold", "cannot be told" or "not run".
    """

    claim: Claim
    measure: str
    paper: float | None
    difference: float | None
    interval: float | None
    visible: float | None
    verdict: str


def _longer_spans() -> tuple[Claim, ...]:
    longer = [*SPANS, None]
    return tuple(
        Claim(
            "spans",
            f"{f'span {span}' if span else 'The whole axis'} is better than span {shorter}",
            SPANS[span].key if span else BASE.key,
            SPANS[shorter].key,
        )
        for shorter, span in [*zip(SPANS, longer[1:], strict=True), (next(iter(SPANS)), None)]
    )


CLAIMS: tuple[Claim, ...] = (
    Claim("networks", "Axial-DeepLab is better than Panoptic-DeepLab without ASPP", BASE.key, RESNET.key),
    Claim("networks", "Axial-DeepLab is better than Panoptic-DeepLab with ASPP", BASE.key, RESNET_ASPP.key),
    Claim("networks", "ASPP helps Panoptic-DeepLab with a ResNet", RESNET_ASPP.key, RESNET.key),
    Claim("networks", "Axial-DeepLab with ASPP is like without", BASE_ASPP.key, BASE.key, alike=True),
    Claim("networks", "Axial-DeepLab is better than PS-Attention", BASE.key, PS_ATTENTION.key),
    Claim("networks", "PS-Attention is better than the attention of SASA", PS_ATTENTION.key, SASA.key),
    Claim("networks", "The attention of SASA is better than a ResNet", SASA.key, RESNET.key),
    *_longer_spans(),
    Claim("strides", "Output stride 32 is like 16", STRIDES["32"].key, BASE.key, alike=True),
    Claim("strides", "Output stride 8 is like 16", STRIDES["8"].key, BASE.key, alike=True),
    Claim("strides", "An axial decoder is like dual ones", STRIDES["16_axial"].key, BASE.key, alike=True),
    Claim(
        "strides",
        "An axial decoder is like dual ones at output stride 32",
        STRIDES["32_axial"].key,
        STRIDES["32"].key,
        alike=True,
    ),
    Claim("terms", "The term q·r^q helps", BASE.key, TERMS["q"].key),
    Claim("terms", "The term k·r^k helps", BASE.key, TERMS["k"].key),
    Claim("terms", "The term r^v helps", BASE.key, TERMS["v"].key),
    Claim("terms", "Positions help", BASE.key, TERMS["all"].key),
    *(
        Claim(
            "stress",
            f"Axial-DeepLab is better than Panoptic-DeepLab{aspp} on {size} images",
            BASE.key,
            baseline.key,
            measures=(f"PQ at {scale}x",),
        )
        for aspp, baseline in ((" without ASPP", RESNET), (" with ASPP", RESNET_ASPP))
        for size, scale in (("small", "0.25"), ("huge", "4"))
    ),
    *(
        Claim(
            "losses",
            f"Axial-DeepLab has a lower {loss} loss than Panoptic-DeepLab{aspp}",
            BASE.key,
            baseline.key,
            measures=(f"{loss} loss",),
            lower_is_better=True,
        )
        for aspp, baseline in ((" without ASPP", RESNET), (" with ASPP", RESNET_ASPP))
        for loss in ("semantic", "center", "offset")
    ),
    *(
        Claim(
            "losses",
            f"Its lead is larger in the offset loss than in the {loss} loss (against ASPP)",
            BASE.key,
            RESNET_ASPP.key,
            measures=(f"offset / {loss} loss",),
            lower_is_better=True,
        )
        for loss in ("semantic", "center")
    ),
)

# Tables 6 (Axial-DeepLab-S) and 7 (L; the whole axis is its span 65): PQ, mIoU, AP.
PAPER: dict[str, dict[str, tuple[float, float, float]]] = {
    "networks": {
        BASE.key: (62.6, 80.5, 34.9),
        RESNET.key: (58.1, 73.3, 30.0),
        RESNET_ASPP.key: (59.8, 77.8, 32.6),
        SASA.key: (58.7, 75.8, 31.9),
        PS_ATTENTION.key: (59.9, 76.3, 32.2),
    },
    "spans": {
        SPANS[5].key: (59.1, 74.5, 31.3),
        SPANS[9].key: (61.2, 77.6, 31.1),
        SPANS[17].key: (62.8, 79.5, 34.0),
        SPANS[33].key: (63.8, 80.2, 35.9),
        BASE.key: (64.2, 80.6, 36.3),
    },
}


def findings(results: Results) -> list[Finding]:
    """Return what the runs say of each claim, by each of its measures."""
    return [
        judge(claim, measure, results)
        for claim in CLAIMS
        for measure in claim.measures or TABLES[claim.table].measures
    ]


def judge(claim: Claim, measure: str, results: Results) -> Finding:
    """Return what the runs say of a claim by one measure, as `RULE` has it."""
    paper = _paper_difference(claim, measure)
    table = results.table(measure)
    seeds = [sum(key == each for each, _ in table) for key in (claim.first, claim.second)]
    if not all(seeds):
        return Finding(claim, measure, paper, None, None, None, "not run")
    difference, error, freedom = compare(table, claim.first, claim.second)
    if min(seeds) < 2 or freedom < 1:
        return Finding(claim, measure, paper, difference, None, None, "cannot be told")
    interval = student_t(freedom) * error
    # Of the distribution, 80 % lie below the number within which, to either side, 60 % lie.
    visible = interval + student_t(freedom, 0.6) * error
    return Finding(
        claim, measure, paper, difference, interval, visible, _verdict(claim, difference, interval)
    )


def compare(table: Mapping[tuple[str, int], float], first: str, second: str) -> tuple[float, float, int]:
    """Return by how much one network is better than another, the standard error, and its degrees of freedom.

    Least squares of score = network + seed + chance over all runs (an analysis of variance in two ways,
    without interaction). Where all networks have the same seeds, the difference is that of the means.

    Args:
        table: score of each network and seed.
        first: key of a network in the table.
        second: key of the other one.
    """
    networks = sorted({key for key, _ in table})
    seeds = sorted({seed for _, seed in table})
    design = np.zeros((len(table), len(networks) + len(seeds)))
    for row, (key, seed) in zip(design, table, strict=True):
        row[networks.index(key)] = row[len(networks) + seeds.index(seed)] = 1
    scores = np.array(list(table.values()))
    inverse = np.linalg.pinv(design)
    contrast = np.zeros(design.shape[1])
    contrast[networks.index(first)], contrast[networks.index(second)] = 1, -1
    weights = contrast @ inverse
    freedom = len(scores) - int(np.linalg.matrix_rank(design))
    rest = scores - design @ (inverse @ scores)
    variance = float(rest @ rest) / freedom if freedom else math.nan
    return float(weights @ scores), math.sqrt(variance * float(weights @ weights)), freedom


@cache
def student_t(freedom: int, part: float = 0.95) -> float:
    """Return the number within which, to either side, a part of Student's distribution lies.

    Args:
        freedom: degrees of freedom.
        part: part of it, 0 to 0.95.
    """
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    t = np.linspace(0.0, 13.0, 130_001)
    density = np.exp(log_norm - (freedom + 1) / 2 * np.log1p(t**2 / freedom))
    inside = 2 * np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(t))])
    return float(np.interp(part, inside, t))


def _verdict(claim: Claim, difference: float, interval: float) -> str:
    if claim.alike:
        if abs(difference) + interval <= SIMILAR:
            return "holds"
        return "does not hold" if abs(difference) - interval > SIMILAR else "cannot be told"
    if claim.lower_is_better:
        difference = -difference
    if difference > interval:
        return "holds"
    return "does not hold" if difference < -interval else "cannot be told"


def _paper_difference(claim: Claim, measure: str) -> float | None:
    scores = PAPER.get(claim.table, {})
    if claim.first not in scores or claim.second not in scores:
        return None
    column = TABLES[claim.table].measures.index(measure)
    return scores[claim.first][column] - scores[claim.second][column]
