"""What the tests of conversions share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def convert(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main(["dataset", "convert", *map(str, words)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err
