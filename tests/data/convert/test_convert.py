"""Data sets converted through the command line are read back as COCO panoptic data."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.panoptic.png import read_panoptic_png
from dataset_conversion import convert, save

Find = Callable[[str], Path]

CATEGORIES = [{"id": 3, "name": "sky", "isthing": 0}, {"id": 7, "name": "car", "isthing": 1}]
SEMANTIC = np.array([[3, 3, 7, 7], [255, 3, 7, 7]], np.uint8)
INSTANCES = np.array([[0, 0, 1, 300], [0, 0, 1, 300]], np.uint16)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Write three images, one of them in a subfolder, with their maps."""
    for name in ("a", "b", "more/c"):
        save(tmp_path / "images" / f"{name}.jpg", np.zeros((2, 4, 3), np.uint8))
        save(tmp_path / "semantic" / f"{name}.png", SEMANTIC)
        save(tmp_path / "instances" / f"{name}.png", INSTANCES)
    (tmp_path / "categories.json").write_text(json.dumps(CATEGORIES))
    return tmp_path


def convert_maps(capsys: pytest.CaptureFixture[str], root: Path, *words: object) -> tuple[int, str]:
    folders = [word for name in ("images", "semantic", "instances") for word in (f"--{name}", root / name)]
    return convert(
        capsys, "maps", *folders, "--categories", root / "categories.json", "--output", root / "out", *words
    )  # fmt: skip


def left_in(images: Path) -> str:
    return (
        f"the photographs stay in {images}: name that folder in training (--data.train.images), or convert "
        "with --copy-images"
    )


