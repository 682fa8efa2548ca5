"""Modules by their old names: they still import, and say where they are now."""

import subprocess
import sys
from importlib import import_module

import pytest

from axial_deeplab import _moved


def run(program: str) -> str:
    """Run a program in a process of its own, where nothing was imported yet."""
    words = [sys.executable, "-W", "error::UserWarning", "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_old_names_are_the_new_modules() -> None:
    old_names = [name for name in _moved.MOVED if name != "ops.gpu_kernels"]
    program = f"""
import importlib, warnings
warnings.simplefilter("ignore")
from axial_deeplab import _moved
for name in {old_names!r}:
    old = importlib.import_module(f"axial_deeplab.{{name}}")
    new = importlib.import_module(f"axial_deeplab.{{_moved.MOVED[name]}}")
    assert old is new and new.__name__ == f"axial_deeplab.{{_moved.MOVED[name]}}", name
"""
    run(program)


def test_module_of_a_moved_package_is_not_imported_twice() -> None:
    program = """
import warnings
warnings.simplefilter("ignore")
import axial_deeplab.ops.cpu_kernels.layout as old
import axial_deeplab.ops.numba.layout as new
assert old is new
"""
    run(program)


@pytest.mark.parametrize(("name", "module"), [("load_weights", "loaded"), ("save_weights", "file")])
def test_module_that_became_a_package_keeps_its_names(name: str, module: str) -> None:
    import axial_deeplab
    from axial_deeplab import weights

    with pytest.warns(
        DeprecationWarning, match=rf"axial_deeplab.weights.{name} is now axial_deeplab.weights.{module}"
    ):
        assert getattr(weights, name) is getattr(axial_deeplab, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("models.axial_attention", "AxialBlock"), ("models.local_attention", "GlobalAttention2d")],
)
def test_classes_that_left_a_moved_module(module: str, name: str) -> None:
    import axial_deeplab

    with pytest.warns(DeprecationWarning, match=f"{name} is now"):
        found = getattr(import_module(f"axial_deeplab.{module}"), name)
    assert found is getattr(axial_deeplab, name)


def test_names_that_never_were() -> None:
    from axial_deeplab import weights

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        weights.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"axial_deeplab\.nothing"):
        __import__("axial_deeplab.nothing")


def test_warning_tells_the_new_name() -> None:
    sys.modules.pop("axial_deeplab.inference", None)
    with pytest.warns(DeprecationWarning, match=r"inference is now axial_deeplab\.prediction\.predictor"):
        __import__("axial_deeplab.inference")


def test_public_names_are_listed() -> None:
    import axial_deeplab

    assert set(axial_deeplab.__all__) <= set(dir(axial_deeplab))
