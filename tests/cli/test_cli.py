"""The command line: its commands, its one-line errors, its exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import COMMANDS, main
from axial_deeplab.cli.training import _with_resume
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.weights.file import save_weights


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "scenes"
    write_scenes(folder, 2, seed=5, height=64, width=96, progress_bar=False)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def weights(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weights of a network that has learned nothing."""
    import torch

    from axial_deeplab.models.registry import create_model
    from axial_deeplab.panoptic.categories import Categories

    torch.manual_seed(0)
    categories = Categories.from_json(json.loads((scenes / "panoptic.json").read_text())["categories"])
    small = {"width_multiplier": 0.0625, "depths": (1, 1, 1, 1), "num_heads": 2}
    model = create_model("axial_deeplab_nano", num_classes=len(categories), **small)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, model, categories, extra={"post_processing": {"stuff_area": 1}})
    return path


def test_the_package_is_the_command_too() -> None:
    for words, code in ((["--version"], 0), (["nothing"], 2)):
        command = [sys.executable, "-m", "axial_deeplab", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert (done.stdout + done.stderr).startswith("axial-deeplab")


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from axial_deeplab.cli.main import main; code = main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'PIL', 'jsonargparse'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: axial-deeplab {name}" in capsys.readouterr().out


def test_version_and_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, "axial-deeplab 0.1.0\n")
    code, out, _ = run(capsys)
    assert code == 0
    assert "usage: axial-deeplab COMMAND" in out


