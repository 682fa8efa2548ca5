"""Giving freed memory back to the system."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from axial_deeplab import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.prediction import files, image_job
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.util import freed_memory
from axial_deeplab.weights.loaded import LoadedWeights


def test_without_the_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    freed_memory.return_freed_memory()

    def refuse(name: object) -> None:
        raise TypeError("no such handle")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert freed_memory._function.__wrapped__("malloc_trim") is None
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert freed_memory._function.__wrapped__("malloc_trim") is None


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have other settings")
def test_large_maps_are_given_back_at_once() -> None:
    # In a process of its own: the setting is the whole process's.
    code = """
import numpy as np
from axial_deeplab.util.freed_memory import give_large_maps_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

give_large_maps_back()
maps = [np.ones(3 * 2**20) for _ in range(20)]  # 24 MiB each, below what the library would keep by itself
before = resident()
del maps[:-1]
assert before - resident() > 18 * 24 * 2**20, (before, resident())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have other settings")
def test_what_the_next_map_needs_is_kept() -> None:
    """Also where the environment asks for little to be kept, as Dask's does for its workers."""
    code = """
import resource
import numpy as np
from axial_deeplab.util.freed_memory import give_large_maps_back

give_large_maps_back(of_one_size=True)
for number in range(40):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**21)  # 16 MiB, 4096 pages
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
assert faults < 4096, faults
"""
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_prediction_of_files_gives_it_back_and_networks_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(image_job, "return_freed_memory", lambda: calls.append(None))
    monkeypatch.setattr(
        freed_memory, "_function", lambda name: pytest.fail("a network leaves the heap alone")
    )
    for name, side in (("1.png", 33), ("2.png", 33), ("3.png", 49)):
        Image.new("RGB", (side, side)).save(tmp_path / name)
    model = create_model("axial_deeplab_nano", depths=(1, 1, 1, 1), num_classes=2).eval().fuse()
    categories = Categories([Category(1, "sky", False), Category(2, "car", True)])
    predictor = Predictor(LoadedWeights(model, categories, {"model": {"name": "nano"}}), "cpu")
    monkeypatch.setattr(files, "_num_threads", lambda predictor: 1)
    files.predict_files(predictor, [tmp_path], tmp_path / "out", overlay=False)
    assert len(calls) == 2  # the second fits into what the first has left


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it there")
@pytest.mark.parametrize("wanted", ["1", "0"])
def test_large_maps_lie_in_large_pages(wanted: str) -> None:
    modes = freed_memory._LARGE_PAGES
    if not modes.exists() or "[madvise]" not in modes.read_text():
        pytest.skip("this system gives such pages always or never")
    program = (
        "from axial_deeplab.util.freed_memory import take_large_pages; take_large_pages(); "
        "import torch; x = torch.ones(16, 2**20); print(open('/proc/self/smaps_rollup').read())"
    )
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": wanted}
    if wanted == "1":
        del environment["THP_MEM_ALLOC_ENABLE"]
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    (kilobytes,) = re.findall(r"AnonHugePages: +(\d+)", run.stdout)
    assert (int(kilobytes) >= 2**15) == (wanted == "1")
