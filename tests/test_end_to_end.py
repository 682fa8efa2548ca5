"""The whole way through the command line: draw, train, evaluate, predict, score the files again."""

import json
from pathlib import Path

import pytest

from axial_deeplab.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_a_network_learns_two_scenes_and_every_command_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, output = tmp_path / "scenes", tmp_path / "run"
    run(capsys, "scenes", "--output", scenes, "--num-images", 2, "--seed", 4, "--height", 64, "--width", 96)
    data = {"images": scenes / "images", "panoptic": scenes / "panoptic", "json": scenes / "panoptic.json"}
    settings = {
        "model.name": "axial_deeplab_nano",
        **{f"data.{part}.{key}": path for part in ("train", "val") for key, path in data.items()},
        "augmentation.crop_size": "[65, 97]",
        "augmentation.scale_range": "[1, 1]",
        "augmentation.flip": "false",
        "target.sigma": 3,
        "loss.top_k_fraction": 1,
        "optim.lr": 0.01,
        "optim.max_steps": 120,
        "optim.warmup_steps": 10,
        "trainer.batch_size": 2,
        "trainer.num_workers": 0,
        "trainer.val_interval": 60,
        "trainer.checkpoint_interval": 60,
        "trainer.output": output,
        "trainer.progress_bar": "false",
        "post_processing.stuff_area": 16,
    }
    run(capsys, "train", *(word for key, value in settings.items() for word in (f"--{key}", value)))

    files = [word for key, path in data.items() for word in (f"--{key}", path)]
    weights = output / "weights.safetensors"
    numbers, kept = tmp_path / "numbers.json", tmp_path / "kept"
    printed = run(capsys, "evaluate", "--weights", weights, *files, "--json-out", numbers, "--output", kept)
    quality = json.loads(numbers.read_text())
    assert quality["All"]["pq"] > 20, printed  # 0 without training

    # The last validation of the training saw the same weights and the same images.
    last = (output / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert float(last[6]) == pytest.approx(quality["All"]["pq"], abs=1e-3)
    # The checkpoint holds what the file of weights holds.
    run(
        capsys,
        "evaluate",
        "--weights",
        output / "last.ckpt",
        *files,
        "--json-out",
        tmp_path / "checkpoint.json",
    )
    assert json.loads((tmp_path / "checkpoint.json").read_text())["All"] == quality["All"]
    # What predict writes without knowing the truth scores the same.
    run(capsys, "predict", scenes / "images", "--weights", weights, "--output", tmp_path / "predicted")
    predicted = json.loads((tmp_path / "predicted" / "panoptic.json").read_text())
    ids = {
        image["file_name"]: image["id"]
        for image in json.loads((scenes / "panoptic.json").read_text())["images"]
    }
    names = {image["id"]: image["file_name"] for image in predicted["images"]}
    for entry in predicted["annotations"]:
        entry["image_id"] = ids[names[entry["image_id"]]]
    for image in predicted["images"]:
        image["id"] = ids[image["file_name"]]
    matched = tmp_path / "matched.json"
    matched.write_text(json.dumps(predicted))
    truth = ("--gt-json", data["json"], "--gt-folder", data["panoptic"])
    for name, folder in (
        (matched, tmp_path / "predicted" / "panoptic"),
        (kept / "panoptic.json", kept / "panoptic"),
    ):
        run(
            capsys, "pq", *truth, "--pred-json", name, "--pred-folder", folder, "--json", tmp_path / "pq.json"
        )
        assert json.loads((tmp_path / "pq.json").read_text())["All"] == pytest.approx(
            quality["All"], abs=1e-9
        )
