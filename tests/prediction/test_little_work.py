"""One small image needs no compiled code, and gets the same map."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.ops.dispatch import avoiding_compiled_code, is_avoided
from axial_deeplab.prediction.little_work import is_little_work
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import LoadedWeights, load_weights
from folder_runs import contents


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    write_scenes(folder, 1, seed=3, height=96, width=128)
    data = CocoPanopticDataset(folder / "images", folder / "panoptic", folder / "panoptic.json")
    return data.image_files[0]


@pytest.fixture(scope="module")
def weights() -> LoadedWeights:
    return load_weights("axial_deeplab_nano_scenes")


def test_the_command_predicts_one_small_image_without_numba(scene: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from axial_deeplab.cli.main import main; scene, out, shard = sys.argv[1:]; "
        "words = ['predict', scene, '--weights', 'axial_deeplab_nano_scenes', '--output']; "
        "codes = main([*words, out]), main([*words, shard, '--shard', '1/1']); "
        "codes += (main(['predict', 'merge', shard]),); "
        "print('numba' in sys.modules); sys.exit(any(codes))"
    )
    places = str(scene), str(tmp_path / "o"), str(tmp_path / "shard")
    result = subprocess.run(
        [sys.executable, "-c", program, *places], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "False"
    assert contents(tmp_path / "shard") == contents(tmp_path / "o")
    written = np.asarray(Image.open(next((tmp_path / "o" / "panoptic").glob("*.png")))).astype(int)
    prediction = Predictor("axial_deeplab_nano_scenes")(scene)
    np.testing.assert_array_equal(written @ [1, 256, 65536], prediction.segmentation)


@pytest.mark.parametrize("grouping", ["offsets", "watershed"])
def test_maps_are_those_of_the_compiled_code(scene: Path, weights: LoadedWeights, grouping: str) -> None:
    compiled = Predictor(weights, device="cpu", grouping=grouping)(scene)
    with avoiding_compiled_code(True):
        plain = Predictor(weights, device="cpu", grouping=grouping)
        prediction = plain(scene)
    assert not is_avoided()
    np.testing.assert_array_equal(prediction.panoptic, compiled.panoptic)
    np.testing.assert_array_equal(prediction.semantic, compiled.semantic)
    scores = [[info["score"] for info in each.segments_info] for each in (prediction, compiled)]
    np.testing.assert_allclose(*scores, atol=1e-4)
    assert plain.settings == Predictor(weights, device="cpu", grouping=grouping).settings


def test_what_is_little_work(scene: Path, weights: LoadedWeights, tmp_path: Path) -> None:
    assert is_little_work(weights, [scene])
    assert is_little_work(weights, [scene], scales=(1.0, 2.0), flip=True)
    assert not is_little_work(weights, [scene], scales=(8.0,))
    assert not is_little_work(weights, [scene], long_side=100)
    assert not is_little_work(weights, [scene, scene])
    assert not is_little_work(weights, [scene.parent])
    large, broken = tmp_path / "large.png", tmp_path / "broken.png"
    Image.new("L", (1000, 1000)).save(large)
    broken.write_bytes(b"no picture")
    for path in (large, broken, tmp_path / "absent.png", tmp_path / "video.mp4"):
        assert not is_little_work(weights, [path])
    larger = LoadedWeights(torch.nn.Linear(10_000, 10_000, device="meta"), weights.categories, {})
    assert not is_little_work(larger, [scene])
