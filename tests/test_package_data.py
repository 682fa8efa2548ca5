"""What the package holds beside its modules: real files, all of them declared, so that a wheel has them."""

import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

from axial_deeplab.config import files

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "axial_deeplab"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_data_file_is_declared_and_none_is_a_link() -> None:
    globs = SETTINGS["tool"]["setuptools"]["package-data"]["axial_deeplab"]
    declared = {path for glob in globs for path in PACKAGE.glob(glob)}
    there = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert there == declared
    assert {files.SHIPPED_FOLDER / f"{name}.yaml" for name in files.shipped_settings()} <= declared
    # A link becomes a file with the name of its target where links are not checked out, as on Windows.
    assert not [path for path in (*PACKAGE.rglob("*"), *declared) if path.is_symlink()]


def test_what_leans_on_internals_has_an_upper_bound_and_what_is_imported_is_declared() -> None:
    names = {word.split(">")[0]: word for word in SETTINGS["project"]["dependencies"]}
    for name in ("numba", "llvmlite", "pyyaml"):
        assert ",<" in names[name]


def test_lowest_versions_are_allowed() -> None:
    project = SETTINGS["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    allowed = {need.name: need.specifier for need in map(Requirement, declared)}
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    for line in lines:
        if not line.startswith("#"):
            name, version = line.split("==")
            assert name not in allowed or version in allowed[name], line
