"""What the page does with what people do, without a browser."""

from types import SimpleNamespace

import pytest
from PIL import Image

from app_files import write_noise, write_tiny_weights
from axial_deeplab.app.limits import Limits
from axial_deeplab.app.networks import KNOBS, Networks
from axial_deeplab.app.results import Results
from lazy_modules import LazyModule

gradio = LazyModule("gradio")
page_module = LazyModule("axial_deeplab.app.page")

ME = SimpleNamespace(session_hash="me")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(write_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture
def page(weights):
    page = page_module.Page(Networks([weights, "missing.safetensors"], device="cpu"), Results(), Limits())
    page.build()
    return page


def knobs(**changes):
    return [changes.get(name) for name in KNOBS]


def opened(page, weights, path, **changes):
    return page.open(ME, str(path), 300, weights, *knobs(**changes))


def test_a_picture_and_a_click(tmp_path, page, weights):
    shown = opened(page, weights, write_noise(tmp_path / "a.png"))
    assert shown[page.upload] is None
    assert shown[page.result]["visible"]
    assert shown[page.overlay].width == 300
    assert "a.png, 56 x 40 pixels" in shown[page.message]
    assert page_module.HINT_TO_CLICK in shown[page.heads]
    clicked = page.click(ME, SimpleNamespace(index=[299, 0]), page.block.value)
    assert clicked[page.pixel] == (0, 55)
    assert "Row 0, column 55" in clicked[page.heads]
    assert "Row 0, column 55, in backbone.res4.0" in page.look(ME, "backbone.res4.0", (0, 55))
    assert page_module.HINT_TO_CLICK in page.look(ME, "backbone.res4.0", None)
    assert "block must be" in page.look(ME, "stem", (0, 55))
    assert "no axial attention" in page.look(ME, None, (0, 55))


def test_others_do_not_see_it(tmp_path, page, weights):
    opened(page, weights, write_noise(tmp_path / "a.png"))
    other = SimpleNamespace(session_hash="other")
    assert page_module.HINT_TO_START in page.look(other, page.block.value, (0, 0))
    assert page_module.HINT_TO_START in page.segment_again(other, 300, weights, *knobs())[page.message]
    page.forget(ME)
    assert (
        page_module.HINT_TO_START
        in page.click(ME, SimpleNamespace(index=[0, 0]), page.block.value)[page.heads]
    )


def test_a_bad_picture_takes_the_place_of_the_good_one(tmp_path, page, weights):
    opened(page, weights, write_noise(tmp_path / "a.png"))
    Image.new("RGB", (1, 1)).save(tmp_path / "b.png")
    shown = opened(page, weights, tmp_path / "b.png")
    assert 'role="alert">picture must be 16 to 2048 pixels' in shown[page.message]
    assert not shown[page.result]["visible"]
    assert page.results.get("me") is None
    assert opened(page, weights, tmp_path / "gone.png")[page.upload] is None
    assert page.open(ME, None, 300, weights, *knobs()) == {page.upload: gradio.skip()}


def test_settings(tmp_path, page, weights):
    opened(page, weights, write_noise(tmp_path / "a.png"))
    shown = page.segment_again(ME, 300, weights, *knobs(stuff_area=10**6, center_threshold=1))
    assert "0 things and 0 stuff" in shown[page.message]
    shown = page.segment_again(ME, 300, weights, *knobs(nms_kernel=0))
    assert "nms_kernel must be" in shown[page.message]
    assert shown[page.result]["visible"]  # the one before
    shown = page.choose(ME, 300, weights)
    assert shown[page.knobs[KNOBS.index("nms_kernel")]] == 9
    assert "0 things and 0 stuff" not in shown[page.message]
    assert "weights must be a file" in page.choose(ME, 300, "missing.safetensors")[page.message]
