"""Packages that are missing are told in one line."""

import sys
from pathlib import Path

import pytest

from axial_deeplab.util.packages import require_package


def test_a_missing_package_is_named_with_its_extra() -> None:
    message = r'^maps need the package no_such_package, which is missing; pip install "axial-deeplab\[maps\]"'
    with pytest.raises(ValueError, match=f"{message}$"):
        require_package("no_such_package", "maps", "maps need")
    with pytest.raises(ValueError, match=r"pip install no_such_package, or give no maps$"):
        require_package("no_such_package", None, "maps need", instead=", or give no maps")


def test_a_package_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "present_package.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    require_package("present_package", "maps", "maps need")
    assert "present_package" not in sys.modules
