"""Networks are loaded when they are chosen, and forgotten when others are."""

import pytest

from app_files import noise, write_tiny_weights
from axial_deeplab.app import networks as networks_module
from axial_deeplab.app.networks import Networks


def test_what_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("AXIAL_DEEPLAB_CACHE", str(tmp_path))
    given = write_tiny_weights(tmp_path / "tiny.safetensors")
    networks = Networks([given, "axial_deeplab_nano_nuclei"])
    shipped = ("axial_deeplab_nano_nuclei", "axial_deeplab_nano_objects", "axial_deeplab_nano_scenes")
    assert networks.names[:4] == (str(given), *shipped)
    labels = dict(reversed(pair) for pair in networks.labels)
    assert labels[str(given)] == str(given)
    assert labels["max_deeplab_s_cityscapes"] == "max_deeplab_s_cityscapes (download)"
    assert "axial_resnet26_s_imagenet" not in labels  # a classifier
    (tmp_path / "max_deeplab_s_cityscapes.safetensors").touch()
    assert ("max_deeplab_s_cityscapes", "max_deeplab_s_cityscapes") in networks.labels


def test_the_shipped_scenes_are_first_by_default():
    assert Networks().names[0] == "axial_deeplab_nano_scenes"


def test_knobs_and_blocks(tmp_path):
    path = write_tiny_weights(tmp_path / "tiny.safetensors")
    network = Networks([path], device="cpu").warm_up()
    assert network.knobs == {
        "center_threshold": 0.1,
        "nms_kernel": 9,
        "top_k": 200,
        "stuff_area": 1,
        "fill_void": False,
    }
    assert network.blocks
    assert all(name.startswith("backbone.") for name in network.blocks)
    # Other settings are those of one prediction.
    assert not network.predict(noise(), {"stuff_area": 40 * 56 + 1, "center_threshold": 2.0}).segments
    assert network.predict(noise(), {}).segments


def test_others_are_refused(tmp_path):
    with pytest.raises(ValueError, match="weights must be among those that the app offers, got /etc/passwd"):
        Networks()["/etc/passwd"]


def test_few_are_kept(tmp_path, monkeypatch):
    paths = [str(write_tiny_weights(tmp_path / f"{name}.safetensors")) for name in "abc"]
    networks = Networks(paths, device="cpu")
    first, second = networks[paths[0]], networks[paths[1]]
    assert networks[paths[0]] is first
    networks[paths[2]]  # the second one was not used for longest
    assert networks[paths[0]] is first
    assert networks[paths[1]] is not second
    assert len(networks._loaded) == networks_module.MOST_LOADED
