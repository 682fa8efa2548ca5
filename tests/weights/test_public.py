"""Public weights by name, from a server on the loopback interface."""

import hashlib
import io
import json
import re
import tarfile

import numpy as np
import pytest
import torch

from axial_deeplab import Predictor, create_model, load_weights
from axial_deeplab.cli.main import main
from axial_deeplab.data.labels import cityscapes
from axial_deeplab.models.registry import ENTRIES, find_entry
from axial_deeplab.weights import names
from axial_deeplab.weights.convert.deeplab2_names import deeplab2_arguments, deeplab2_names
from axial_deeplab.weights.names import cache_folder, find_weights, names_of_weights, public_weights
from axial_deeplab.weights.public import local_weights, recorded
from file_server import running_server
from tensorflow_files import variables_of, write_checkpoint

NETWORK = "panoptic_deeplab_max_deeplab_s_backbone"
TINY = {
    "width_multiplier": 0.125,
    "stem_multiplier": 0.125,
    "depths": [1, 1, 2, 1],
    "max_span": 4,
    "semantic_channels": 8,
    "instance_channels": 8,
    "instance_head_channels": 4,
    "impl": "reference",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return an archive as deeplab2 publishes them."""
    folder = tmp_path_factory.mktemp("archive")
    model = create_model(NETWORK, num_classes=19, **{**deeplab2_arguments(NETWORK), **TINY})
    write_checkpoint(folder / "ckpt-60000", variables_of(model, deeplab2_names(model)))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(folder, "max_deeplab_s")
    return content.getvalue()


@pytest.fixture
def server(archive, tmp_path, monkeypatch):
    with running_server() as running:
        running.files["/max.tar.gz"] = archive
        row = {**vars(find_weights("max_deeplab_s_cityscapes")), "name": "tiny_cityscapes"}
        row |= {"address": f"{running.address}/max.tar.gz", "model": {"name": NETWORK, **TINY}}
        (tmp_path / "table.json").write_text(json.dumps([row]))
        monkeypatch.setattr(names, "PUBLIC_TABLE", tmp_path / "table.json")
        monkeypatch.setenv("AXIAL_DEEPLAB_CACHE", str(tmp_path / "cache"))
        public_weights.cache_clear()
        yield running
    public_weights.cache_clear()


def test_table():
    assert len(public_weights()) == 28
    for name, weights in public_weights().items():
        assert name == weights.name
        assert re.match(r"https://\S+\.(tar\.gz|pth)$", weights.address)
        assert re.match(r"https://github\.com/", weights.source)
        assert weights.training_data
        assert weights.license
        assert name not in ENTRIES
        entry = find_entry(weights.network)
        if weights.model is not None:
            assert weights.model.keys() - {"name"} <= entry.options
        if weights.data_set is not None:
            assert weights.name.endswith(f"_{weights.data_set}")
            assert weights.is_panoptic
            assert 30 < weights.published["pq"] < weights.published["miou"] < 90
        else:
            assert weights.name.endswith("_imagenet")
            assert not weights.is_panoptic
    assert names_of_weights(NETWORK) == ["max_deeplab_s_cityscapes"]
    assert names_of_weights("axial_resnet26_s") == ["axial_resnet26_s_imagenet"]


def test_deeplab2_has_the_networks_of_the_table():
    for weights in public_weights().values():
        # The deeper ones differ in depth alone.
        if weights.model is not None and "_1_1_3" not in weights.name and "_1_1_4" not in weights.name:
            with torch.device("meta"):
                model = create_model(**{**deeplab2_arguments(weights.network), **weights.model})
            assert len(deeplab2_names(model)) > 200


def test_by_name(server, tmp_path):
    predictor = Predictor("tiny_cityscapes", device="cpu")
    prediction = predictor(np.zeros((33, 49, 3), np.uint8))
    assert prediction.segmentation.shape == (33, 49)
    assert predictor.categories == cityscapes.CATEGORIES
    assert predictor.post_processing.nms_kernel == 13
    assert len(server.requests) == 1
    loaded = load_weights("tiny_cityscapes")
    assert len(server.requests) == 1
    assert loaded.metadata["published"]["pq"] == 64.5
    assert loaded.metadata["source"]["address"] == f"{server.address}/max.tar.gz"
    files = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert [name for name in files if not name.endswith(".lock")] == [
        "tiny_cityscapes.download.json",
        "tiny_cityscapes.safetensors",
    ]


def test_create_model(server):
    for name, pretrained in (("tiny_cityscapes", True), (NETWORK, True), (NETWORK, "tiny_cityscapes")):
        model = create_model(name, pretrained=pretrained)
        expected = load_weights("tiny_cityscapes").model.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
        assert model.config["max_span"] == 4
    other = create_model("tiny_cityscapes", pretrained=True, num_classes=5)
    assert other.semantic_head.final.bias.shape == (5,)
    assert torch.equal(other.offset_head.final.bias, model.offset_head.final.bias)
    backbone = create_model("tiny_cityscapes", pretrained=True, features_only=True)
    assert torch.equal(backbone.stem.conv1.conv.weight, model.backbone.stem.conv1.conv.weight)
    with pytest.raises(
        ValueError, match="pretrained must be weights of resnet50, got weights of panoptic_deeplab"
    ):
        create_model("resnet50", pretrained="tiny_cityscapes")
    with pytest.raises(FileNotFoundError, match="a name of `axial-deeplab weights list`, got tiny"):
        create_model("tiny", pretrained=True)


def test_cut_download_begins_again(server):
    server.cut_after = 10_000
    with pytest.raises(OSError, match="file must arrive from"):
        local_weights("tiny_cityscapes")
    assert local_weights("tiny_cityscapes").is_file()
    assert server.requests == ["/max.tar.gz"] * 2


def test_checksum_is_recorded_at_the_first_download(server, archive):
    path = local_weights("tiny_cityscapes")
    record = json.loads(path.with_name("tiny_cityscapes.download.json").read_text())
    assert record["size"] == len(archive)
    assert re.fullmatch("[0-9a-f]{64}", record["sha256"])
    path.unlink()
    server.files["/max.tar.gz"] += b"another one"
    with pytest.raises(ValueError, match=f"must have the sha256 {record['sha256']}, got .*; download it"):
        local_weights("tiny_cityscapes")
    assert not path.exists()


def test_archive_that_is_not_one(server, archive):
    server.files["/max.tar.gz"] = b"<html>log in</html>"
    with pytest.raises(ValueError, match=r"max.tar.gz must be a complete archive"):
        local_weights("tiny_cityscapes")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz"):
        pass
    server.files["/max.tar.gz"] = content.getvalue()
    with pytest.raises(ValueError, match="must hold one TensorFlow checkpoint, got 0"):
        local_weights("tiny_cityscapes")
    assert [path.name for path in cache_folder().rglob("*")] == ["tiny_cityscapes.lock"]
    # Their checksums are not what is expected from now on.
    server.files["/max.tar.gz"] = archive
    assert local_weights("tiny_cityscapes").is_file()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AXIAL_DEEPLAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("AXIAL_DEEPLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "axial-deeplab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "axial-deeplab"


def test_commands(server, tmp_path, archive, capsys):
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(rf"tiny_cityscapes +{NETWORK} +PQ 64.5, mIoU 82.2 +no$", lines[-1])
    assert any(line.endswith("shipped") for line in lines)
    (tmp_path / "elsewhere.tar.gz").write_bytes(archive)
    assert main(["weights", "download", "tiny_cityscapes", "--from", str(tmp_path / "elsewhere.tar.gz")]) == 0
    out = capsys.readouterr().out
    assert "Cityscapes train-fine" in out
    assert out.endswith("tiny_cityscapes.safetensors\n")
    assert server.requests == []
    assert main(["weights", "list", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["here"], row["published"]["pq"]) == ("downloaded", 64.5)
    # What the table does not know was recorded.
    assert (row["size"], row["sha256"]) == (len(archive), hashlib.sha256(archive).hexdigest())
    for words, message in (
        (["download"], "names must be given to download weights, got none"),
        (["list", "foo"], "got foo for list; leave it out"),
        (["download", "nothing"], "name must be one of tiny_cityscapes, got nothing"),
        (["download", "a", "b", "--from", "c"], "names must be one name with --from, got 2"),
    ):
        assert main(["weights", *words]) == 2
        assert message in capsys.readouterr().err


def test_file_from_elsewhere_is_checked(server, tmp_path):
    path = local_weights("tiny_cityscapes")
    path.unlink()
    (tmp_path / "other.tar.gz").write_bytes(b"other")
    message = r"other.tar.gz must have the sha256 .*; download it again, or remove .*\.download\.json if"
    with pytest.raises(ValueError, match=message):
        local_weights("tiny_cityscapes", file=tmp_path / "other.tar.gz")
    record = cache_folder() / "tiny_cityscapes.download.json"
    # A record of another address, or a damaged one, says nothing.
    for text in ('{"address": "https://example.org/old.tar.gz", "size": 1, "sha256": "00"}', "[", "[]"):
        record.write_text(text)
        assert recorded("tiny_cityscapes") == {}
