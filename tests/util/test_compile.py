"""Compiling where the result cannot be kept."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from numba import njit
from numba.core import caching

def refuse(locator):  # root may write everywhere: refused by hand
    raise PermissionError(locator.get_cache_path())

caching._CacheLocator.ensure_cache_path = refuse
try:
    njit(cache=True)(refuse)
    sys.exit("a cache was found")
except RuntimeError:
    pass

from axial_deeplab.cli.main import main
from axial_deeplab.ops.numba.entries import compiled
from axial_deeplab.weights.convert.tensorflow_checkpoint import masked_crc32c

assert masked_crc32c(b"123456789")
assert compiled("expand_tables", "float32").address
sys.exit(main(["convert", "nothing.index", "output.safetensors"]))
"""


def test_read_only_installation_without_a_home(tmp_path: Path) -> None:
    hidden = ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    words = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == 2
    assert "nothing" in result.stderr
