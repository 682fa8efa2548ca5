"""The places that a scene can show, and how often it shows them."""

from collections.abc import Callable
from typing import NamedTuple

from axial_deeplab.data.scenes.countryside import country_road, meadow, seaside
from axial_deeplab.data.scenes.stage import Stage
from axial_deeplab.data.scenes.towns import avenue, park, street


class Layout(NamedTuple):
    """A place: how to draw it, how often, and between what horizon (share of the height) and eye (m) lie."""

    draw: Callable[[Stage], None]
    share: float
    horizon: tuple[float, float]
    eye: tuple[float, float]


LAYOUTS = {
    "street": Layout(street, 0.2, (0.44, 0.55), (1.8, 2.8)),
    "avenue": Layout(avenue, 0.17, (0.4, 0.54), (1.7, 3.6)),
    "country_road": Layout(country_road, 0.15, (0.36, 0.5), (1.5, 3.0)),
    "meadow": Layout(meadow, 0.17, (0.34, 0.5), (1.6, 3.2)),
    "seaside": Layout(seaside, 0.18, (0.28, 0.46), (2.2, 4.2)),
    "park": Layout(park, 0.13, (0.34, 0.48), (1.6, 2.8)),
}
