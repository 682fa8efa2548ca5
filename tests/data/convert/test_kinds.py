"""The files of labeling tools, written by the tools themselves (`fixtures/`), are read to the pixel."""

import base64
import codecs
import importlib.util
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.discover import find_datasets
from dataset_conversion import convert

FIXTURES = Path(__file__).parent / "fixtures"
SPEC = importlib.util.spec_from_file_location("scene", FIXTURES / "scene.py")
assert SPEC is not None
scene = importlib.util.module_from_spec(SPEC)
assert SPEC.loader is not None
SPEC.loader.exec_module(scene)
CELL, HOLE, OVER, PAIR, mask = scene.CELL, scene.HOLE, scene.OVER, scene.PAIR, scene.mask

Segments = list[tuple[str, np.ndarray]]


def segments_of(capsys: pytest.CaptureFixture[str], *words: object, output: Path) -> dict[str, Segments]:
    """Convert, and return the class and the pixels of each segment of each image."""
    code, printed = convert(capsys, *words, "--output", output, "--copy-images")
    assert code == 0, printed
    found = {}
    for root in sorted(path.parent for path in output.rglob("panoptic.json")):
        dataset = CocoPanopticDataset(root / "images", root / "panoptic", root / "panoptic.json")
        for sample in dataset:
            assert sample.panoptic is not None
            found[sample.file_name] = [
                (dataset.categories.names[s.train_id], sample.panoptic == s.id) for s in sample.segments
            ]
    return found


def same(found: Segments, wanted: Segments) -> bool:
    def key(entry: tuple[str, np.ndarray]) -> tuple[str, bytes]:
        return entry[0], entry[1].tobytes()

    return sorted(map(key, found)) == sorted(map(key, wanted))


OUTLINES = scene.expected()


def named(*names: str) -> Segments:
    return [(name, pixels) for name, (_, pixels) in zip(names, OUTLINES, strict=True)]


# Of a tool without groups, each part of the pair is an object.
APART = [*OUTLINES[:2], *(("pair", mask(part)) for part in PAIR)]
# What streets show beside: one segment of two pieces of sky, and one of wall, or vegetation.
TOP, LEFT = [(0, 0), (16, 0), (16, 3), (0, 3)], [(0, 10), (3, 10), (3, 12), (0, 12)]
STUFF = [
    ("sky", (mask(TOP) | mask(LEFT)) & ~np.logical_or.reduce([pixels for _, pixels in OUTLINES])),
    ("wall", mask([(12, 6), (16, 6), (16, 12), (12, 12)])),
]
GREEN = ("vegetation", STUFF[1][1])
# The package that a kind is read with, if it is an extra.
EXTRAS = {"imagej": "roifile", "coco": "pycocotools"}
SCENES = {
    "labelme": ("labelme", OUTLINES),
    "yolo": ("yolo", OUTLINES),
    "via": ("via2", APART),
    "via 3": ("via3", APART),
    "via csv": ("via2_csv", APART),
    "via 1": ("via1", APART),
    "via 1 csv": ("via1_csv", APART),
    "via 3 csv": ("via3_csv", APART),
    "cvat": ("cvat", OUTLINES),
    "cvat 2": ("cvat_datumaro", OUTLINES),
    "label-studio": ("label_studio", OUTLINES),
    "label-studio min": ("label_studio_min", OUTLINES),
    "label-studio window": ("label_studio_window", APART),
    "label-studio window min": ("label_studio_window_min", APART),
    "supervisely": ("supervisely", OUTLINES),
    "voc": ("voc", OUTLINES),
    "voc 2": ("cvat_voc", OUTLINES),
    "coco": ("roboflow", OUTLINES),
    "qupath": ("qupath", OUTLINES),
    "qupath 2": ("qupath_qubalab", OUTLINES),
    "kitti-step": ("kitti_step", [*named("person", "person", "car"), *STUFF]),
    "kitti-step 2": ("motchallenge_step", [*named("person", "person", "person"), STUFF[0], GREEN]),
    "bdd100k": ("bdd100k", named("pedestrian", "pedestrian", "car")),
    "bdd100k pan_seg": ("bdd100k_panoptic", [*named("person", "person", "car"), *STUFF]),
    "ade20k": ("ade20k", named("cell, cells", "cell, cells", "pair, pairs")),
    "imagej": ("imagej", [("object", pixels) for _, pixels in OUTLINES]),
    "label-maps": ("cellpose", [("object", pixels) for _, pixels in OUTLINES]),
    "label-maps 2": ("stardist", [("object", pixels) for _, pixels in OUTLINES]),
}


def background_of(kind: str) -> tuple[str, ...]:
    return () if kind.startswith("kitti") else ("--background", "rest")


@pytest.mark.parametrize("kind", SCENES)
def test_the_scene_of_a_tool_is_read_to_the_pixel(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    source, wanted = SCENES[kind]
    found = segments_of(capsys, FIXTURES / source, output=tmp_path / "out")
    named = {Path(name).name: segments for name, segments in found.items()}
    assert sorted(named) == ["a.png", "b.png"]
    assert same(named["a.png"], wanted), [(name, pixels.astype(int)) for name, pixels in named["a.png"]]
    assert named["b.png"] == []


@pytest.mark.parametrize("kind", SCENES)
def test_a_page_of_the_pictures_of_a_tool(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    root = shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / "source")
    # The option is for label maps, too.
    of_maps = {"bitmasks", "panoptic_maps", "SegmentationClass", "SegmentationObject"}
    for path in [*root.rglob("*.png"), *root.rglob("*.tif")]:
        is_picture = path.name in ("a.png", "b.png") and not of_maps & set(path.parts)
        if not is_picture and "label-maps" not in kind:
            continue
        pixels = np.asarray(Image.open(path))
        with tifffile.TiffWriter(path) as writer:
            for page in (np.zeros((5, 7), np.uint8), pixels):
                writer.write(page, metadata=None)
    _, wanted = SCENES[kind]
    found = segments_of(capsys, root, "--page", 2, output=tmp_path / "out")
    assert same(next(found[name] for name in found if name.endswith("a.png")), wanted)
    copied = next((tmp_path / "out").rglob("images/**/a.png"))
    assert tifffile.imread(copied).shape == (12, 16, 3)
    words = ("dataset", "check", root, *background_of(kind), "--page", "2")
    assert main([*map(str, words)]) == 0, capsys.readouterr()
    code, printed = convert(capsys, root, "--page", 3, "--output", tmp_path / "none", "--copy-images")
    assert (code, "must have page 3, got 2" in printed) == (2, True), printed


def test_shapes_of_supervisely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As supervisely 6.74.51 writes Rectangle(top=2, left=3, bottom=5, right=7), of 20 pixels, and so on.
    objects = {
        "rectangle": {"points": {"exterior": [[3, 2], [7, 5]], "interior": []}},
        "multipolygon": {
            "parts": [
                {"exterior": [[10, 0], [14, 4], [10, 4]], "interior": []},
                {"exterior": [[12, 6], [15, 6], [15, 9], [12, 9]], "interior": []},
            ]
        },
        "alpha_mask": {
            "bitmap": {
                "origin": [2, 8],
                "data": "eJzrDPBz5+WS4mJgYOD19HAJAtLMQMzEASQYdshbHgNxSoL8ghkYyiaftQDyBDxdHEMq5iT/mH/ozIkP"
                "8xkZuLOY0hsLd9qDdHi6+rmsc0poAgALJxYY",
            }
        },
        "polygon": {"points": {"exterior": [[0, 0.4], [2, 0.4], [2, 3.6], [0, 3.6]], "interior": []}},
    }
    root = shutil.copytree(FIXTURES / "supervisely", tmp_path / "supervisely")
    path = root / "scene/ann/a.png.json"
    document = json.loads(path.read_text())
    document["objects"] = [
        {"classTitle": "cell", "geometryType": kind} | shape for kind, shape in objects.items()
    ]
    path.write_text(json.dumps(document))
    found = segments_of(capsys, root, output=tmp_path / "out")
    y, x = np.mgrid[:12, :16] + 0.5
    triangle = (x >= 10.5) & (y < 4.5) & (y > x - 10)  # its corners are centers of pixels
    alpha = np.zeros((12, 16), bool)
    alpha[8:10, 2:5] = [[True, True, True], [False, True, True]]
    wanted = [
        mask([(3, 2), (8, 2), (8, 6), (3, 6)]),
        triangle | mask([(12, 6), (15, 6), (15, 9), (12, 9)]),
        alpha,
        mask([(0, 0), (2, 0), (2, 4), (0, 4)]),
    ]
    assert same(found["scene/img/a.png"], [("cell", pixels) for pixels in wanted]), found


@pytest.mark.parametrize("kind", SCENES)
def test_a_kind_is_told(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    source = FIXTURES / SCENES[kind][0]
    code, printed = convert(capsys, source, "--output", tmp_path / "out")
    assert code == 0, printed
    assert f"{source}: read as " in printed
    assert f"({kind.split()[0]})" in printed
    assert main(["dataset", "check", str(source), *background_of(kind)]) == 0
    printed = capsys.readouterr().out
    assert f"({kind.split()[0]})" in printed
    assert "2 images" in printed


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new, 1))


