"""Bad input on the command line: one line that names it and how to fix it, exit code 2, no leftovers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.weights.file import save_weights
from bad_input_cases import (
    CASES,
    CASES_WITH_CHECKPOINT,
    CATEGORIES,
    DATA,
    EVALUATE,
    PQ,
    PREDICT,
    SCENES,
    SETTINGS,
    SMALL,
    TRAIN,
    add_segment_without_pixels,
    cut,
    edited,
    last_segment,
    picture,
)

# Most take a tenth of a second; none may wait for ever.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set of two images, a copy of it as predictions, weights, and settings that fit."""
    root = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    values = {10_000: 0, 20_001: 1, 30_001: 2}
    for name in ("panoptic", "predicted"):
        with PanopticWriter(root / name, root / f"{name}.json", CATEGORIES) as writer:
            for number in range(2):
                Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(
                    root / "images" / f"{number}.jpg"
                )
                panoptic = np.full((40, 48), 10_000, np.int32)
                panoptic[5:15, 5:15], panoptic[20:35, 20:40] = 20_001, 30_001
                segments = [
                    Segment(id=v, train_id=t, area=int((panoptic == v).sum())) for v, t in values.items()
                ]
                writer.add(Panoptic(panoptic, segments), image_file_name=f"{number}.jpg")
    torch.manual_seed(0)
    model = create_model("axial_deeplab_nano", num_classes=3, span=9, **SMALL)
    save_weights(root / "tiny.safetensors", model, CATEGORIES, extra={"post_processing": {"stuff_area": 1}})
    (root / "train.yaml").write_text(yaml.safe_dump(SETTINGS))
    return root


