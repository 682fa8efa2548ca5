"""Shards of a folder, predicted by runs of their own and merged: the files of one run."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.prediction.merge import merge_shards
from folder_runs import contents, draw_photos, predict, start_predicting

NUM_SHARDS = 3


def predict_shards(photos, out, *numbers, **options):
    for number in numbers or range(1, NUM_SHARDS + 1):
        predict(photos, out, shard=(number, NUM_SHARDS), **options)


@pytest.mark.parametrize("save", [("coco",), ("labels", "csv"), ("coco", "coco-instances", "yolo")])
@pytest.mark.parametrize("names_are_numbers", [False, True])
def test_merged_shards_are_one_run(save, names_are_numbers, tmp_path):
    if "coco-instances" in save:
        pytest.importorskip("pycocotools", reason="needs the extra coco")
    photos = tmp_path / "photos"
    draw_photos(photos, 8)
    if names_are_numbers:
        for path in photos.iterdir():
            path.rename(path.with_name(f"{1 + int(path.stem[1:]) * 7:05}.png"))
    else:
        (photos / "p0.bmp").write_bytes((photos / "p1.png").read_bytes())  # its PNG has another name
    options = {"save": save, "contact_sheet": True}
    predict(photos, tmp_path / "straight", **options)
    predict_shards(photos, tmp_path / "out", 3, 1, 2, **options)
    assert not list((tmp_path / "out").rglob("*.json"))
    report = merge_shards(tmp_path / "out")
    assert (report.num_images, report.num_resumed) == (8 if names_are_numbers else 9, 0)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_more_shards_than_photos(tmp_path):
    draw_photos(tmp_path / "photos", 2)
    predict(tmp_path / "photos", tmp_path / "straight")
    predict_shards(tmp_path / "photos", tmp_path / "out")
    merge_shards(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_unreadable_photos_are_told_again(tmp_path):
    photos = tmp_path / "photos"
    draw_photos(photos, 5)
    (photos / "p2.png").write_bytes(b"")
    message = r"inputs must be readable images, got 1 of 5 that are not .*p2\.png must"
    with pytest.raises(ValueError, match=message):
        predict(photos, tmp_path / "straight")
    predict_shards(photos, tmp_path / "out", 1, 2)
    with pytest.raises(ValueError, match=r"got none: .*p2\.png must"):
        predict_shards(photos, tmp_path / "out", 3)
    with pytest.raises(ValueError, match=message):
        merge_shards(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_shard_that_was_killed_goes_on(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photos(photos, 9)
    predict(photos, tmp_path / "straight")
    predict_shards(photos, out, 1, 3)
    with pytest.raises(ValueError, match=r"shards must all be finished, got --shard 2/3 that is not; run it"):
        merge_shards(out)
    process = start_predicting(photos, out, shard=(2, NUM_SHARDS))
    while not list((out / "panoptic").glob("p4.png")):
        assert process.poll() is None
    process.kill()
    process.wait()
    with pytest.raises(ValueError, match=r"got --shard 2/3 that is not"):
        merge_shards(out)
    predict_shards(photos, out, 2)
    assert main(["predict", "merge", str(out)]) == 0
    assert contents(out) == contents(tmp_path / "straight")


def test_a_finished_shard_that_runs_again_sees_nothing(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photos(photos, 6)
    predict_shards(photos, out)
    report, num_seen = predict(photos, out, shard=(1, NUM_SHARDS))
    assert (report.num_resumed, num_seen) == (2, 0)
    predict(photos, tmp_path / "straight")
    merge_shards(out)
    assert contents(out) == contents(tmp_path / "straight")


def test_other_files_or_options_are_no_shards_of_one_run(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photos(photos, 6)
    predict_shards(photos, out, 1, 2)
    predict(photos, out, 60, shard=(3, NUM_SHARDS))
    message = r"shards must be of the same weights, options and files, got others in .*3-of-3\.part; remove"
    with pytest.raises(ValueError, match=message):
        merge_shards(out)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(photos / "new.png")
    predict_shards(photos, out, 3)
    with pytest.raises(ValueError, match=message):
        merge_shards(out)
    predict_shards(photos, out)
    merge_shards(out)
    predict(photos, tmp_path / "straight")
    assert contents(out) == contents(tmp_path / "straight")


def test_shards_and_whole_runs_do_not_mix(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photos(photos, 3)
    predict_shards(photos, out, 1)
    with pytest.raises(ValueError, match=r"output must be without results of shards, got .*; merge them by"):
        predict(photos, out)
    predict_shards(photos, out, 2, 3)
    merge_shards(out)
    with pytest.raises(ValueError, match=r"without results of whole runs for a shard, got .*json; give ano"):
        predict_shards(photos, out, 1)
    assert len(json.loads((out / "panoptic.json").read_text())["images"]) == 3


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 0), (-1, -1)])
def test_shards_that_do_not_exist(shard, tmp_path):
    draw_photos(tmp_path / "photos", 1)
    text = re.escape(f"shard must be I/N, I from 1 to N, got {shard[0]}/{shard[1]}; give 1/")
    with pytest.raises(ValueError, match=text):
        predict(tmp_path / "photos", tmp_path / "out", shard=shard)
    assert not (tmp_path / "out").exists()


def test_nothing_to_merge(tmp_path):
    with pytest.raises(ValueError, match=r"output must have results of predict --shard, got none in .*; cor"):
        merge_shards(tmp_path)
