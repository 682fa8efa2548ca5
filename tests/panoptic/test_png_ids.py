"""The fast reader gives what Pillow gives, for every filter, and declines what is not a plain RGB PNG."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from axial_deeplab.panoptic import png_ids
from axial_deeplab.panoptic.format import read_panoptic_png, rgb2id
from axial_deeplab.panoptic.png_ids import decode_ids

FILTERS = {"none": 0, "sub": 1, "up": 2, "average": 3, "paeth": 4}


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(lines: bytes, width: int, height: int, *, plain: bytes = b"\x08\x02\x00\x00\x00") -> bytes:
    """Return a PNG of filtered lines, its data in two chunks and a comment between others."""
    packed = zlib.compress(lines)
    parts = [
        chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + plain),
        chunk(b"tEXt", b"Comment\x00ids"),
        chunk(b"IDAT", packed[: len(packed) // 2]),
        chunk(b"IDAT", packed[len(packed) // 2 :]),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def random_lines(height: int, width: int, filters: np.ndarray) -> bytes:
    lines = np.random.default_rng(0).integers(0, 256, (height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 0] = filters
    return lines.tobytes()


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return rgb2id(np.asarray(image))


@pytest.mark.parametrize("width", [1, 2, 37])
@pytest.mark.parametrize("name", [*FILTERS, "all"])
def test_every_filter_is_undone_as_pillow_does(name, width):
    height = 11
    filters = np.arange(height)[::-1] % 5 if name == "all" else np.full(height, FILTERS[name])
    content = png(random_lines(height, width, filters), width, height)
    ids = decode_ids(content)
    assert ids is not None
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, by_pillow(content))


def test_what_pillow_writes_is_read(tmp_path):
    pixels = (
        np.random.default_rng(1).integers(0, 4, (40, 50, 3), dtype=np.uint8).cumsum(axis=1, dtype=np.uint8)
    )
    Image.fromarray(pixels).save(tmp_path / "ids.png")
    ids = decode_ids((tmp_path / "ids.png").read_bytes())
    np.testing.assert_array_equal(ids, rgb2id(pixels))


def test_real_files_are_read_by_either_way_alike(golden, monkeypatch):
    paths = sorted(golden("pq_coco_a").glob("*/*.png"))
    fast = [read_panoptic_png(path) for path in paths]
    assert all(decode_ids(path.read_bytes()) is not None for path in paths)
    monkeypatch.setattr(png_ids, "_numba_is_missing", True)
    assert decode_ids(paths[0].read_bytes()) is None
    for path, ids in zip(paths, fast, strict=True):
        np.testing.assert_array_equal(read_panoptic_png(path), ids)


def test_all_else_is_declined():
    lines = random_lines(4, 5, np.zeros(4))
    content = png(lines, 5, 4)
    assert decode_ids(content) is not None
    damaged = bytearray(content)
    damaged[60] ^= 1
    for other in (
        b"",
        b"GIF89a",
        content[:-1],  # cut off
        content[:40],
        bytes(damaged),
        png(lines[:-1], 5, 4),  # too short
        png(lines + b"\x00", 5, 4),  # too long
        png(b"\x05" + lines[1:], 5, 4),  # no such filter
        png(lines, 0, 4),
        png(lines, 2**16, 2**16),  # a bomb
        png(lines, 5, 4, plain=b"\x08\x06\x00\x00\x00"),  # RGBA
        png(lines, 5, 4, plain=b"\x10\x02\x00\x00\x00"),  # 16 bits
        png(lines, 5, 4, plain=b"\x08\x02\x00\x00\x01"),  # interlaced
        content[:33] + chunk(b"IDAT", b"no deflate") + chunk(b"IEND", b""),
    ):
        assert decode_ids(other) is None


def test_without_a_folder_for_compiled_code_it_is_compiled_each_time(monkeypatch):
    from axial_deeplab.panoptic import png_lines

    def refuse(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(png_lines, "njit", refuse)
    assert png_lines._compiled(abs) is abs