@pytest.fixture
def files(good_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with files that a test may break."""
    root = tmp_path / "files"
    shutil.copytree(good_files, root)
    monkeypatch.chdir(root)
    return root


def run(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, str, str]:
    code = main(words.split())
    return code, *capsys.readouterr()


def contents(root: Path) -> dict[str, bytes | None]:
    paths = sorted(root.rglob("*"))
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None for path in paths
    }


def check_refused(capsys: pytest.CaptureFixture[str], words: str, names: str, mends: str) -> None:
    before = contents(Path())
    code, out, err = run(capsys, words)
    assert code == 2, out + err
    assert err.startswith("axial-deeplab: error: "), err
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert names in err
    assert mends in err
    assert contents(Path()) == before


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_one_line(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    case.breaks()
    check_refused(capsys, case.words, case.names, case.mends)


@pytest.fixture(scope="module")
def checkpoint(good_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for one step."""
    root = tmp_path_factory.mktemp("trained") / "files"
    shutil.copytree(good_files, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(TRAIN.split()) == 0
    return root / "run" / "last.ckpt"


@pytest.mark.parametrize("name", CASES_WITH_CHECKPOINT)
def test_bad_use_of_a_checkpoint_is_refused_in_one_line(
    name: str, checkpoint: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(checkpoint, files)
    case = CASES_WITH_CHECKPOINT[name]
    case.breaks()
    check_refused(capsys, case.words, case.names, case.mends)


def test_a_damaged_image_ends_training_without_checkpoint(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut("images/1.jpg", 500)()
    code, _, err = run(capsys, TRAIN)
    assert (code, err.count("\n")) == (2, 1), err
    assert "axial-deeplab: error: images/1.jpg must be a complete image" in err
    assert "replace the file" in err
    assert not [
        path for path in contents(files) if path.endswith((".ckpt", ".safetensors")) and "run" in path
    ]
    assert not list(files.rglob(".*"))


def test_damaged_images_do_not_stop_the_others(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut("images/1.jpg", 500)()
    code, _, err = run(capsys, PREDICT.replace("images/0.jpg", "images"))
    assert (code, err.count("\n")) == (2, 1), err
    assert "got 1 of 2 that are not (the others are written): images/1.jpg must be a complete image" in err
    assert [image["file_name"] for image in json.loads(Path("out/panoptic.json").read_text())["images"]] == [
        "0.jpg"
    ]
    assert not list(files.rglob(".*"))


@pytest.mark.parametrize(
    ("words", "message", "change"),
    [
        (
            EVALUATE,
            "panoptic/0.png (image 1): segments 4242 of the JSON have no pixel",
            add_segment_without_pixels,
        ),
        (PQ, "panoptic/0.png (image 1): segments 4242 of the JSON have no pixel", add_segment_without_pixels),
        (
            PQ,
            "panoptic.json: area of 1 segments is not what the PNG has",
            lambda d: last_segment(d).update(area=1),
        ),
    ],
    ids=["evaluate_segment_without_pixels", "pq_segment_without_pixels", "pq_stale_area"],
)
def test_what_can_be_mended_is_one_line_of_warning(
    words: str, message: str, change: Callable[[Any], object], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(change)()
    code, out, err = run(capsys, words)
    assert code == 0, err
    assert "PQ" in out
    assert err.startswith("axial-deeplab: warning: ")
    assert err.count("\n") == 1, err
    assert message in err


@pytest.mark.parametrize(
    "size", [(1, 1), (20_000, 50), (50, 20_000)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_images_of_odd_sizes_are_predicted(
    size: tuple[int, int], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("images/0.jpg", "RGB", size)()
    code, _, err = run(capsys, f"{PREDICT} --top-k 5")
    # Of weights that were never trained, scores are low and centers many, or none.
    told = tuple(
        f"axial-deeplab: warning: {words}"
        for words in ("scores are low", "an image has", "no thing was found")
    )
    assert (code, [line for line in err.splitlines() if not line.startswith(told)]) == (0, [])
    with Image.open("out/panoptic/0.png") as png, Image.open("out/overlay/0.jpg") as overlay:
        assert png.size == overlay.size == size


def test_an_image_beyond_the_memory_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("images/0.jpg", "RGB", (20_000, 50))()
    monkeypatch.setattr("os.sysconf", lambda name: 1000)
    words = f"{PREDICT} --cityscapes"  # whose files want whole images
    with monkeypatch.context() as patch:
        patch.setattr("axial_deeplab.prediction.files.CityscapesWriter", lambda *arguments: object())
        check_refused(
            capsys, words, "images/0.jpg: image must fit into memory, got 50 x 20000", "--max-size 5000"
        )
    words = f"{PREDICT} --tile 512"
    check_refused(capsys, words, "images/0.jpg: tile must fit into memory, got 50 x 497", "a smaller --tile")


def test_an_image_beyond_the_memory_is_seen_in_tiles(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("images/0.jpg", "RGB", (20_000, 50))()
    monkeypatch.setattr("os.sysconf", lambda name: 5000)
    code, out, err = run(capsys, PREDICT)
    told, *others = err.splitlines()
    assert code == 0
    assert told.startswith(
        "axial-deeplab: warning: images/0.jpg: 50 x 20000 pixels (height x width) may not fit"
    )
    assert told.endswith("choose their side by --tile N, or reduce the image by --max-size N")
    assert all("scores are low" in line for line in others)
    assert "1 image (1 of them in tiles, see large/)" in out
    assert sorted(path.name for path in Path("out").rglob("*.*")) == [
        *("0.jpg", "0.json", "0.png", "0.tif", "panoptic.json"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        PREDICT.replace("images/0.jpg", "images"),
        EVALUATE,
        TRAIN,
        f"{TRAIN} --trainer.num_workers 1",
        "dataset check --images images --panoptic panoptic --json panoptic.json",
    ],
)
def test_dark_pictures_are_one_line(words: str, files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    levels = np.linspace(0, 4095, 48 * 40).astype(np.uint16).reshape(40, 48)
    for number in range(2):
        Image.fromarray(levels + number).save(files / "images" / f"{number}.jpg", format="PNG")
    code, out, err = run(capfd, words)
    assert code == 0, err
    (line,) = (line for line in (out + err).splitlines() if "of the range of values" in line)
    assert "2 images, of which the first: " in line
    assert "images/0.jpg uses 6.2%" in line
    assert line.startswith(("axial-deeplab: warning: ", "note: "))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (PREDICT, "out"),
        (f"{PREDICT} --save labels csv geojson --contact-sheet", "out"),
        (f"{EVALUATE} --output out", "out/panoptic"),
        (f"{EVALUATE} --report out", "out/report.html"),
        (f"{EVALUATE} --json-out out.json", "out.json"),
        (f"{PQ} --json out.json", "out.json"),
        (TRAIN, "run/config.yaml"),
        (f"{TRAIN} --trainer.output larger", "larger/last.ckpt"),
        (f"dataset check {DATA} --picture out.png", "out.png"),
        (f"{SCENES} --output out", "out"),
        ("demo --num-images 1 --device cpu --output out", "scenes"),
        ("configs --output out", "out"),
        (f"experiment stress --weights tiny.safetensors --output out {DATA}", "out/stress.csv"),
        (
            "attention-maps images/0.jpg --pixel 4 4 --weights tiny.safetensors --output out.png",
            "out.png",
        ),
    ],
)
def test_a_full_disk_is_one_line(
    words: str, names: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000 if "larger" in words else 100, before[1]))
    try:
        code, _, err = run(capsys, words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    *warned, line = err.splitlines()  # scenes have a progress bar, too
    assert code == 2, err
    assert not [each for each in warned if "Traceback" in each or "error" in each]
    assert line.startswith("axial-deeplab: error: File too large: "), line
    assert names in line
    assert line.endswith("; make room, or give an output on another disk")
    assert not list(files.rglob(".*"))
