"""The places that a scene can show, and how often it shows them."""

from collections.abc import Callable

import numpy as np

from axial_deeplab.data.scenes.canvas import Canvas
from axial_deeplab.data.scenes.countryside import country_road, meadow, seaside
from axial_deeplab.data.scenes.light import Light
from axial_deeplab.data.scenes.towns import avenue, park, street

Layout = Callable[[int, int, Light, np.random.Generator], Canvas]

LAYOUTS: dict[str, Layout] = {
    "street": street,
    "avenue": avenue,
    "country_road": country_road,
    "meadow": meadow,
    "seaside": seaside,
    "park": park,
}
SHARES = [0.2, 0.17, 0.15, 0.17, 0.18, 0.13]
