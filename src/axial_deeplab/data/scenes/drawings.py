"""The colors, outlines and figures of the scenes, read from drawings.yaml."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from axial_deeplab.data.scenes.light import Color, vary


@cache
def drawings() -> dict[str, Any]:
    """Return what the file holds, by the kind of data."""
    return yaml.safe_load(Path(__file__).with_name("drawings.yaml").read_text(encoding="utf-8"))


def pick(rng: np.random.Generator, palette: str, amount: float = 0.0) -> Color:
    """Draw a color of a palette, changed by chance where `amount` (0..1) is not 0."""
    colors = drawings()["palettes"][palette]
    color: Color = colors[rng.integers(len(colors))]
    return vary(rng, color, amount) if amount else color
