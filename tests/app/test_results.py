"""Results: the message, the table, the overlay of the page and the files that people download."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from app_files import noise, tiny_network
from axial_deeplab.app import results as results_module
from axial_deeplab.app.pictures import Picture
from axial_deeplab.app.results import Results, overlay_for_page, segment, segments_table
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.prediction.prediction import Prediction


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny_network(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def result(network):
    return segment(network, Picture(noise(), "my photo.jpg", ("turned",)), {}, seconds=60, room=300)


def test_message_and_links(network, result):
    infos = network.predict(noise(), {}).segments_info
    num_things = sum(info["isthing"] for info in infos)
    assert result.message.startswith(
        f"my photo.jpg, 56 x 40 pixels; turned; {num_things} things and {len(infos) - num_things} stuff "
    )
    assert result.links.count("<a ") == 3
    assert f'href="files/{result.key}/json" download="my_photo_panoptic.json"' in result.links
    assert len(result.key) > 20


def test_doubts_are_told(network):
    knobs = {"top_k": 1, "center_threshold": 0.0, "nms_kernel": 1}
    message = segment(network, Picture(noise(), "a.png"), knobs, seconds=60).message
    assert "more objects than top_k, whose pixels others took: raise top_k; " in message
    assert "the weights may be for pictures of another kind; " in message


def test_the_overlay_fits_its_room(network, result):
    assert result.overlay.size == (300, round(40 * 300 / 56))
    assert result.pixel_at(0, 0) == (0, 0)
    assert result.pixel_at(299, 213) == (39, 55)
    assert result.pixel_at(150, 100) == (18, 28)
    prediction = network.predict(noise(100, 20), {})
    assert overlay_for_page(prediction, 500).size == (100, 500)
    assert overlay_for_page(prediction, 50_000).size == (160, 800)
    assert overlay_for_page(prediction, -1).size == (32, 160)


def test_downloads_are_a_panoptic_data_set(tmp_path, network, result):
    prediction = network.predict(noise(), {})
    files = {kind: file.content for kind, file in result.downloads.items()}
    overlay = np.asarray(Image.open(io.BytesIO(files["overlay"])))
    np.testing.assert_array_equal(overlay, np.asarray(prediction.draw()))
    document = json.loads(files["json"])
    infos = [
        {key: info[key] for key in ("id", "category_id", "area", "bbox", "score")}
        for info in prediction.segments_info
    ]
    (annotation,) = document["annotations"]
    assert [{**entry, "iscrowd": 0} for entry in infos] == annotation["segments_info"]
    # Our own reader takes them.
    Image.fromarray(noise()).save(tmp_path / "my photo.jpg")
    for file in result.downloads.values():
        (tmp_path / file.name).write_bytes(file.content)
    dataset = CocoPanopticDataset(tmp_path, tmp_path, tmp_path / "my_photo_panoptic.json")
    np.testing.assert_array_equal(dataset[0].panoptic, prediction.panoptic)


def test_the_table_lists_the_largest_first_and_escapes_names(network):
    prediction = network.predict(noise(), {})
    rows = segments_table(prediction).split("<tr>")[2:]
    areas = [int(row.split("<td>")[4].split("<")[0].replace(",", "")) for row in rows]
    assert areas == sorted((info["area"] for info in prediction.segments_info), reverse=True)
    infos = [{**info, "name": "<script>"} for info in prediction.segments_info]
    fields = {**vars(prediction), "segments_info": infos}
    assert "<script>" not in segments_table(Prediction(**fields))
    assert "&lt;script&gt;" in segments_table(Prediction(**fields))


def test_no_segment(network):
    knobs = {"stuff_area": 10**6, "center_threshold": 1.0}
    result = segment(network, Picture(noise(), "a.png"), knobs, seconds=60)
    assert "0 things and 0 stuff segments" in result.message
    assert "no segment" in result.table


def test_refusals(network):
    with pytest.raises(ValueError, match="nms_kernel must be 1 pixel"):
        segment(network, Picture(noise(), "a.png"), {"nms_kernel": 0}, seconds=60)
    with pytest.raises(ValueError, match="time for a picture must be at most"):
        segment(network, Picture(noise(), "a.png"), {}, seconds=1e-9)


def test_a_picture_that_was_read_for_other_weights_is_asked_for_again(network):
    reading = network.predictor.view.reading
    segment(network, Picture(noise(), "a.png", reading=reading), {}, seconds=60)
    with pytest.raises(ValueError, match=r"picture must be read as .*tiny.safetensors does.* a.png; drop it"):
        segment(network, Picture(noise(), "a.png", reading={**reading, "page": 2}), {}, seconds=60)


def test_a_page_has_one_result_and_old_ones_go(result, network, monkeypatch):
    monkeypatch.setattr(results_module, "MOST_KEPT", 2)
    results = Results()
    others = [segment(network, Picture(noise(), f"{name}.png"), {}, seconds=60) for name in "abc"]
    results.put("one", result)
    assert results.get("one") is result
    assert results.download(result.key, "json") == result.downloads["json"]
    assert results.download(result.key, "other") is None
    assert results.download("guess", "json") is None
    results.put("one", others[0])
    assert results.download(result.key, "json") is None
    results.put("two", others[1])
    results.put("three", others[2])
    assert results.get("one") is None
    results.discard("two")
    results.discard("two")
    assert results.get("two") is None
    assert results.get("three") is others[2]
