"""Folders and repositories as the Hugging Face Hub has them."""

import json
import shutil
from unittest.mock import create_autospec

import huggingface_hub
import numpy as np
import pytest
import torch

import axial_deeplab
from axial_deeplab import Predictor, create_model, load_weights
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.weights.card import measured_scores, model_card
from axial_deeplab.weights.loaded import LoadedWeights

CATEGORIES = Categories([Category(7, "sky", False), Category(3, "car", True), Category(90, "person", True)])
METADATA = {
    "post_processing": {"center_threshold": 0.1, "nms_kernel": 7, "top_k": 5, "stuff_area": 1},
    "training_data": "drawn scenes",
    "license": "Apache-2.0",
    "metrics": {"data": "50 scenes", "pq": 61.25, "miou": 70.0},
}


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    tiny = {"depths": (1, 1, 1, 1), "max_span": 4, "semantic_channels": 8, "impl": "reference"}
    model = create_model("axial_deeplab_nano", num_classes=3, **tiny).eval()
    return LoadedWeights(model, CATEGORIES, {"model": dict(model.config), **METADATA})


@pytest.fixture
def folder(weights, tmp_path):
    weights.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_round_trip(weights, folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = axial_deeplab.from_pretrained(folder)
    assert loaded.categories == CATEGORIES
    assert {name: loaded.metadata[name] for name in METADATA} == METADATA
    expected = weights.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.model.state_dict().items())
    assert Predictor(loaded, device="cpu").post_processing.top_k == 5
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["name"] == "axial_deeplab_nano"
    assert config["id2label"] == {"0": "car", "1": "sky", "2": "person"}
    assert config["label2id"]["person"] == 2
    assert config["library_name"] == "axial-deeplab"


def test_model_card(weights, folder):
    card = (folder / "README.md").read_text()
    front = card.split("---\n")[1]
    assert front == (
        "library_name: axial-deeplab\npipeline_tag: image-segmentation\ntags:\n"
        "- axial-attention\n- panoptic-segmentation\n"
    )
    assert "Classes (things: 2, stuff: 1): car, sky, person." in card
    assert "| Measured | PQ | mIoU |\n| --- | ---: | ---: |\n| 50 scenes | 61.2 | 70.0 |" in card
    assert "Training data: drawn scenes.\n\nLicense: Apache-2.0.\n" in card
    assert "Published" not in card


def test_model_card_has_no_scores_but_those_of_the_metadata():
    shipped = load_weights("axial_deeplab_nano_scenes")
    card = model_card(shipped.model, shipped.categories, shipped.metadata)
    assert f"{shipped.metadata['metrics']['pq']:.1f}" in card
    bare = {"model": shipped.metadata["model"]}
    card = model_card(shipped.model, shipped.categories, bare)
    assert "PQ" not in card
    assert "License" not in card
    classifier = create_model("axial_resnet26_s", num_classes=2, width_multiplier=0.125, depths=(1, 1, 1, 1))
    labels = Categories([Category(0, "cat", True), Category(1, "dog", True)])
    published = {"data": "val", "top1": 75.8}
    metadata = {"model": dict(classifier.config), "published": published}
    card = model_card(classifier, labels, metadata)
    assert "pipeline_tag: image-classification" in card
    assert "| Published by the authors of the weights | top-1 |\n| --- | ---: |\n| val | 75.8 |" in card


def test_measured_scores(weights, tmp_path):
    result = {"All": {"pq": 51.0, "sq": 75.5, "n": 3}, "semantic": {"mean_iou": 60.0, "per_class": [60.0]}}
    result |= {"instances": {"ap": None, "ap50": 20.0}, "num_images": 12}
    expected = {"data": "12 images", "pq": 51.0, "sq": 75.5, "miou": 60.0}
    assert measured_scores(result) == expected
    assert measured_scores({**result, "data": "val"}) == {**expected, "data": "val"}
    assert measured_scores({"top1": 75, "num_images": 2}) == {"data": "2 images", "top1": 75.0}
    with pytest.raises(
        ValueError, match=r"metrics must have some of pq, sq, .*, got \['loss'\]; evaluate first"
    ):
        measured_scores({"loss": 3.0})
    weights.save_pretrained(tmp_path, metrics=result)
    assert (
        "| Measured | PQ | SQ | mIoU |\n| --- | ---: | ---: | ---: |\n| 12 images | 51.0 | 75.5 | 60.0 |"
        in (tmp_path / "README.md").read_text()
    )
    assert load_weights(tmp_path / "model.safetensors").metadata["metrics"] == expected


