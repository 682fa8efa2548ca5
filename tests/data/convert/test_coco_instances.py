"""COCO instances converted through the command line are read back as COCO panoptic data."""

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.convert.coco_instances import _unpacked
from axial_deeplab.panoptic.png import read_panoptic_png
from dataset_conversion import convert, save


def instances(tmp_path: Path, change: Callable[[dict[str, Any]], object] = lambda document: None) -> Path:
    """Write two images, the first with a polygon, run lengths, and a crowd of compressed run lengths."""
    from pycocotools import mask as coco_mask

    crowd = np.zeros((4, 6), np.uint8)
    crowd[:, 3:] = 1
    packed = coco_mask.encode(np.asfortranarray(crowd))
    polygon = [[0, 0, 2, 0, 2, 4, 0, 4], [5, 3, 6, 3, 6, 4, 5, 4]]
    document: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 4, "width": 6} for n in (5, 6)],
        "annotations": [
            {"image_id": 5, "category_id": 7, "iscrowd": 0, "segmentation": polygon},
            # Column by column: 4 pixels of the second column.
            {"image_id": 5, "category_id": 9, "segmentation": {"size": [4, 6], "counts": [4, 4, 16]}},
            {
                "image_id": 5, "category_id": 7, "iscrowd": 1,
                "segmentation": {"size": [4, 6], "counts": packed["counts"].decode()},
            },
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "car"}],
    }  # fmt: skip
    change(document)
    for number in (5, 6):
        save(tmp_path / "images" / f"{number}.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "instances.json").write_text(json.dumps(document))
    return tmp_path


def convert_instances(capsys: pytest.CaptureFixture[str], root: Path, *words: object) -> tuple[int, str]:
    where = ("--images", root / "images", "--json", root / "instances.json", "--output", root / "out")
    return convert(capsys, "coco-instances", *where, *words)


@pytest.mark.parametrize("is_in_list", [False, True])
def test_polygons_of_pairs(is_in_list: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arrays (N, 2) of points become lists of pairs, also with an array around them."""

    def in_pairs(document: dict[str, Any]) -> None:
        points = [[0, 0], [2, 0], [2, 4], [0, 4]]
        document["annotations"][0]["segmentation"] = [points] if is_in_list else points

    code, printed = convert_instances(capsys, instances(tmp_path, in_pairs))
    assert (code, "left out" in printed) == (0, False), printed
    ids, _ = read_panoptic_png(tmp_path / "out/panoptic/5.png"), None
    assert (ids[:, 0] == ids[0, 0]).all()
    assert (ids[:, 0] > 0).all()


def test_coco_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_instances(capsys, instances(tmp_path), "--background", "rest")[0] == 0
    dataset = CocoPanopticDataset(
        tmp_path / "images", tmp_path / "out/panoptic", tmp_path / "out/panoptic.json"
    )
    assert [(c.id, c.name, c.is_thing) for c in dataset.categories] == [
        (7, "car", True), (9, "dog", True), (10, "rest", False),
    ]  # fmt: skip
    first, second = dataset
    car, dog, rest, crowd = 10_001, 20_001, 30_000, 10_002
    assert first.panoptic is not None
    assert first.panoptic.tolist() == [[car, dog, rest, crowd, crowd, crowd]] * 3 + [
        [car, dog, rest, crowd, crowd, car]
    ]
    assert [s.id for s in first.segments if s.is_crowd] == [crowd]
    assert (second.image_id, [s.id for s in second.segments]) == (6, [rest])


def classes_that_count_on_by_one(document: dict[str, Any]) -> None:
    document["categories"] = [{"id": 0, "name": "dog"}, {"id": 1, "name": "car"}]
    for entry, category_id in zip(document["annotations"], (1, 1, 2), strict=True):
        entry["category_id"] = category_id


def first_segmentation(value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["annotations"][0].update(segmentation=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            first_segmentation([[1, 2, 3, 4, 5, 6, 7]]),
            "annotations[0] segmentation must be polygons of three or more points",
        ),
        (first_segmentation([[True, 0, 2, 0, 2, 4]]), "annotations[0] segmentation must be polygons"),
        (
            first_segmentation({"size": [4, 6], "counts": [True, 23]}),
            "annotations[0] counts must be the lengths",
        ),
        (first_segmentation("none"), "annotations[0] segmentation must be polygons of three or more points"),
        (
            lambda d: [e.update(segmentation=[], bbox=[0, 0, 2, 2]) for e in d["annotations"]],
            "got none of three or more points in 3 annotations; boxes alone say nothing of pixels",
        ),
        (
            lambda d: [e.update(category_id=n + 20) for n, e in enumerate(d["annotations"])],
            "annotations[2] category_id must be in categories, got 22",
        ),
        (first_segmentation({"size": [4, 5], "counts": [20]}), "or run lengths of size [4, 6], got {'size'"),
        (first_segmentation({"size": [4, 6], "counts": [20]}), "annotations[0] counts must be the lengths"),
        (first_segmentation({"size": [4, 6], "counts": [-4, 28]}), "annotations[0] counts must be"),
        # As a text: 16; a number without end; no text of COCO. pycocotools would write out of bounds.
        (first_segmentation({"size": [4, 6], "counts": "`0"}), "counts must be the lengths of runs over 4"),
        (first_segmentation({"size": [4, 6], "counts": "h0P"}), "packed as a text, got 'h0P'; correct"),
        (first_segmentation({"size": [4, 6], "counts": "\xe9"}), "annotations[0] counts must be"),
        (first_segmentation([[0, 0, 1e9, 0, 1e9, 1]]), "annotations[0] segmentation must be polygons"),
        (
            lambda d: d["annotations"][1].update(category_id=8),
            "annotations[1] category_id must be in categories, got 8",
        ),
        (classes_that_count_on_by_one, "annotations[2] category_id must be in categories, got 2; add"),
        (
            classes_that_count_on_by_one,
            "count from 0 and annotations from 1, as label-convert writes them: subtract",
        ),
        (
            lambda d: d["annotations"][1].update(image_id=8),
            "annotations[1] image_id must be in images, got 8",
        ),
        (lambda d: d["images"][0].update(id=6), "image ids must be unique, got 6 twice"),
        (
            lambda d: d["images"][0].update(file_name="x.png"),
            "images must have all files of the JSON, got no",
        ),
        (lambda d: d["images"][1].update(file_name="5.png"), "5.png under the ids 5 and 6; remove one"),
        (lambda d: d["images"][1].update(file_name="./5.png"), "5.png under the ids 5 and 6; remove one"),
        (lambda d: d.update(images=[], annotations=[]), "images must list at least one image, got none"),
        (
            lambda d: d["categories"][0].update(id=7),
            "categories: id must occur once in categories",
        ),
        (lambda d: d["categories"][0].pop("name"), "categories[0] (id 9) name must be a text, got None"),
    ],
)
def test_broken_coco_instances_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    code, printed = convert_instances(capsys, instances(tmp_path, change))
    assert code == 2
    assert message in printed


def usual_of_tools(document: dict[str, Any]) -> None:
    """Write the same in the words of other programs: nothing of the result may change."""
    for entry in document["images"]:
        entry.update(file_name=f"sub\\ä{entry['id']}.PNG", id=float(entry["id"]))
        del entry["height"], entry["width"]
    first, *_ = document["annotations"]
    first.update(image_id="5", category_id="7", iscrowd=None)
    first["segmentation"].append([1, 1])  # a stray point
    document["annotations"] += [
        {"image_id": 5, "category_id": 7, "segmentation": outline, "bbox": [0, 0, 6, 4]}
        for outline in ([], None, [[1, 1, 2, 2]])
    ]
    document["annotations"] = {str(n): entry for n, entry in enumerate(document["annotations"])}
    for entry in document["categories"]:
        entry.update(supercategory="car", id=str(entry["id"]))
    document["categories"].insert(0, {"id": 0, "name": "car", "supercategory": "none"})


def test_files_as_other_programs_write_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plain").mkdir()
    convert_instances(capsys, instances(tmp_path / "plain"), "--background", "rest")
    instances(tmp_path, usual_of_tools)
    (tmp_path / "images" / "sub").mkdir()
    for number in (5, 6):  # in two code points, as macOS has it
        path = tmp_path / "images" / "sub" / unicodedata.normalize("NFD", f"ä{number}.png")
        (tmp_path / "images" / f"{number}.png").rename(path)
    for encoding in ("utf-8-sig", "utf-16"):
        content = (tmp_path / "instances.json").read_bytes()
        (tmp_path / "instances.json").write_text(json.dumps(json.loads(content)), encoding=encoding)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        code, printed = convert_instances(capsys, tmp_path, "--background", "rest")
        assert code == 0, printed
    assert "4 of 6 annotations have an outline that is empty or of fewer than three points" in printed
    assert "annotations[0], annotations[3], annotations[4], annotations[5]" in printed
    assert "category 'car' has no annotation and is the root of the others; left out" in printed
    documents = []
    for root in (tmp_path, tmp_path / "plain"):
        document = json.loads((root / "out" / "panoptic.json").read_text())
        assert [entry.pop("file_name").split("/")[0] for entry in document["images"]]
        documents.append(document)
        for entry in document["annotations"]:
            entry["ids"] = read_panoptic_png(root / "out" / "panoptic" / entry.pop("file_name")).tolist()
    assert documents[0] == documents[1]


def test_packed_runs_are_those_of_pycocotools() -> None:
    from pycocotools import mask as coco_mask

    random = np.random.default_rng(0)
    for height, width, share in ((1, 1, 1), (7, 5, 0.5), (40, 60, 0.1), (300, 2, 0.99), (9, 9, 0)):
        mask = np.asfortranarray(random.random((height, width)) < share)
        column = mask.ravel(order="F").astype(int)
        changes = np.flatnonzero(np.diff(column, prepend=0, append=2))
        expected = np.diff(changes, prepend=0).tolist()
        assert _unpacked(coco_mask.encode(mask)["counts"].decode()) == expected


def test_images_that_the_json_does_not_list_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(instances(tmp_path) / "images" / "7.png", np.zeros((4, 6, 3), np.uint8))
    code, printed = convert_instances(capsys, tmp_path)
    assert code == 0
    assert re.search(r"7\.png: not listed in .*instances\.json; left out", printed)


def test_coco_instances_need_pycocotools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    (tmp_path / "images").mkdir()
    code, printed = convert_instances(capsys, tmp_path)
    assert code == 2
    assert 'pip install "axial-deeplab[coco]"' in printed


def test_crowds_and_things_as_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = instances(tmp_path)
    for source in (("coco-instances", "--json", root / "instances.json"), (root / "instances.json",)):
        words = (*source, "--images", root / "images", "--things", "car", "--crowds-are-objects")
        assert convert(capsys, *words, "--output", root / "out")[0] == 0
        document = json.loads((root / "out/panoptic.json").read_text())
        assert [(each["name"], each["isthing"]) for each in document["categories"]] == [
            ("car", 1),
            ("dog", 0),
        ]
        first, second = document["annotations"]
        segments = [(s["category_id"], s["iscrowd"], s["area"]) for s in first["segments_info"]]
        # The crowd of 12 pixels is the largest and lies below the car of 9, of which the dog hides 4.
        assert sorted(segments) == [(7, 0, 5), (7, 0, 11), (9, 0, 4)]
        assert second["segments_info"] == []
        shutil.rmtree(root / "out")


def test_crowds_alone_are_told_by_the_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def crowds(document: dict[str, Any]) -> None:
        for each in document["annotations"]:
            each["iscrowd"] = 1

    root = instances(tmp_path, crowds)
    code, printed = convert_instances(capsys, root)
    assert code == 0
    assert f"all 3 segments of things are crowds, such as one in {root / 'images' / '5.png'}; " in printed
    shutil.rmtree(root / "out")
    assert "are crowds" not in convert_instances(capsys, root, "--crowds-are-objects")[1]


def ring(document: dict[str, Any]) -> None:
    """Draw a block of 10 x 10 pixels, whose border has 36; declare fewer, as without its holes."""
    outline = [[5, 5, 15, 5, 15, 15, 5, 15]]
    document["annotations"] = [
        {"id": n, "image_id": 5, "category_id": 7, "segmentation": outline, "area": area}
        for n, area in enumerate((100, 64, 136, 63, 137.5, 10**400, None), 1)
    ]
    document["images"] = [{"id": 5, "file_name": "big.png", "height": 20, "width": 20}]


def test_areas_that_are_not_what_is_drawn_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "images" / "big.png", np.zeros((20, 20, 3), np.uint8))
    code, printed = convert_instances(capsys, instances(tmp_path, ring))
    assert code == 0
    assert (
        "big.png has 3 annotations whose area is not what is drawn, such as 63 for the 100 pixels" in printed
    )
    assert "annotations[3]" in printed


@pytest.mark.parametrize("folder", ["/home/someone/images/", "C:\\data\\images\\", "images/", "../images/"])
def test_pictures_of_a_json_of_another_folder(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def place(document: dict[str, Any]) -> None:
        for image in document["images"]:
            image["file_name"] = folder + image["file_name"]

    code, printed = convert_instances(capsys, instances(tmp_path, place))
    assert code == 0, printed
    images = json.loads((tmp_path / "out/panoptic.json").read_text())["images"]
    assert [(image["id"], image["file_name"]) for image in images] == [(5, "5.png"), (6, "6.png")]
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "images/more").mkdir()
    (tmp_path / "images/5.png").rename(tmp_path / "images/more/5.png")
    shutil.copytree(tmp_path / "images/more", tmp_path / "images/others")
    code, printed = convert_instances(capsys, tmp_path)
    assert (code, "more/5.png" in printed, "others/5.png as likely" in printed) == (2, True, True), printed


def test_a_polygon_alone_is_one_in_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def alone(document: dict[str, Any]) -> None:
        ring(document)
        for each in document["annotations"]:
            each["segmentation"] = each["segmentation"][0]

    save(tmp_path / "images" / "big.png", np.zeros((20, 20, 3), np.uint8))
    root = instances(tmp_path, alone)
    code, printed = convert_instances(capsys, root)
    assert (code, "left out" in printed) == (0, True), printed  # six lie below the seventh
    ids = read_panoptic_png(next((root / "out/panoptic").rglob("*.png")))
    assert int((ids > 0).sum()) == 100


def areas_of_boxes(document: dict[str, Any]) -> None:
    """Draw triangles whose areas are declared as Roboflow does: those of the boxes, rounded."""
    outline = [[5, 5, 15.3333, 5, 15.3333, 15, 5, 5]]
    document["annotations"] = [
        {"id": n, "image_id": 5, "category_id": 7, "segmentation": outline}
        | {"bbox": [5, 5, 10.333, 10], "area": 103.333}
        for n in range(3)
    ]
    document["images"] = [{"id": 5, "file_name": "big.png", "height": 20, "width": 20}]


def test_areas_that_are_those_of_the_boxes_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "images" / "big.png", np.zeros((20, 20, 3), np.uint8))
    root = instances(tmp_path, areas_of_boxes)
    code, printed = convert_instances(capsys, root)
    assert (code, "area is not" in printed) == (0, False), printed
    shutil.rmtree(root / "out")
    document = json.loads((root / "instances.json").read_text())
    document["annotations"][1]["area"] = 12
    document["annotations"][2]["bbox"] = 3
    (root / "instances.json").write_text(json.dumps(document))
    assert "3 annotations whose area is not what is drawn" in convert_instances(capsys, root)[1]


def holes_as_second_outlines(document: dict[str, Any]) -> None:
    """Draw a block of 12 x 12 with a hole of 8 x 8 in which an island of 2 x 2 lies, and one of two parts."""
    rings = [[n, n, m, n, m, m, n, m] for n, m in ((4, 12), (2, 14), (7, 9))]
    parts = [[20, 0, 22, 0, 22, 2, 20, 2], [20, 2, 24, 2, 24, 4, 20, 4]]
    document["annotations"] = [
        {"id": n, "image_id": 5, "category_id": 7, "segmentation": outlines, "area": area}
        for n, (outlines, area) in enumerate(((rings, 84), (parts, 12)), 1)
    ]
    document["images"] = [{"id": 5, "file_name": "big.png", "height": 20, "width": 30}]


def test_holes_as_second_outlines_are_told_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "images" / "big.png", np.zeros((20, 30, 3), np.uint8))
    root = instances(tmp_path, holes_as_second_outlines)
    code, printed = convert_instances(capsys, root)
    assert code == 0
    assert "big.png has 1 annotations with an outline within another of theirs, such as" in printed
    assert "annotations[0], which COCO's rule fills" in printed
    shutil.rmtree(root / "out")
    for source in (("coco-instances", "--json", root / "instances.json"), (root / "instances.json",)):
        words = (*source, "--images", root / "images", "--inner-outlines-are-holes")
        code, printed = convert(capsys, *words, "--output", root / "out")
        assert (code, "within another" in printed, "area is not" in printed) == (0, False, False)
        ids = read_panoptic_png(next((root / "out/panoptic").rglob("*.png")))
        expected = np.zeros((20, 30), bool)
        for n, m in ((2, 14), (4, 12), (7, 9)):
            expected[n:m, n:m] ^= True
        expected[0:2, 20:22] = expected[2:4, 20:24] = True
        np.testing.assert_array_equal(ids > 0, expected)
        shutil.rmtree(root / "out")


def test_ids_that_occur_again_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def number(document: dict[str, Any]) -> None:
        for each in document["annotations"]:
            each["id"] = 4

    code, printed = convert_instances(capsys, instances(tmp_path, number))
    assert code == 0
    assert "1 annotation ids occur more than once (4)" in printed


def no_outline_on_the_second(document: dict[str, Any]) -> None:
    document["annotations"].append({"image_id": 6, "category_id": 7, "segmentation": []})


@pytest.mark.parametrize("background", [(), ("--background", "rest")])
def test_images_without_outline_are_skipped(
    background: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = instances(tmp_path, no_outline_on_the_second)
    code, printed = convert_instances(capsys, root, *background)
    assert code == 0
    assert "nothing else is drawn on 1 images (6.png), which --skip-empty leaves out" in printed
    shutil.rmtree(root / "out")
    code, printed = convert_instances(capsys, root, *background, "--skip-empty", "--copy-images")
    assert code == 0
    assert "nothing is drawn on 1 images (6.png); left out" in printed
    assert "1 images written" in printed
    assert [each.name for each in (root / "out/images").iterdir()] == ["5.png"]
    document = json.loads((root / "out/panoptic.json").read_text())
    assert [each["id"] for each in document["images"]] == [5]
