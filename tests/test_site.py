"""The site of the documentation builds without a warning and has a place for every public name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import axial_deeplab

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; --strict makes every warning (a page that is not in nav, a dead link) an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_public_name_is_described(site):
    pages = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    missing = [name for name in axial_deeplab.__all__ if name[0] != "_" and f'.{name}"' not in pages]
    assert not missing


def test_sections_of_docstrings_are_recognized(site):
    page = (site / "api/attention.html").read_text()
    for title in ("Parameters:", "Returns:", "Raises:", '<details class="shapes" open>'):
        assert title in page
    assert "<p>Args:" not in page


def test_pages_load_nothing_from_elsewhere(site):
    page = (site / "index.html").read_text()
    for attribute in ('src="http', '<link rel="stylesheet" href="http', "fonts.googleapis"):
        assert attribute not in page
