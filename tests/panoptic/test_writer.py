"""Writing of many segmentations: memory that does not grow with their number, and the JSON to the byte."""

import json
import tracemalloc

import pytest

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.writer import PanopticWriter, refuse_data_set

CATEGORIES = Categories([Category(1, "Straße", False)])
SEGMENTS = [{"id": number, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81.5} for number in range(100)]


def write(folder, numbers, settings):
    """Write the entries of images, whose PNG files are said to be there."""
    (folder / "panoptic").mkdir(exist_ok=True)
    writer = PanopticWriter(folder / "panoptic", folder / "panoptic.json", CATEGORIES, settings=settings)
    for number in numbers:
        if settings is not None:
            writer.begin(f"{number}.jpg")
        (folder / "panoptic" / f"{number}.png").touch()
        annotation = {"image_id": number, "file_name": f"{number}.png", "segments_info": SEGMENTS}
        writer.keep(annotation, (3, 4), image_file_name=f"{number}.jpg", mark="as it was")
    return writer


@pytest.mark.parametrize("settings", [None, "weights"])
def test_memory_does_not_grow_with_the_images(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("axial_deeplab.panoptic.writer._BYTES_IN_MEMORY", 9)
    peaks = []
    for number in (50, 250):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        tracemalloc.start()
        writer = write(folder, range(number), settings)
        writer.close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        writer.release()
    per_image = (folder / "panoptic.json").stat().st_size / number
    assert per_image > 6000
    assert peaks[1] - peaks[0] < 200 * 600


def test_the_json_is_that_of_json_dumps(tmp_path):
    with write(tmp_path, range(3), "weights") as writer:
        assert writer.num_images == 3
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 3, "width": 4} for n in range(3)]
    annotations = [{"image_id": n, "file_name": f"{n}.png", "segments_info": SEGMENTS} for n in range(3)]
    document = {
        "info": {"settings": "weights"},
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES.to_json(),
    }
    assert (tmp_path / "panoptic.json").read_text() == json.dumps(document)
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_run_goes_on_from_a_list_that_was_cut_short(tmp_path):
    write(tmp_path, range(4), "weights").release()
    path = tmp_path / "panoptic.json.part"
    path.write_bytes(path.read_bytes()[:-9])
    writer = PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", CATEGORIES, settings="weights")
    assert [writer.resume(f"{n}.jpg", n, "as it was", n) for n in range(4)] == [True, True, True, False]
    assert not writer.resume("0.jpg", 0, "another", 0)
    writer.release()
    with write(tmp_path, range(3, 5), "weights") as writer:
        assert writer.resume("1.jpg", 1, "as it was", 1)
    document = json.loads((tmp_path / "panoptic.json").read_text())
    assert [image["id"] for image in document["images"]] == [3, 4, 1, 0, 2]
    assert [each["image_id"] for each in document["annotations"]] == [3, 4, 1, 0, 2]


def test_a_data_set_is_not_written_over(tmp_path):
    with write(tmp_path, range(3), None):
        pass
    with pytest.raises(
        ValueError, match=r"output must not hold annotations, .*panoptic\.json, which has no sc"
    ):
        refuse_data_set(tmp_path / "panoptic.json")


@pytest.mark.parametrize(
    "earlier", ["", "{", "[]", '{"annotations": [{"segments_info": []}]}', "scores", "run"]
)
def test_predictions_and_what_is_none_of_ours_are_written_over(earlier, tmp_path):
    if earlier == "scores":
        earlier = json.dumps({"annotations": [{"segments_info": [{"id": 1, "score": 0.5}, {"id": 2}]}]})
    path = tmp_path / "panoptic.json"
    if earlier == "run":
        write(tmp_path, range(2), "weights").close()
    elif earlier:
        path.write_text(earlier)
    refuse_data_set(path)
