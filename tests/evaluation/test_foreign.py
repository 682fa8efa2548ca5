"""What transformers, detectron2 and cellpose give is scored as our own predictions are."""

import json
import warnings
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.evaluation.evaluate import evaluate_system
from axial_deeplab.evaluation.foreign import find_labels, from_detectron2, from_labels, from_transformers
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality, evaluate_labels
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.panoptic.writer import PanopticWriter
from saved_predictions import CATEGORIES, as_prediction, awkward, find_instances, numbered_map

FOUND = awkward()
CELLS = Categories([Category(1, "back", False), Category(2, "cell", True)])


def check(panoptic, expected=FOUND, categories=CATEGORIES):
    quality = PanopticQuality(categories)
    quality.update(expected, panoptic)
    assert quality.compute().all.pq == 100
    assert ((panoptic.map == 0) == (expected.map == 0)).all()
    assert {each.id for each in panoptic.segments} == set(np.unique(panoptic.map)) - {0}


def test_transformers():
    result = as_prediction(FOUND).to_transformers()
    check(from_transformers(result, CATEGORIES))
    scores = sorted(each.score for each in from_transformers(result, CATEGORIES).segments)
    assert scores == sorted(each.score for each in FOUND.segments)


def test_transformers_by_names_from_0_on_and_with_nothing():
    # EoMT numbers its segments from 0 and writes -1 where there is none.
    result = as_prediction(FOUND).to_transformers()
    result["segmentation"] = result["segmentation"] - 1
    id2label = {10 + place: name for place, name in enumerate(CATEGORIES.names)}
    for info in result["segments_info"]:
        info["id"] -= 1
        info["label_id"] += 10
    check(from_transformers(result, CATEGORIES, id2label=id2label))
    nothing = from_transformers({"segmentation": torch.full((4, 5), -1), "segments_info": []}, CATEGORIES)
    assert not nothing.map.any()
    assert nothing.segments == ()


@pytest.mark.parametrize(("kind", "value", "most"), [("float32", 2**24, 2**24), ("float16", 2048, 2048)])
def test_ids_that_floats_do_not_keep_are_refused(kind, value, most):
    # `findings/monai_ids.sh`: transforms make floats of ids, and soft edges between them.
    whole = np.array([[0, 3], [3, most - 1]], kind)
    assert [each.area for each in from_labels(whole, CELLS).segments] == [2, 1]
    for wrong in (value, 2.5, np.nan, np.inf):
        odd = whole.copy()
        odd[0, 0] = wrong
        with pytest.raises(
            ValueError, match=rf"below {most}, got .* \(1 pixels\); keep ids in a type of integers"
        ):
            from_labels(odd, CELLS)


def test_transformers_with_ids_that_repeat():
    # `findings/transformers_fused_ids.sh`: after the second piece of stuff counting goes on from its id.
    names = ["back", "cell", "rest", "cell", "back", "rest"]
    categories = Categories([*CELLS, Category(3, "rest", False)])
    rows = np.repeat(np.arange(1, 7), 2)[:, None] * np.ones((1, 4), int)

    def result(ids):
        infos = [
            {"id": value, "label_id": categories.names.index(name), "was_fused": name != "cell", "score": 0.9}
            for value, name in zip(ids, names, strict=True)
        ]
        return {"segmentation": torch.from_numpy(np.asarray(ids)[rows - 1]), "segments_info": infos}

    with pytest.warns(UserWarning, match=r"got 2 for cell, rest, all .*; give label_ids_to_fuse=set\(\)"):
        from_transformers(result([1, 2, 3, 4, 1, 2]), categories)
    with pytest.warns(UserWarning, match="got 2 for cell, cell"):
        from_transformers(result([1, 2, 3, 2, 1, 3]), categories)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = from_transformers(result([1, 2, 3, 4, 5, 6]), categories)
        fused = from_transformers(result([1, 2, 3, 4, 1, 3]), categories)
    np.testing.assert_array_equal(whole.map, fused.map)
    assert [(each.train_id, each.area) for each in whole.segments] == [(0, 16), (1, 8), (2, 16), (1, 8)]


def test_detectron2():
    result = as_prediction(FOUND).to_transformers()
    infos = [
        {"id": info["id"], "category_id": info["label_id"], "isthing": not info["was_fused"]}
        for info in result["segments_info"]
    ]
    check(from_detectron2((result["segmentation"], infos), CATEGORIES))
    for info in infos:  # numbers of things and stuff apart
        info["category_id"] -= info["isthing"]
    things, stuff = CATEGORIES.names[1:], CATEGORIES.names[:1]
    check(
        from_detectron2(
            (result["segmentation"], infos), CATEGORIES, thing_classes=things, stuff_classes=stuff
        )
    )


