"""The mark of tests that show a thing at full size, which others show in small at each run."""

import os

import pytest

LONG = pytest.mark.skipif(
    not os.environ.get("AXIAL_DEEPLAB_LONG"), reason="takes minutes; AXIAL_DEEPLAB_LONG=1 runs it"
)
