"""The scripts of findings/ stand alone, pin what they install, and have a line each in the list.

They need a network and are not run here.
"""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FINDINGS = ROOT / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))
PACKAGE = re.compile(r"[a-z0-9][a-z0-9-]*(\[[a-z,]+\])?==[0-9][0-9a-z.]*")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_form_of_a_script(path: Path) -> None:
    text = path.read_text()
    code = [line for line in text.splitlines() if not line.startswith("#")]
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert code[:4] == [
        "set -euo pipefail", "work=$(mktemp -d)", "trap 'rm -rf \"$work\"' EXIT", 'cd "$work"'
    ]  # fmt: skip
    for what in ("# Seen: ", "# Remedy: ", "assert ", "print("):
        assert what in text, what
    assert not re.search(r"axial[-_]deeplab", "\n".join(code)), "it runs the other program alone"
    (installed,) = re.findall(r"--target packages \\\n((?:    .*\n)+)", text)
    packages = installed.replace("\\\n", " ").split()
    assert all(map(PACKAGE.fullmatch, packages)), packages


def test_each_script_has_its_line_in_the_readme() -> None:
    rows = re.findall(r"^\| `(\w+\.sh)` \|", (FINDINGS / "README.md").read_text(), re.MULTILINE)
    assert rows == [path.name for path in SCRIPTS]


def test_each_change_names_its_test() -> None:
    changes = (FINDINGS / "README.md").read_text().split("## What changed")[1]
    named = re.findall(r"`(tests/[\w./]+)::(\w+)`", changes)
    assert len(named) >= 12
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), (file, test)


def test_each_row_of_the_document_names_what_shows_it() -> None:
    rows = [
        line.strip("|").split("|")
        for line in (ROOT / "docs/peers.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| tool |"))
    ]
    assert len(rows) > 30
    for row in rows:
        shown = re.findall(r"`([\w./]+)(?:::(\w+))?`", row[-1])
        assert (len(row), bool(shown)) == (4, True), row
        for file, test in shown:
            assert (ROOT / file).is_file(), file
            assert not test or f"def {test}(" in (ROOT / file).read_text(), (file, test)
