"""The files of labeling tools, written by the tools themselves (`fixtures/`), are read to the pixel."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from axial_deeplab.cli.main import main
from axial_deeplab.data.coco import CocoPanopticDataset
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
SCENES = {
    "labelme": ("labelme", OUTLINES),
}


@pytest.mark.parametrize("kind", SCENES)
def test_the_scene_of_a_tool_is_read_to_the_pixel(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, wanted = SCENES[kind]
    found = segments_of(capsys, FIXTURES / source, output=tmp_path / "out")
    named = {Path(name).name: segments for name, segments in found.items()}
    assert sorted(named) == ["a.png", "b.png"]
    assert same(named["a.png"], wanted), [(name, pixels.astype(int)) for name, pixels in named["a.png"]]
    assert named["b.png"] == []


@pytest.mark.parametrize("kind", SCENES)
def test_a_kind_is_told(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = FIXTURES / SCENES[kind][0]
    code, printed = convert(capsys, source, "--output", tmp_path / "out")
    assert code == 0, printed
    assert f"{source}: read as " in printed
    assert f"({kind})" in printed
    assert main(["dataset", "check", str(source), "--background", "rest"]) == 0
    printed = capsys.readouterr().out
    assert f"({kind})" in printed
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
    ("labelme", "a.json", '"rectangle"', '"polygon"', "shapes[3] ('pair') polygon must have three or more"),
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
    ("labelme", "a.json", '"group_id": 1', '"group_id": {}', "shapes[2] ('pair') group_id must be a number"),
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


def test_circles_of_labelme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(FIXTURES / "labelme", tmp_path / "labelme")
    edited(root / "a.json", '"rectangle"', '"circle"')
    found = segments_of(capsys, root, output=tmp_path / "out")
    y, x = np.mgrid[:12, :16] + 0.5
    circle = (x - 14) ** 2 + (y - 1) ** 2 < 2**2 + 3**2  # about (14, 1), through (16, 4)
    assert same([e for e in found["a.png"] if e[0] == "pair"], [("pair", mask(PAIR[0]) | circle)])


def test_another_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = convert(capsys, tmp_path, "--output", tmp_path / "out")
    assert (code, "must be of a kind that is recognized" in printed) == (2, True)
    words = ("--output", tmp_path / "out", "--format")
    code, printed = convert(capsys, tmp_path, *words, "paint")
    assert (code, "--format must be one of labelme" in printed) == (2, True)
    code, printed = convert(capsys, tmp_path / "none", *words, "labelme")
    assert (code, "which does not exist" in printed) == (2, True)
