"""Packages that are missing or broken are told in one line."""

import sys
from pathlib import Path

import pytest

from axial_deeplab.util.packages import require_package


def test_a_missing_package_is_named_with_its_extra() -> None:
    message = r'^maps need the package no_such_package, which is missing; pip install "axial-deeplab\[maps\]"'
    with pytest.raises(ValueError, match=f"{message}$"):
        require_package("no_such_package", "maps", "maps need")


def test_a_broken_package_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('libmaps.so.2:\\n no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be imported \(libmaps.so.2: no such file\); pip install"):
        require_package("broken_package", None, "maps need", instead=", or give no maps")
    assert "broken_package" not in sys.modules
