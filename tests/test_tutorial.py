"""The commands of the tutorial, run as they stand on a few small images."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from axial_deeplab.cli.main import main
from test_documents import ROOT, shown_commands

# What makes it small: the tutorial's own settings would take minutes.
SHORT = [
    *("--optim.max_steps", "5", "--optim.warmup_steps", "0", "--trainer.val_interval", "5"),
    *("--trainer.batch_size", "2", "--trainer.num_workers", "0", "--augmentation.crop_size", "[65, 65]"),
]


def write_photos(folder: Path) -> None:
    """Draw squares on noise, and save their corners as LabelMe does."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for name in "abcdefgh":
        image = random.integers(0, 90, (64, 64, 3), dtype=np.uint8)
        shapes = []
        for y, x in ((5, 8), (30, 12), (24, 40)):
            image[y : y + 16, x : x + 16] += 120
            corners = [[x, y], [x + 16, y], [x + 16, y + 16], [x, y + 16]]
            shapes.append(
                {
                    "label": "nucleus",
                    "points": corners,
                    "group_id": None,
                    "shape_type": "polygon",
                    "flags": {},
                }
            )
        Image.fromarray(image).save(folder / f"{name}.jpg")
        document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg"}
        document |= {"imageData": None, "imageHeight": 64, "imageWidth": 64}
        (folder / f"{name}.json").write_text(json.dumps(document))


def test_tutorial(tmp_path, monkeypatch, capsys):
    write_photos(tmp_path / "labeled")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    commands = shown_commands(ROOT / "docs" / "tutorial.md")
    assert [words[0] for words in commands] == ["dataset", "dataset", "train", "evaluate", "predict"]
    for words in commands:
        assert main([*words, *(SHORT if words[0] == "train" else [])]) == 0, capsys.readouterr().err
    assert "nucleus" in (tmp_path / "runs/mine/report/report.html").read_text()
    assert len(list((tmp_path / "runs/mine/predicted").rglob("*.png"))) >= 8
    assert "PQ" in capsys.readouterr().out
