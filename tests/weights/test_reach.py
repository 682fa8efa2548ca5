"""What `create_model` drags in: our modules that an import of its module reaches, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import axial_deeplab

SOURCE = Path(axial_deeplab.__file__).parents[1]


def modules(name: str) -> Iterator[Path]:
    """Yield the files that importing a module by its dotted name runs, its packages first."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        path = SOURCE.joinpath(*parts[:length])
        yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def imported(node: ast.AST, *, everywhere: bool) -> Iterator[str]:
    """Yield the names that a module imports when it is imported itself, or everywhere in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif everywhere or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported(child, everywhere=everywhere)


def reached(module: str, *, everywhere: bool = False) -> set[str]:
    """Return the files that a module reaches, but for packages that hold nothing but their docstring."""
    todo = list(modules(module))
    files = set(todo)
    while todo:
        for name in imported(ast.parse(todo.pop().read_text(encoding="utf-8")), everywhere=everywhere):
            new = set(modules(name)) - files
            files |= new
            todo += new
    return {
        str(file.relative_to(SOURCE / "axial_deeplab"))
        for file in files
        if file.name != "__init__.py" or len(ast.parse(file.read_text(encoding="utf-8")).body) > 1
    }


def test_create_model_reaches_few_files() -> None:
    """Imports at the top count; those in functions are kernels, compiled at first use, and downloads."""
    files = reached("axial_deeplab.weights.factory")
    assert len(files) <= 60, sorted(files)
    houses = {file.split("/")[0] for file in files}
    assert houses <= {"__init__.py", "_moved.py", "util", "panoptic", "ops", "models", "weights"}
    weights = {file for file in files if file.startswith("weights/")}
    names = ("__init__", "factory", "file", "matching", "metadata", "names")
    assert weights == {f"weights/{name}.py" for name in names}


def test_nothing_that_create_model_may_import_later_predicts_or_uploads() -> None:
    files = reached("axial_deeplab.weights.factory", everywhere=True)
    assert len(files) <= 96, sorted(files)
    assert not {file for file in files if file.startswith(("prediction/", "visualization/", "cli/"))}
    assert not files & {"weights/hub.py", "weights/card.py"}


def test_registry_reaches_nothing_above_models() -> None:
    for everywhere in (False, True):
        houses = {
            file.split("/")[0] for file in reached("axial_deeplab.models.registry", everywhere=everywhere)
        }
        assert houses <= {"__init__.py", "_moved.py", "util", "ops", "models"}
