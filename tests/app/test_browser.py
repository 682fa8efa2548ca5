"""The app as people meet it: the command serves it, and a real Chromium shows it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from axial_deeplab.data.scenes import write_scenes
from axial_deeplab.panoptic.png import rgb2id
from axial_deeplab.prediction.predictor import Predictor

WEIGHTS = "axial_deeplab_nano_scenes"
HEADS = 4
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
INPUTS = ("upload", "weights", "post-processing", "again")
OUTPUTS = ("message", "overlay", "downloads", "attention", "segments")
# Milliseconds; a busy machine is slow, not wrong.
PATIENCE = 120_000


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("temporary")
    # A proxy that nobody is: whatever called home would fail.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "axial_deeplab.cli.main", "app", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--max-side", "1000"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **nowhere, "TMPDIR": str(folder)},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        try:
            yield address[0]
            left_while_it_ran = list(folder.iterdir())
        finally:
            process.terminate()
            code = process.wait(timeout=60)
    # Not a test of its own: after it, no other could use the server.
    assert left_while_it_ran
    assert code == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == [], "a stopped app must leave no file"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("the page is tested in Chromium, which is absent; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    write_scenes(folder, 1, seed=2)
    return folder / "images" / "000000.jpg"


@dataclass
class Visit:
    """A visit of the page.

    Attributes:
        page: in the browser.
        complaints: errors of the console, failed requests, requests to elsewhere.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.page.locator("#upload input[type=file]").set_input_files(path)

    def text(self, part: str) -> str:
        return self.page.locator(f"#{part}").inner_text()


@pytest.fixture
def visit(server, browser, request) -> Iterator[Visit]:
    width, height = WIDTHS[getattr(request, "param", "desktop")]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    visit = Visit(page)
    note = visit.complaints.append
    page.on("console", lambda said: note(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: note(str(error)))
    page.on("response", lambda sent: note(f"{sent.status} {sent.url}") if sent.status >= 400 else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((server, "data:", "blob:")) else note(asked.url),
    )
    page.goto(server)
    page.locator("#upload").wait_for()
    yield visit
    page.close()


def saved(visit: Visit, label: str) -> tuple[str, bytes]:
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name=label).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def overlapping(page: Page) -> list[tuple[str, str]]:
    boxes = {part: page.locator(f"#{part}").bounding_box() for part in (*INPUTS, *OUTPUTS)}
    return [
        (one, other)
        for one, a in boxes.items()
        for other, b in boxes.items()
        if one < other
        and min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"]) > 1
        and min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"]) > 1
    ]


@pytest.mark.parametrize("visit", WIDTHS, indirect=True)
def test_a_picture_its_downloads_and_a_click(visit, scene):
    page = visit.page
    visit.open(scene)
    expect(page.locator("#message")).to_contain_text("000000.jpg, 384 x 256 pixels")
    prediction = Predictor(WEIGHTS, "cpu")(scene)
    rows = page.locator("#segments tbody tr")
    expect(rows).to_have_count(len(prediction.segments_info))
    largest = max(prediction.segments_info, key=lambda info: info["area"])
    expect(rows.first).to_contain_text(largest["name"])
    expect(rows.first).to_contain_text(f"{largest['area']:,}")

    name, content = saved(visit, "Overlay PNG")
    assert name == "000000_overlay.png"
    np.testing.assert_array_equal(decoded(content), np.asarray(prediction.draw()))
    name, content = saved(visit, "Panoptic PNG")
    assert name == "000000_panoptic.png"
    np.testing.assert_array_equal(rgb2id(decoded(content)), prediction.segmentation)
    name, content = saved(visit, "Panoptic JSON")
    (annotation,) = json.loads(content)["annotations"]
    assert annotation["file_name"] == "000000_panoptic.png"
    assert [entry["id"] for entry in annotation["segments_info"]] == [
        info["id"] for info in prediction.segments_info
    ]

    picture = page.locator("#overlay img")
    box = picture.bounding_box()
    assert box["width"] > 0.7 * min(page.viewport_size["width"], 1200) - 100
    picture.click(position={"x": 0.75 * box["width"], "y": 0.5 * box["height"]})
    expect(page.locator("#heads img")).to_have_count(2 * HEADS)
    row, column = map(int, re.search(r"Row (\d+), column (\d+)", visit.text("heads")).groups())
    assert abs(row - 128) <= 2
    assert abs(column - 288) <= 2
    widths = page.locator("#heads img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert set(widths) == {360}
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert overlapping(page) == []
    assert visit.complaints == []


def test_bad_pictures_get_one_line(visit, tmp_path):
    page = visit.page
    (tmp_path / "text.png").write_text("not an image")
    for name, size in (("dot.png", (1, 1)), ("strip.png", (20_000, 50))):
        Image.new("RGB", size).save(tmp_path / name)
    for name, words in (
        (
            "text.png",
            "text.png must be a complete image, got: a file that is none of JPEG, PNG, WEBP, TIFF, BMP, GIF",
        ),
        ("dot.png", "picture must be 16 to 1000 pixels wide and high, got 1 x 1 (width x height) in dot.png"),
        ("strip.png", "got 20000 x 50 (width x height) in strip.png; reduce it"),
    ):
        visit.open(tmp_path / name)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(words)
        expect(alert).to_have_count(1)
        expect(page.locator("#overlay")).to_be_hidden()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (48, 32), (200, 0, 0, 0)).save(tmp_path / "print.jpg", exif=exif)
    visit.open(tmp_path / "print.jpg")
    expect(page.locator("#message")).to_contain_text(
        "print.jpg, 32 x 48 pixels; converted from CMYK to RGB; turned upright as its EXIF tag says"
    )
    expect(page.locator("#overlay img")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert visit.complaints == []


def holds(expectation: Callable[[], None]) -> bool:
    try:
        expectation()
    except AssertionError:
        return False
    return True


def test_settings_and_weights(visit, scene):
    page = visit.page
    visit.open(scene)
    message = page.locator("#message")
    expect(message).to_contain_text("000000.jpg")
    page.locator("#post-processing").get_by_role("button").first.click()
    area = page.locator("#stuff_area input")
    for last in (False, True):  # a number that is typed while the settings still unfold may not arrive
        area.fill("98305")  # one more than the picture has
        area.press("Tab")
        page.locator("#again").click()
        if last or holds(lambda: expect(message).to_contain_text("and 0 stuff segments", timeout=10_000)):
            break
    expect(message).to_contain_text("and 0 stuff segments")
    area.fill("-1")
    area.press("Tab")
    page.locator("#again").click()
    expect(page.get_by_role("alert")).to_contain_text("stuff_area must be 0 pixels")
    page.locator("#weights input").click()
    page.get_by_role("option", name="axial_deeplab_nano_nuclei").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("#segments tbody tr").first).to_contain_text("background")
    stored = Predictor("axial_deeplab_nano_nuclei", "cpu").post_processing
    expect(area).to_have_value(str(stored.stuff_area))
    assert visit.complaints == []


def test_a_closed_page_leaves_nothing(server, visit, scene):
    visit.open(scene)
    address = f"{server}/{visit.page.locator('#downloads a').first.get_attribute('href')}"
    request = visit.page.context.browser.new_context().request
    assert request.get(address).status == 200
    visit.page.close()
    end = time.monotonic() + PATIENCE / 1000
    while request.get(address).status != 404:
        assert time.monotonic() < end
        time.sleep(0.2)
