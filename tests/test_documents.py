"""Commands that the documents show are understood, and files that they link to or name exist."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

import axial_deeplab.cli.main as cli
from axial_deeplab.cli.training import parse_config

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = "axial-deeplab"


def shown_commands(document):
    """Return the words of each command of ours in the console blocks of a document."""
    found = []
    for block in re.findall(r"```(?:console|bash|sh|shell)\n(.*?)```", document.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            names = [Path(word).name for word in words]
            if PROGRAM in names and "install" not in words:
                found.append(words[names.index(PROGRAM) + 1 :])
    return found


class UnderstoodError(Exception):
    """Raised as soon as the words were parsed, before anything is done."""


COMMANDS = [
    pytest.param(words, id=f"{document.relative_to(ROOT)}: {' '.join(words)[:60]}")
    for document in DOCUMENTS
    for words in shown_commands(document)
]


def test_there_are_commands():
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("words", COMMANDS)
def test_shown_commands_are_understood(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    name, *rest = words
    if name in ("train", "--help", "--version"):
        if name == "train":
            # "..." stands for words that the reader fills in.
            parse_config([word for word in rest if word not in ("--resume", "...")])
        return
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, arguments=None, namespace=None):
        parse_args(parser, arguments, namespace)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(UnderstoodError):
        cli.find_command(name)(rest)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(document):
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_source_files_exist(document):
    """Paths start at the root, or somewhere below src, tests or benchmarks."""
    sources = [ROOT / folder for folder in ("src", "tests", "benchmarks")]
    for path in re.findall(r"(?<![\w./-])[\w-][\w./-]*\.py\b", document.read_text()):
        assert (ROOT / path).exists() or any(next(folder.rglob(path), None) for folder in sources), path


def test_words_for_an_argument_begin_with_a_noun():
    fragments = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                docstring = ast.get_docstring(node) or ""
                found = re.findall(r"^    [\w*]+(?:, [\w*]+)*: (?:of|that) .*$", docstring, re.MULTILINE)
                fragments += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in found]
    assert not fragments


def test_measured_figures_of_the_readme_are_those_of_the_performance_page():
    readme, performance = ((ROOT / name).read_text() for name in ("README.md", "docs/performance.md"))
    table = readme.split("two cores of an AMD EPYC | time |")[1].split("\n\n")[0]
    figures = re.findall(r"[\d.]+(?= (?:ms|s)\b)", table)
    assert len(figures) > 5
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){figure}(?![\d.])", performance)] == []
