"""What is refused before Gradio acts on it, through the real HTTP interface."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from app_files import noise, write_noise, write_tiny_weights
from axial_deeplab.app import gate, server
from axial_deeplab.app.limits import Limits
from axial_deeplab.app.networks import Networks

JOIN = "/gradio_api/queue/join"
OPEN, AGAIN, CHOOSE, CLICK, LOOK = range(5)
KNOBS = [0.1, 9, 200, 1, False]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(write_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def client(weights):
    with server.private_folder():
        app = server.build_app(Networks([weights], device="cpu"), Limits(), host="127.0.0.1")
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            yield client


@pytest.fixture
def outside(tmp_path):
    return write_noise(tmp_path / "outside.png")


def sent_file(path: str | Path) -> dict:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}


def join(client, function, data, **others):
    return client.post(JOIN, json={"fn_index": function, "data": data, "session_hash": "page", **others})


def result(client) -> dict:
    """Return what became of the event that was sent last."""
    with client.stream("GET", "/gradio_api/queue/data?session_hash=page") as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                return json.loads(line.removeprefix("data:"))["output"]
    raise AssertionError("the event was not completed")


def upload(client, path: Path, name: str = "a.png") -> str:
    return client.post("/gradio_api/upload", files={"files": (name, path.read_bytes(), "image/png")}).json()[
        0
    ]


def test_a_file_that_was_sent_is_segmented_and_its_address_is_not_fetched(client, weights, outside):
    file = {**sent_file(upload(client, outside)), "url": "http://127.0.0.1:1/never"}
    assert join(client, OPEN, [file, 500, weights, *KNOBS]).status_code == 200
    assert "56 x 40 pixels" in str(result(client))


@pytest.mark.parametrize("name", ["a.j2k", "a.TIF", "A.JFIF", "a.txt", "a", "list.json"])
def test_pictures_of_any_suffix_are_read_and_other_files_refused_in_words(
    client, weights, tmp_path, name, capfd
):
    path = tmp_path / "file"
    if name == "a.TIF":
        tifffile.imwrite(path, np.linspace(0, 1, 40 * 56, dtype=np.float16).reshape(40, 56))
    elif name in ("a.txt", "list.json"):
        path.write_text("{}")
    else:
        Image.fromarray(noise()).save(path, format="JPEG" if name == "A.JFIF" else "JPEG2000")
    assert (
        join(client, OPEN, [sent_file(upload(client, path, name)), 500, weights, *KNOBS]).status_code == 200
    )
    told = str(result(client))
    if name == "a.TIF":
        assert "value_range" in told, told
    else:
        assert ("none of JPEG, PNG" if name in ("a.txt", "list.json") else "56 x 40 pixels") in told, told
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("function", [OPEN, AGAIN, CHOOSE, CLICK, LOOK, 99])
@pytest.mark.parametrize("place", ["input", "every input", "event_data", "deep"])
def test_no_event_reads_a_file_that_was_not_sent(client, weights, outside, function, place):
    file = sent_file(outside)
    data = [file, 500, weights, *KNOBS]
    others = {}
    if place == "every input":
        data = [file] * 8
    elif place == "event_data":
        data, others = [None], {"event_data": {"index": [1, 1], "value": file}}
    elif place == "deep":
        data = [None, [{"nested": [file]}]]
    answer = join(client, function, data, **others)
    assert answer.status_code == 403
    assert "a path must be that of a file that was sent" in answer.text


def test_ways_out_of_the_folder(client, weights, outside, tmp_path):
    sent = Path(upload(client, outside))
    link = sent.parent / "link.png"
    link.symlink_to(outside)
    ways = [link, f"{sent.parent}/../../../..{outside}", sent.parent, f"{outside}\0", "", "a.png"]
    ways += [f"file://{outside}", "http://127.0.0.1:1/a.png", None, 7, ["a"], {}]
    for path in ways:
        file = {**sent_file("x"), "path": str(path) if isinstance(path, Path) else path}
        assert join(client, OPEN, [file, 500, weights, *KNOBS]).status_code == 403, path


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/gradio_api/call/open", {"data": []}),
        ("/gradio_api/run/open", {"data": []}),
        ("/gradio_api/api/predict", {"data": [], "fn_index": 0}),
        ("/gradio_api/component_server", {}),
        ("/login", {}),
    ],
)
def test_calls_that_pass_the_queue_by_are_refused(client, address, body):
    assert client.post(address, json=body).status_code == 404


@pytest.mark.parametrize("address", ["/openapi.json", "/gradio_api/openapi.json", "/docs", "/redoc"])
def test_the_interface_is_not_described(client, address):
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
@pytest.mark.parametrize("address", [JOIN, "/gradio_api/upload", "/gradio_api/cancel"])
def test_requests_of_foreign_origin_are_refused(client, origin, address):
    assert client.post(address, json={}, headers={"origin": origin}).status_code == 403
    assert client.get("/", headers={"origin": origin}).status_code == 403


def test_requests_of_the_page_itself_are_not(client):
    assert client.get("/", headers={"origin": "http://127.0.0.1:7860"}).status_code == 200


def wrong_events(weights: str, file: dict) -> list[tuple[object, object, object, str]]:
    good = [file, 500, weights, *KNOBS]

    def with_input(position: int, value: object) -> list[object]:
        return [*good[:position], value, *good[position + 1 :]]

    return [
        (99, good, None, "fn_index must be a function of the page, got 99"),
        (-1, good, None, "fn_index must be"),
        ("0", good, None, "fn_index must be"),
        (True, good, None, "fn_index must be"),
        (None, good, None, "fn_index must be"),
        (OPEN, [], None, "data must be a list of 8 inputs"),
        (OPEN, "abc", None, "data must be a list of 8 inputs"),
        (OPEN, with_input(0, "/a.png"), None, "Picture must be a file that was sent"),
        (OPEN, with_input(0, None), None, "Picture must be a file that was sent"),
        (OPEN, with_input(1, "wide"), None, "width of the page must be a number"),
        (OPEN, with_input(1, 1e300), None, "width of the page must be a number"),
        (OPEN, with_input(2, "/weights.safetensors"), None, "Weights must be one that is offered"),
        (OPEN, with_input(3, "0.1"), None, "center_threshold must be a number"),
        (OPEN, with_input(3, -1), None, "center_threshold must be from 0 to 1"),
        (OPEN, with_input(4, {}), None, "nms_kernel must be a number"),
        (OPEN, with_input(5, True), None, "top_k must be a number"),
        (OPEN, with_input(6, 10**40), None, "stuff_area must be a number"),
        (OPEN, with_input(7, 1), None, "fill_void: no void pixels must be true or false"),
        (CHOOSE, [500, ["a"]], None, "Weights must be one that is offered"),
        (CLICK, [7], {"index": [1, 1], "value": None}, "Block must be one that is offered"),
        (CLICK, [None], None, "event_data must have index"),
        (CLICK, [None], {"index": ["a", 1], "value": None}, "event_data must have index"),
        (CLICK, [None], {"index": [1], "value": None}, "event_data must have index"),
    ]


def test_events_of_wrong_kind_are_refused_in_words(client, weights, outside, capfd):
    file = sent_file(upload(client, outside))
    for function, data, told, message in wrong_events(weights, file):
        answer = join(client, function, data, **({} if told is None else {"event_data": told}))
        assert answer.status_code == 422, (function, data)
        assert message in answer.text
    for body in (b'{"x":', b"[]", b"\xff", b"[" * 10_000):
        assert client.post(JOIN, content=body).status_code == 422
    assert client.post(JOIN, json={"fn_index": AGAIN, "data": []}).status_code == 422
    assert client.post(JOIN, content=b" " * (gate.MAX_EVENT + 1)).status_code == 413
    assert "Traceback" not in "".join(capfd.readouterr())


def test_settings_out_of_range_are_told_on_the_page(client, weights, outside, capfd):
    file = sent_file(upload(client, outside))
    join(client, OPEN, [file, 500, weights, 0.1, -9, 10**15, -3, False])
    assert "must be" in str(result(client))
    assert join(client, CLICK, ["no block"], event_data={"index": [1, 1], "value": None}).status_code == 422
    join(client, CLICK, [None], event_data={"index": [10**15, -7], "value": None})
    result(client)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_uploads_have_a_limit_in_all(client, outside, monkeypatch):
    monkeypatch.setattr(gate, "MAX_UPLOADS", 1000)
    answer = client.post("/gradio_api/upload", files={"files": ("a.png", outside.read_bytes(), "image/png")})
    assert answer.status_code == 413
    assert "in all" in answer.text

    def parts():
        yield outside.read_bytes()

    assert client.post("/gradio_api/upload", content=parts()).status_code == 411
