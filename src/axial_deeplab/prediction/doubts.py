"""Telling pictures of another kind than those of the training, by how sure a network is of what it finds."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.panoptic.map import PanopticMap, Segment

# Pixels between two that are looked at.
_STEP = 2


class Certainty(NamedTuple):
    """How sure a network is, of one picture or on average; nan where there is nothing to be sure of.

    Args:
        pixels: mean score of the segments, each counted with its area.
        things: mean score of the things.
        agreement: see `agreement`.
    """

    pixels: float
    things: float
    agreement: float = math.nan

    @classmethod
    def of(
        cls, segments: Sequence[Segment], thing_ids: Collection[int], agreement: float = math.nan
    ) -> "Certainty":
        """Return how sure a network is of the segments of one image, whose scores it gave."""
        pixels = sum(segment.area for segment in segments)
        of_pixels = (
            sum(segment.area * _score(segment) for segment in segments) / pixels if pixels else math.nan
        )
        things = [_score(segment) for segment in segments if segment.train_id in thing_ids]
        return cls(of_pixels, sum(things) / len(things) if things else math.nan, agreement)

    @classmethod
    def usual_lowest(cls, found: Sequence["Certainty"]) -> "Certainty":
        """Return which values are low for a network, from images of the kind that it was trained for.

        Nine tenths of the scores that 90 % of the images exceed, and of the lowest agreement, which differs
        more from image to image; nan where no image has a value.

        Args:
            found: what `of` says of each image, at least one.
        """
        quantiles = (0.1, 0.1, 0.0)
        return cls(
            *(
                round(0.9 * float(np.quantile(column, quantile)), 2) if column else math.nan
                for column, quantile in zip(_numbers(found), quantiles, strict=True)
            )
        )

    def to_json(self) -> dict[str, float]:
        """Return the values that are numbers, by name, as `low_scores` in the metadata of weights."""
        return {name: value for name, value in self._asdict().items() if not math.isnan(value)}

    @classmethod
    def lowest_of(cls, metadata: Mapping[str, Any]) -> "Certainty":
        """Return below which values the metadata of weights call a picture one of another kind.

        Weights that do not say so get those of the networks that ship and were trained for long.
        """
        stored = metadata.get("low_scores") or {}
        return cls(*(stored.get(name, usual) for name, usual in zip(cls._fields, _USUAL, strict=True)))


def _score(segment: Segment) -> float:
    return math.nan if segment.score is None else segment.score


def _numbers(found: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return of each kind of value those of all images that are not nan."""
    return [[value for value in column if not math.isnan(value)] for column in zip(*found, strict=True)]


# Nothing is below nan.
_USUAL = Certainty(0.8, 0.45)


def agreement(panoptic: PanopticMap, offsets: Tensor, ids: Collection[int]) -> float:
    """Return how well the pixels of each object agree on where its center is, the mean over their pixels.

    1 where the offsets of an object lead to one place; 0 where they are spread as its pixels are, as offsets
    of zero are; nan without objects.

    Shapes:
        panoptic (H, W); offsets (2, H, W), (y, x), pixels.

    Args:
        panoptic: panoptic map.
        offsets: way from each pixel to the center of its object.
        ids: values of the objects in the map.
    """
    if not ids:
        return math.nan
    values = np.array(sorted(ids))
    own = panoptic[::_STEP, ::_STEP]
    places = np.searchsorted(values, own).clip(max=len(values) - 1)
    y, x = np.nonzero(values[places] == own)
    objects = places[y, x]
    areas = np.bincount(objects, minlength=len(values))
    ways = offsets[:, ::_STEP, ::_STEP].float().cpu().numpy()[:, y, x].astype(np.float64)
    pixels = np.stack([y, x]) * float(_STEP)

    def spread(points: NDArray[Any]) -> NDArray[np.float64]:
        total = np.zeros(len(values))
        for line in points:
            means = np.bincount(objects, line, len(values)) / np.maximum(areas, 1)
            total += np.bincount(objects, (line - means[objects]) ** 2, len(values))
        return total

    size = spread(pixels)
    seen = size > 0
    if not seen.any():
        return math.nan
    apart = np.sqrt(spread(pixels + ways)[seen] / size[seen])
    return 1 - float(np.average(apart, weights=areas[seen]))


def doubt_of_scores(found: Sequence[Sequence[float]], lowest: Certainty = _USUAL) -> str:
    """Return what is to be told of images whose `Certainty` is low on average, nothing if it is high."""
    means = [sum(numbers) / len(numbers) if numbers else math.nan for numbers in _numbers(found)]
    if not any(mean < low for mean, low in zip(means, lowest, strict=False)):
        return ""
    told = ("on average over the pixels", "over the things", "for how pixels agree on centers")
    what = [f"{mean:.2f} {where}" for mean, where in zip(means, told, strict=False) if not math.isnan(mean)]
    return f"scores are low, {', '.join(what)}: the weights may be for pictures of another kind"
