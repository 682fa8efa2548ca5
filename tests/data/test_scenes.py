"""The built-in data set: determinism, agreement of its files, sizes, and what it must contain."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.data.scenes import CATEGORIES, SCENES_VERSION, Scene, draw_scene, write_scenes
from axial_deeplab.data.scenes.canvas import Camera, Canvas, Owner
from axial_deeplab.data.scenes.light import draw_light
from axial_deeplab.data.scenes.noise import fractal, grain
from axial_deeplab.panoptic.png import read_panoptic_png

NAMES = {number: name for number, name, _, _ in CATEGORIES}
THING_IDS = {number for number, _, is_thing, _ in CATEGORIES if is_thing}
SIZE = (128, 192)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    write_scenes(folder, 5, 3, height=72, width=104, progress_bar=False)
    return folder


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene((0, index), *SIZE) for index in range(60)]


def test_same_seed_gives_the_same_bytes(data_set: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "again", 5, 3, height=72, width=104, progress_bar=False)
    assert files_of(tmp_path / "again") == files_of(data_set)


def test_image_does_not_depend_on_number_or_workers(data_set: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "few", 3, 3, height=72, width=104, num_workers=2, progress_bar=False)
    few, many = files_of(tmp_path / "few"), files_of(data_set)
    pictures = [name for name in few if name != "panoptic.json"]
    assert len(pictures) == 6
    assert all(few[name] == many[name] for name in pictures)
    annotations = [json.loads(files["panoptic.json"])["annotations"][:3] for files in (few, many)]
    assert annotations[0] == annotations[1]


def test_workers_that_cannot_start_are_told_of(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # without `if __name__ == "__main__":`, each worker would start workers
    script.write_text(
        "from axial_deeplab.data.scenes import write_scenes\nwrite_scenes('scenes', 4, 0, num_workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "ChildProcessError: worker processes must run to their end" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_another_seed_gives_other_pictures() -> None:
    first, second, third = (draw_scene(seed, 64, 96).image for seed in ((0, 1), (1, 1), (0, 2)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_json_and_png_agree(data_set: Path) -> None:
    document = json.loads((data_set / "panoptic.json").read_text())
    assert document["info"]["version"] == SCENES_VERSION
    assert document["info"]["seed"] == 3
    assert {category["id"]: category["name"] for category in document["categories"]} == NAMES
    assert {category["id"] for category in document["categories"] if category["isthing"]} == THING_IDS
    assert {path.name for path in (data_set / "images").iterdir()} == {f"{i:06d}.jpg" for i in range(5)}
    assert [image["id"] for image in document["images"]] == [a["image_id"] for a in document["annotations"]]
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        with Image.open(data_set / "images" / image["file_name"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (104, 72))
        ids = read_panoptic_png(data_set / "panoptic" / annotation["file_name"])
        assert ids.shape == (image["height"], image["width"]) == (72, 104)
        counted = dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)), strict=True))
        counted.pop(0, None)
        segments = annotation["segments_info"]
        assert {segment["id"]: segment["area"] for segment in segments} == counted
        for segment in segments:
            left, top, width, height = segment["bbox"]
            rows, columns = np.nonzero(ids == segment["id"])
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (left + width, top + height)


def test_all_categories_occur(scenes: list[Scene]) -> None:
    found = {segment.category_id for scene in scenes for segment in scene.segments}
    assert found == set(NAMES)
    assert len(THING_IDS) >= 6
    assert sorted(NAMES) != list(range(1, len(NAMES) + 1))  # ids with gaps, as in COCO


def test_crowds_void_and_sizes_occur(scenes: list[Scene]) -> None:
    segments = [segment for scene in scenes for segment in scene.segments]
    crowds = [segment for segment in segments if segment.is_crowd]
    assert crowds
    assert {NAMES[segment.category_id] for segment in crowds} <= {"person", "sheep"}
    void = np.mean([np.mean(scene.ids == 0) for scene in scenes])
    assert 0.0001 < void < 0.03
    heights = [segment.bbox[3] for segment in segments if segment.category_id in THING_IDS]
    assert min(heights) <= 12
    assert max(heights) > 0.6 * SIZE[0]
    per_scene = [sum(segment.category_id in THING_IDS for segment in scene.segments) for scene in scenes]
    assert 2.5 < np.mean(per_scene) < 10


def test_no_scraps_and_one_stuff_segment_a_category(scenes: list[Scene]) -> None:
    for scene in scenes:
        ids = [segment.id for segment in scene.segments]
        assert len(set(ids)) == len(ids)
        assert min(ids) > 0
        stuff = [segment for segment in scene.segments if segment.category_id not in THING_IDS]
        assert len({segment.category_id for segment in stuff}) == len(stuff)
        assert all(segment.area >= 40 for segment in stuff)
        assert all(segment.area >= 28 for segment in scene.segments)
        assert np.mean(scene.ids > 0) > 0.8


def test_mask_is_what_the_picture_shows(scenes: list[Scene]) -> None:
    """Colors change much more across the borders of segments than inside them."""
    ratios = []
    for scene in scenes[:20]:
        step = np.abs(np.diff(scene.image.astype(int), axis=1)).sum(-1)
        border = np.diff(scene.ids, axis=1) != 0
        ratios.append(step[border].mean() / step[~border].mean())
    assert np.mean(ratios) > 2


@pytest.mark.parametrize(("height", "width"), [(32, 32), (65, 97), (97, 65), (33, 200), (480, 640)])
def test_any_size(height: int, width: int) -> None:
    for index in range(2 if height == 480 else 12):
        scene = draw_scene((5, index), height, width)
        assert scene.image.shape == (height, width, 3)
        assert scene.image.dtype == np.uint8
        assert scene.ids.shape == (height, width)
        assert scene.ids.dtype == np.int32
        assert {segment.id for segment in scene.segments} == set(np.unique(scene.ids).tolist()) - {0}


def test_seed_sequence_is_a_seed() -> None:
    by_sequence = draw_scene(np.random.SeedSequence((4, 2)), 48, 64)
    np.testing.assert_array_equal(by_sequence.image, draw_scene((4, 2), 48, 64).image)


def test_pixel_belongs_to_the_owner_of_most_quarters() -> None:
    camera = Camera(horizon=1.0, center=1.0, focal=2.0, height=1.0)
    canvas = Canvas(1, 5, camera, draw_light(np.random.default_rng(0)), np.random.default_rng(0))
    for _ in range(4):
        canvas.own(Owner("sky"))
    quarters = np.array([[1, 1, 1, 2, 3, 3, 1, 2, 0, 0], [1, 2, 2, 1, 1, 2, 3, 4, 0, 1]], np.uint8)
    canvas.owner_map.paste(Image.fromarray(quarters))
    _, owners = canvas.finish()
    # Three of four; a tie goes to the later; a pair; nobody twice: the last; three of void.
    assert owners.tolist() == [[1, 2, 3, 4, 0]]


def test_noise_has_mean_zero_and_the_same_spread_at_any_size() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((40, 300), (900, 50)):
        assert abs(float(grain(rng, height, width, 2.0, 2).mean())) < 0.2
        assert 0.5 < float(fractal(rng, height, width, 8.0, 4).std()) < 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 0}, "num_images must be at least 1, got 0"),
        ({"num_images": -4}, "num_images must be at least 1, got -4"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"height": 31}, "height must be at least 32 pixels, got 31"),
        ({"width": 8}, "width must be at least 32 pixels, got 8"),
    ],
)
def test_refuses_bad_numbers(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_scenes(tmp_path / "out", **{"num_images": 1, "seed": 0, **arguments})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("seed", "size", "message"),
    [
        ((0, 0), (16, 64), "height must be at least 32 pixels, got 16"),
        ((0, 0), (64, 31), "width must be at least 32 pixels, got 31"),
        ((0, -2), (64, 64), "seed must be at least 0, got -2"),
    ],
)
def test_draw_scene_refuses(seed: tuple[int, int], size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_scene(seed, *size)


def test_refuses_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match="output must be a new or empty folder"):
        write_scenes(tmp_path, 1, 0, height=32, width=32, progress_bar=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("axial_deeplab.data.scenes.data_set.write_panoptic_png", fail)
    with pytest.raises(OSError, match="No space left"):
        write_scenes(tmp_path / "out", 2, 0, height=32, width=32, progress_bar=False)
    assert list(tmp_path.iterdir()) == []


def test_drawing_is_the_one_that_the_shipped_weights_know(golden: Callable[[str], Path]) -> None:
    """A change of the drawing must raise SCENES_VERSION, and come with new weights and a new golden file."""
    expected = read_panoptic_png(golden(f"scenes_{SCENES_VERSION}.png"))
    drawn = np.concatenate([draw_scene((0, index), 96, 144).ids for index in range(6)])
    assert np.mean(drawn == expected) > 0.995
