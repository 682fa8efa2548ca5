"""Compiling where the result cannot be kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A module of its own, whose kernel is compiled in a moment.
MODULE = """
import sys
from functools import partial
from numba import cfunc, njit, types
from axial_deeplab.util.compile import compile_cached

def twice(x):
    return 2 * x

def main():
    compiled = compile_cached(njit, twice, "int64(int64)")
    as_c = compile_cached(cfunc, twice, types.int64(types.int64))
    print(compiled(21), as_c.ctypes(4))
"""
# The device is full where files must not grow.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
# Root may write everywhere: refused by hand.
UNWRITABLE = """
from numba.core import caching

def refuse(locator):
    raise PermissionError(locator.get_cache_path())

caching._CacheLocator.ensure_cache_path = refuse
"""


def run(folder: Path, program: str = "") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-B", "-c", f"{program}\nimport kernels; kernels.main()"]
    hidden = ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in (str(folder), *sys.path) if path)
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels.py").write_text(MODULE)
    return tmp_path


def check_compiled_without(result: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Check that the kernels ran, and that one warning names the folder of the cache."""
    assert (result.returncode, result.stdout) == (0, "42 8\n"), result.stderr
    assert result.stderr.count("UserWarning") == 1, result.stderr
    assert f"compiled kernels must be kept in {folder / '__pycache__'}, got: " in result.stderr
    assert "make room, or set NUMBA_CACHE_DIR" in result.stderr


def test_kept_for_the_next_process(folder: Path) -> None:
    for _ in range(2):
        result = run(folder)
        assert (result.stdout, result.stderr) == ("42 8\n", "")
    assert {path.suffix for path in (folder / "__pycache__").iterdir()} == {".nbi", ".nbc"}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("length", [0, 5, 40, -100])
def test_files_cut_short(folder: Path, suffix: str, length: int) -> None:
    run(folder)
    for path in (folder / "__pycache__").glob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:length])
    check_compiled_without(run(folder), folder)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_files_of_others(folder: Path, suffix: str) -> None:
    run(folder)
    for path in (folder / "__pycache__").glob(f"*{suffix}"):
        path.write_text("hello")
    check_compiled_without(run(folder), folder)


@pytest.mark.parametrize("program", [FULL, UNWRITABLE], ids=["full", "unwritable"])
def test_folders_that_take_nothing(folder: Path, program: str) -> None:
    check_compiled_without(run(folder, program), folder)


PREDICT = f"""{UNWRITABLE}
import sys
from axial_deeplab.cli.main import main
from axial_deeplab.ops.numba.entries import compiled

assert compiled("expand_tables", "float32").address
sys.exit(main(["convert", "nothing.index", "output.safetensors"]))
"""


def test_read_only_installation_without_a_home(tmp_path: Path) -> None:
    hidden = ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    words = [sys.executable, "-c", PREDICT]
    result = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == 2
    assert "nothing" in result.stderr