# Kind, file, what is replaced in it by what, what the one line must say.
BAD = [
    ("labelme", "a.json", '"cell"', '""', "a.json: shapes[0] ('') label must be a text, got an empty one"),
    ("labelme", "a.json", '"cell"', "5", "a.json: shapes[0] label must be of type str, got 5"),
    ("labelme", "a.json", '"mask": "iVBO', '"mask": "', "shapes[0] ('cell') mask must be a PNG in base64"),
    (
        "labelme",
        "a.json",
        '"rectangle"',
        '"circles"',
        "shapes[3] ('pair') shape_type must have polygon, rect",
    ),
    (
        "labelme",
        "a.json",
        "[\n          5,",
        '[\n          "x",',
        "shapes[1] ('cell') points must be pairs of",
    ),
    (
        "labelme",
        "a.json",
        "[\n          5,",
        "[\n          1e9,",
        "shapes[1] ('cell') points must be pairs of",
    ),
    (
        "labelme",
        "a.json",
        "[\n          5,",
        "[\n          NaN,",
        "shapes[1] ('cell') points must be pairs of",
    ),
    (
        "labelme",
        "a.json",
        '"group_id": 1',
        '"group_id": {}',
        "shapes[2] ('pair') group_id must be of type int",
    ),
    ("yolo", "labels/train/a.txt", "0 0", "x 0", "a.txt: line 1 must be the number of a class and pairs"),
    ("yolo", "labels/train/a.txt", "0 0", "0 0 0", "a.txt: line 1 must be the number of a class and pairs"),
    ("yolo", "labels/train/a.txt", "0 0", "nan 0", "a.txt: line 1 must be the number of a class and pairs"),
    ("yolo", "labels/train/a.txt", "0 0", "inf 0", "a.txt: line 1 must be the number of a class and pairs"),
    ("yolo", "labels/train/a.txt", "\n1 0", "\n7 0", "a.txt: line 3 must have a class of the 2 names, got 7"),
    ("yolo", "labels/train/a.txt", "\n1 0", "\n1 60", "a.txt: line 3 x and y must be parts of width and"),
    ("yolo", "data.yaml", "0: cell", "0: [", "data.yaml must be a YAML file"),
    ("yolo", "data.yaml", "names:", "kpt_shape: [2, 3]\nnames:", "must be of outlines, got kpt_shape"),
    ("via", "project.json", '"polygon"', "5", "a.png: regions[0] name must be of type str, got 5"),
    (
        "via",
        "project.json",
        '"all_points_x":[1,',
        '"all_points_x":[',
        "regions[0] must have as many x as y",
    ),
    (
        "via",
        "project.json",
        '"all_points_x":[1,',
        '"all_points_x":[{},',
        "regions[0] points must be pairs",
    ),
    ("via", "project.json", '{"kind":"0"}', "{}", "regions[0] kind must be its class, got None"),
    (
        "via",
        "project.json",
        '{"kind":"0"}',
        '{"kind":{"0":true,"1":true}}',
        "regions[0] kind must be its class, got ['0', '1']; choose one",
    ),
    ("via", "project.json", '"width":2', '"width":"2"', "regions[3] width must be of type int or float"),
    ("via", "project.json", '"filename":"b', '"filename":"../b/', "its picture '../b/.png' must be in"),
    ("via 3", "project.json", '"fid_list":["1"]', '"fid_list":[]', "view 1 must show one file, got []"),
    ("via 3", "project.json", "[7,1,1,", '[7,1,"x",', "a.png: metadata '1_AAAAAAAB' points must be pairs of"),
    (
        "label-studio",
        "export.json",
        '"rle":[0',
        '"rle":[300',
        "result[0] ('cell') rle must be the packed RGBA",
    ),
    (
        "label-studio",
        "export.json",
        '"rle":[0',
        '"rle":[9',
        "result[0] ('cell') rle must be the packed RGBA",
    ),
    ("label-studio", "export.json", "[[31.25", '[["x"', ": result[1] ('cell') points must be pairs of"),
    (
        "label-studio",
        "export.json",
        '["cell"]',
        '[["cell"]]',
        "result[0] brushlabels must be a list of classes",
    ),
    (
        "label-studio",
        "export.json",
        '-b.png"}',
        '-c.png"}',
        "-c.png' must be in",
    ),
    (
        "label-studio",
        "export.json",
        '"original_width":16',
        '"original_width":"16"',
        "original_width must be",
    ),
    (
        "label-studio window",
        "export.json",
        "png;base64,iVBO",
        "png;base64,",
        "('cell') imageDataURL must be a PNG of 12 x 16",
    ),
    (
        "label-studio window",
        "export.json",
        '"original_width":16',
        '"original_width":15',
        "must be of one size",
    ),
    (
        "supervisely",
        "scene/ann/a.png.json",
        '"interior": [[[3, 3]',
        '"interior": [[["", 3]',
        "objects[0] ('cell')",
    ),
    (
        "supervisely",
        "scene/ann/a.png.json",
        '"data": "eJ',
        '"data": "e',
        "objects[2] ('pair') bitmap must be",
    ),
    (
        "supervisely",
        "scene/ann/a.png.json",
        '"origin": [11',
        '"origin": [1.5',
        "origin must be x and y, got [1.5",
    ),
    ("supervisely", "scene/ann/a.png.json", '"height": 12', '"height": 11', "must be 11 x 16 pixels"),
    (
        "supervisely",
        "scene/ann/a.png.json",
        '"geometryType": "polygon"',
        '"geometryType": "rectangle", "points": {"exterior": [[1, 1]]}',
        "exterior must have two points, got 1; remove it",
    ),
    ("coco", "train/_annotations.coco.json", '"counts": "', '"counts": "!', "annotations[0] counts must be"),
    (
        "coco",
        "train/_annotations.coco.json",
        '"file_name": "a',
        '"file_name": "c',
        "its picture 'train/c.png'",
    ),
    ("coco", "valid/_annotations.coco.json", '"cell"', '"cells"', "must have the categories of"),
    (
        "qupath",
        "a.geojson",
        "[1, 7],",
        '["", 7],',
        "a.geojson: features[0] ('cell') points must be pairs of",
    ),
    ("qupath", "a.geojson", '"name": "cell"', '"name": 5', "features[0] classification must have a text as"),
    ("qupath", "a.geojson", '"geometry"', '"geo"', "a.geojson: features[0] geometry must be of type dict"),
    ("voc", "labelmap.txt", "pair:::", "pair:1,2:::", "labelmap.txt: line 4 must be name:red,green,blue"),
    ("voc", "labelmap.txt", "pair:::\n", "", "a.png must have only colors of classes, got (0, 128, 0)"),
    ("label-studio", "export.json", '"original_width":16', '"original_width":17', " must be of one size"),
    ("cvat", "annotations.xml", "5.00,5.00", "5.00,x", "a.png: polygon 4 ('cell') points must be pairs of"),
    ("cvat", "annotations.xml", 'rle="0', 'rle="1', "a.png: mask 1 ('cell') rle must be the lengths of runs"),
    (
        "cvat",
        "annotations.xml",
        'width="6"',
        'width="99999999"',
        "mask 1 ('cell') rle must be the lengths of",
    ),
    ("cvat", "annotations.xml", 'xtl="14.00"', "", "a.png: box 3 ('pair') xtl must be a number, got ''"),
    ("cvat", "annotations.xml", 'label="cell"', 'label=""', "a.png: mask 1 label must be a class"),
    ("cvat", "annotations.xml", "</image>", "", "annotations.xml must be an XML file, got: mismatched tag"),
    (
        "cvat",
        "annotations.xml",
        "<annotations>",
        '<!DOCTYPE a [<!ENTITY b "c">]>\n<annotations>',
        "a DOCTYPE",
    ),
    ("via csv", "via_export_csv.csv", 'a.png,89,"{}"', "a.png,89", "line 2 must have 7 cells, got 6"),
    ("via csv", "via_export_csv.csv", "[1,7,7,1", "[1,7,7,1,", "line 2 must have a dict in JSON there, got"),
    ("via 3 csv", "export.csv", "[7,1,1,", "7,1,1,", "line 11 must have a list in JSON there, got '7,1,1"),
    (
        "via 3 csv",
        "export.csv",
        '""a.png""',
        '""a.png"",""b.png""',
        "must show one file, got ['a.png', 'b.png']",
    ),
    (
        "cvat",
        "annotations.xml",
        'left="1"',
        'left="11"',
        "mask 1 ('cell') must lie in the picture of 12 x 16",
    ),
    ("cvat", "annotations.xml", 'top="1"', 'top="-1"', "got a mask of 6 x 6 at top -1 and left 1; export"),
    ("cvat", "annotations.xml", '<mask label="cell"', '<mask label="cel"', "mask 1 label must be one of the"),
    (
        "cvat",
        "annotations.xml",
        'group_id="1"',
        'group_id="x"',
        "('pair') group_id must be a number, got 'x'",
    ),
    ("cvat", "annotations.xml", 'xbr="16.00"', 'xbr="13.00"', "box 3 ('pair') xbr and ybr must not be less"),
    ("cvat", "annotations.xml", 'ybr="4.00"', 'ybr="0.50"', "box 3 ('pair') xbr and ybr must not be less"),
    (
        "cvat",
        "annotations.xml",
        'xtl="14.00"',
        f'xtl="{"x" * 5000}"',
        f"xtl must be a number, got '{'x' * 56}...;",
    ),
    (
        "voc 2",
        "labelmap.txt",
        "pair:155,63,236::",
        "pair",
        "labelmap.txt: line 5 must be name:red,green,blue",
    ),
    (
        "voc 2",
        "labelmap.txt",
        "pair:155,63,236::",
        "pair:155,63,999::",
        "labelmap.txt: line 5 must be name:red",
    ),
    ("voc 2", "labelmap.txt", "pair:155,63,236::", "pair:155,63,2", "voc 2/labelmap.txt"),
    ("labelme", "a.json", '"a.png"', '"../../c.png"', "a.json: its picture '../../c.png' must be in"),
    ("labelme", "a.json", '"imageHeight": 12', '"imageHeight": 13', "must be 13 x 16 pixels"),
]


