"""The names that `import axial_deeplab` promises."""

import subprocess
import sys

import pytest

import axial_deeplab


@pytest.mark.parametrize("name", axial_deeplab.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(axial_deeplab, name)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = axial_deeplab.nothing


def test_import_is_light() -> None:
    heavy = "{'torch', 'numba', 'lightning', 'PIL'}"
    code = f"import sys, axial_deeplab, axial_deeplab.cli.main; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
