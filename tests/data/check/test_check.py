"""Examining a data set: what is counted, and that every defect is named with its file and its remedy."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.config.schema import DataConfig, SplitConfig
from axial_deeplab.data.check.check import check_dataset, differing_classes, draw_samples, shared_images
from axial_deeplab.data.check.report import PanopticReport
from axial_deeplab.data.image_folder import ImageFolder
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.panoptic.png import write_panoptic_png
from axial_deeplab.panoptic.writer import PanopticWriter

SKY, CAR, CROWD = 10_000, 20_001, 20_002


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write three images; the last is void everywhere."""
    folder = tmp_path / "data"
    categories = Categories([Category(1, "sky", False), Category(2, "car", True), Category(5, "dog", True)])
    with PanopticWriter(folder / "panoptic", folder / "panoptic.json", categories) as writer:
        for number in range(3):
            panoptic = np.zeros((4, 5), np.int32)
            if number < 2:
                panoptic[:2], panoptic[2, :3], panoptic[3] = SKY, CAR, CROWD
            segments = [
                Segment(id=SKY, train_id=0, area=0),
                Segment(id=CAR, train_id=1, area=0),
                Segment(id=CROWD, train_id=1, area=0, is_crowd=True),
            ]
            image = np.full((4, 5, 3), 40 * number, np.uint8)
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / f"{number}.png")
            writer.add(Panoptic(panoptic, segments), image_file_name=f"{number}.png")
    return folder


def check(root: Path, **options: int) -> PanopticReport:
    report = check_dataset(DataConfig(val=SplitConfig(root=str(root))), "mine", **options)
    assert isinstance(report, PanopticReport)
    return report


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((root / "panoptic.json").read_text())
    change(document)
    (root / "panoptic.json").write_text(json.dumps(document))


def test_what_is_counted(root: Path) -> None:
    report = check(root)
    assert report.problems == []
    assert report.notes == ["1 of 3 categories never occur: dog"]
    facts = dict(report.facts())
    assert facts["height x width"] == "4 x 5 to 4 x 5; 1 sizes, 4 x 5 is that of 3 images"
    assert facts["void"] == "40.0% of all pixels; 10.0% to 100.0% of an image"
    assert facts["segments of an image"] == "0 to 3, mean 2.0"
    assert facts["instances of an image"] == "0 to 1, mean 0.7"
    assert facts["crowds"] == "2 in 2 images"
    assert facts["without segment"] == facts["without instance"] == "1 images"
    assert report.table()[1:] == [
        ("sky", "1", "stuff", "2", "2", "0", "55.6%", "10", "10", "10"),
        ("car", "2", "thing", "2", "4", "2", "44.4%", "3", "4", "5"),
        ("dog", "5", "thing", "0", "0", "0", "0.0%", "-", "-", "-"),
    ]
    assert report.to_text().splitlines()[-2] == (
        "  car        2  thing       2         4       2   44.4%         3       4        5"
    )


def test_processes_find_the_same(root: Path) -> None:
    (root / "images" / "1.png").write_bytes(b"broken")
    assert check(root, num_workers=2) == check(root)
    with pytest.raises(ValueError, match="num_workers must be at least 0, got -1"):
        check(root, num_workers=-1)


def remove_photo(root: Path) -> None:
    (root / "images" / "1.png").unlink()


def remove_truth(root: Path) -> None:
    (root / "panoptic" / "1.png").unlink()


def cut_photo(root: Path) -> None:
    path = root / "images" / "1.png"
    path.write_bytes(path.read_bytes()[:40])


def cut_truth(root: Path) -> None:
    path = root / "panoptic" / "1.png"
    path.write_bytes(path.read_bytes()[:40])


def enlarge_photo(root: Path) -> None:
    Image.new("RGB", (6, 4)).save(root / "images" / "1.png")


def unknown_id(root: Path) -> None:
    write_panoptic_png(root / "panoptic" / "1.png", np.full((4, 5), 77))


def unknown_category(root: Path) -> None:
    edit(root, lambda d: d["annotations"][1]["segments_info"][0].update(category_id=9))


