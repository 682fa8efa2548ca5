"""The commands of the tutorial, run as they stand on a few small images."""

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
    """Draw squares on noise, and the map of their numbers."""
    random = np.random.default_rng(0)
    for kind in ("photos", "instances"):
        (folder / kind).mkdir()
    for name in "abcdefgh":
        image = random.integers(0, 90, (64, 64, 3), dtype=np.uint8)
        instances = np.zeros((64, 64), dtype=np.uint8)
        for number, (y, x) in enumerate(((5, 8), (30, 12), (24, 40)), start=1):
            image[y : y + 16, x : x + 16] += 120
            instances[y : y + 16, x : x + 16] = number
        Image.fromarray(image).save(folder / "photos" / f"{name}.jpg")
        Image.fromarray(instances).save(folder / "instances" / f"{name}.png")


def test_tutorial(tmp_path, monkeypatch, capsys):
    write_photos(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    commands = shown_commands(ROOT / "docs" / "tutorial.md")
    assert [words[0] for words in commands] == ["dataset", "dataset", "train", "evaluate", "predict"]
    for words in commands:
        assert main([*words, *(SHORT if words[0] == "train" else [])]) == 0, capsys.readouterr().err
    assert "nucleus" in (tmp_path / "runs/mine/report/report.html").read_text()
    assert len(list((tmp_path / "runs/mine/predicted").rglob("*.png"))) >= 8
    assert "PQ" in capsys.readouterr().out