def test_repository(folder, monkeypatch):
    # It has the signature of the real one.
    download = create_autospec(
        huggingface_hub.hf_hub_download, return_value=str(folder / "model.safetensors")
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    loaded = axial_deeplab.from_pretrained("user/name", revision="v1", token="secret")
    assert loaded.categories == CATEGORIES
    (asked,) = download.mock_calls
    assert asked.args == ("user/name", "model.safetensors")
    assert (asked.kwargs["revision"], asked.kwargs["token"]) == ("v1", "secret")


def test_push(weights, tmp_path, monkeypatch):
    api = create_autospec(huggingface_hub.HfApi)
    monkeypatch.setattr(huggingface_hub, "HfApi", api)
    api.return_value.create_repo.return_value = huggingface_hub.RepoUrl("https://huggingface.co/user/name")

    def upload(*, folder_path, **options):
        shutil.copytree(folder_path, tmp_path / "remote")
        return "https://huggingface.co/user/name/commit/1"

    api.return_value.upload_folder.side_effect = upload
    options = {"private": True, "token": "secret", "commit_message": "First", "create_pr": True}
    address = weights.push_to_hub("name", metrics={"pq": 50.0, "data": "val"}, **options)
    assert address == "https://huggingface.co/user/name/commit/1"
    api.assert_called_once_with(token="secret")
    api.return_value.create_repo.assert_called_once_with("name", private=True, exist_ok=True)
    (asked,) = api.return_value.upload_folder.mock_calls
    assert asked.kwargs.pop("folder_path")
    assert asked.kwargs == {
        "repo_id": "user/name",
        "revision": None,
        "commit_message": "First",
        "create_pr": True,
    }
    loaded = axial_deeplab.from_pretrained(tmp_path / "remote")
    assert loaded.categories == CATEGORIES
    assert loaded.metadata["metrics"] == {"data": "val", "pq": 50.0}


def test_refuses(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="weights must be a file"):
        axial_deeplab.from_pretrained(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="repository must be a folder or user/name on the Hub, got a/b/c"
    ):
        axial_deeplab.from_pretrained("a/b/c")
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"package huggingface_hub, which is missing; pip install .*\[hub\]"):
        axial_deeplab.from_pretrained("user/name")


def test_offline(tmp_path):
    with pytest.raises(FileNotFoundError, match="Cannot find the requested files in the disk cache"):
        axial_deeplab.from_pretrained("user/name", cache_dir=tmp_path, local_files_only=True)


def test_shape_of_transformers():
    car, sky = 10_001, 20_000  # the panoptic map has (train id + 1) * 10,000 + instance
    panoptic = np.array([[sky, sky, 0], [car, car, 0]], np.int32)
    segments = (
        Segment(id=car, train_id=0, area=2, score=0.5, bbox=(0, 1, 2, 1)),
        Segment(id=sky, train_id=1, area=2, score=0.9, bbox=(0, 0, 2, 1)),
    )
    unused = {"segmentation": panoptic, "segments_info": [], "semantic": panoptic, "image": panoptic}
    prediction = Prediction(
        **unused,
        result=Panoptic(panoptic, segments),
        categories=CATEGORIES,
        network_ms=0,
        post_processing_ms=0,
    )
    result = prediction.to_transformers()
    assert result["segmentation"].dtype == torch.int32
    assert result["segmentation"].tolist() == [[2, 2, 0], [1, 1, 0]]
    assert result["segments_info"] == [
        {"id": 1, "label_id": 0, "was_fused": False, "score": 0.5},
        {"id": 2, "label_id": 1, "was_fused": True, "score": 0.9},
    ]
