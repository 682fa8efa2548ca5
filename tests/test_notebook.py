"""The notebook of the fine-tuning, run as it stands on a few small pictures."""

import json
import shlex

import numpy as np
from PIL import Image

from axial_deeplab.cli.main import main
from test_documents import ROOT
from test_tutorial import SHORT

NOTEBOOK = ROOT / "examples" / "fine_tune.ipynb"


def write_pictures(photos, masks):
    """Draw bright disks on noise, some of which touch, and their numbers."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for folder in (photos, masks):
        folder.mkdir()
    for name in "abcdefgh":
        disks = [(y - v) ** 2 + (x - u) ** 2 < 81 for v, u in ((14, 14), (14, 32), (44, 40))]
        numbers = np.select(disks, [1, 2, 3]).astype(np.uint8)
        image = random.integers(0, 60, (64, 64), dtype=np.uint8) + np.where(numbers > 0, 150, 0)
        Image.fromarray(image.astype(np.uint8)).save(photos / f"{name}.png")
        Image.fromarray(numbers).save(masks / f"{name}.png")


def run_cell(source, names):
    """Run a cell as IPython does: lines with "!" are commands, with names in braces; the rest is Python."""
    if not source.startswith("!"):
        exec(source, names)
        return
    for line in source.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line.removeprefix("!").format(**names))
        assert program == "axial-deeplab"
        assert main(words) == 0, words


def test_notebook(tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path / "photos", tmp_path / "masks")
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    names = {}
    for number, cell in enumerate(cells):
        run_cell("".join(cell["source"]), names)
        if number == 0:
            names |= {"OPTIONS": shlex.join(SHORT), "LONG_SIDE": 64}
    printed = capsys.readouterr().out
    for moment in ("before", "after"):
        assert f"{moment}: PQ of the objects" in printed
    before, after = (
        json.loads((tmp_path / f"data/mine/{moment}.json").read_text()) for moment in ("before", "after")
    )
    assert before["Things"]["pq"] > 40
    assert after != before