def test_evaluate_prints_and_writes_and_keeps(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (
        "--images",
        scenes / "images",
        "--panoptic",
        scenes / "panoptic",
        "--json",
        scenes / "panoptic.json",
    )
    code, out, err = run(
        capsys, "evaluate", "--weights", weights, *data, "--classwise", "--device", "cpu",
        "--center-threshold", 0.3, "--json-out", tmp_path / "numbers.json", "--output", tmp_path / "kept",
    )  # fmt: skip
    assert code == 0, err
    assert "PQ     SQ     RQ" in out
    assert "balloon" in out
    assert "mIoU" in out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["num_images"] == 2
    assert numbers["network"]["name"] == "axial_deeplab_nano"
    assert (numbers["scales"], numbers["flip"]) == ([1.0], False)
    # The same numbers from the files that were kept, by the other command.
    kept = (
        "--pred-json",
        tmp_path / "kept" / "panoptic.json",
        "--pred-folder",
        tmp_path / "kept" / "panoptic",
    )
    truth = ("--gt-json", scenes / "panoptic.json", "--gt-folder", scenes / "panoptic")
    code, out, err = run(capsys, "pq", *truth, *kept, "--json", tmp_path / "again.json")
    assert code == 0, err
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["All"] == pytest.approx(numbers["All"], abs=1e-9)
    assert again["per_class"].keys() == numbers["per_class"].keys()


def test_evaluate_takes_the_data_of_a_config(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    val = {key: str(scenes / key) for key in ("images", "panoptic")} | {"json": str(scenes / "panoptic.json")}
    config.write_text(json.dumps({"data": {"val": val}}))
    code, out, err = run(capsys, "evaluate", "--weights", weights, "--config", config, "--limit", 1)
    assert code == 0, err
    assert "1 images" in out


def test_predict_writes_three_things(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "000000.png")
    output = tmp_path / "out"
    code, out, err = run(
        capsys, "predict", scenes / "images", tmp_path / "000000.png", "--weights", weights,
        "--output", output, "--nms-kernel", 3, "--top-k", 5, "--stuff-area", 0, "--max-size", 48,
    )  # fmt: skip
    assert code == 0, err
    assert out.startswith("3 images")
    document = json.loads((output / "panoptic.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["000000.jpg", "000001.jpg", "000000.png"]
    assert [image["height"] for image in document["images"]] == [64, 64, 1]
    assert sorted(path.name for path in (output / "overlay").iterdir()) == [
        "000000.jpg",
        "000000.png.jpg",
        "000001.jpg",
    ]
    for annotation in document["annotations"]:
        assert (output / "panoptic" / annotation["file_name"]).exists()


def test_predict_needs_but_an_image_and_weights(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = scenes / "images" / "000000.jpg"
    for _ in range(2):
        code, out, err = run(capsys, "predict", image, "--weights", "axial_deeplab_nano_nuclei")
        assert code == 0, err
        assert out.startswith("1 image, predictions in predictions;")
        written = sorted(str(path) for path in Path("predictions").rglob("*.*"))
        assert written == [f"predictions/{name}" for name in
                           ("overlay/000000.jpg", "panoptic.json", "panoptic/000000.png")]  # fmt: skip


def test_same_names_from_two_folders_stay_apart(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = scenes / "images" / "000000.jpg"
    other = tmp_path / "other" / "000000.jpg"
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    output = tmp_path / "out"
    code, _, err = run(capsys, "predict", image, other, "--weights", weights, "--output", output)
    assert code == 0, err
    assert len(list((output / "overlay").rglob("*.jpg"))) == 2
    document = json.loads((output / "panoptic.json").read_text())
    assert [entry["file_name"] for entry in document["images"]] == ["000000.jpg", "other/000000.jpg"]


def test_a_broken_image_does_not_stop_the_others(
    scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = scenes / "images" / "000000.jpg"
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(good.read_bytes()[:500])
    arguments = ("--weights", weights, "--output", tmp_path / "out")
    code, _, err = run(capsys, "predict", tmp_path / "a.jpg", good, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "a.jpg must be a complete image" in err
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["annotations"]) == 1
    code, _, err = run(capsys, "predict", tmp_path / "a.jpg", tmp_path / "b.jpg", good, *arguments)
    assert code == 2
    assert "got 2 of 3 that are not" in err


def test_demo_writes_a_picture(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys,
        "demo",
        "--weights",
        weights,
        "--num-images",
        2,
        "--output",
        tmp_path / "demo",
        "--device",
        "cpu",
    )
    assert code == 0, err
    assert "which training never saw" in out
    assert "time for an image: network" in out
    with Image.open(tmp_path / "demo" / "demo.png") as picture:
        assert picture.width > 3 * 384


def test_resume_is_short_for_the_setting() -> None:
    assert _with_resume(["--resume"]) == ["--trainer.resume", "last"]
    assert _with_resume(["--resume", "--optim.lr", "1"]) == [
        "--trainer.resume",
        "last",
        "--optim.lr",
        "1",
    ]
    assert _with_resume(["--config", "c", "--resume", "a.ckpt"]) == [
        "--config",
        "c",
        "--trainer.resume",
        "a.ckpt",
    ]


def test_training_without_lightning_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    code, _, err = run(capsys, "train")
    assert code == 2
    assert err.endswith('which is missing; pip install "axial-deeplab[train]"\n')


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("axial_deeplab.cli.evaluation.pq", interrupt)
    assert run(capsys, "pq") == (130, "", "axial-deeplab: stopped\n")


def test_the_first_example_of_the_readme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parent.parent.parent
    text = (root / "README.md").read_text(encoding="utf-8").split("## Train")[0]
    (words,) = re.findall(r"^\$ .venv/bin/axial-deeplab (predict .*)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(root / "samples")
    code, out, err = run(capsys, *words.split())
    assert (code, err) == (0, "")
    assert out.startswith("1 image, predictions in predictions;")
    document = json.loads((tmp_path / "predictions" / "panoptic.json").read_text())
    assert 15 < len(document["annotations"][0]["segments_info"]) < 35
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert min(names["prediction"].mean_scores) > 0.6
    assert (tmp_path / "overlay.png").exists()
    words = ("predict", "samples/nuclei.png", "--weights", "axial_deeplab_nano_scenes", "--output", "other")
    code, _, err = run(capsys, *words)
    assert code == 0
    assert "warning: scores are low, 0." in err
    assert "over the pixels: the weights may be for pictures of another kind, with person, car, bus" in err
    words = ("predict", "samples/scene.jpg", "--weights", "axial_deeplab_nano_nuclei", "--output", "third")
    code, _, err = run(capsys, *words)
    assert code == 0
    assert (
        "warning: no thing was found in 1 image: where there are some, the weights may be for pictures" in err
    )


@pytest.mark.parametrize("words", [("dataset", "convert", "", "--output", "out"), ("dataset", "check", "")])
def test_an_empty_word_is_not_the_folder_of_the_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "words must not be empty, got '': is a variable of the shell not set" in err


def test_letters_that_the_console_lacks_are_replaced(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "axial_deeplab", "predict", "道.jpg", "--weights", "Straße_道"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252:strict"}
    done = subprocess.run(command, env=environment, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert b"error: " in done.stderr
    assert b"?" in done.stderr
    assert b"codec" not in done.stderr


def test_a_closed_pipe_is_no_error(scenes: Path) -> None:
    command = f"{sys.executable} -m axial_deeplab.cli.main --help | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


DATA = "--images {scenes}/images --panoptic {scenes}/panoptic --json {scenes}/panoptic.json"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tarin", "command must be one of train, "),
        ("predict --weights w --output o", "the following arguments are required: FILE"),
        (
            "predict x.jpg --weights {weights} --output o --top-k many",
            "argument --top-k: invalid int value: 'many'",
        ),
        (
            "predict nowhere.jpg --weights {weights} --output {tmp}/o",
            "inputs must be files or folders that exist",
        ),
        ("predict {scenes}/empty --weights {weights} --output {tmp}/o", "inputs must have images"),
        ("predict {image} --weights nowhere --output {tmp}/o", "weights must be a file or a name"),
        ("predict {image} --weights {image} --output {tmp}/o", "must be a safetensors file or a checkpoint"),
        ("predict {image} --weights {weights} --output {image}/o", "Not a directory"),
        ("predict {image} --weights {weights} --output {tmp}/o --device gpu9", "device must be auto, cpu"),
        ("predict {image} --weights {weights} --output {tmp}/o --nms-kernel 0", "nms_kernel must be"),
        ("predict {image} --weights {weights} --output {tmp}/o --max-size 0", "max_size must be"),
        (
            "evaluate --weights {weights}",
            "data set must be given by --images, --panoptic and --json, got no --images",
        ),
        ("evaluate --weights {weights} --config nowhere.yaml", "nowhere.yaml"),
        ("evaluate --weights {weights} " + DATA + "x", "No such file or directory"),
        (
            "evaluate --weights {weights} --images {tmp} --panoptic {tmp} --json {scenes}/panoptic.json",
            "images must be a folder with all files",
        ),
        ("evaluate --weights {weights} " + DATA + " --limit 0", "limit must be at least 1 image, got 0"),
        (
            "evaluate --weights {weights} " + DATA.replace("{scenes}/panoptic.json", "{other}"),
            "they differ in id 1 (somebody)",
        ),
        (
            "train --config nowhere/x",
            "config must be a YAML file or a name of `axial-deeplab configs`, got nowhere/x",
        ),
        ("pq --gt-json nowhere.json --pred-json nowhere.json", "No such file or directory: nowhere.json"),
        ("scenes --output {scenes} --num-images 1", "output must be a new or empty folder"),
        ("scenes --output {tmp}/s --num-images 0", "num_images must be at least 1, got 0"),
        ("demo --weights nowhere --output {tmp}", "weights must be a file or a name"),
        ("train --optim.lrr 3", "--optim.lrr"),
        ("train --config nowhere.yaml", "nowhere.yaml"),
        ("train", "data.train.images must be a path, got null"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: str, message: str, scenes: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text((scenes / "panoptic.json").read_text().replace("person", "somebody"))
    image = scenes / "images" / "000000.jpg"
    places = {"scenes": scenes, "weights": weights, "tmp": tmp_path, "image": image, "other": other}
    code, out, err = run(capsys, *(word.format(**places) for word in words.split()))
    assert (code, out) == (2, "")
    assert err.startswith("axial-deeplab: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_closed_streams_do_no_harm(monkeypatch):
    """Python has None for those that its starter has closed."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["--version"]) == 0
    assert main(["nonsense"]) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_wait_asleep_unless_told_otherwise(
    given: dict[str, str],
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run(capsys, "--help")[0] == 0
    assert os.environ.get("GOMP_SPINCOUNT") == expected