def drop_annotation(root: Path) -> None:
    edit(root, lambda d: d["annotations"].pop(1))


def repeat_photo(root: Path) -> None:
    edit(root, lambda d: d["images"][1].update(file_name="0.png"))


def leave_folder(root: Path) -> None:
    edit(root, lambda d: d["images"][1].update(file_name="../1.png"))


def repeat_image_id(root: Path) -> None:
    edit(root, lambda d: d["images"].append(d["images"][1]))


def repeat_annotation(root: Path) -> None:
    edit(root, lambda d: d["annotations"].append(d["annotations"][1]))


def annotate_unknown_image(root: Path) -> None:
    edit(root, lambda d: d["annotations"].append({"image_id": 9, "file_name": "9.png", "segments_info": []}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_photo, r"images/1\.png must be readable, got: No such file or directory; add it"),
        (remove_truth, r"panoptic/1\.png must be readable, got: No such file or directory; add it"),
        (cut_photo, r"images/1\.png must be a complete image, .*; replace"),
        (cut_truth, r"panoptic/1\.png must be a complete PNG, .*; copy"),
        (enlarge_photo, r"images/1\.png must be 4 x 5 pixels .* got 4 x 6; give"),
        (unknown_id, r"panoptic/1\.png .* must have only ids that segments_info lists, got 77; add"),
        (unknown_category, r"annotations\[1\] .* category_id must be in categories, got 9; add"),
        (drop_annotation, r"every image must have an annotation, got none for image 2 .*; add"),
        (repeat_photo, r"images/0\.png must be the file of one image, got .* listed twice; remove"),
        (leave_folder, r"file_name must stay inside .* got '\.\./1\.png'; use"),
        (repeat_image_id, r"panoptic\.json: image ids must be unique, got 2 twice; correct"),
        (repeat_annotation, r"an image must have one annotation, got two for image 2; remove"),
        (annotate_unknown_image, r"annotations\[3\] image_id must be in images, got 9; add"),
    ],
)  # fmt: skip
def test_each_defect_is_named_and_the_rest_examined(
    root: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(root)
    report = check(root)
    assert any(re.search(message, problem) for problem in report.problems), report.problems
    assert len(report.readable) >= 2


def test_unreadable_json_ends_the_check(root: Path) -> None:
    (root / "panoptic.json").write_text("{")
    with pytest.raises(ValueError, match=r"panoptic\.json must be a JSON file"):
        check(root)


def test_all_causes_are_named_of_what_cannot_be_opened(root: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        for entry in document["images"]:
            entry["height"] = "4"
        document["categories"][0].update(id=2**63)
        document["categories"][1].update(name="")

    edit(root, change)
    report = check_dataset(DataConfig(val=SplitConfig(root=str(root))), "mine")
    words = ["id must be an integer of 63 bits", "name must be a text", *["height must be of type int"] * 3]
    words += ["categories must be complete, got 2 that are not"]
    assert all(word in problem for word, problem in zip(words, report.problems, strict=True))
    assert report.to_text().startswith("mine\n")


def test_classes_of_the_parts_of_a_data_set_must_agree(root: Path, tmp_path: Path) -> None:
    def swap(document: dict[str, Any]) -> None:
        document["categories"][0]["id"], document["categories"][1]["id"] = 2, 1

    def rename(document: dict[str, Any]) -> None:
        document["categories"][0]["name"] = "air"

    reports = [check(root)]
    for name, change in (("swapped", swap), ("renamed", rename), ("same", lambda document: None)):
        shutil.copytree(root, tmp_path / name)
        edit(tmp_path / name, change)
        reports.append(check(tmp_path / name))
    mine, swapped, renamed, same = reports
    problems, notes = differing_classes([mine, swapped])
    assert (len(problems), notes) == (1, [])
    assert "must have the categories of mine if both are parts of one data set, got 3 for 3" in problems[0]
    problems, notes = differing_classes([mine, renamed])
    assert (len(problems), len(notes)) == (0, 1)
    assert differing_classes([mine, same]) == ([], [])


def test_one_data_set_that_cannot_be_opened_does_not_hide_the_next(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root, tmp_path / "other")
    (root / "panoptic.json").write_text("{")
    cut_photo(tmp_path / "other")
    assert main(["dataset", "check", str(root), str(tmp_path / "other")]) == 2
    printed = capsys.readouterr().out
    assert "panoptic.json must be a JSON file" in printed
    assert "1.png must be a complete image" in printed


def test_what_is_odd_is_noted(root: Path) -> None:
    edit(root, lambda d: d["annotations"][0]["segments_info"][0].update(area=999))
    edit(root, lambda d: d["annotations"][0]["segments_info"].append({"id": 4242, "category_id": 5}))
    shutil.copy(root / "images" / "0.png", root / "images" / "1.png")
    shutil.copy(root / "images" / "0.png", root / "images" / "spare.png")
    report = check(root)
    assert report.problems == []
    notes = "\n".join(report.notes)
    assert "images has 1 images that are not listed, such as spare.png" in notes
    assert "2 images have the same content" in notes
    assert "has 1 areas in the JSON that are not those of the PNG, such as 999 pixels" in notes
    assert "segments 4242 of the JSON have no pixel in the PNG" in notes


def test_classes_of_nearly_one_name_are_noted(root: Path, tmp_path: Path) -> None:
    edit(root, lambda d: d["categories"][0].update(name="CAR "))
    (note,) = [note for note in check(root).notes if "differ in capitals" in note]
    assert "panoptic.json: the classes 'CAR ', 'car' differ in capitals, spaces or underscores alone" in note
    for place, name in enumerate(("red_fox", "red fox")):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (6, 4), (place, 0, 0)).save(tmp_path / "train" / name / "a.png")
    with pytest.warns(UserWarning, match="train: the classes 'red fox', 'red_fox' differ in capitals"):
        ImageFolder(tmp_path / "train")


def all_segments(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for annotation in document["annotations"] for each in annotation["segments_info"]]


def no_thing(document: dict[str, Any]) -> None:
    for each in document["categories"]:
        each["isthing"] = 0


def no_instance(document: dict[str, Any]) -> None:
    for each in all_segments(document):
        each["category_id"] = 1


def all_crowds(document: dict[str, Any]) -> None:
    for each in all_segments(document):
        each["iscrowd"] = int(each["category_id"] == 2)


@pytest.mark.parametrize(
    ("change", "note", "options"),
    [
        (
            no_thing,
            "no category is a thing, so that no object is told from another",
            ("--things", "car", "dog"),
        ),
        (no_instance, "none of 3 images has an instance, such as ", None),
        (all_crowds, "all 4 segments of things are crowds, such as one in ", ("--crowds-are-objects",)),
    ],
)
def test_what_exporters_do_to_things_is_noted_and_mended(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    note: str,
    options: tuple[str, ...] | None,
) -> None:
    edit(root, change)
    (found,) = [text for text in check(root).notes if text.startswith(note)]
    if options is None:
        return
    assert options[0] in found
    out = root.parent / "out"
    code = main(["dataset", "convert", str(root), "--output", str(out), "--copy-images", *options])
    assert code == 0, capsys.readouterr()
    shutil.move(out / "images" / "images", out / "other")
    shutil.rmtree(out / "images")
    shutil.move(out / "other", out / "images")
    assert not any("thing" in text or "crowds" in text for text in check(out).notes)
    before, after = (json.loads((each / "panoptic.json").read_text()) for each in (root, out))
    assert [each["area"] for each in all_segments(after)] == [each["area"] for each in all_segments(before)]


def test_solid_crowds_are_noted(root: Path) -> None:
    """A ring of 8 x 8 pixels is a crowd as supervision marks it, three lines across are one of people."""
    ids = np.zeros((20, 20), np.int32)
    ids[:2], ids[3:11, 3:11], ids[6:8, 6:8] = 7, 8, 0
    ids[12:20:4, 3:11] = ids[12:20, 3] = 9
    write_panoptic_png(root / "panoptic" / "0.png", ids)
    Image.new("RGB", (20, 20)).save(root / "images" / "0.png")
    segments = [{"id": n, "category_id": 5, "iscrowd": int(n > 7)} for n in (7, 8, 9)]

    def replace(document: dict[str, Any]) -> None:
        document["annotations"][0]["segments_info"] = segments
        document["images"][0].update(height=20, width=20)
        for each in document["annotations"][1]["segments_info"]:
            each["iscrowd"] = 0

    edit(root, replace)
    assert not any("crowds fill" in note for note in check(root).notes)  # one of two
    segments[2]["iscrowd"] = 0
    edit(root, replace)
    (note,) = [note for note in check(root).notes if "crowds fill" in note]
    assert note.startswith(f"1 of 1 crowds fill their boxes, such as a dog in {root / 'images' / '0.png'}; ")
    assert "--crowds-are-objects" in note


def test_more_instances_than_centers_is_noted(root: Path) -> None:
    ids = np.arange(1, 221, dtype=np.int32).reshape(11, 20)
    write_panoptic_png(root / "panoptic" / "0.png", ids)
    Image.new("RGB", (20, 11)).save(root / "images" / "0.png")

    def change(document: dict[str, Any]) -> None:
        document["images"][0].update(height=11, width=20)
        document["annotations"][0]["segments_info"] = [{"id": i, "category_id": 2} for i in range(1, 221)]

    edit(root, change)
    assert any("1 images have more than 200 instances, up to 220 in" in note for note in check(root).notes)


def test_images_in_two_data_sets_are_noted(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "other")
    reports = [check(root), check(tmp_path / "other")]
    (note,) = shared_images(reports)
    assert "mine and mine have 3 images of the same content" in note
    assert shared_images([reports[0], reports[0]]) == []


def test_pictures_show_images_beside_their_truth(root: Path) -> None:
    data = DataConfig(val=SplitConfig(root=str(root)))
    one, three = draw_samples(data, num_images=1), draw_samples(data)
    assert one.width == three.width
    assert one.height < three.height
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="picture must show images with ground truth, got none"):
        draw_samples(data)