def test_detectron2_with_a_divisor():
    ids = torch.from_numpy(np.where(FOUND.map, FOUND.map - 10_000, -1))
    check(from_detectron2((ids, None), CATEGORIES, label_divisor=10_000))


def cells():
    """Return the label map of the awkward things, and the truth that it is of: one class on a background."""
    numbers = numbered_map(find_instances(FOUND, CATEGORIES), FOUND.size)
    return numbers, from_labels(numbers, CELLS, background="back")


def test_labels():
    numbers, truth = cells()
    assert truth.map.all()
    assert len(truth.segments) == 13
    assert (from_labels(numbers.astype(np.uint16), CELLS).map != 0).tolist() == (numbers > 0).tolist()
    check(from_labels(numbers, CELLS, thing="cell", background="back"), truth, CELLS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_labels(np.zeros((2, 2)), CATEGORIES), "thing must be .*, got several things"),
        (
            lambda: from_labels(np.zeros((2, 2)), CELLS, thing="dog"),
            r"thing must name .*\(back, cell\), got 'dog'",
        ),
        (
            lambda: from_labels(np.zeros((2, 2)), CELLS, thing="back"),
            r"thing must be a thing class of the ground truth \(cell\), got 'back', which is stuff; name",
        ),
        (
            lambda: from_labels(np.zeros((2, 2)), CELLS, background="cell"),
            r"background must be a stuff class of the ground truth \(back\), got 'cell', which is a thing",
        ),
        (lambda: from_labels(np.zeros((2, 2, 3)), CELLS), r"maps of segments must be \(H, W\), got shape"),
        (
            lambda: from_transformers(
                {"segmentation": np.ones((2, 2)), "segments_info": [{"id": 1, "label_id": 9}]}, CELLS
            ),
            "classes of segments must be train ids from 0 to 1, got 9; give id2label",
        ),
        (
            lambda: from_transformers(
                {"segmentation": np.ones((2, 2)), "segments_info": [{"id": 1, "label_id": 9}]},
                CELLS,
                id2label={0: "cell"},
            ),
            "id2label must name every class, got no name for 9",
        ),
        (
            lambda: from_labels(np.arange(1, 141_601).reshape(354, 400), CELLS),
            "instance_id must be from 0 to 141071, got 141072",
        ),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def data_set(tmp_path):
    numbers, truth = cells()
    (tmp_path / "images").mkdir()
    with PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", CELLS) as writer:
        for name in ("a.png", "b.png"):
            Image.new("RGB", FOUND.size[::-1]).save(tmp_path / "images" / name)
            writer.add(truth, image_file_name=name)
    return numbers, truth


def test_folders_of_label_maps(tmp_path, capsys):
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    tifffile.imwrite(tmp_path / "found" / "a_cp_masks.tif", numbers.astype(np.uint16))
    half = np.where(numbers > 6, 0, numbers).astype(np.uint16)
    tifffile.imwrite(tmp_path / "found" / "b_masks.tif", half)
    result = evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found", background="back")
    assert result.things.sq == 100
    assert result.things.rq == pytest.approx(100 * 2 * 18 / (24 + 18))
    words = ["pq", "--gt-json", "panoptic.json", "--pred-labels", "found", "--background", "back"]
    words[2], words[4] = str(tmp_path / words[2]), str(tmp_path / words[4])
    assert main([*words, "--json", str(tmp_path / "pq.json")]) == 0
    assert json.loads((tmp_path / "pq.json").read_text())["Things"]["rq"] == pytest.approx(result.things.rq)


def test_masks_in_place_of_label_maps(tmp_path):
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.where(numbers > 0, 255, 0).astype(np.uint8)).save(tmp_path / "found" / name)
    with pytest.warns(
        UserWarning, match=r"found: 2 of 2 numbers .* separate pieces .*; .* number the pieces"
    ):
        evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found", background="back")


def test_background_that_has_a_number_in_label_maps(tmp_path):
    """It would count as an object that no picture has."""
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "found" / name, numbers.astype(np.uint16) + 1)
    with pytest.warns(UserWarning, match=r"2 images, .*instance 1 in all corners .* write 0 in its place"):
        evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found", background="back")


