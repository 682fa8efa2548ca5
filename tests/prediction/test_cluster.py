"""Workers of Dask: the files of one process, whatever their number, also if one is killed."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from axial_deeplab.ops.dispatch import avoiding_compiled_code
from axial_deeplab.prediction import files
from axial_deeplab.prediction.predictor import Predictor
from folder_runs import FATAL, contents, draw_photos, predict

distributed = pytest.importorskip("distributed", reason="needs the extra dask")
dask = pytest.importorskip("dask")
psutil = pytest.importorskip("psutil")


def kill_a_worker(out: Path, pattern: str, num_files: int) -> threading.Thread:
    """Return a running thread that kills a worker as soon as there are so many files."""

    def watch() -> None:
        while len(list(out.rglob(pattern))) < num_files:
            time.sleep(0.003)
        workers = [
            each
            for each in psutil.Process().children(recursive=True)
            if "spawn_main" in " ".join(each.cmdline())
        ]
        workers[-1].kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_workers_write_the_files_of_one_process_though_one_is_killed(tmp_path):
    photos = tmp_path / "photos"
    draw_photos(photos, 40)
    (photos / "p3.png").write_bytes(b"")
    page = Image.new("RGB", (9, 9))
    page.save(photos / "pages.tif", save_all=True, append_images=[page])
    options = {"save": ("coco", "labels"), "contact_sheet": True}
    for out, more in (("straight", {}), ("out", {"workers": 2})):
        thread = kill_a_worker(tmp_path / out, "panoptic/[!.]*.png", 5) if more else None
        with (
            pytest.warns(UserWarning, match=r"pages\.tif"),
            pytest.raises(ValueError, match=r"got 1 of 41 that are not \(the others .*p3\.png must be"),
        ):
            predict(photos, tmp_path / out, **options, **more)
        assert thread is None or not thread.is_alive()
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_worker_avoids_compiled_code_as_one_process_does(tmp_path):
    draw_photos(tmp_path / "photos", 1)
    with avoiding_compiled_code(True):
        for out, more in (("straight", {}), ("out", {"workers": 1})):
            predict(tmp_path / "photos", tmp_path / out, **more)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_worker_that_sees_tiles_is_killed(tmp_path):
    draw_photos(tmp_path / "photos", 1)
    photo = tmp_path / "photos" / "p0.png"
    Image.open(photo).resize((900, 700)).save(photo)
    predict(tmp_path / "photos", tmp_path / "straight", tile=129)
    thread = kill_a_worker(tmp_path / "out", "maps", 1)
    predict(tmp_path / "photos", tmp_path / "out", tile=129, workers=2)
    assert not thread.is_alive()
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_an_image_that_ends_its_workers_is_told_of(tmp_path):
    draw_photos(tmp_path / "photos", 4)
    Image.new("RGB", (9, 9), (FATAL,) * 3).save(tmp_path / "photos" / "fatal.png")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ValueError, match=r"got 1 of 5 .*fatal\.png: worker must end .* give --max-size"),
    ):
        predict(tmp_path / "photos", tmp_path / "out", workers=1)
    assert len(list((tmp_path / "out" / "panoptic").iterdir())) == 4


def test_a_script_that_workers_would_run_again(tmp_path):
    script = tmp_path / "script.py"  # without `if __name__ == "__main__":`, each worker would start workers
    script.write_text(
        "from axial_deeplab import Predictor\n"
        "from axial_deeplab.prediction.files import predict_files\n"
        "predict_files(Predictor('axial_deeplab_nano_scenes'), ['p.png'], 'out', workers=2)\n"
    )
    Image.new("RGB", (64, 64)).save(tmp_path / "p.png")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert "ChildProcessError: worker processes must start, got: Nanny failed to start" in done.stderr


def test_a_scheduler_that_runs(tmp_path):
    photos = tmp_path / "photos"
    draw_photos(photos, 3)
    draw_photos(tmp_path / "large", 1)
    Image.open(tmp_path / "large" / "p0.png").resize((300, 200)).save(photos / "large.png")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=":0", silence_logs=50
    ) as cluster:
        address = {"scheduler": cluster.scheduler_address}
        predict(photos, tmp_path / "out", tile=129, **address)
    predict(photos, tmp_path / "straight", tile=129)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (
            "workers",
            "workers must be there to the end, got none for 3 s; start the command again, which goes on",
        ),
        ("scheduler", "scheduler must be there to the end, got none any more; start the command again"),
    ],
)
def test_all_that_could_work_is_lost(lost, message, tmp_path, monkeypatch):
    monkeypatch.setattr("axial_deeplab.prediction.cluster._LOOK", 0.5)
    if lost == "workers":
        monkeypatch.setattr("axial_deeplab.prediction.cluster._LOST", 3)
    draw_photos(tmp_path / "photos", 60)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:

        def lose() -> None:
            while len(list((tmp_path / "out").rglob("panoptic/[!.]*.png"))) < 3:
                time.sleep(0.01)
            if lost == "workers":
                cluster.scale(0)
            else:
                cluster.close()

        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        with pytest.raises(ConnectionError, match=message):
            predict(tmp_path / "photos", tmp_path / "out", scheduler=cluster.scheduler_address)
        thread.join()


def test_no_scheduler(tmp_path, monkeypatch):
    draw_photos(tmp_path / "photos", 1)
    monkeypatch.setattr("axial_deeplab.prediction.cluster._PATIENCE", 1)
    with pytest.raises(ValueError, match=r"the address of a running Dask scheduler, got tcp://127.*; start"):
        predict(tmp_path / "photos", tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()


def test_no_workers(tmp_path, monkeypatch):
    draw_photos(tmp_path / "photos", 1)
    monkeypatch.setattr("axial_deeplab.prediction.cluster._PATIENCE", 3)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        pytest.raises(
            ValueError, match=r"scheduler must have workers, got none at .* within 3 s; start some"
        ),
    ):
        predict(tmp_path / "photos", tmp_path / "out", scheduler=cluster.scheduler_address)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, None), "workers must be at least 1, got 0; leave it out to work in threads"),
        ((2, "tcp://a:1"), "workers must be left out with a scheduler, which has its own, got 2"),
    ],
)
def test_workers_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        files.check_workers(*given)


def test_a_predictor_that_is_sent_is_made_again(tmp_path, monkeypatch):
    predictor = copy.copy(Predictor("axial_deeplab_nano_scenes", "cpu", max_size=99))
    predictor.post_processing = dataclasses.replace(predictor.post_processing, top_k=7)
    again = pickle.loads(pickle.dumps(predictor))
    assert (again.view.max_size, again.post_processing.top_k, again.device.type) == (99, 7, "cpu")
    assert copy.copy(again).model is again.model is not predictor.model
    monkeypatch.chdir(tmp_path)
    from axial_deeplab.prediction.predictor import _as_absolute

    Path("w.safetensors").touch()
    assert _as_absolute("w.safetensors") == Path(os.getcwd(), "w.safetensors")