def test_maps(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = convert_maps(capsys, maps)
    assert (code, printed.splitlines()) == (
        0,
        [f"3 images written to {maps / 'out'}", left_in(maps / "images")],
    )
    dataset = CocoPanopticDataset(maps / "images", maps / "out" / "panoptic", maps / "out" / "panoptic.json")
    assert [sample.file_name for sample in dataset] == ["a.jpg", "b.jpg", "more/c.jpg"]
    assert dataset.categories.names == ("sky", "car")
    for sample in dataset:
        assert sample.panoptic is not None
        assert sample.panoptic.tolist() == [[10_000, 10_000, 20_001, 20_002], [0, 10_000, 20_001, 20_002]]


def test_parts_with_copies_of_the_images(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_maps(capsys, maps, "--hold-out", 3, "--copy-images")[0] == 0
    # Of the names without suffix, the SHA-256 of "more/c" is a multiple of 3.
    for part, names in (("train", ["a.jpg", "b.jpg"]), ("val", ["more/c.jpg"])):
        root = maps / "out" / part
        dataset = CocoPanopticDataset(root / "images", root / "panoptic", root / "panoptic.json")
        assert [sample.file_name for sample in dataset] == names
    assert main(["dataset", "check", str(maps / "out")]) == 0


def test_a_small_hold_out_has_an_image_on_each_side(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = convert_maps(capsys, maps, "--hold-out", 997, "--copy-images")
    assert code == 0
    assert re.search(r"\S+\.jpg goes to val/, which the hashes of 3 names left empty", printed)
    sizes = [
        len(json.loads((maps / "out" / part / "panoptic.json").read_text())["images"])
        for part in ("train", "val")
    ]
    assert sizes == [2, 1]


def test_maps_of_other_suffixes_and_of_macos(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, suffix in (("semantic", ".PNG"), ("instances", ".tif")):
        for path in sorted((maps / folder).rglob("*.png")):
            Image.open(path).save(path.with_name(f"{path.stem}_cp_masks{suffix}"))
            path.rename(path.with_name(f"._{path.name}"))
    for place in (maps / "images" / "._a.jpg", maps / "images" / "more" / "._c.jpg"):
        place.write_bytes(b"\x00\x05\x16\x07")
    code, printed = convert_maps(capsys, maps, "--copy-images")
    assert code == 0, printed
    assert "the maps have _cp_masks behind the names of their images" in printed
    root = maps / "out"
    for sample in CocoPanopticDataset(root / "images", root / "panoptic", root / "panoptic.json"):
        assert sample.panoptic is not None
        assert sample.panoptic.tolist() == [[10_000, 10_000, 20_001, 20_002], [0, 10_000, 20_001, 20_002]]


def wrong_size(root: Path) -> None:
    save(root / "images" / "a.jpg", np.zeros((3, 4, 3), np.uint8))


def unknown_id(root: Path) -> None:
    save(root / "semantic" / "a.png", SEMANTIC + 1)


def colors(root: Path) -> None:
    save(root / "semantic" / "a.png", np.zeros((2, 4, 3), np.uint8))


def fractions(root: Path) -> None:
    Image.fromarray(np.full((2, 4), 0.5, np.float32)).save(root / "semantic" / "a.tif")
    (root / "semantic" / "a.png").unlink()


def nan(root: Path) -> None:
    Image.fromarray(np.full((2, 4), np.nan, np.float32)).save(root / "instances" / "a.tif")
    (root / "instances" / "a.png").unlink()


def cut_map(root: Path) -> None:
    (root / "instances" / "a.png").write_bytes((root / "instances" / "a.png").read_bytes()[:40])


def missing_map(root: Path) -> None:
    (root / "instances" / "a.png").unlink()


def missing_image(root: Path) -> None:
    (root / "images" / "a.jpg").unlink()


def two_images(root: Path) -> None:
    save(root / "images" / "a.png", np.zeros((2, 4, 3), np.uint8))


def two_maps(root: Path) -> None:
    save(root / "semantic" / "a.TIF", SEMANTIC)


def name_that_is_no_text(root: Path) -> None:
    for folder, suffix in (("images", ".jpg"), ("semantic", ".png"), ("instances", ".png")):
        (root / folder / f"a{suffix}").rename(root / folder / f"a\udcff{suffix}")


def broken_categories(root: Path) -> None:
    (root / "categories.json").write_text("[")


def odd_categories(root: Path) -> None:
    (root / "categories.json").write_text('[{"id": 1}]')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_size, "images/a.jpg must be 2 x 4 pixels (height x width) as its annotation, got 3 x 4"),
        (unknown_id, "semantic/a.png must have only ids of the categories, got 0; add the category"),
        (colors, "semantic/a.png must have one channel of 8 or 16 bits"),
        (fractions, "semantic/a.tif must have whole numbers below 16777216 as ids, got 0.5 (8 pixels)"),
        (nan, "instances/a.tif must have whole numbers below 16777216 as ids, got nan (8 pixels)"),
        (cut_map, "instances/a.png must be a complete PNG, got a damaged file, which ends"),
        (missing_map, "instances must have a map of every image, got no"),
        (missing_image, "images must have the image of every map, got none for"),
        (two_images, "images must have different names to have maps of their own, got"),
        (two_maps, "semantic must have one map of each image, got"),
        (name_that_is_no_text, r"file_name must be a text in UTF-8, got 'a\udcff.jpg'; rename the file"),
        (broken_categories, "categories.json must be a JSON file"),
        (odd_categories, "categories.json[0] (id 1) name must be a text"),
    ],
)
def test_broken_maps_are_named_and_leave_nothing(
    maps: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    spoil(maps)
    code, printed = convert_maps(capsys, maps)
    assert code == 2
    assert message in printed
    assert not (maps / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("maps", "--images must be given for maps, got none; add it"),
        ("masks --images images", "--masks must be given for masks"),
        ("maps --images images", "categories must be given by --categories or by --thing"),
        ("maps --images images --thing car", "semantic or instances must be a folder of maps, got neither"),
        (
            "masks --images images --masks m --categories categories.json",
            "must have a folder for every image",
        ),
        (
            "maps --images images --instances instances --thing car --hold-out 1",
            "hold_out must be at least 2",
        ),
        (
            "maps --images images/more --instances instances/more --thing car --hold-out 997",
            "hold_out must leave images on both sides, got 997 for 1 images",
        ),
        ("coco-instances --images images", "--json must be given for coco-instances"),
        ("cityscapes --root .", "--split must be given for cityscapes"),
        ("cityscapes --root . --split val --copy-images", "must not be given for cityscapes"),
    ],
)
def test_incomplete_words_are_refused(
    maps: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    monkeypatch.chdir(maps)
    code, printed = convert(capsys, *words.split(), "--output", "out")
    assert code == 2
    assert message in printed


def test_masks_want_one_thing(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [{**entry, "isthing": 1} for entry in CATEGORIES]
    (maps / "categories.json").write_text(json.dumps({"categories": both}))
    words = ("--images", maps / "images", "--masks", maps, "--categories", maps / "categories.json")
    code, printed = convert(capsys, "masks", *words, "--output", maps / "out")
    assert code == 2
    assert "categories must be one thing and at most one stuff for masks" in printed


def write_masks(folder: Path) -> None:
    """Write two masks: the left column, and the lower right corner."""
    left, right = np.zeros((2, 2, 3), np.uint8)
    left[:, 0], right[1, 2] = 255, 1
    for number, mask in enumerate((left, right)):
        save(folder / f"{number}.png", mask)


@pytest.mark.parametrize("bowl", [False, True])
def test_a_folder_of_masks_for_each_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bowl: bool
) -> None:
    root = tmp_path / "data"
    for stem in ("a", "b"):
        save((root / stem if bowl else root) / "images" / f"{stem}.png", np.zeros((2, 3, 3), np.uint8))
        write_masks(root / stem / "masks" if bowl else root / "masks" / stem)
    images, masks = (root, root) if bowl else (root / "images", root / "masks")
    words = ("--images", images, "--masks", masks, "--thing", "nucleus", "--background", "rest")
    code, printed = convert(capsys, "masks", *words, "--output", tmp_path / "out")
    assert (code, printed.splitlines()[0]) == (0, f"2 images written to {tmp_path / 'out'}")
    dataset = CocoPanopticDataset(images, tmp_path / "out" / "panoptic", tmp_path / "out" / "panoptic.json")
    for sample in dataset:
        assert sample.panoptic is not None
        assert sample.panoptic.tolist() == [[20_001, 10_000, 10_000], [20_001, 10_000, 20_002]]


def test_masks_of_no_image_and_of_other_formats_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    save(root / "images" / "a.png", np.zeros((2, 3, 3), np.uint8))
    write_masks(root / "masks" / "a")
    words = ("masks", "--images", root / "images", "--masks", root / "masks", "--thing", "nucleus")

    def refused() -> str:
        code, printed = convert(capsys, *words, "--output", tmp_path / "out")
        assert code == 2
        return printed

    save(root / "masks" / "a" / "2.jpg", np.zeros((2, 3), np.uint8))
    assert re.search(r"masks must be exact \(\.png, .*\), got .*2\.jpg; save it as PNG", refused())
    write_masks(root / "masks" / "b" / "masks")
    assert re.search(r"the image of every folder of masks, got none for .*masks/b; add", refused())
    save(root / "images" / "more" / "a.png", np.zeros((2, 3, 3), np.uint8))
    assert re.search(r"images must have different names .* got .*a\.png and .*more/a\.png", refused())


def test_nuclei(shared_data: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shared_data("dsb2018_nuclei")
    for kind in ("images", "instances"):
        (tmp_path / kind).mkdir()
        for path in sorted((root / kind).iterdir())[:5]:
            (tmp_path / kind / path.name).symlink_to(path)
    words = ("--images", tmp_path / "images", "--instances", tmp_path / "instances")
    named = ("--thing", "nucleus", "--background", "background")
    assert convert(capsys, "maps", *words, *named, "--output", tmp_path / "out")[0] == 0
    dataset = CocoPanopticDataset(
        tmp_path / "images", tmp_path / "out/panoptic", tmp_path / "out/panoptic.json"
    )
    for sample in dataset:
        stored = np.asarray(Image.open(root / "instances" / sample.file_name))
        assert sample.panoptic is not None
        assert sum(s.train_id == 1 for s in sample.segments) == len(np.unique(stored)) - 1
        np.testing.assert_array_equal(sample.panoptic == 10_000, stored == 0)
        pairs = np.unique(np.stack([sample.panoptic.ravel(), stored.ravel()]), axis=1)
        assert pairs.shape[1] == len(sample.segments)  # one to one


def test_cityscapes_equals_create_panoptic_images(
    golden: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = golden("cityscapes_mini_a") / "gtFine"
    (tmp_path / "gtFine").symlink_to(folder)
    for path in sorted((folder / "val" / "golden").glob("*_instanceIds.png")):
        name = path.name.replace("gtFine_instanceIds", "leftImg8bit")
        save(tmp_path / "leftImg8bit/val/golden" / name, np.zeros((128, 224, 3), np.uint8))
    words = ("cityscapes", "--root", tmp_path, "--split", "val", "--output", tmp_path / "out")
    assert convert(capsys, *words) == (0, f"4 images written to {tmp_path / 'out'}\n")
    written = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    expected = json.loads((folder / "cityscapes_panoptic_val.json").read_text())
    assert written["annotations"] == expected["annotations"]
    assert [image["id"] for image in written["images"]] == [image["id"] for image in expected["images"]]
    keys = ("id", "name", "isthing", "color")
    assert [[c[k] for k in keys] for c in written["categories"]] == [
        [c[k] for k in keys] for c in expected["categories"]
    ]
    for entry in expected["annotations"]:
        np.testing.assert_array_equal(
            read_panoptic_png(tmp_path / "out" / "panoptic" / entry["file_name"]),
            read_panoptic_png(folder / "cityscapes_panoptic_val" / entry["file_name"]),
        )
    (tmp_path / "leftImg8bit" / "test").symlink_to(tmp_path / "leftImg8bit" / "val")
    code, printed = convert(
        capsys, "cityscapes", "--root", tmp_path, "--split", "test", "--output", tmp_path / "t"
    )
    assert code == 2
    assert "split must have ground truth to convert, got test" in printed