@pytest.mark.parametrize("number", [65535, -1])
def test_nodata_of_rasters_in_label_maps(number, tmp_path):
    """It would count as an object that no picture has."""
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    numbers = numbers.astype(np.int32)
    numbers[:, -1] = number
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "found" / name, numbers)
    call = partial(evaluate_labels, tmp_path / "panoptic.json", None, tmp_path / "found", background="back")
    if number < 0:
        with pytest.raises(
            ValueError, match=r"a\.tif must have numbers .* got -1; .* write 0 there, and save"
        ):
            call()
        return
    with pytest.warns(
        UserWarning, match=r"2 images, of which the first: .*instance 65535 in 2 corners.* write 0"
    ):
        call()


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        (1, r"66 pieces with the number 255, .* beside 254 other .* write them again with more bits"),
        (2, r"has 2 pages, of which the first is read; save the right one alone"),
    ],
)
def test_label_maps_that_did_not_hold_all_numbers_or_have_several_pages(pages, message, tmp_path):
    numbers = np.zeros((48, 60), np.int32)
    numbers[::3, ::3] = np.arange(1, 321).reshape(16, 20)
    with PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", CELLS) as writer:
        writer.add(from_labels(numbers, CELLS, background="back"), image_file_name="a.png")
    (tmp_path / "found").mkdir()
    stack = np.stack([np.minimum(numbers, 255).astype(np.uint8)] * pages)
    tifffile.imwrite(tmp_path / "found" / "a.tif", stack, photometric="minisblack")
    with pytest.warns(UserWarning, match=message):
        evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found", background="back")


def test_stuff_without_a_background(tmp_path):
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "found" / name, numbers.astype(np.uint16))
    with pytest.warns(UserWarning, match=r"panoptic.json has segments of stuff \(back\), .* --background"):
        result = evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found")
    assert (result.things.pq, result.stuff.pq) == (100, 0)


def test_equal_label_maps_are_one_and_told_once(tmp_path):
    numbers, _ = data_set(tmp_path)
    (tmp_path / "found").mkdir()
    for name in ("a", "b"):
        Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / "found" / f"{name}_cp_masks.png")
        tifffile.imwrite(tmp_path / "found" / f"{name}_cp_masks.tif", numbers.astype(np.uint16))
    with pytest.warns(UserWarning, match=r"2 images, of which the first: .*equal label maps, a_cp_masks"):
        result = evaluate_labels(tmp_path / "panoptic.json", None, tmp_path / "found", background="back")
    assert result.all.pq == 100


def test_a_label_map_beside_the_picture_is_the_only_one(tmp_path):
    for name in ("a.png", "a_masks.tif"):
        (tmp_path / name).touch()
    assert find_labels(tmp_path, "a.png").name == "a_masks.tif"
    for name in ("a.tif", "a_cp_masks.tif"):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"a.png must have one label map, got .*{name}"):
            find_labels(tmp_path, "a.png")
        (tmp_path / name).unlink()


def test_maps_under_other_names_are_told(tmp_path):
    for name in ("a1.tif", "a", "b.npy", "a.jpg", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=rf"in {tmp_path} but a: save it as a_masks.tif; add it"):
        find_labels(tmp_path, "a.jpg")  # which is the picture itself
    for name, told in (("a", "a_seg.npy, a"), ("b", "b.npy"), ("c", "sub/c.png"), ("d", None)):
        (tmp_path / "a_seg.npy").touch()
        wanted = (
            rf"but .*{told.split(', ')[0]}.*: save it as {name}_masks.tif" if told else rf"in {tmp_path}; add"
        )
        with pytest.raises(FileNotFoundError, match=wanted):
            find_labels(tmp_path, f"{name}.jpg")


def test_pictures_of_one_stem_have_maps_of_their_own(tmp_path):
    numbers, truth = cells()
    (tmp_path / "found" / "sub").mkdir(parents=True)
    with PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", CELLS) as writer:
        writer.add(truth, image_file_name="sub\\a.jpg")
        empty = from_labels(np.zeros_like(numbers), CELLS, background="back")
        writer.add(empty, image_file_name="sub\\a.png")
    tifffile.imwrite(tmp_path / "found" / "sub" / "a.TIF", numbers.astype(np.uint16))
    arguments = (tmp_path / "panoptic.json", None, tmp_path / "found")
    with pytest.raises(ValueError, match=r"must be of one picture each, got .*a.TIF for .*a.jpg and .*a.png"):
        evaluate_labels(*arguments, background="back")
    tifffile.imwrite(tmp_path / "found" / "sub" / "a.png.tif", np.zeros_like(numbers, np.uint16))
    assert evaluate_labels(*arguments, background="back").all.pq == 100


def test_any_system_on_a_data_set(tmp_path):
    numbers, _ = data_set(tmp_path)
    data = DataConfig(val=SplitConfig(root=str(tmp_path)))
    result = evaluate_system(lambda sample: from_labels(numbers, CELLS, background="back"), data)
    assert (result.panoptic.all.pq, result.semantic.mean_iou, result.num_images) == (100, 100, 2)
    nothing = evaluate_system(lambda sample: Panoptic(np.zeros(FOUND.size, np.int32), []), data)
    assert nothing.panoptic.all.pq == 0