def test_the_command_prints_and_refuses(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "samples.png"
    assert main(["dataset", "check", str(root), "--picture", str(picture)]) == 0
    assert "no problems" in capsys.readouterr().out
    assert Image.open(picture).width > 100
    cut_photo(root)
    options = ["--images", "images", "--panoptic", "panoptic", "--json", "panoptic.json"]
    options = [word if word.startswith("--") else str(root / word) for word in options]
    assert main(["dataset", "check", *options]) == 2
    printed = capsys.readouterr()
    assert "problem: " in printed.out
    assert "got 1; correct the files that are named above" in printed.err
    assert main(["dataset", "check", *options[:2], *options[4:]]) == 2
    assert "ground truth          none" in capsys.readouterr().out
    assert main(["dataset", "check"]) == 2
    assert "data set must be given by DIR" in capsys.readouterr().err
    assert main(["dataset", "check", "--images", str(tmp_path)]) == 2
    assert "data set must be given by --images and --json together" in capsys.readouterr().err
    assert main(["dataset", "devour"]) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png")):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (place, 0, 0)).save(tmp_path / "train" / name)
    (tmp_path / "train" / "dog" / "notes.txt").touch()
    assert main(["dataset", "check", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "  cat         2\n  dog         1\n" in printed
    assert "notes.txt: no image by the suffix" in printed
    (tmp_path / "train" / "dog" / "c.png").write_bytes(b"x")
    assert main(["dataset", "check", str(tmp_path)]) == 2
    assert "c.png must be a complete image" in capsys.readouterr().out


def test_the_range_is_that_of_the_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    levels = np.linspace(0, 4095, 20).astype(np.uint16).reshape(4, 5)
    for number in range(3):
        Image.fromarray(levels + number).save(root / "images" / f"{number}.png")
    for num_workers in (0, 2):
        (note,) = (each for each in check(root, num_workers=num_workers).notes if "range" in each)
        assert re.search(r"^3 images, of which the first: .*0\.png uses 6\.2% .*bits 12", note)
    for words, told in (([], True), (["--value-range", "bits 12"], False)):
        assert main(["dataset", "check", str(root), *words]) == 0
        assert ("uses 6.2%" in capsys.readouterr().out) is told
