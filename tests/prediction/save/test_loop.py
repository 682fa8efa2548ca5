"""The loop: predict, correct by hand in labelme, convert, train again."""

import json

import numpy as np
import pytest
import yaml

from axial_deeplab.cli.main import main
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.save.kinds import KINDS
from bad_input_cases import SETTINGS
from saved_predictions import CATEGORIES, Finder, awkward, find_instances, numbered_map, photo

pytest.importorskip("axial_deeplab.data.convert.kinds.labelme", reason="labelme files do not convert yet")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_predict_correct_convert_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = awkward()
    photo(tmp_path / "photos" / "a.png", found.size)
    photo(tmp_path / "photos" / "b.png", found.size, seed=1)
    finder = Finder({"a.png": found, "b.png": found})
    predict_files(finder, ["photos"], "results", save=["labelme"], overlay=False)
    path = tmp_path / "results" / "labelme" / "a.json"
    document = json.loads(path.read_text())
    removed = document["shapes"].pop()  # what is no disc ...
    assert (removed["label"], removed["group_id"]) == ("disc", None)
    path.write_text(json.dumps(document))
    words = "dataset convert results/labelme --images photos --background ground --output corrected"
    assert main(words.split()) == 0, capsys.readouterr().err
    dataset = CocoPanopticDataset("photos", "corrected/panoptic", "corrected/panoptic.json")
    numbers = numbered_map(find_instances(found, CATEGORIES), found.size)
    for place, sample in enumerate(dataset):
        expected = np.where(numbers == 12, 0, numbers) if place == 0 else numbers
        things = find_instances(sample.truth, dataset.categories)
        masks = {each.full_mask(found.size).tobytes() for each in things}
        assert masks == {(expected == number).tobytes() for number in np.unique(expected) if number}
    part = {"images": "photos", "panoptic": "corrected/panoptic", "json": "corrected/panoptic.json"}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**SETTINGS, "data": {"train": part}}))
    assert main(["train", "--config", "train.yaml"]) == 0, capsys.readouterr().err
    assert list((tmp_path / "run").rglob("*.safetensors"))


COMMANDS = {
    "labels": "maps --images photos --instances results/labels --thing object --background ground",
    "coco-instances": "results/coco_instances.json --images photos --background ground",
    "geojson": "results/geojson --images photos --background ground",
    "rois": "results/rois --images photos --background ground",
    "yolo": "results/yolo.yaml --images photos --background ground",
    "labelme": "results/labelme --images photos --background ground",
}


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_kind_comes_back_to_the_pixel(kind, tmp_path, monkeypatch, capsys):
    if KINDS[kind].package is not None:
        pytest.importorskip(KINDS[kind].package[0], reason="needs an extra")
    monkeypatch.chdir(tmp_path)
    found = awkward()
    turned = Panoptic(found.map[:, ::-1].copy(), found.segments).measured()
    photo(tmp_path / "photos" / "a.png", found.size)
    photo(tmp_path / "photos" / "a.tif", found.size)  # whose files have the whole name
    finder = Finder({"a.png": found, "a.tif": turned})
    predict_files(finder, ["photos"], "results", save=[kind], overlay=False)
    assert main(["dataset", "convert", *COMMANDS[kind].split(), "--output", "back"]) == 0, capsys.readouterr()
    samples = {
        sample.file_name: (sample, data.categories)
        for path in (tmp_path / "back").rglob("panoptic.json")
        for data in [CocoPanopticDataset("photos", path.parent / "panoptic", path)]
        for sample in data
    }
    has_classes = kind not in ("labels", "rois")

    def things(panoptic, categories):
        return {
            (each.category.name if has_classes else "object", each.full_mask(found.size).tobytes())
            for each in find_instances(panoptic, categories)
        }

    for name, expected in (("a.png", found), ("a.tif", turned)):
        sample, categories = samples.pop(name)
        assert things(sample.truth, categories) == things(expected, CATEGORIES)
    assert not samples