@pytest.mark.parametrize(("kind", "file", "old", "new", "message"), BAD, ids=range(len(BAD)))
def test_bad_files_are_named_in_one_line(
    kind: str, file: str, old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / kind)
    edited(tmp_path / kind / file, old, new)
    code, printed = convert(capsys, tmp_path / kind, "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert message in line
    assert not (tmp_path / "out").exists()


def first_min(change: Callable[[dict[str, Any]], object]) -> Callable[[Any], object]:
    """Change the first record of JSON-MIN."""
    return lambda records: change(records[0])


def first_result(**change: object) -> Callable[[Any], object]:
    """Change the value of the polygon of JSON."""
    return lambda tasks: tasks[0]["annotations"][0]["result"][1]["value"].update(change)


def first_rle(change: Callable[[list[Any]], object]) -> Callable[[Any], object]:
    """Change the numbers of the first brush of JSON."""
    return lambda tasks: change(tasks[0]["annotations"][0]["result"][0]["value"]["rle"])


def first_class(value: object) -> Callable[[Any], object]:
    """Change the class of the first object of QuPath."""
    return lambda document: document["features"][0]["properties"].update(classification=value)


def ring_of_pair(part: int, ring: list[object]) -> Callable[[Any], object]:
    """Change the outline of a part of the object of QuPath that has two."""
    return lambda document: document["features"][2]["geometry"]["coordinates"].__setitem__(part, [ring])


# Kind, change of the annotation of a.png, what the one line must say.
LOST: list[tuple[str, Callable[[Any], object], str]] = [
    (
        "label-studio min",
        first_min(lambda record: record["polygon"][0].pop("original_width")),
        "task 31: polygon[0] ('cell') original_width must be of type int, got None",
    ),
    (
        "label-studio min",
        first_min(
            lambda record: [record["polygon"][0].pop(f"original_{side}") for side in ("width", "height")]
        ),
        "task 31: polygon[0] ('cell') original_height must be of type int, got None",
    ),
    (
        "label-studio min",
        first_min(lambda record: record["brush"].__setitem__(1, "x")),
        "task 31: brush[1] must be an object, got 'x'",
    ),
    (
        "label-studio min",
        first_min(lambda record: record.update(polygon=["x"])),
        "task 31: polygon[0] must be an object, got 'x'",
    ),
    (
        "label-studio min",
        first_min(lambda record: record.update(polygon={})),
        "task 31 polygon must be of type list, got {}",
    ),
    (
        "label-studio min",
        first_min(lambda record: record.update(brush=None)),
        "task 31 brush must be of type list, got None",
    ),
    (
        "label-studio window min",  # A tag of another name, which other regions show to draw.
        first_min(lambda record: record["class"].append(5)),
        "class[4] must be an object, got 5",
    ),
    (
        "label-studio",
        first_result(polygonlabels=[""]),
        "result[1] polygonlabels must be a list of classes, got ['']",
    ),
    (
        "label-studio",
        first_result(polygonlabels=""),
        "result[1] polygonlabels must be a list of classes, got ''",
    ),
    (
        "label-studio",
        first_result(points=[[True, 0], [9, 0], [9, 9]]),
        "result[1] ('cell') points must be pairs",
    ),
    (
        "label-studio",
        first_rle(list.clear),
        "rle must be the packed RGBA values of 12 x 16 pixels, got: 0 numbers",
    ),
    ("label-studio", first_rle(list.pop), "got: 44 numbers, which end before the last of them"),
    (
        "label-studio",
        first_rle(lambda numbers: numbers.extend([0, 0])),
        "47 numbers, which go on behind the last",
    ),
    ("label-studio", first_rle(lambda numbers: numbers.append(1)), "46 numbers, which go on behind the last"),
    ("label-studio", first_rle(lambda numbers: numbers.__setitem__(0, False)), "whole number from 0 to 255"),
    ("qupath", first_class("cell"), "features[0] classification must be an object with a name, got 'cell'"),
    (
        "qupath",
        first_class("{'name': 'cell'}"),
        "features[0] classification must be an object with a name, got",
    ),
    ("qupath", first_class(5), "features[0] classification must be an object with a name, got 5"),
    ("qupath", first_class(True), "features[0] classification must be an object with a name, got True"),
    (
        "qupath",
        first_class(["cell"]),
        "features[0] classification must be an object with a name, got ['cell']",
    ),
    (
        "qupath",
        first_class({"name": ""}),
        "features[0] classification must have a text as name, got {'name': ''}",
    ),
    ("qupath", first_class({"names": ["a", 5]}), "features[0] classification must have a text as name"),
    (
        "qupath",
        lambda document: document["features"][0].update(properties=7),
        "features[0] properties must be an object, got 7",
    ),
    (
        "qupath",
        lambda document: document["features"][1]["properties"].update(childObjects={}),
        "features[1] childObjects must be a list, got {}",
    ),
    (
        "qupath",
        lambda document: document["features"][2]["geometry"].update(coordinates=[5]),
        "features[2] ('pair') coordinates must be lists of lines, got [5]",
    ),
    (
        "qupath",
        ring_of_pair(0, [[True, 1], [5, 1], [5, 5]]),
        "features[2] ('pair') points must be pairs of numbers",
    ),
]


@pytest.mark.parametrize(("kind", "change", "message"), LOST, ids=range(len(LOST)))
def test_nothing_that_was_drawn_is_lost_silently(
    kind: str,
    change: Callable[[Any], object],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / "source")
    path = root / ANNOTATIONS[kind]
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert message in line
    assert not (tmp_path / "out").exists()


def without_points(kind: str, text: str) -> tuple[str, str]:
    """Return a file of a tool with one polygon of too few points, and what the warning calls that."""
    if kind == "cvat":
        return re.sub(
            r'(<polygon label="cell"[^>]* points=")[^"]*', r"\1", text, count=1
        ), "polygon 4 ('cell')"
    document = json.loads(text)
    if kind == "labelme":
        shape = next(each for each in document["shapes"] if each["shape_type"] == "polygon")
        shape["points"] = shape["points"][:2]
        return json.dumps(document), "shapes[1] ('cell')"
    if kind == "via":
        regions = next(iter(document["_via_img_metadata"].values()))["regions"]
        regions[0]["shape_attributes"].update(all_points_x=[3, 9, 3], all_points_y=[3, 9, 3])
        return json.dumps(document), "a.png: regions[0]"
    if kind == "supervisely":
        document["objects"][0]["points"]["exterior"] = [[1, 1]]
        return json.dumps(document), "objects[0] ('cell')"
    if kind == "qupath":  # The hole must not become the object.
        document["features"][0]["geometry"]["coordinates"][0] = []
        return json.dumps(document), "features[0] ('cell')"
    document[0]["annotations"][0]["result"][1]["value"]["points"] = [[5, 5], [9, 9]]
    return json.dumps(document), "result[1] ('cell')"


@pytest.mark.parametrize("kind", ["labelme", "via", "cvat", "label-studio", "qupath", "supervisely"])
def test_polygons_of_too_few_points_do_not_stop_the_others(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tools keep stray clicks: of all files one would stop, and then the next one."""
    root = shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / "source")
    path = root / ANNOTATIONS[kind]
    text, where = without_points(kind, path.read_text())
    path.write_text(text)
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0, printed
    (line,) = [line for line in printed.splitlines() if "fewer than three points" in line]
    assert "1 polygons of fewer than three points left out" in line
    assert where in line
    convert(capsys, FIXTURES / SCENES[kind][0], "--output", tmp_path / "whole")
    assert num_segments(tmp_path / "out") == num_segments(tmp_path / "whole") - 1


def num_segments(data: Path) -> int:
    document = json.loads((data / "panoptic.json").read_text())
    return sum(len(annotation["segments_info"]) for annotation in document["annotations"])


def test_qupath_objects_without_geometry_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "qupath", tmp_path / "source")
    path = root / "a.geojson"
    document = json.loads(path.read_text())
    document["features"].append({"type": "Feature", "geometry": None, "properties": {}})
    path.write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0, printed
    assert "1 objects without geometry left out" in printed


def test_columns_of_json_min_that_draw_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers and the task's own data may have anything, also boxes that nobody drew there."""
    root = shutil.copytree(FIXTURES / "label_studio_min", tmp_path / "source")
    path = root / "result.json"
    records = json.loads(path.read_text())
    box = {"x": 1, "y": 1, "width": 5, "height": 5}
    more = {"quality": ["dark", {**box, "choices": ["a", "b"]}], "note": "x", "meta": {}, "old": None}
    records[0] |= {**more, "boxes": [box], "words": ["a", 5, None], "many": [{}]}
    path.write_text(json.dumps(records))
    assert same(segments_of(capsys, root, output=tmp_path / "out")["images/a.png"], OUTLINES)


def test_classes_of_qupath_as_tables_keep_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GeoPandas writes an object in properties as a text."""
    root = shutil.copytree(FIXTURES / "qupath", tmp_path / "source")
    document = json.loads((root / "a.geojson").read_text())
    for feature in document["features"]:
        properties = feature["properties"]
        properties["classification"] = json.dumps(properties["classification"])
        properties["childObjects"] = "[]"
    (root / "a.geojson").write_text(json.dumps(document))
    assert same(segments_of(capsys, root, output=tmp_path / "out")["a.png"], OUTLINES)


# Where the annotation of a.png is; not of YOLO, for a part of a row of numbers is one, too.
ANNOTATIONS = {
    "labelme": "a.json",
    "via": "project.json",
    "via 3": "project.json",
    "via csv": "via_export_csv.csv",
    "via 3 csv": "export.csv",
    "via 1": "via_region_data.json",
    "via 1 csv": "via_region_data.csv",
    "cvat": "annotations.xml",
    "cvat 2": "default.xml",
    "label-studio": "export.json",
    "label-studio min": "result.json",
    "label-studio window": "export.json",
    "label-studio window min": "result.json",
    "supervisely": "scene/ann/a.png.json",
    "voc": "SegmentationObject/a.png",
    "voc 2": "SegmentationObject/a.png",
    "coco": "train/_annotations.coco.json",
    "qupath": "a.geojson",
    "qupath 2": "a.geojson",
    "kitti-step": "panoptic_maps/train/0002/a.png",
    "kitti-step 2": "panoptic_maps/train/0002/a.png",
    "bdd100k": "bitmasks/a.png",
    "bdd100k pan_seg": "pan_seg/bitmasks/a.png",
    "ade20k": "a_seg.png",
    "imagej": "a_RoiSet.zip",
    "label-maps": "a_cp_masks.png",
    "label-maps 2": "masks/a.tif",
}


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_a_file_that_is_cut_off_is_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / kind)
    path = root / ANNOTATIONS[kind]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5 - 9])
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert path.name in line


@pytest.mark.parametrize("kind", ["voc", "kitti-step", "bdd100k", "ade20k", "label-maps", "label-maps 2"])
def test_a_map_of_another_size_is_named_with_both_shapes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / SCENES[kind][0], tmp_path / kind)
    for path in root.rglob("a.png"):
        if path != root / ANNOTATIONS[kind] and "Segmentation" not in path.parent.name:
            Image.new("RGB", (17, 13)).save(path)
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert "a.png" in line
    assert "12 x 16" in line
    assert "13 x 17" in line


@pytest.mark.parametrize("kind", [kind for kind in SCENES if kind != "imagej"])
def test_an_archive_is_what_is_in_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    source, wanted = SCENES[kind]
    archive = Path(shutil.make_archive(str(tmp_path / "export"), "zip", FIXTURES / source))
    found = segments_of(capsys, archive, output=tmp_path / "out")
    assert same(next(found[name] for name in found if Path(name).name == "a.png"), wanted)
    code, printed = convert(capsys, archive, "--output", tmp_path / "again")
    assert (code, f"--copy-images must be given for {archive}" in printed) == (2, True)
    assert main(["dataset", "check", str(archive), *background_of(kind)]) == 0


def test_archives_of_one_name_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("via2", "labelme"):
        shutil.make_archive(str(tmp_path / name / "export"), "zip", FIXTURES / name)
    words = [str(tmp_path / name / "export.zip") for name in ("via2", "labelme")]
    assert main(["dataset", "check", *words, "--background", "rest"]) == 0
    printed = capsys.readouterr().out
    assert "read as a VIA project" in printed
    assert "read as a LabelMe folder" in printed


def test_files_of_archives_are_named_by_the_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"rectangle"', '"line"')
    archive = shutil.make_archive(str(tmp_path / "z"), "zip", root)
    code, printed = convert(capsys, archive, "--copy-images", "--output", tmp_path / "out")
    assert code == 0, printed
    assert f"{archive}: 1 points and lines, which have no area, left out ({archive}/a.json: " in printed
    edited(root / "a.json", '"line"', '"lines"')
    shutil.make_archive(str(tmp_path / "z"), "zip", root)
    code, printed = convert(capsys, archive, "--copy-images", "--output", tmp_path / "again")
    assert (code, f"error: {archive}/a.json: shapes[3]" in printed) == (2, True)
    (root / "a.png").unlink()
    archive = shutil.make_archive(str(tmp_path / "z"), "zip", root)
    assert main(["dataset", "check", archive]) == 2
    told = capsys.readouterr()
    assert f"{archive}/a.json" in told.out + told.err
    assert "axial-deeplab-" not in told.out + told.err


def test_archives_are_not_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*entries: tuple[str, bytes]) -> str:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in entries:
                file.writestr(name, content)
        code, printed = convert(capsys, tmp_path / "a.zip", "--copy-images", "--output", tmp_path / "out")
        assert code == 2
        return printed

    for name in ("../b.json", "/b.json", "..\\b.json", "C:\\b.json", "c/../../b.json"):
        assert f"a.zip must have names of files inside of it, got {name!r}" in refused((name, b"{}"))
    assert not (tmp_path / "b.json").exists()
    assert "a.zip must unpack to at most 1.1 GB here, got 1.2 GB" in refused(
        *((f"{number}.json", bytes(120_000_000)) for number in range(10))
    )
    assert "a.zip must be of a kind that is recognized" in refused(("notes.txt", b"none"))
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:60])
    code, printed = convert(capsys, tmp_path / "a.zip", "--output", tmp_path / "out")
    assert (code, "a.zip must be a complete ZIP archive without password" in printed) == (2, True)


def test_archives_of_windows_have_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs wrote backslashes, which are letters of a name elsewhere."""
    root = FIXTURES / "yolo"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("images\\train\\", b"")
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            file.writestr(str(path.relative_to(root)).replace("/", "\\"), path.read_bytes())
    found = segments_of(capsys, tmp_path / "a.zip", output=tmp_path / "out")
    wanted = segments_of(capsys, root, output=tmp_path / "wanted")
    assert found.keys() == wanted.keys()
    assert all(same(found[name], wanted[name]) for name in wanted)


def test_archives_of_macos_have_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their names are UTF-8, without the flag that says so."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted((FIXTURES / "labelme").glob("a.*")):
            content = path.read_bytes().replace(b'"a.png"', '"K\u00e4fer a.png"'.encode())
            file.writestr(f"K##fer {path.name}", content)
    packed = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(packed.replace(b"K##fer", "K\u00e4fer".encode()))
    assert "K\u251c\u00f1fer a.png" in zipfile.ZipFile(tmp_path / "a.zip").namelist()
    found = segments_of(capsys, tmp_path / "a.zip", output=tmp_path / "out")
    assert same(found["K\u00e4fer a.png"], OUTLINES)


def test_a_table_of_via_with_too_few_regions_is_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "via2_csv", tmp_path / "via")
    lines = (root / "via_export_csv.csv").read_text().splitlines(keepends=True)
    (root / "via_export_csv.csv").write_text("".join(lines[:4]))
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "via_export_csv.csv: a.png has 3 of its 4 regions; export it again" in printed) == (0, True)


