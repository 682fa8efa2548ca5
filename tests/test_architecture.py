"""docs/architecture.md names the folders of the tree; `python tests/test_architecture.py` writes them."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "axial_deeplab"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- folders: written by tests/test_architecture.py -->\n", "<!-- end of folders -->"
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
# Lowest first; what stands in one line knows nothing of its neighbors.
LAYERS = [line.split(" | ") for line in reversed(CONTRACT["layers"])]


def first_line(path: Path) -> str:
    """Return what a module or a folder says of itself."""
    return (
        ast.get_docstring(ast.parse((path / "__init__.py" if path.is_dir() else path).read_text())) or ""
    ).split("\n")[0]


def table() -> str:
    """Return a row for each folder, and for each module beside them, in the order of the layers."""
    lines = ["| layer | folder | what is there |", "| ---: | --- | --- |"]
    for number, names in enumerate(LAYERS, 1):
        for name in names:
            path = PACKAGE / name
            inside = [path, *sorted(init.parent for init in path.glob("*/**/__init__.py"))]
            for place in inside if path.is_dir() else [path.with_suffix(".py")]:
                shown = place.relative_to(PACKAGE).as_posix() + ("/" if place.is_dir() else "")
                lines.append(f"| {number} | `{shown}` | {first_line(place)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with the table in its place."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def test_every_folder_has_its_layer() -> None:
    places = [init.parent.name for init in PACKAGE.glob("*/__init__.py")]
    places += [path.stem for path in PACKAGE.glob("*.py") if not path.name.startswith("_")]
    assert sorted(places) == sorted(name for names in LAYERS for name in names)


def test_folders_are_those_of_the_tree() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), f"run python {Path(__file__).relative_to(ROOT)}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
