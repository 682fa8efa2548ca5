"""Runs that are killed: files that belong together appear together, and the next run goes on."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.evaluation.panoptic_quality import evaluate_files
from axial_deeplab.util.files import atomic_directory, atomic_path
from folder_runs import contents, draw_photos, predict, start, start_predicting
from long_tests import LONG

NUM_IMAGES = 12


def wait_for_files(process: subprocess.Popen[bytes], folder: Path, number: int) -> None:
    while len(list(folder.rglob("[!.]*.png"))) < number:
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.003)


def kill(process: subprocess.Popen[bytes], folder: Path, number: int) -> None:
    """Kill a process as soon as a folder has so many PNG files."""
    try:
        wait_for_files(process, folder, number)
    finally:
        process.kill()
        process.wait()


def num_overlays(out: Path) -> int:
    folder = out / "overlay"
    return sum(name.endswith(".jpg") for name in os.listdir(folder)) if folder.is_dir() else 0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw_photos(tmp_path / "photos", NUM_IMAGES)
    return tmp_path / "photos"


@pytest.mark.parametrize("num_pngs", [1, 7, NUM_IMAGES - 1])
def test_a_killed_run_is_continued(photos: Path, tmp_path: Path, num_pngs: int) -> None:
    predict(photos, tmp_path / "straight")
    out = tmp_path / "out"
    kill(start_predicting(photos, out), out / "panoptic", num_pngs)
    assert not (out / "panoptic.json").exists()
    report, num_seen = predict(photos, out)
    assert (report.num_images, report.num_resumed + num_seen) == (NUM_IMAGES, NUM_IMAGES)
    assert report.num_resumed >= num_pngs - 1
    assert num_pngs == 1 or f"{report.num_resumed} of them from a run that was stopped" in str(report)
    assert contents(out) == contents(tmp_path / "straight")


@pytest.mark.parametrize(
    ("save", "num_kills", "num_photos"),
    [
        (("coco",), 2, 16),
        (("labels", "csv"), 2, 16),
        pytest.param(("coco", "labels", "coco-instances"), 20, 160, marks=pytest.mark.slow),
        pytest.param(("labels",), 20, 160, marks=pytest.mark.slow),
        pytest.param(("coco",), 20, 2000, marks=[LONG, pytest.mark.timeout(3600)]),
    ],
)
def test_killed_at_random_moments(
    save: tuple[str, ...], num_kills: int, num_photos: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "coco-instances" in save:
        pytest.importorskip("pycocotools", reason="needs the extra coco")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # two images at a time
    photos, out, rng = tmp_path / "photos", tmp_path / "out", np.random.default_rng(0)
    draw_photos(photos, num_photos)
    predict(photos, tmp_path / "straight", save=save)
    for wanted in np.sort(rng.integers(0, num_photos - 8 * num_kills, num_kills, endpoint=True)):
        known = max(wanted, num_overlays(out))
        process = start_predicting(photos, out, save=save)
        while process.poll() is None and num_overlays(out) <= known:
            time.sleep(0.003)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.wait()
    assert not (out / "panoptic.json").exists()
    report, num_seen = predict(photos, out, save=save)
    assert num_kills - 1 <= report.num_resumed == num_photos - num_seen
    assert contents(out) == contents(tmp_path / "straight")


def test_a_killed_rerun_leaves_no_json_that_lies(photos: Path, tmp_path: Path) -> None:
    out, truth = tmp_path / "out", tmp_path / "truth"
    for folder in (out, truth):
        predict(photos, folder)
    (out / "panoptic" / "p0.png").unlink()
    kill(start_predicting(photos, out, level=60), out / "panoptic", NUM_IMAGES)
    with pytest.raises(FileNotFoundError):
        evaluate_files(truth / "panoptic.json", None, out / "panoptic.json", None)
    # Other options: nothing is taken over from the run that was killed.
    report, num_seen = predict(photos, out)
    assert (report.num_resumed, num_seen) == (0, NUM_IMAGES)
    assert evaluate_files(truth / "panoptic.json", None, out / "panoptic.json", None).all.pq == 100
    assert contents(out) == contents(truth)


def test_changed_pictures_are_predicted_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill(start_predicting(photos, out), out / "panoptic", NUM_IMAGES - 2)
    Image.new("RGB", (9, 9), "white").save(photos / "p0.png")
    report, _ = predict(photos, out)
    predict(photos, tmp_path / "straight")
    assert 0 < report.num_resumed < NUM_IMAGES
    assert contents(out) == contents(tmp_path / "straight")


def test_runs_into_one_folder_add_up(photos: Path, tmp_path: Path) -> None:
    more, out = tmp_path / "more", tmp_path / "out"
    more.mkdir()
    for number in range(2):
        Image.new("RGB", (8, 6), "white").save(more / f"m{number}.png")
    (photos / "p1.png").rename(more / "p1.png")
    predict(photos, out)
    predict(more, out)
    document = json.loads((out / "panoptic.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    assert len(names) == len(document["annotations"]) == NUM_IMAGES + 2
    for annotation in document["annotations"]:
        assert names[annotation["image_id"]] == annotation["file_name"]
        assert (out / "panoptic" / annotation["file_name"]).exists()
    with pytest.warns(UserWarning, match=r"no longer lists 11 predictions .* an output folder of its own"):
        predict(more, out, level=60)
    assert len(json.loads((out / "panoptic.json").read_text())["images"]) == 3


def test_two_runs_at_the_same_time_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_predicting(photos, out)
    try:
        wait_for_files(process, out / "panoptic", 1)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(OSError, match=r"by one run at a time, got .*json\.part in use; wait"):
            predict(photos, out)
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
    assert len(json.loads((out / "panoptic.json").read_text())["images"]) == NUM_IMAGES


@pytest.mark.parametrize("kind", [atomic_path, atomic_directory])
def test_what_a_killed_process_was_writing_is_removed(kind, tmp_path: Path) -> None:
    code = f"from axial_deeplab.util.files import {kind.__name__}\n"
    code += f"with {kind.__name__}({str(tmp_path / 'f')!r}): time.sleep(60)"
    processes = []
    try:
        for number in (1, 2):
            processes.append(start(code))
            while len(list(tmp_path.glob(".axial*"))) < number:
                assert processes[-1].poll() is None
                time.sleep(0.003)
            if number == 1:
                (living,) = tmp_path.glob(".axial*")
        processes[1].kill()
        processes[1].wait()
        with kind(tmp_path / "g"):
            pass
        assert list(tmp_path.glob(".axial*")) == [living]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_names_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    with atomic_path(tmp_path / ("n" * 251 + ".png")) as temporary:
        temporary.write_bytes(b"1")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
