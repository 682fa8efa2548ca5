"""Every reader and converter is given broken copies of its data: the file is named, and how to fix it."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.panoptic.png import write_panoptic_png

# A stuff segment and two things, in the ids of each kind of files.
COCO_IDS = np.array([[3, 3, 5, 5], [3, 3, 9, 9]], np.int32)
CITYSCAPES_IDS = np.array([[7, 7, 26_000, 26_000], [7, 7, 26_001, 26_001]], np.uint16)
SEMANTIC_IDS = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
INSTANCE_IDS = np.array([[0, 0, 1, 1], [0, 0, 2, 2]], np.uint16)
SEGMENTS = [{"id": id_, "category_id": category} for id_, category in ((3, 1), (5, 2), (9, 2))]
CATEGORIES = [{"id": 1, "name": "road", "isthing": 0}, {"id": 2, "name": "car", "isthing": 1}]
PHOTO = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


class Copy(NamedTuple):
    """A sound data set of two images, and the files of its second one.

    Args:
        words: the command that reads it, with `{root}` for its folder.
        photo: the second photograph.
        truth: its PNG of ids, None where there is none.
        unknown: a map with an id that means nothing.
        document: the JSON of the annotations, None where there is none.
    """

    words: str
    photo: Path
    truth: Path | None = None
    unknown: np.ndarray | None = None
    document: Path | None = None


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write a map of ids, or a photograph that differs from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.dtype == np.int32:
        write_panoptic_png(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def save_photos(folder: Path, names: tuple[str, str]) -> Path:
    """Write two photographs, and return the second."""
    save(folder / names[0], PHOTO)
    return save(folder / names[1], PHOTO[::-1])


def save_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def panoptic_document(**sizes: int) -> dict[str, Any]:
    images = [{"id": stem, "file_name": f"{stem}.png", **sizes} for stem in "ab"]
    annotations = [{"image_id": s, "file_name": f"{s}.png", "segments_info": SEGMENTS} for s in "ab"]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def coco(root: Path) -> Copy:
    photo = save_photos(root / "images", ("a.png", "b.png"))
    truth = [save(root / "panoptic" / f"{stem}.png", COCO_IDS) for stem in "ab"][1]
    document = save_json(root / "panoptic.json", panoptic_document(height=2, width=4))
    return Copy("check {root}", photo, truth, COCO_IDS + 1, document)


def cityscapes(root: Path, *, annotations: str, words: str = "check {root}") -> Copy:
    stems = ("aachen/aachen_000000_000019", "bonn/bonn_000000_000019")
    photo = save_photos(
        root / "leftImg8bit" / "train", (f"{stems[0]}_leftImg8bit.png", f"{stems[1]}_leftImg8bit.png")
    )
    truth = [
        save(root / annotations / "train" / f"{stem}_{annotations}_instanceIds.png", CITYSCAPES_IDS)
        for stem in stems
    ][1]
    return Copy(words, photo, truth, np.full_like(CITYSCAPES_IDS, 99))


def mapillary(root: Path, *, version: str, name: str) -> Copy:
    photo = save_photos(root / "training" / "images", ("a.jpg", "b.jpg"))
    panoptic = root / "training" / version / "panoptic"
    truth = [save(panoptic / f"{stem}.png", COCO_IDS) for stem in "ab"][1]
    document = save_json(panoptic / name, panoptic_document(height=2, width=4))
    labels = [
        {"readable": c["name"], "instances": bool(c["isthing"]), "color": [0, 0, 1]} for c in CATEGORIES
    ]
    save_json(root / f"config_{version}.json", {"labels": labels})
    return Copy("check {root}", photo, truth, COCO_IDS + 1, document)


def class_folders(root: Path) -> Copy:
    save_photos(root / "train" / "cat", ("a.png", "b.png"))
    return Copy("check {root}", save(root / "train" / "dog" / "c.png", PHOTO + 1))


def maps(root: Path) -> Copy:
    photo = save_photos(root / "images", ("a.png", "b.png"))
    for stem in "ab":
        save(root / "instances" / f"{stem}.png", INSTANCE_IDS)
        truth = save(root / "semantic" / f"{stem}.png", SEMANTIC_IDS)
    words = "convert maps --images {root}/images --semantic {root}/semantic --instances {root}/instances"
    categories = save_json(root / "categories.json", CATEGORIES)
    words += " --categories {root}/categories.json --output {root}/out"
    return Copy(words, photo, truth, SEMANTIC_IDS + 40, categories)


def masks(root: Path) -> Copy:
    photo = save_photos(root / "images", ("a.png", "b.png"))
    for stem in "ab":
        truth = save(root / "masks" / stem / "0.png", (INSTANCE_IDS == 1).astype(np.uint8))
    words = "convert masks --images {root}/images --masks {root}/masks --thing car --output {root}/out"
    return Copy(words, photo, truth)


def coco_instances(root: Path) -> Copy:
    photo = save_photos(root / "images", ("a.png", "b.png"))
    content = panoptic_document(height=2, width=4)
    box = {"category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    content["annotations"] = [{"image_id": stem, **box} for stem in "ab"]
    document = save_json(root / "instances.json", content)
    words = "convert coco-instances --images {root}/images --json {root}/instances.json --output {root}/out"
    return Copy(words, photo, document=document)


READERS: Mapping[str, Callable[[Path], Copy]] = {
    "coco": coco,
    "cityscapes_fine": lambda root: cityscapes(root, annotations="gtFine"),
    "cityscapes_coarse": lambda root: cityscapes(root, annotations="gtCoarse"),
    "mapillary_1.2": lambda root: mapillary(root, version="v1.2", name="panoptic_2018.json"),
    "mapillary_2.0": lambda root: mapillary(root, version="v2.0", name="panoptic_2020.json"),
    "class_folders": class_folders,
    "convert_maps": maps,
    "convert_masks": masks,
    "convert_coco_instances": coco_instances,
    "convert_cityscapes": lambda root: cityscapes(
        root,
        annotations="gtFine",
        words="convert cityscapes --root {root} --split train --output {root}/out",
    ),
}


def run(copy: Copy, root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["dataset", *copy.words.format(root=root).split()])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


def missing_photo(copy: Copy) -> Path:
    copy.photo.unlink()
    return copy.photo


def truncated_photo(copy: Copy) -> Path:
    return cut(copy.photo)


def photo_of_another_size(copy: Copy) -> Path:
    return save(copy.photo, np.zeros((3, 4, 3), np.uint8))


def missing_truth(copy: Copy) -> Path:
    assert copy.truth is not None
    copy.truth.unlink()
    return copy.truth


def truncated_truth(copy: Copy) -> Path:
    assert copy.truth is not None
    return cut(copy.truth)


def truth_of_another_size(copy: Copy) -> Path:
    assert copy.truth is not None
    pixels = np.asarray(Image.open(copy.truth))
    Image.fromarray(pixels[:1]).save(copy.truth)
    return copy.truth


def unknown_id(copy: Copy) -> Path:
    assert copy.truth is not None
    assert copy.unknown is not None
    return save(copy.truth, copy.unknown)


def missing_json(copy: Copy) -> Path:
    assert copy.document is not None
    copy.document.unlink()
    return copy.document


def truncated_json(copy: Copy) -> Path:
    assert copy.document is not None
    return cut(copy.document)


def json_of_bytes(copy: Copy) -> Path:
    assert copy.document is not None
    copy.document.write_bytes(b"\xff\xfe\x00")
    return copy.document


def does_not_apply(copy: Copy, name: str, defect: str) -> bool:
    if defect == "photo_of_another_size":
        return name in ("class_folders", "convert_masks")  # which have no other size to compare with
    if defect == "missing_photo" and name == "class_folders":
        return True  # the class is then empty, which test_image_folder.py tests
    if defect == "missing_truth" and name == "convert_masks":
        return True  # an image may show nothing
    needed = copy.unknown if defect == "unknown_id" else copy.document if "json" in defect else copy.photo
    return needed is None or ("truth" in defect and copy.truth is None)


DEFECTS = (
    missing_photo, truncated_photo, photo_of_another_size,
    missing_truth, truncated_truth, truth_of_another_size, unknown_id,
    missing_json, truncated_json, json_of_bytes,
)  # fmt: skip
# What the second half of a message can begin with.
REMEDIES = "add|correct|give|copy|replace|write|unpack|remove|convert|rename|save"


@pytest.mark.parametrize("name", READERS)
def test_broken_copies_are_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = READERS[name](tmp_path / "sound")
    code, printed = run(sound, tmp_path / "sound", capsys)
    assert code == 0, printed
    shutil.rmtree(tmp_path / "sound" / "out", ignore_errors=True)
    for defect in DEFECTS:
        if does_not_apply(sound, name, defect.__name__):
            continue
        root = tmp_path / defect.__name__
        shutil.copytree(tmp_path / "sound", root)
        copy = Copy(*(
            root / part.relative_to(tmp_path / "sound") if isinstance(part, Path) else part for part in sound
        ))  # fmt: skip
        path = defect(copy)
        code, printed = run(copy, root, capsys)
        assert code == 2, (defect.__name__, printed)
        lines = [line for line in printed.splitlines() if "problem: " in line or "error: " in line]
        # What is missing or of another size is named by itself, or by what it does not fit.
        partners = () if defect.__name__.startswith("truncated") else (copy.photo, copy.truth)
        names = "|".join(re.escape(each.name) for each in (path, *partners) if each is not None)
        names += "|masks/b" if name == "convert_masks" else ""
        assert any(re.search(rf"({names}).*\b({REMEDIES})", line) for line in lines), (
            defect.__name__,
            printed,
        )
        assert not (root / "out").exists(), "a conversion leaves nothing half-done"
