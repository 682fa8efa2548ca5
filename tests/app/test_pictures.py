"""Files that somebody sends are read, or refused in one line that tells nothing of the machine."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from app_files import noise, write_noise
from axial_deeplab.app import pictures
from axial_deeplab.app.pictures import read_picture
from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import read_image
from axial_deeplab.prediction.batch import View

ORIENTATION_TAG = 0x0112


def refused(path, max_side=2048):
    with pytest.raises(ValueError, match=r" must (be|have) ") as error:
        read_picture(path, max_side=max_side)
    message = str(error.value)
    assert path.name in message
    assert str(path.parent) not in message
    return message


def test_a_picture_keeps_its_pixels(tmp_path):
    picture = read_picture(write_noise(tmp_path / "two words, and more.png"), max_side=56)
    np.testing.assert_array_equal(picture.pixels, noise())
    assert (picture.file_name, picture.stem) == ("two words, and more.png", "two_words_and_more")
    assert picture.changes == ()


def test_a_name_of_nothing_but_signs_becomes_another(tmp_path):
    assert read_picture(write_noise(tmp_path / "¿¿¿.png"), max_side=56).stem == "picture"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got: an empty file"),
        (b"not an image", "JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "JPEG, PNG"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    assert words in refused(path)


def test_a_cut_off_picture_is_refused(tmp_path):
    path = write_noise(tmp_path / "photo.png")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"^photo.png must be a complete image") as error:
        read_picture(path, max_side=2048)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    ("width", "height", "mends"), [(1, 1, "enlarge"), (20_000, 50, "reduce"), (57, 40, "reduce")]
)
def test_sizes_are_refused(tmp_path, width, height, mends):
    path = tmp_path / "photo.png"
    Image.new("RGB", (width, height)).save(path)
    message = refused(path, max_side=56)
    assert f"got {width} x {height} (width x height)" in message
    assert message.endswith(f"; {mends} it")


def test_a_bomb_is_refused_without_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "at most 2,000 pixels" in refused(write_noise(tmp_path / "photo.png"))


def tiff_files(folder: Path) -> dict[str, Path]:
    """Write TIFFs of the kinds that Pillow's headers know nothing of."""
    ramp = np.linspace(0, 1, 40 * 56).reshape(40, 56)
    values = {
        "half": ramp.astype(np.float16),
        "double": ramp,
        "bands": np.stack([ramp * 60000] * 5, axis=2).astype(np.uint16),
        "pages": np.stack([ramp * 255, ramp * 0]).astype(np.uint8),
    }
    paths = {name: folder / f"{name}.tif" for name in values}
    for name, path in paths.items():
        planes = {"photometric": "minisblack"} | ({"planarconfig": "contig"} if name == "bands" else {})
        tifffile.imwrite(path, values[name], **planes)
    return paths


@pytest.mark.parametrize("name", ["half", "double", "bands", "pages"])
def test_the_app_reads_what_predict_reads(tmp_path, name):
    path = tiff_files(tmp_path)[name]
    reading = View(
        page=2 if name == "pages" else None,
        value_range="0 1" if name in ("half", "double") else "full",
        channels=Channels((2, 4, 5)) if name == "bands" else None,
    ).reading
    picture = read_picture(path, max_side=64, **reading)
    np.testing.assert_array_equal(picture.pixels, read_image(path, **reading))
    assert (picture.pixels.max() > 200) == (name != "pages")  # whose second is black


def test_what_predict_refuses_is_told_in_its_words(tmp_path):
    assert "choose them with --channels" in refused(tiff_files(tmp_path)["bands"])
    with pytest.raises(ValueError, match=r"^pages.tif must have page 3, got 2"):
        read_picture(tiff_files(tmp_path)["pages"], max_side=64, page=3)


def test_few_pixels_of_many_bytes_are_refused_without_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 2**20)
    path = tmp_path / "deep.tif"
    tifffile.imwrite(
        path,
        np.zeros((64, 64, 300), np.float64),
        photometric="rgb",
        planarconfig="contig",
        compression="zlib",
    )
    with pytest.raises(
        ValueError, match=r"at most 1 MiB when decoded, got 9 MiB .300 x 64 bits. in deep.tif"
    ):
        read_picture(path, max_side=64)


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (40, 30), (255, 0, 0, 0)).save(tmp_path / "print.jpg")
    picture = read_picture(tmp_path / "print.jpg", max_side=64)
    assert picture.pixels.shape == (30, 40, 3)
    assert picture.changes == ("converted from CMYK to RGB",)


def test_a_lying_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    Image.fromarray(noise()).save(tmp_path / "phone.png", exif=exif)
    picture = read_picture(tmp_path / "phone.png", max_side=64)
    np.testing.assert_array_equal(picture.pixels, np.rot90(noise(), -1))
    assert picture.changes == ("turned upright as its EXIF tag says",)