def test_pictures_of_one_name_in_a_project_of_via(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two keys, of name and size: the regions of neither may be lost."""
    root = shutil.copytree(FIXTURES / "via2", tmp_path / "via")
    document = json.loads((root / "project.json").read_text())
    entries = document["_via_img_metadata"]
    key = next(key for key in entries if key.startswith("a.png"))
    entries["a.png7"] = entries[key] | {"size": 7, "regions": entries[key]["regions"][:1]}
    (root / "project.json").write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "must list each picture once, got 'a.png' again as 'a.png7'" in printed) == (2, True), (
        printed
    )
    entries["a.png7"]["regions"] = []
    (root / "project.json").write_text(json.dumps(document))
    assert same(segments_of(capsys, root, output=tmp_path / "out")["a.png"], APART)


def test_a_table_of_via_with_pictures_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "via2_csv", tmp_path / "via")
    path = root / "via_export_csv.csv"
    again = next(line for line in path.read_text().splitlines() if line.startswith("a.png,89"))
    path.write_text(f"{path.read_text().rstrip()}\n{again.replace('a.png,89', 'a.png,7', 1)}\n")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "must list each picture once, got 'a.png' again as 'a.png7'" in printed) == (2, True), (
        printed
    )


@pytest.mark.parametrize(("group", "is_one"), [('""', False), ("null", False), ("3.0", True), ('"3"', True)])
def test_groups_of_labelme(
    group: str, is_one: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    text = (root / "a.json").read_text()
    assert text.count('"group_id": 1') == 2
    (root / "a.json").write_text(text.replace('"group_id": 1', f'"group_id": {group}'))
    found = segments_of(capsys, root, output=tmp_path / "out")["a.png"]
    assert same(found, OUTLINES if is_one else APART), [name for name, _ in found]


def test_pictures_inside_of_labelme_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    document = json.loads((root / "a.json").read_text())
    document["imageData"] = base64.b64encode((root / "a.png").read_bytes()).decode()
    (root / "a.json").write_text(json.dumps(document))
    picture = (root / "a.png").read_bytes()
    (root / "a.png").unlink()
    found = segments_of(capsys, root, output=tmp_path / "out")
    assert same(found["a.png"], OUTLINES)
    assert (tmp_path / "out/images/a.png").read_bytes() == picture
    code, printed = convert(capsys, root, "--output", tmp_path / "again")
    assert (code, f"--copy-images must be given for {root}" in printed) == (2, True)
    document["imageData"] = document["imageData"][:60]
    (root / "a.json").write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--copy-images", "--output", tmp_path / "again")
    assert (code, "a.json" in printed, not (tmp_path / "again").exists()) == (2, True, True)
    document["imageData"] = "no picture"
    (root / "a.json").write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--copy-images", "--output", tmp_path / "again")
    assert (code, "a.json: imageData must be a picture in base64, got" in printed) == (2, True)


def test_labelme_knows_void_background_and_stuff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    document = json.loads((root / "a.json").read_text())
    document["shapes"][1]["label"] = "__ignore__"
    (root / "a.json").write_text(json.dumps(document))
    words = (root, "--background", "rest", "--stuff", "pair")
    found = segments_of(capsys, *words, output=tmp_path / "out")
    cell, pair = mask(CELL, HOLE) & ~mask(OVER), mask(*PAIR)
    assert same(found["a.png"], [("cell", cell), ("pair", pair), ("rest", ~(cell | pair | mask(OVER)))])
    assert [(name, pixels.all()) for name, pixels in found["b.png"]] == [("rest", True)]


def test_what_has_no_area_and_no_annotation_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"rectangle"', '"line"')
    shutil.copy(root / "a.png", root / "c.png")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0
    assert "1 points and lines, which have no area, left out" in printed
    assert "1 pictures have no annotation" in printed


def test_a_second_class_of_one_region_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "label_studio", tmp_path / "export")
    edited(root / "export.json", '"polygonlabels":["cell"]', '"polygonlabels":["cell", "dog"]')
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0
    assert "1 regions have several classes, all but the first left out" in printed
    assert ": result[1] cell, dog)" in printed


def test_circles_of_labelme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"rectangle"', '"circle"')
    found = segments_of(capsys, root, output=tmp_path / "out")
    y, x = np.mgrid[:12, :16] + 0.5
    circle = (x - 14) ** 2 + (y - 1) ** 2 < 2**2 + 3**2  # about (14, 1), through (16, 4)
    assert same([e for e in found["a.png"] if e[0] == "pair"], [("pair", mask(PAIR[0]) | circle)])


def test_rectangles_of_x_anylabeling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have four corners; the files are those of labelme otherwise."""
    corners = {
        "rectangle": [[2, 1], [8, 1], [8, 6], [2, 6]],
        "rotation": [[12.2, 5], [15.2, 8], [12.2, 11], [9.2, 8]],
    }
    shapes = [
        {"label": "cell", "points": points, "shape_type": kind, "group_id": None, "flags": {}}
        for kind, points in corners.items()
    ]
    document = {
        "version": "2.4.4",
        "shapes": shapes,
        "imagePath": "a.png",
        "imageHeight": 12,
        "imageWidth": 16,
    }
    (tmp_path / "a.json").write_text(json.dumps({**document, "flags": {}, "imageData": None}))
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    found = segments_of(capsys, tmp_path, output=tmp_path / "out")["a.png"]
    y, x = np.mgrid[:12, :16] + 0.5
    turned = np.abs(x - 12.2) + np.abs(y - 8) < 3
    assert same(found, [("cell", mask(corners["rectangle"])), ("cell", turned)])


def test_collections_of_geometries_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    polygon = {"type": "Polygon", "coordinates": [[[2, 1], [8, 1], [8, 6], [2, 6], [2, 1]]]}
    collection = {"type": "GeometryCollection", "geometries": [polygon]}
    properties = {"objectType": "annotation", "classification": {"name": "cell"}}
    features = [
        {"type": "Feature", "geometry": geometry, "properties": properties}
        for geometry in (polygon, collection)
    ]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
    assert (code, "1 collections of geometries (make each a feature) left out" in printed) == (0, True), (
        printed
    )


@pytest.mark.parametrize(
    "words",
    ["--nodata 3", "--nodata 0", "--void-label 7", "--connected-components", "--threshold 0"],
)
def test_options_without_effect_are_refused(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = convert(capsys, FIXTURES / "labelme", *words.split(), "--output", tmp_path / "out")
    assert (code, f"{words.split()[0]} must be given with maps" in printed) == (2, True)
    assert not (tmp_path / "out").exists()


def test_maps_beside_pictures_are_no_spare_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "cellpose", tmp_path / "cellpose")
    shutil.copy(root / "a_cp_masks.png", root / "a_flows.tif")
    assert main(["dataset", "check", str(root)]) == 0
    assert "not listed" not in capsys.readouterr().out
    shutil.copy(root / "a.png", root / "spare.png")
    main(["dataset", "check", str(root)])
    assert "cellpose has 1 images that are not listed, such as spare.png" in capsys.readouterr().out


def test_the_name_of_maps_is_not_the_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--background", "object", "--output", tmp_path / "out")
    code, printed = convert(capsys, FIXTURES / "cellpose", *words)
    assert (code, "--thing and --background must be different" in printed) == (2, True)


def test_classes_of_nearly_one_name_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"cell"', '"Pair "')
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0
    assert (
        "the classes 'Pair ', 'pair' differ in capitals, spaces or underscores alone; if they are one"
        in printed
    )


def test_categories_of_nearly_one_name_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("cell", "pair", "Pair", "rest")
    path = tmp_path / "classes.json"
    path.write_text(json.dumps([{"id": n, "name": name, "isthing": 1} for n, name in enumerate(names)]))
    for words in ((FIXTURES / "labelme",), ("maps", "--images", tmp_path, "--semantic", tmp_path)):
        printed = convert(capsys, *words, "--categories", path, "--output", tmp_path / "out")[1]
        assert printed.count(f"{path}: the classes 'pair', 'Pair' differ in capitals") == 1, printed
    words = ("--thing", "nucleus", "--background", "Nucleus", "--output", tmp_path / "other")
    printed = convert(capsys, FIXTURES / "cellpose", *words)[1]
    assert "the classes 'Nucleus', 'nucleus' differ in capitals" in printed


def test_two_classes_of_one_name_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    (settings,) = root.glob("*.yaml")
    settings.write_text("names: [cell, cell]")
    project = shutil.copytree(FIXTURES / "supervisely", tmp_path / "supervisely")
    meta = json.loads((project / "meta.json").read_text())
    meta["classes"].append({**meta["classes"][0], "id": 77})
    (project / "meta.json").write_text(json.dumps(meta))
    for folder in (root, project):
        code, printed = convert(capsys, folder, "--output", tmp_path / f"out_{folder.name}")
        assert code == 0
        assert printed.count("2 classes have the name 'cell' and become one; if they are several") == 1


@pytest.mark.parametrize(
    ("kind", "file", "pattern", "without"),
    [
        ("label_studio", "export.json", r'"polygonlabels":\[[^]]*\]', '"polygonlabels":[]'),
        ("qupath", "a.geojson", '"name": "cell"', '"name": null'),
        ("via2", "project.json", r'"region_attributes":\{[^}]*\}', '"region_attributes":{}'),
    ],
)
def test_regions_without_class_are_not_the_background(
    kind: str, file: str, pattern: str, without: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / kind, tmp_path / kind)
    (root / file).write_text(re.sub(pattern, without, (root / file).read_text()))
    code, printed = convert(capsys, root, "--background", "object", "--output", tmp_path / "out")
    assert (code, "--thing and --background must be different, got 'object'" in printed) == (2, True), printed


def test_another_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
    assert (code, "must be of a kind that is recognized" in printed) == (2, True)
    words = ("--output", tmp_path / "out", "--format")
    code, printed = convert(capsys, tmp_path, *words, "paint")
    assert (code, "--format must be one of labelme" in printed) == (2, True)
    code, printed = convert(capsys, tmp_path / "none", *words, "labelme")
    assert (code, "which does not exist" in printed) == (2, True)


def test_turned_shapes_of_via_and_cvat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    via = shutil.copytree(FIXTURES / "via2", tmp_path / "via")
    old = '"name":"rect","x":14,"y":1,"width":2,"height":3'
    edited(via / "project.json", old, '"name": "ellipse", "cx": 8, "cy": 6, "rx": 5, "ry": 2, "theta": 0.5')
    cvat = shutil.copytree(FIXTURES / "cvat", tmp_path / "cvat")
    box = 'box label="pair" source="manual" occluded="0" xtl="14.00" ytl="1.00" xbr="16.00" ybr="4.00"'
    values = f'ellipse label="pair" cx="8" cy="6" rx="5" ry="2" rotation="{np.rad2deg(0.5)}"'
    edited(cvat / "annotations.xml", box, values)
    edited(cvat / "annotations.xml", "</box>", "</ellipse>")
    y, x = np.mgrid[:12, :16] + 0.5 - np.array([6, 8])[:, None, None]
    along, across = x * np.cos(0.5) + y * np.sin(0.5), y * np.cos(0.5) - x * np.sin(0.5)
    turned = (along / 5) ** 2 + (across / 2) ** 2 < 1
    for root in (via, cvat):
        (found,) = [
            s
            for name, s in segments_of(capsys, root, output=tmp_path / f"{root.name}_out").items()
            if name.endswith("a.png")
        ]
        pixels = np.any([pixels for name, pixels in found if name == "pair"], axis=0)
        seen = pixels | np.any([pixels for name, pixels in found if name == "cell"], axis=0)
        assert (turned <= seen).all()  # nothing of it is void, and what others do not cover is its own
        assert (pixels & ~mask(PAIR[0]) <= turned).all()
        assert (turned & ~mask(CELL, HOLE) & ~mask(OVER) <= pixels).all()


def test_yolo_without_names_and_with_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    (root / "data.yaml").unlink()
    with (root / "labels/train/a.txt").open("a") as file:
        file.write("1 0.5 0.5 0.1 0.1\n")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0, printed
    assert "1 boxes and points, which are no outlines, left out" in printed
    categories = json.loads((tmp_path / "out/panoptic.json").read_text())["categories"]
    assert [entry["name"] for entry in categories] == ["class_0", "class_1"]
    (root / "labels/train/a.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    code, printed = convert(capsys, root, "--output", tmp_path / "out2")
    assert (code, "got boxes alone, which say nothing of pixels" in printed) == (2, True)


def test_yolo_with_byte_order_marks_and_numbers_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = shutil.copytree(FIXTURES / "yolo/images/train", tmp_path / "flat")
    for path in (FIXTURES / "yolo/labels/train").iterdir():
        (flat / path.name).write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    (flat / "data.yaml").write_text('names: {"0": cell, "1": pair}')
    found = segments_of(capsys, flat, output=tmp_path / "out")
    assert same(found["a.png"], OUTLINES)


def test_names_of_yolo_that_differ_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    (root / "more").mkdir()
    (root / "more/data.yaml").write_text("names: [pair, cell]")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "must have one name of class 0, got 'cell' and, in" in printed) == (2, True), printed
    (root / "more/data.yaml").write_text("names: [cell]")  # of a part that has no other
    assert same(next(iter(segments_of(capsys, root, output=tmp_path / "out").values())), OUTLINES)
    code, printed = convert(capsys, root / "data.yaml", "--output", tmp_path / "out2")
    assert code == 0, printed


def test_names_of_yolo_are_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    (root / "data.yaml").write_text("names: {0: yes, 1: 007}")
    found = next(iter(segments_of(capsys, root, output=tmp_path / "out").values()))
    assert {name for name, _ in found} == {"yes", "007"}
    (root / "data.yaml").write_text("names: cell")
    code, printed = convert(capsys, root, "--output", tmp_path / "out2")
    assert (code, "names must be a list of classes, got 'cell'" in printed) == (2, True), printed


def test_parts_of_yolo_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    shutil.copytree(root / "images/train", root / "images/val")
    shutil.copytree(root / "labels/train", root / "labels/val")
    code, printed = convert(capsys, root, "--output", tmp_path / "out", "--copy-images")
    assert code == 0, printed
    assert {path.parent.name for path in (tmp_path / "out").rglob("panoptic.json")} == {"train", "val"}
    code, printed = convert(capsys, root, "--output", tmp_path / "out2", "--hold-out", 2)
    assert (code, "hold_out must not be given for data that has parts already" in printed) == (2, True)


@pytest.mark.parametrize(
    ("source", "folders", "parts"),
    [
        ("labelme", ("train", "val", "test"), {"train", "val", "test"}),
        ("labelme", ("Train", "Valid"), {"train", "val"}),
        ("labelme", ("train", "holiday"), {"out"}),
        ("labelme", ("train",), {"out"}),
        ("stardist", ("train", "test"), {"train", "test"}),
        ("supervisely/scene", ("train", "val"), {"train", "val"}),
        ("ade20k", ("training", "validation"), {"train", "val"}),
    ],
)
def test_folders_of_parts_stay_apart(
    source: str,
    folders: tuple[str, ...],
    parts: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in folders:
        shutil.copytree(FIXTURES / source, tmp_path / "source" / folder)
    meta = FIXTURES / source / "../meta.json"
    if meta.exists():
        shutil.copy(meta, tmp_path / "source")
    found = segments_of(capsys, tmp_path / "source", output=tmp_path / "out")
    assert len(found) == 2 * len(folders)
    assert {path.parent.name for path in (tmp_path / "out").rglob("panoptic.json")} == parts


def test_links_to_folders_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of labels that are not followed, all pictures would show nothing."""
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "links to folders" in printed) == (0, False)
    shutil.move(root / "labels", tmp_path / "labels")
    (root / "labels").symlink_to(tmp_path / "labels")
    _, printed = convert(capsys, root, "--output", tmp_path / "out2")
    assert f"left out 1 links to folders ({root / 'labels'}), so that what they have" in printed


def test_another_format_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = convert(capsys, FIXTURES / "via2", "--output", tmp_path / "out", "--format", "labelme")
    assert (code, "this is a VIA project; give --format via" in printed) == (2, True)


def test_regions_and_annotations_of_label_studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON-MIN has the latest annotation of a task first, and does not tell which is the ground truth."""
    y, x = np.mgrid[:12, :16] + 0.5
    first, other = [("cell", mask(CELL))], [("pair", mask(OVER))]
    drawn = [
        ("cell", mask([(1, 1), (6, 1), (6, 5), (1, 5)])),  # turned by 90 degrees about (6, 1)
        ("pair", ((x - 12) / 3) ** 2 + ((y - 6) / 5) ** 2 < 1),
        ("pair", mask([(0, 8), (4, 8), (4, 11), (0, 11)])),
    ]
    for source, of_three in (("label_studio_shapes", other), ("label_studio_shapes_min", first)):
        code, printed = convert(capsys, FIXTURES / source, "--output", tmp_path / f"none_{source}")
        assert code == 0, printed
        assert "1 regions that are no polygon, brush, bitmask, rectangle or ellipse left out" in printed
        assert "2 tasks have several annotations, all but the first or the ground truth left out" in printed
        is_min = source.endswith("min")
        assert ("1 annotations have regions of several tags ([0]), whose order" in printed) == is_min
        assert ("1 relations between regions left out" in printed) == (not is_min)
        # Those of e.png were cancelled, of which JSON-MIN has nothing; f.png has a prediction alone.
        assert f"{1 if is_min else 2} tasks without annotation left out" in printed
        found = segments_of(capsys, FIXTURES / source, output=tmp_path / source)
        wanted = {"images/c.png": drawn, "images/d.png": first, "images/g.png": of_three}
        assert sorted(found) == sorted(wanted)
        for name, segments in wanted.items():
            assert same(found[name], segments), (source, name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", '[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}]', "a list of results of COCO"),
        ("a.json", '{"version": "2.0", "item": {}, "annotations": []}', "Darwin JSON of V7; export COCO"),
        ("a.json", '{"metadata": {}, "instances": []}', "a JSON of SuperAnnotate; export COCO"),
        ("a.png.json", '{"size": {}, "objects": []}', "an annotation of Supervisely; put the meta.json of"),
        ("a.json", '{"label_classes": [], "images": []}', "a JSON of Hasty; export COCO"),
        ("a.json", '{"infos": {}, "categories": {}, "items": []}', "a JSON of Datumaro; export COCO"),
        ("samples.json", '{"samples": []}', "a data set of FiftyOne; export COCO"),
        ("a.json", '[{"image": "a.png", "annotations": []}]', "boxes of CreateML, which outline nothing"),
        ("a.xml", "<annotation><object><bndbox/></object></annotation>", "boxes of Pascal VOC, which"),
        (
            "a.xml",
            "<annotations><track><polygon/></track></annotations>",
            'tracks of CVAT "for video"; export',
        ),
        ("a.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n", "a table of boxes, which"),
        ("export.ndjson", "{}\n", "an export of Labelbox; export COCO"),
        (
            "a_seg.npy",
            "",
            "a file of cellpose's window; save the label maps beside the pictures as a_masks.tif",
        ),
        ("a.npy", "", "an array; save the label maps beside the pictures as a_masks.tif"),
    ],
)
def test_files_that_are_not_converted_are_named(
    name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "export" / name
    path.parent.mkdir()
    path.write_text(content)
    code, printed = convert(capsys, path.parent, "--output", tmp_path / "out")
    assert (code, f"got {path}, {message}" in printed) == (2, True), printed
    assert convert(capsys, path, "--output", tmp_path / "out") == (
        2,
        printed.replace(f"{path.parent} must", f"{path} must"),
    )


def test_results_of_coco_become_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says how."""
    masks = pytest.importorskip("pycocotools.mask")
    wanted = mask([(2, 1), (8, 1), (8, 6), (2, 6)])
    packed = masks.encode(np.asfortranarray(wanted, np.uint8))
    packed["counts"] = packed["counts"].decode()
    result = {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": packed}
    (tmp_path / "results.json").write_text(json.dumps([result]))
    images = [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    words = ("coco-instances", "--images", tmp_path, "--output", tmp_path / "out", "--json")
    code, printed = convert(capsys, *words, tmp_path / "results.json")
    assert (code, "results.json must be a COCO instances JSON, got" in printed) == (2, True), printed
    (tmp_path / "made").mkdir()
    document["annotations"] = [{"id": 1, **result}]
    (tmp_path / "made" / "found.json").write_text(json.dumps(document))
    shutil.copy(tmp_path / "a.png", tmp_path / "made")
    segments = segments_of(capsys, tmp_path / "made", output=tmp_path / "out")
    assert same(segments["a.png"], [("cell", wanted)])


def label_studio_task(root: Path, data: dict[str, Any], *regions: dict[str, Any]) -> Path:
    """Write two pictures of 12 x 16 pixels and a task with rectangles of a cell."""
    root.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 12)).save(root / name)
    drawn = [
        {
            "id": str(number),
            "type": "rectanglelabels",
            "original_width": 16,
            "original_height": 12,
            **region,
            "value": {"x": x, "y": 0, "width": 25, "height": 50, "rectanglelabels": ["cell"]},
        }
        for number, (x, region) in enumerate(zip((0, 50), regions, strict=False))
    ]
    tasks = [{"id": 7, "data": data, "annotations": [{"id": 1, "result": drawn}]}]
    (root / "tasks.json").write_text(json.dumps(tasks))
    return root


def test_several_pictures_of_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All regions became those of the first picture."""
    data = {"cover": "/data/upload/1/a.png", "pages": ["/data/upload/1/a.png", "/data/upload/1/b.png"]}
    root = label_studio_task(tmp_path / "export", data, {"item_index": 1}, {"item_index": 0})
    found = segments_of(capsys, root, output=tmp_path / "out")
    left, right = (mask([(x, 0), (x + 4, 0), (x + 4, 6), (x, 6)]) for x in (0, 8))
    assert same(found["a.png"], [("cell", right)])
    assert same(found["b.png"], [("cell", left)])
    beyond = label_studio_task(tmp_path / "beyond", data, {"item_index": 2})
    code, printed = convert(capsys, beyond, "--output", tmp_path / "none")
    assert (code, "item_index must be the place of one of 2 pictures, got 2" in printed) == (2, True)
    absent = label_studio_task(tmp_path / "absent", {"pages": ["c.png"]}, {"item_index": 0})
    code, printed = convert(capsys, absent, "--output", tmp_path / "none")
    assert (code, "task 7: its picture ['c.png'] must be in" in printed) == (2, True)


def test_pictures_turned_in_label_studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their outlines are those of the turned picture, and lay somewhere else in the picture as it is."""
    root = label_studio_task(tmp_path / "export", {"image": "a.png"}, {"image_rotation": 0})
    tasks = json.loads((root / "tasks.json").read_text())
    turned = json.loads(
        json.dumps(tasks[0]).replace("a.png", "b.png").replace('rotation": 0', 'rotation": 90')
    )
    (root / "tasks.json").write_text(json.dumps([*tasks, turned]))
    code, printed = convert(capsys, root, "--output", tmp_path / "none")
    assert (code, "1 tasks whose picture was turned in the window (its outlines" in printed) == (0, True)
    assert list(segments_of(capsys, root, output=tmp_path / "out")) == ["a.png"]


def test_what_is_said_of_a_region_is_no_region(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Choices for a region have its place, too; JSON-MIN has them in a list of their own."""
    root = shutil.copytree(FIXTURES / "label_studio_window_min", tmp_path / "export")
    records = json.loads((root / "result.json").read_text())
    records[0]["quality"] = [{**records[0]["rectangle"][0], "choices": ["blurred", "dark"]}]
    (root / "result.json").write_text(json.dumps(records))
    code, printed = convert(capsys, root, "--output", tmp_path / "none")
    assert (code, "1 regions that are no polygon, brush, bitmask" in printed) == (0, True), printed
    assert same(segments_of(capsys, root, output=tmp_path / "out")["images/a.png"], APART)


def test_coco_of_label_studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its names are paths of its own, its categories begin at 0, its brushes are gone."""
    pytest.importorskip("pycocotools")
    found = segments_of(capsys, FIXTURES / "label_studio_coco", output=tmp_path / "out")
    assert found["images/b.png"] == []
    assert [name for name, _ in found["images/a.png"]] == ["cell", "cell", "pair", "pair"]
    assert same([found["images/a.png"][1]], [("cell", mask(OVER))])
    document = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [entry["id"] for entry in document["categories"]] == [0, 1]


def test_coco_of_supervision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its polygons run through the centers of pixels, which leaves out a row and a column."""
    pytest.importorskip("pycocotools")
    root = FIXTURES / "roboflow_supervision"
    found = segments_of(capsys, root, "--crowds-are-objects", output=tmp_path / "out")
    over = mask([(5, 5), (9, 5), (9, 9), (5, 9)])
    wanted = [("cell", mask(CELL, HOLE) & ~over), ("cell", over), ("pair", mask(*PAIR))]
    assert same(found["train/a.png"], wanted)
    assert found["valid/b.png"] == []
    assert convert(capsys, root, "--output", tmp_path / "crowds")[0] == 0
    document = json.loads((tmp_path / "crowds/train/panoptic.json").read_text())
    assert [s["iscrowd"] for s in document["annotations"][0]["segments_info"]] == [1, 0, 1]


def test_of_two_pictures_of_one_stem_the_whole_name_tells(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        (tmp_path / name).touch()
    photos = Photos(tmp_path)
    assert photos.find_stem("labels/a.tif", "x").name == "a.tif"
    with pytest.raises(FileNotFoundError, match=r"its picture 'a' must be in .*a\.tif as likely"):
        photos.find_stem("a", "x")


def test_of_two_pictures_that_differ_in_capitals_the_exact_name_tells(tmp_path: Path) -> None:
    for name in ("one/a.png", "one/A.png", "One/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if len(list(tmp_path.glob("*/*"))) < 3:
        pytest.skip("this file system does not tell capitals")
    photos = Photos(tmp_path)
    for name in ("one/a.png", "one/A.png", "One/a.png"):
        assert photos.find(f"C:\\data\\{name}", "x") == photos.find_stem(name[:-4], "x") == tmp_path / name
    with pytest.raises(FileNotFoundError, match="as likely"):
        photos.find("ONE/a.png", "x")


def test_a_picture_may_be_called_as_a_roi_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("roifile")
    root = shutil.copytree(FIXTURES / "imagej", tmp_path / "imagej")
    (root / "a.png").rename(root / "RoiSet.png")
    (root / "a_RoiSet.zip").rename(root / "RoiSet.zip")
    found = segments_of(capsys, root, output=tmp_path / "out")
    assert {name: len(segments) for name, segments in found.items()} == {"RoiSet.png": 3, "b.png": 0}


def test_roi_sets_that_macos_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("roifile")
    root = shutil.copytree(FIXTURES / "imagej", tmp_path / "imagej")
    with zipfile.ZipFile(root / "a_RoiSet.zip", "a") as archive:
        for name in ("__MACOSX/._0001.roi", "._0002.roi"):
            archive.writestr(name, b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    found = segments_of(capsys, root, output=tmp_path / "out")
    assert same(found["a.png"], [("object", pixels) for _, pixels in OUTLINES])


def test_damaged_roi_sets_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("roifile")
    root = shutil.copytree(FIXTURES / "imagej", tmp_path / "imagej")
    with zipfile.ZipFile(root / "a_RoiSet.zip", "a") as archive:
        archive.writestr("../0004.roi", b"Iout of order")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "a_RoiSet.zip: ../0004.roi must be a ROI of ImageJ, got" in printed) == (2, True)
    (root / "b.zip").write_bytes(b"PK")
    (root / "a_RoiSet.zip").unlink()
    shutil.copy(FIXTURES / "imagej" / "a_RoiSet.zip", root)
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "b.zip must be a ZIP file of ROIs" in printed) == (2, True)


def test_rois_of_imagej_between_pixels_and_on_other_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roifile = pytest.importorskip("roifile")
    types, subpixel = roifile.ROI_TYPE, roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION

    def box(kind: int, x: float, y: float, width: float, height: float, **rest: object) -> object:
        # ImageJ keeps whole numbers of the bounds, too.
        whole = {"left": int(x), "top": int(y), "right": int(x + width), "bottom": int(y + height)}
        bounds = {"xd": x, "yd": y, "widthd": width, "heightd": height}
        return roifile.ImagejRoi(roitype=kind, options=subpixel, **whole, **bounds, **rest)

    rois = [
        box(types.RECT, 0.75, 0.75, 3.625, 2.125),
        box(types.OVAL, 8.75, 1.25, 5.5, 5.5),
        box(types.RECT, 0, 8, 9, 3, subtype=roifile.ROI_SUBTYPE.TEXT),
        box(types.RECT, 12, 9, 2, 2, position=1),
        box(types.RECT, 12, 9, 3, 3, position=2),
    ]
    root = tmp_path / "imagej"
    root.mkdir()
    for number, roi in enumerate(rois):
        roi.name = f"{number}"
        roifile.roiwrite(root / "a.zip", roi)
    tifffile.imwrite(root / "a.tif", np.zeros((2, 12, 16), np.uint8), photometric="minisblack")
    y, x = np.mgrid[:12, :16] + 0.5
    both = [mask([(1, 1), (4, 1), (4, 3), (1, 3)]), (x - 11.5) ** 2 + (y - 4) ** 2 < 2.75**2]
    for page, side in ((1, 2), (2, 3)):
        last = [(12, 9), (12 + side, 9), (12 + side, 9 + side), (12, 9 + side)]
        found = segments_of(capsys, root, "--page", page, output=tmp_path / f"out{page}")
        assert same(found["a.tif"], [("object", pixels) for pixels in (*both, mask(last))])
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 0, printed
    assert f"{root}: 1 shapes of other pages than 1 (give another with --page) left out" in printed
    assert "1 points, lines, angles and texts, which have no area, left out" in printed


def test_round_corners_and_splines_of_imagej(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roifile = pytest.importorskip("roifile")
    options = roifile.ROI_OPTIONS
    corners = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=3, top=4, right=23, bottom=21)
    corners.rounded_rect_arc_size = 8
    nodes = np.array([[5, 5], [20, 3], [30, 20], [15, 30], [15, 30]], np.float32)
    spline = roifile.ImagejRoi.frompoints(nodes)
    spline.options |= options.SPLINE_FIT | options.SUB_PIXEL_RESOLUTION
    # As many as `ImageProcessor.fill` of ImageJ 1.53t draws.
    for name, roi, pixels in (("corners", corners, 328), ("spline", spline, 582)):
        root = tmp_path / name
        root.mkdir()
        Image.new("RGB", (40, 40)).save(root / "a.png")
        roifile.roiwrite(root / "a.roi", roi)
        ((_, found),) = segments_of(capsys, root, output=root / "out")["a.png"]
        assert abs(int(found.sum()) - pixels) <= 1, name


def test_shapes_of_hyperstacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # ImageJ 1.53t wrote such ROIs: two channels, three depths, two times, in which channels change fastest.
    roifile = pytest.importorskip("roifile")
    places = [(1, 1, 1), (2, 3, 2), (0, 2, 0), (0, 0, 0), (1, 4, 1)]
    squares = [[(x, 1), (x + 2, 1), (x + 2, 3), (x, 3)] for x in range(0, 15, 3)]
    features = []
    for root in (tmp_path / "imagej", tmp_path / "qupath"):
        root.mkdir()
        stack = np.zeros((2, 3, 2, 12, 16), np.uint8)
        tifffile.imwrite(root / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    for number, (square, (c, z, t)) in enumerate(zip(squares, places, strict=True)):
        roi = roifile.ImagejRoi.frompoints(np.array(square), name=str(number))
        roi.c_position, roi.z_position, roi.t_position = c, z, t
        roifile.roiwrite(tmp_path / "imagej" / "a.zip", roi)
        geometry = {"type": "Polygon", "coordinates": [square]}
        plane = {"c": -1, "z": max(z, 1) - 1, "t": max(t, 1) - 1}
        features.append({"type": "Feature", "geometry": geometry | {"plane": plane}})
    (tmp_path / "qupath" / "a.geojson").write_text(json.dumps(features))
    for kind, page, wanted in (
        ("imagej", 1, [0, 3]),
        ("imagej", 3, [2, 3]),
        ("imagej", 10, [2, 3]),
        ("imagej", 12, [1, 3]),
        ("qupath", 1, [0, 3]),
        ("qupath", 4, [2]),
        ("qupath", 11, [1]),
    ):
        output = tmp_path / f"{kind}{page}"
        found = segments_of(capsys, tmp_path / kind, "--page", page, output=output)["a.tif"]
        assert same(found, [("object", mask(squares[number])) for number in wanted]), (kind, page)
    code, printed = convert(capsys, tmp_path / "imagej", "--page", 13, "--output", tmp_path / "none")
    assert (code, "give another --page" in printed or "--copy-images" in printed) == (2, True), printed


def test_objects_of_qupath_on_other_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "qupath", tmp_path / "qupath")
    for name in ("a", "b"):
        pixels = np.asarray(Image.open(root / f"{name}.png"))
        (root / f"{name}.png").unlink()
        tifffile.imwrite(root / f"{name}.tif", np.stack([pixels] * 3), photometric="rgb")
    assert same(segments_of(capsys, root, "--page", 3, output=tmp_path / "none")["a.tif"], OUTLINES)
    document = json.loads((root / "a.geojson").read_text())
    features = document["features"] if isinstance(document, dict) else document
    for feature, plane in zip(features, [{"z": 2, "t": 0}, {"z": 0, "t": 2}, None], strict=True):
        feature["geometry"] |= {} if plane is None else {"plane": {"c": -1} | plane}
    (root / "a.geojson").write_text(json.dumps(document))
    found = segments_of(capsys, root, "--page", 3, output=tmp_path / "third")
    assert same(found["a.tif"], OUTLINES[:2])
    code, printed = convert(capsys, root, "--output", tmp_path / "first")
    assert (code, "2 shapes of other pages than 1 (give another with --page) left" in printed) == (0, True)


@pytest.mark.parametrize("name", ["collection", "array", "root"])
def test_what_qupath_writes_of_each_kind_of_object(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A brush with a hole, an object of two parts, a derived class, an ellipse, a cell with nucleus, a tile,
    # objects of a plane; cores, points and lines are left out.
    def box(left: int, top: int, width: int, height: int) -> np.ndarray:
        right, bottom = left + width, top + height
        return mask([(left, top), (right, top), (right, bottom), (left, bottom)])

    root = tmp_path / "source"
    root.mkdir()
    shutil.copy(FIXTURES / "qupath_objects" / f"{name}.geojson", root / "a.geojson")
    stack = np.zeros((2, 12, 16), np.uint8)
    tifffile.imwrite(root / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    y, x = np.mgrid[:12, :16] + 0.5
    first = [
        ("Tumor", (box(0, 0, 4, 4) | box(2, 2, 4, 4)) & ~box(1, 1, 1, 1)),
        ("Stroma", box(11, 0, 2, 3) | box(14, 0, 2, 3)),
        ("Tumor: Positive", box(7, 0, 3, 2)),
        ("Stroma", np.hypot(x - 9, y - 5) < 2),
        ("object", box(0, 7, 5, 5)),
        ("Tumor", box(12, 5, 4, 4)),
        ("Stroma", box(7, 9, 3, 2)),
    ]
    second = [("Stroma", box(12, 10, 3, 2))]
    for page, wanted in ((1, first), (2, second)):
        found = segments_of(capsys, root, "--page", page, output=tmp_path / str(page))["a.tif"]
        assert same(found, wanted), [(name, pixels.astype(int)) for name, pixels in found]
    (root / "a.tif").unlink()
    Image.new("RGB", (16, 12)).save(root / "a.png")
    code, printed = convert(capsys, root, "--output", tmp_path / "flat")
    assert (code, "objects of several depths or times of a stack on a picture of one page" in printed) == (
        0,
        True,
    ), printed
    assert "1 cores of tissue microarrays" in printed
    assert "2 points and lines" in printed


def test_one_object_and_none_of_qupath(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, own in (("single", "a"), ("nothing", "b")):
        shutil.copy(FIXTURES / "qupath_objects" / f"{name}.geojson", tmp_path / f"{own}.geojson")
        Image.new("RGB", (16, 12)).save(tmp_path / f"{own}.png")
    found = segments_of(capsys, tmp_path, output=tmp_path / "out")
    assert (same(found["a.png"], [("cell", mask(CELL, HOLE))]), found["b.png"]) == (True, [])


UTM, DEGREES = (500_000, 4_600_000, 0.5, 32633, 3072), (12, 45, 1e-5, 4326, 2048)


def geotiff(path: Path, left: float, top: float, step: float, epsg: int, key: int) -> None:
    """Write a picture of 12 x 16 pixels (height x width) whose upper left corner lies there."""
    keys = (1, 1, 0, 2, 1025, 0, 1, 1, key, 0, 1, epsg)
    tags = [
        (33550, "d", 3, (step, step, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, left, top, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    tifffile.imwrite(path, np.zeros((12, 16, 3), np.uint8), photometric="rgb", extratags=tags)


def houses(*lines: Any, **more: Any) -> str:
    features = [
        {
            "type": "Feature",
            "properties": {"use": ("house", "barn")[place % 2], "floors": place},
            "geometry": {"type": "Polygon", "coordinates": [line]},
        }
        for place, line in enumerate(lines)
    ]
    return json.dumps({"type": "FeatureCollection", **more, "features": features})


def on_map(points: list[tuple[float, float]], left: float, top: float, step: float, *_: int) -> list[Any]:
    return [[left + step * x, top - step * y, 7.5] for x, y in [*points, points[0]]]


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_outlines_on_a_map(
    place: tuple[float, float, float, int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geotiff(tmp_path / "a.tif", *place)
    squares = [[(2, 2), (6, 2), (6, 6), (2, 6)], [(8, 3), (20, 3), (20, 9), (8, 9)]]
    wanted = [(name, mask(square)) for name, square in zip(("house", "barn"), squares, strict=True)]
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{place[3]}"}}
    for number, named in enumerate(({}, {"crs": crs})):
        (tmp_path / "a.geojson").write_text(houses(*(on_map(each, *place) for each in squares), **named))
        found = segments_of(capsys, tmp_path, "--attribute", "use", output=tmp_path / f"out{number}")
        assert same(found["a.tif"], wanted)
    # QuPath counts the pixels of any picture.
    (tmp_path / "a.geojson").write_text(houses(*([*each, each[0]] for each in squares), crs=crs))
    found = segments_of(capsys, tmp_path, "--attribute", "use", output=tmp_path / "pixels")
    assert same(found["a.tif"], wanted)


def in_degrees(points: list[list[float]]) -> list[list[float]]:
    """Return points within meters of where zone 33 of UTM crosses the equator as longitude and latitude."""
    radius, eccentricity = 6_378_137.0, 0.00669438
    metres = 0.9996 * radius * np.pi / 180, 0.9996 * radius * (1 - eccentricity) * np.pi / 180
    return [[15 + (x - 500_000) / metres[0], y / metres[1]] for x, y, _ in points]


def test_outlines_in_degrees_lie_on_any_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyproj")
    place = (500_000, 0, 0.5, 32633, 3072)
    geotiff(tmp_path / "a.tif", *place)
    squares = [[(2, 2), (6, 2), (6, 6), (2, 6)], [(8, 3), (20, 3), (20, 9), (8, 9)]]
    wanted = [("object", mask(square)) for square in squares]
    lines = [on_map(square, *place) for square in squares]
    degrees = [in_degrees(line) for line in lines]
    names = [None, "urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326"]
    for number, name in enumerate(names):
        named = {"crs": {"type": "name", "properties": {"name": name}}} if name else {}
        (tmp_path / "a.geojson").write_text(houses(*degrees, **named))
        found = segments_of(capsys, tmp_path, output=tmp_path / f"out{number}")
        assert same(found["a.tif"], wanted)
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    (tmp_path / "a.geojson").write_text(houses(*degrees))
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "missing")
    assert (code, 'pip install "axial-deeplab[maps]"' in printed) == (2, True), printed
    assert "outlines in EPSG 4326 on a map in EPSG 32633 need the package pyproj" in printed


def test_outlines_that_are_not_on_the_map_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geotiff(tmp_path / "a.tif", *UTM)
    square = [(2.0, 2.0), (6.0, 2.0), (6.0, 6.0), (2.0, 6.0)]
    cases = {
        "a.tif, by its pixels or its map (EPSG 32633), got none, such as (12": houses(
            on_map(square, *DEGREES)
        ),
        # As pixels, 5 degrees by 10 lie in the picture.
        "got none, such as (5.00002, 9.99998) of EPSG 4326; give": houses(on_map(square, 5, 10, 1e-5)),
        "got none, such as (500001, 4.6e+06) of EPSG 32632; give": houses(
            on_map(square, *UTM), crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
        ),
        "brought to EPSG 32633, got EPSG 999999: ": houses(
            on_map(square, *UTM), crs={"type": "name", "properties": {"name": "EPSG:999999"}}
        ),
        "points must be pairs of numbers": houses([*on_map(square, *UTM), [None, 3]]),
    }
    for message, content in cases.items():
        (tmp_path / "a.geojson").write_text(content)
        code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
        assert (code, message in printed) == (2, True), printed
    geotiff(tmp_path / "a.tif", 0, 0, 0, 32633, 3072)
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
    assert (code, "a.tif must say where its pixels lie on the map, got: Singular matrix" in printed) == (
        2,
        True,
    )


def test_the_class_of_an_outline_may_be_any_property(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    square = [[2, 2], [6, 2], [6, 6], [2, 6], [2, 2]]
    (tmp_path / "a.geojson").write_text(houses(square))
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
    assert (code, "no object has a class, and each becomes 'object'" in printed) == (0, True)
    assert "is the class (use), give --attribute NAME" in printed
    found = segments_of(capsys, tmp_path, "--attribute", "floors", output=tmp_path / "out2")
    assert [name for name, _ in found["a.png"]] == ["0"]
    code, printed = convert(capsys, tmp_path, "--attribute", "height", "--output", tmp_path / "out3")
    assert (code, "features[0] height must be its class, got None; give another" in printed) == (2, True)


def test_packed_files_of_qupath(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "qupath", tmp_path / "source")
    shutil.copy(FIXTURES / "qupath_objects" / "packed.geojson.gz", root / "c.geojson.gz")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "c.geojson.gz must be unpacked" in printed) == (2, True), printed


def test_the_hierarchy_of_qupath(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As QuPath's `GsonTools.getInstance().toJson` writes the root; of an ellipse 4 corners of 100.
    def feature(role: str, points: list[list[float]], *children: object, **more: object) -> dict[str, object]:
        geometry = {"type": "Polygon", "coordinates": [points]} | more if points else {}
        properties: dict[str, object] = {"objectType": role, "childObjects": list(children)}
        if role == "detection":
            properties["classification"] = {"names": ["cell", "positive"], "color": [1, 2, 3]}
        return {"type": "Feature", "geometry": geometry, "properties": properties}

    oval = feature("detection", [[2, 4], [4, 2], [6, 4], [4, 6]], isEllipse=True)
    square = feature("detection", [[8, 1], [10, 1], [10, 3], [8, 3]])
    cores = [feature("tmaCore", [[0, 0], [9, 0], [9, 9], [0, 9]], oval), feature("tmaCore", [], square)]
    (tmp_path / "a.geojson").write_text(json.dumps(feature("root", [], *cores)))
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    found = segments_of(capsys, tmp_path, output=tmp_path / "out")["a.png"]
    y, x = np.mgrid[:12, :16] + 0.5
    disc = np.hypot(x - 4, y - 4) < 2
    name = "cell: positive"
    assert same(found, [(name, disc), (name, mask([(8, 1), (10, 1), (10, 3), (8, 3)]))])
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "again")
    assert (code, "2 cores of tissue microarrays, which hold objects and are none, left" in printed) == (
        0,
        True,
    )


def test_a_project_of_cvat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its subsets stay apart, also if pictures have one name; skeletons and their points are no classes."""
    code, printed = convert(capsys, FIXTURES / "cvat_project", "--output", tmp_path / "none")
    assert code == 0, printed
    assert "4 points, lines and cuboids, which have no area, left out" in printed
    found = segments_of(capsys, FIXTURES / "cvat_project", output=tmp_path / "out")
    roots = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("out/*/panoptic.json")}
    assert sorted(roots) == ["test", "train", "val"]
    for root in roots.values():
        assert [entry["name"] for entry in root["categories"]] == ["cell", "pair"]
    y, x = np.mgrid[:12, :16] + 0.5
    wanted = {
        "images/Train/a.png": OUTLINES,
        "images/Validation/b.png": [],
        "images/Test/a.png": [("pair", mask(OVER))],
        # Turned by 90 degrees about their centers (4, 4) and (11, 5); the last is of a track.
        "images/Test/c.png": [
            ("cell", mask([(1, 2), (7, 2), (7, 6), (1, 6)])),
            ("pair", ((x - 11) / 3) ** 2 + ((y - 5) / 4) ** 2 < 1),
            ("pair", mask([(0, 9), (4, 9), (4, 11), (0, 11)])),
        ],
    }
    assert sorted(found) == sorted(wanted)
    for name, segments in wanted.items():
        assert same(found[name], segments), name


def test_coco_of_cvat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its masks are crowds, and of the polygon and the box of a group it has the polygon alone."""
    pytest.importorskip("pycocotools")
    root = FIXTURES / "cvat_coco"
    code, printed = convert(capsys, root, "--output", tmp_path / "crowds")
    assert (code, "1 of 1 crowds fill their boxes" in printed) == (0, True), printed
    found = segments_of(capsys, root, "--crowds-are-objects", output=tmp_path / "out")
    assert same(found["images/a.png"], [*OUTLINES[:2], ("pair", mask(PAIR[0]))])
    assert found["images/b.png"] == []


def test_frames_of_cvat_are_named_without_a_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two tracks one moves by a pixel in each frame, the other is there in the second alone."""
    found = segments_of(capsys, FIXTURES / "cvat_frames", output=tmp_path / "out")
    moving = [("pair", mask([(left, 1), (left + 4, 1), (left + 4, 5), (left, 5)])) for left in (1, 2, 3)]
    wanted = [moving[:1], [("cell", mask(OVER)), moving[1]], moving[2:]]
    for number, segments in enumerate(wanted):
        name = f"images/frame_{number:06}.PNG"
        assert same(found[name], segments), [(name, pixels.astype(int)) for name, pixels in found[name]]


def test_cvat_in_16_bits_a_character(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "cvat", tmp_path / "cvat")
    path = root / "annotations.xml"
    path.write_text(path.read_text("utf-8").replace("utf-8", "utf-16"), "utf-16")
    found = segments_of(capsys, root, output=tmp_path / "out")
    assert same(next(found[name] for name in found if name.endswith("a.png")), OUTLINES)


def test_z_order_of_cvat_wins_over_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "cvat", tmp_path / "cvat")
    edited(root / "annotations.xml", 'z_order="1"', 'z_order="-1"')
    found = segments_of(capsys, root, output=tmp_path / "out")["images/a.png"]
    cell = mask(CELL, HOLE)
    assert same(found[:2], [("cell", cell), ("cell", mask(OVER) & ~cell)])


def test_roi_sets_without_roifile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "roifile", None)
    code, printed = convert(capsys, FIXTURES / "imagej", "--output", tmp_path / "out")
    assert (code, 'pip install "axial-deeplab[imagej]"' in printed) == (2, True)


@pytest.mark.parametrize(
    ("kind", "name"), [("kitti_step", "person"), ("bdd100k", "pedestrian"), ("bdd100k_panoptic", "person")]
)
def test_crowds_of_data_sets(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(capsys, FIXTURES / kind, "--output", tmp_path / "out")[0] == 0
    document = json.loads((tmp_path / "out/panoptic.json").read_text())
    (number,) = [entry["id"] for entry in document["categories"] if entry["name"] == name]
    segments = document["annotations"][0]["segments_info"]
    crowds = [s["area"] for s in segments if s["iscrowd"]]
    assert crowds == [int(mask(OVER).sum())]
    assert sum(s["category_id"] == number for s in segments) == 2


@pytest.mark.parametrize("kind", ["voc", "ade20k", "stardist"])
def test_ids_of_categories_that_are_hashes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = segments_of(capsys, FIXTURES / kind, "--background", "rest", output=tmp_path / "plain")
    document = json.loads(next((tmp_path / "plain").rglob("panoptic.json")).read_text())
    # The low 32 bits of all are those of the first.
    listed = [{**entry, "id": place * 2**32 + 5} for place, entry in enumerate(document["categories"])]
    (tmp_path / "categories.json").write_text(json.dumps(listed))
    words = (FIXTURES / kind, "--background", "rest", "--categories", tmp_path / "categories.json")
    hashed = segments_of(capsys, *words, output=tmp_path / "hashed")
    assert {name: [each for each, _ in found] for name, found in hashed.items()} == {
        name: [each for each, _ in found] for name, found in plain.items()
    }
    assert all(same(hashed[name], plain[name]) for name in plain)


def test_a_class_of_bdd100k_that_is_in_no_category(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One more than the last id: it must not be taken for void.
    last = int(np.array(Image.open(FIXTURES / "bdd100k/bitmasks/a.png"))[..., 0].max())
    listed = [{"id": n, "name": str(n), "isthing": 1} for n in range(1, last)]
    (tmp_path / "categories.json").write_text(json.dumps(listed))
    words = (FIXTURES / "bdd100k", "--categories", tmp_path / "categories.json")
    code, printed = convert(capsys, *words, "--output", tmp_path / "out")
    assert (code, f"must have only ids of the categories, got {last}" in printed) == (2, True)


def test_maps_of_other_classes_are_not_taken_for_kitti_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Persons alone are numbered in MOTChallenge-STEP; a class that is numbered beside them makes it neither.
    root = shutil.copytree(FIXTURES / "motchallenge_step", tmp_path / "source")
    path = root / "panoptic_maps/train/0002/b.png"
    values = np.array(Image.open(path))
    values[0, :2] = [(2, 0, 1), (255, 0, 1)]
    Image.fromarray(values).save(path)
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    message = (
        "a.png must have numbers of instances in the classes [11, 13] alone, got some in [4], as files of"
    )
    assert (code, message in printed) == (2, True), printed
    listed = [{"id": n, "name": str(n), "isthing": 1} for n in (2, 3, 4)]
    (tmp_path / "categories.json").write_text(json.dumps(listed))
    words = (root, "--categories", tmp_path / "categories.json")
    found = segments_of(capsys, *words, output=tmp_path / "out")
    assert [name for name, _ in found["images/train/0002/b.png"]] == ["2"]


def test_ade20k_is_read_as_by_its_toolkit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What `loadAde20K` gave of the same files: each pair of class and instance is a segment, 0 is none.
    toolkit = json.loads((FIXTURES / "ade20k_toolkit.json").read_text())
    classes, instances = np.array(toolkit["class_mask"]), np.array(toolkit["instance_mask"])
    found = segments_of(capsys, FIXTURES / "ade20k", output=tmp_path / "out")["a.png"]
    pairs = sorted({(int(c), int(n)) for c, n in zip(classes.flat, instances.flat, strict=True) if c})
    listed = json.loads((FIXTURES / "ade20k/a.json").read_text())["annotation"]["object"]
    name_of_class = {entry["name_ndx"]: entry["name"] for entry in listed}
    wanted = [(name_of_class[c], (classes == c) & (instances == n)) for c, n in pairs]
    assert same(found, wanted)
    assert sorted(name for name, _ in found) == sorted(toolkit["objects"])
    assert toolkit["parts"] == ["lid, lids"]  # which are in files of their own


def test_ade20k_of_150_classes_as_mask2former_prepares_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = FIXTURES / "ade20k_panoptic"
    (found,) = find_datasets(root)
    dataset = open_dataset(found.data, "val")
    assert (len(dataset.categories), len(dataset.categories.thing_ids)) == (150, 100)
    persons, rest = named("person", "person", "car"), np.logical_or.reduce([p for _, p in OUTLINES])
    building = mask(LEFT)
    wanted = {
        "a.jpg": [*persons, ("building", building), ("sky", ~rest & ~building)],
        "b.jpg": [],
        "c.jpg": [*persons, ("person", building), ("wall", ~rest & ~building)],
    }
    with pytest.warns(UserWarning, match=r"c\.png .*segments [0-9]+ of the JSON have no pixel in the PNG"):
        samples = list(dataset)
    assert [sample.file_name for sample in samples] == list(wanted)
    for sample in samples:
        assert sample.panoptic is not None
        names = dataset.categories.names
        segments = [(names[segment.train_id], sample.panoptic == segment.id) for segment in sample.segments]
        assert same(segments, wanted[sample.file_name])
    # Of the same folder, with the instances of detection beside.
    source = shutil.copytree(root, tmp_path / "ADEChallengeData2016")
    (source / "ade20k_instance_train.json").write_text(json.dumps({"images": [], "annotations": []}))
    assert main(["dataset", "check", str(source)]) == 0
    assert "100 things, 50 stuff" in capsys.readouterr().out


def test_what_bdd100k_ignores_is_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Background is what nobody drew; an ignored vehicle lies lower left.
    words = (FIXTURES / "bdd100k", "--background", "rest")
    found = segments_of(capsys, *words, output=tmp_path / "out")["images/a.png"]
    drawn = named("pedestrian", "pedestrian", "car")
    rest = ~np.logical_or.reduce([mask(LEFT), *(pixels for _, pixels in drawn)])
    assert same(found, [*drawn, ("rest", rest)])


@pytest.mark.parametrize(
    ("kind", "file", "high"),
    [("kitti_step", "panoptic_maps/train/0002/a.png", 1), ("bdd100k", "bitmasks/a.png", 2)],
)
def test_numbers_of_two_bytes(
    kind: str, file: str, high: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The second part of the pair gets another number that differs in the high byte alone.
    root = shutil.copytree(FIXTURES / kind, tmp_path / kind)
    values = np.array(Image.open(root / file))
    values[mask(PAIR[1]), high] = 1
    Image.fromarray(values).save(root / file)
    found = segments_of(capsys, root, output=tmp_path / "out")
    cars = [
        entry for entry in next(found[name] for name in found if name.endswith("a.png")) if entry[0] == "car"
    ]
    assert same(cars, [("car", mask(part)) for part in PAIR])


def two_channels(maps: str, categories: str) -> tuple[object, ...]:
    root = FIXTURES / "two_channel"
    words = (root / maps, "--images", root / "images", "--categories", root / categories)
    return (*words, "--format", "two-channel")


def test_two_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = FIXTURES / "two_channel/maps"
    code, printed = convert(capsys, maps, "--format", "two-channel", "--output", tmp_path / "out")
    assert (code, "--categories and --images must be given for two-channel PNG files" in printed) == (2, True)
    found = segments_of(capsys, *two_channels("maps", "categories.json"), output=tmp_path / "out")
    assert same(found["a.png"], OUTLINES)
    assert found["b.png"] == []


@pytest.mark.parametrize("place", [0, 3])
def test_a_map_of_two_channels_with_blue_is_named(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also behind the first three, by which the kind is told: its blue would be forgotten."""
    for number in range(4):
        for folder, blue in (("maps", 9 * (number == place)), ("images", 0)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("RGB", (16, 12), (0, 0, blue)).save(tmp_path / folder / f"{number}.png")
    words = (tmp_path / "maps", "--images", tmp_path / "images", "--format", "two-channel")
    words += ("--categories", FIXTURES / "two_channel/categories.json")
    code, printed = convert(capsys, *words, "--output", tmp_path / "out")
    assert (code, f"{place}.png must have no blue, got 9; give" in printed) == (2, True), printed


@pytest.mark.parametrize(
    ("color", "message"),
    [
        ((0, 0, 0), "a.png must be a PNG of 4 channels of 8 bits, got mode RGB"),
        ((200, 0, 0, 0), "a.png must have classes up to 40 in red, got 200"),
        ((1, 16, 0, 0), "a.png must have flags up to 15 in green, got 16"),
    ],
)
def test_a_map_that_is_none_of_bdd100k_is_named(
    color: tuple[int, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "bdd100k", tmp_path / "source")
    Image.new("RGBA" if len(color) == 4 else "RGB", (16, 12), color).save(root / "bitmasks/a.png")
    code, printed = convert(capsys, root, "--format", "bdd100k", "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert message in line


def test_two_channels_become_what_panopticapi_makes_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = FIXTURES / "two_channel"
    found = segments_of(capsys, *two_channels("maps", "categories.json"), output=tmp_path / "out")
    by_panopticapi = CocoPanopticDataset(root / "images", root / "panoptic", root / "panoptic.json")
    assert len(by_panopticapi) == 2
    for sample in by_panopticapi:
        assert sample.panoptic is not None
        names = by_panopticapi.categories.names
        wanted = [(names[segment.train_id], sample.panoptic == segment.id) for segment in sample.segments]
        assert same(found[sample.file_name], wanted)


def test_two_channels_with_another_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = two_channels("upsnet", "upsnet.json")
    code, printed = convert(capsys, *words, "--output", tmp_path / "none")
    assert (code, "(--void-label 255)" in printed) == (2, True), printed
    found = segments_of(capsys, *words, "--void-label", 255, output=tmp_path / "out")
    assert same(found["a.png"], [*named("person", "person", "car"), *STUFF])
    assert found["b.png"] == []


def test_two_channels_whose_first_pictures_have_stuff_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "maps").mkdir()
    values = np.zeros((12, 16, 3), np.uint8)
    values[..., 0] = 3
    Image.fromarray(values).save(tmp_path / "maps/a.png")
    _, *words = two_channels("upsnet", "upsnet.json")
    found = segments_of(capsys, tmp_path / "maps", *words, output=tmp_path / "out")
    assert same(found["a.png"], [("wall", np.ones((12, 16), bool))])


@pytest.mark.parametrize(
    ("maps", "categories", "void"), [("maps", "categories.json", 0), ("upsnet", "upsnet.json", 255)]
)
def test_two_channels_with_a_background(
    maps: str, categories: str, void: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*two_channels(maps, categories), "--void-label", void)
    drawn = segments_of(capsys, *words, output=tmp_path / "out")["a.png"]
    found = segments_of(capsys, *words, "--background", "rest", output=tmp_path / "rest")
    rest = ~np.logical_or.reduce([pixels for _, pixels in drawn])
    assert same(found["a.png"], [*drawn, ("rest", rest)])
    assert same(found["b.png"], [("rest", np.ones_like(rest))])
    if maps == "upsnet":  # a class of the categories
        found = segments_of(capsys, *words, "--background", "wall", output=tmp_path / "wall")
        others = [entry for entry in drawn if entry[0] != "wall"]
        assert same(found["a.png"], [*others, ("wall", rest | STUFF[1][1])])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        *(
            ("kitti_step", f"--{name} car")
            for name in ("background", "stuff", "things", "thing", "attribute")
        ),
        *(("bdd100k", f"--{name} car") for name in ("stuff", "things", "thing", "attribute")),
        *(("two_channel", f"--{name} car") for name in ("thing", "attribute")),
    ],
)
def test_options_that_a_data_set_has_no_use_for(
    kind: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = two_channels("maps", "categories.json") if kind == "two_channel" else (FIXTURES / kind,)
    code, printed = convert(capsys, *source, *words.split(), "--output", tmp_path / "out")
    assert (code, f"{words.split()[0]} must not be given for a folder of " in printed) == (2, True), printed


def test_what_was_converted_is_no_kind_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (FIXTURES / "labelme", "--output", tmp_path / "out", "--copy-images", "--background", "rest")
    assert convert(capsys, *words)[0] == 0
    assert main(["dataset", "check", str(tmp_path / "out")]) == 0
    assert "read as" not in capsys.readouterr().out


def test_what_was_converted_before_does_not_hide_the_files_of_the_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "labelme"
    shutil.copytree(FIXTURES / "labelme", source)
    for name in ("first", "second"):
        code, printed = convert(capsys, source, "--output", source / name, "--background", "rest")
        assert (code, "(labelme)" in printed) == (0, True), printed
    code, printed = convert(capsys, source / "first", "--output", tmp_path / "again")
    assert code == 2  # the photographs were not copied
    assert "first/images" in printed


@pytest.mark.parametrize("kind", ["coco", "coco-panoptic"])
def test_a_picture_under_two_ids_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has one map: the objects of one of its ids would be lost."""
    if kind == "coco":
        pytest.importorskip("pycocotools")
        root = shutil.copytree(FIXTURES / "roboflow", tmp_path / "data")
        path = root / "train/_annotations.coco.json"
        document = json.loads(path.read_text())
        document["images"].append({**document["images"][0], "id": 77})
    else:
        root = tmp_path / "data"
        words = (FIXTURES / "labelme", "--output", root, "--copy-images", "--background", "rest")
        assert convert(capsys, *words)[0] == 0
        path = root / "panoptic.json"
        document = json.loads(path.read_text())
        document["images"].append({**document["images"][0], "id": 77})
        document["annotations"].append({**document["annotations"][0], "image_id": 77})
    path.write_text(json.dumps(document))
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("axial-deeplab: error: ")]
    assert f"{document['images'][0]['file_name']} " in line
    assert "remove one" in line
    assert not (tmp_path / "out").exists()


def test_parts_of_panoptic_data_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (FIXTURES / "labelme", "--output", tmp_path / "data", "--copy-images", "--background", "rest")
    assert convert(capsys, *words, "--hold-out", 2)[0] == 0
    code, printed = convert(capsys, tmp_path / "data", "--output", tmp_path / "out", "--stuff", "cell")
    assert (code, "(coco-panoptic)" in printed) == (0, True), printed
    for part in ("train", "val"):
        before, after = (
            json.loads((tmp_path / root / part / "panoptic.json").read_text()) for root in ("data", "out")
        )
        names = [f"{part}/images/{each['file_name']}" for each in before["images"]]
        assert [each["file_name"] for each in after["images"]] == names
        assert not any(each["isthing"] for each in after["categories"] if each["name"] == "cell")


def test_a_folder_of_masks_of_single_objects_is_no_label_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FIXTURES / "stardist" / "images", tmp_path / "bowl" / "images")
    shutil.copytree(FIXTURES / "stardist" / "masks", tmp_path / "bowl" / "masks")
    for path in (tmp_path / "bowl" / "masks").iterdir():
        path.rename(path.with_stem(f"object_{path.stem}"))
    code, printed = convert(capsys, tmp_path / "bowl", "--output", tmp_path / "out")
    assert (code, "must be of a kind that is recognized" in printed) == (2, True)


def test_two_label_maps_of_a_picture_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "cellpose", tmp_path / "cellpose")
    with Image.open(root / "a_cp_masks.png") as image:
        labels = np.array(image)
    labels[0, 0] = 7
    Image.fromarray(labels).save(root / "a_masks.png")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert code == 2
    assert f"a must have one label map, got a_cp_masks.png, a_masks.png in {root}; take away" in printed
    assert not (tmp_path / "out").exists()


def test_pictures_of_cellpose_may_have_an_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As its own data set has it: 000_img.png and 000_masks.png."""
    root = shutil.copytree(FIXTURES / "cellpose", tmp_path / "cells")
    for path in root.glob("*_cp_masks.*"):
        stem = path.name.partition("_cp_masks")[0]
        path.rename(root / f"{stem}_masks{path.suffix}")
        (root / f"{stem}.png").rename(root / f"{stem}_img.png")
    found = segments_of(capsys, root, output=tmp_path / "out")
    assert sorted(found) == ["a_img.png", "b_img.png"]
    assert same(found["a_img.png"], [("object", pixels) for _, pixels in OUTLINES])


def test_maps_of_objects_that_voc_lacks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "voc", tmp_path / "voc")
    next(root.rglob("SegmentationObject/a.png")).unlink()
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "1 of 1 maps of SegmentationClass have none of SegmentationObject" in printed) == (0, True)
    code, printed = convert(
        capsys, root, "--output", tmp_path / "out2", "--stuff", "cell", "pair", "--format", "voc"
    )
    assert (code, "SegmentationObject" in printed) == (0, False), printed


def test_equal_label_maps_of_a_picture_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Of cellpose with --save_png and --save_tif, whose types of numbers may differ.
    root = shutil.copytree(FIXTURES / "cellpose", tmp_path / "cellpose")
    assert convert(capsys, root, "--output", tmp_path / "one")[0] == 0
    for path in list(root.glob("*_cp_masks.png")):
        with Image.open(path) as image:
            tifffile.imwrite(path.with_suffix(".tif"), np.array(image).astype(np.uint16))
    code, printed = convert(capsys, root, "--output", tmp_path / "both")
    assert code == 0, printed
    assert printed.count("equal label maps") == 1
    assert (
        "a_cp_masks.png is one of several equal label maps, a_cp_masks.png, a_cp_masks.tif: it is" in printed
    )
    one, both = ((tmp_path / name / "panoptic.json").read_bytes() for name in ("one", "both"))
    assert one == both


def with_another_byte(png: bytes) -> bytes:
    """Return a PNG whose pixels have changed on the way, which Pillow may read without a word."""
    place = png.index(b"IDAT") + 12
    return png[:place] + bytes([png[place] ^ 64]) + png[place + 1 :]


@pytest.mark.parametrize(
    ("name", "beginning"), [("labelme", '"mask": "'), ("label_studio_window", "png;base64,")]
)
def test_a_damaged_mask_in_a_json_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, beginning: str
) -> None:
    root = shutil.copytree(FIXTURES / name, tmp_path / name)
    (path,) = (p for p in root.rglob("*.json") if beginning in p.read_text())
    text = path.read_text().split(beginning, 1)[1].split('"')[0]
    png = base64.b64decode(text.replace("\\/", "/"))
    edited(path, text, base64.b64encode(with_another_byte(png)).decode())
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "with a wrong checksum in 'IDAT'; " in printed) == (2, True), printed


def test_damaged_maps_of_data_sets_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = {
        "kitti_step": "panoptic_maps/train/0002/a.png",
        "bdd100k": "bitmasks/a.png",
        "ade20k": "a_seg.png",
    }
    maps |= {"voc": "SegmentationObject/a.png", "cellpose": "a_cp_masks.png"}
    maps |= {"cvat_voc": "SegmentationObject/a.png"}
    for name, file in maps.items():
        root = shutil.copytree(FIXTURES / name, tmp_path / name)
        content = (root / file).read_bytes()
        kind = next(kind for kind, scene in SCENES.items() if scene[0] == name).split()[0]
        damages = {content[:50]: "ends", with_another_byte(content): "with a wrong checksum in 'IDAT'"}
        for damaged, told in damages.items():
            (root / file).write_bytes(damaged)
            code, printed = convert(capsys, root, "--format", kind, "--output", tmp_path / "out")
            assert code == 2
            assert re.search(f"{Path(file).name} must be a complete PNG, got .*{told}", printed), printed
    root = shutil.copytree(FIXTURES / "ade20k", tmp_path / "ade")
    edited(root / "a.json", '"name_ndx": 513', '"name_ndx": 514')
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "a_seg.png must have only classes that its JSON names, got 513" in printed) == (2, True)


def test_what_lies_on_top_is_as_the_tool_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """LabelMe draws the later on top, ultralytics the smaller."""
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    document = json.loads((root / "a.json").read_text())
    document["shapes"].reverse()
    (root / "a.json").write_text(json.dumps(document))
    found = segments_of(capsys, root, output=tmp_path / "labelme_out")["a.png"]
    assert same(
        [e for e in found if e[0] == "cell"],
        [("cell", mask(CELL, HOLE)), ("cell", mask(OVER) & ~mask(CELL, HOLE))],
    )
    root = shutil.copytree(FIXTURES / "yolo", tmp_path / "yolo")
    labels = root / "labels/train/a.txt"
    labels.write_text("\n".join(reversed(labels.read_text().splitlines())))
    found = segments_of(capsys, root, output=tmp_path / "yolo_out")["images/train/a.png"]
    assert same(found, OUTLINES)


def test_coco_instances_of_another_tool_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    via = FIXTURES / "via2"
    words = ("coco-instances", "--images", via, "--json", via / "project.json", "--output", tmp_path / "out")
    code, printed = convert(capsys, *words)
    assert (code, "must be a COCO instances JSON, got a VIA project; give it as SOURCE" in printed) == (
        2,
        True,
    )


def test_pictures_are_found_by_the_end_of_their_path_and_never_outside(tmp_path: Path) -> None:
    for name in ("a.png", "more/a.png", "more/B\u00e9.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FIXTURES / "labelme" / "a.png", tmp_path / "in" / name)
    shutil.copy(FIXTURES / "labelme" / "a.png", tmp_path / "c.png")
    photos = Photos(tmp_path / "in")
    for name, wanted in {
        "a.png": "a.png",
        "/somewhere/else/a.png": "a.png",
        "C:\\Users\\me\\more\\a.png": "more/a.png",
        "../more/A.PNG": "more/a.png",
        "be\u0301.png": "more/B\u00e9.png",
        "0a1b2c3d-a.png": "a.png",
    }.items():
        assert photos.file_name(photos.find(name, "file")) == wanted
    for name in ("../c.png", str(tmp_path / "c.png"), "", "..", "d.png"):
        with pytest.raises(FileNotFoundError, match=r"^file: its picture .* must be in .*, got none; add it"):
            photos.find(name, "file")


def test_a_picture_of_a_kind_that_is_not_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"a.png"', '"a.heic"')
    (root / "a.png").rename(root / "a.heic")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "a.heic, of a kind that is not read (save it as PNG or TIFF)" in printed) == (2, True)
    Image.new("RGB", (16, 12)).save(root / "a.jpg")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, f"got {root / 'a.jpg'} (rename it, or correct the name)" in printed) == (2, True)
    root = shutil.copytree(FIXTURES / "qupath", tmp_path / "qupath")
    (root / "a.png").rename(root / "a.czi")
    code, printed = convert(capsys, root, "--output", tmp_path / "out")
    assert (code, "got " + str(root / "a.czi") + ", of a kind that is not read" in printed) == (2, True)


def test_pictures_of_any_range_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "stardist", tmp_path / "stardist")
    for path in sorted((root / "images").iterdir()):
        path.unlink()
        tifffile.imwrite(
            path.with_suffix(".tif"), np.linspace(0, 1, 12 * 16, dtype=np.float32).reshape(12, 16)
        )
    code, printed = convert(capsys, root, "--thing", "nucleus", "--output", tmp_path / "out")
    assert code == 0, printed
    code, printed = convert(capsys, root, "--page", "2", "--output", tmp_path / "out2", "--copy-images")
    assert (code, "masks/a.tif must have page 2, got 1 pages" in printed) == (2, True)
