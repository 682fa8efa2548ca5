import json
import math
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.coco_json import AnnotationEntry, PanopticJson, SegmentEntry
from axial_deeplab.panoptic.map import Panoptic, Segment, measure_segments, panoptic_id, semantic_map
from axial_deeplab.panoptic.png import (
    coco_segments,
    from_coco_annotation,
    id2rgb,
    read_panoptic_png,
    rgb2id,
    to_coco_annotation,
    write_panoptic_png,
    write_panoptic_rows,
)
from axial_deeplab.panoptic.writer import PanopticWriter

CATEGORIES = Categories(
    [
        Category(id=0, name="background", is_thing=False, color=(0, 0, 0)),
        Category(id=17, name="cat", is_thing=True, color=(200, 100, 50)),
        Category(id=18, name="dog", is_thing=True),
        Category(id=200, name="sky", is_thing=False, color=(0, 0, 250)),
    ]
)


def annotation(*segments):
    return AnnotationEntry(5, "a.png", tuple(SegmentEntry(*segment) for segment in segments))


# --- the map


def test_the_map_value_tells_class_and_instance():
    assert panoptic_id(0) == 10_000
    assert panoptic_id(132, 9_999) == 1_339_999
    assert panoptic_id(2, 3, label_divisor=256) == 3 * 256 + 3
    with pytest.raises(ValueError, match=r"instance_id must be from 0 to 255, got 256; cut the image"):
        panoptic_id(0, 256, label_divisor=256)
    with pytest.raises(ValueError, match=r"label_divisor must .* int32, got 100000000 for train_id 30"):
        panoptic_id(30, label_divisor=10**8)


def test_more_instances_than_the_divisor_holds():
    ids = [panoptic_id(train_id, number) for train_id in (0, 1, 8191) for number in (9_999, 10_000, 141_071)]
    assert ids[:3] == [19_999, 2**30, 2**30 + 2**17 - 1]
    assert len(set(ids)) == 9
    assert max(ids) == 2**31 - 1
    assert semantic_map(np.array([[0, *ids]])).tolist() == [[255, 0, 0, 0, 1, 1, 1, 8191, 8191, 8191]]
    with pytest.raises(ValueError, match="instance_id must be from 0 to 141071, got 141072; cut the image"):
        panoptic_id(0, 141_072)
    for train_id, number in ((8192, 10_000), (107_373, 4_000)):  # the other would be one of these
        with pytest.raises(ValueError, match=r"label_divisor must .* within int32"):
            panoptic_id(train_id, number)


def test_the_semantic_map_keeps_void_apart():
    panoptic = np.array([[0, 10_000, 20_007]], dtype=np.int32)
    np.testing.assert_array_equal(semantic_map(panoptic), [[255, 0, 1]])
    np.testing.assert_array_equal(semantic_map(panoptic, ignore_label=-1), [[-1, 0, 1]])
    many = np.array([[(300 + 1) * 10_000]], dtype=np.int32)
    assert semantic_map(many, ignore_label=-1).item() == 300


def test_segments_are_measured_where_they_are():
    drawing = np.array(
        [
            [0, 0, 7, 7, 0],
            [2, 7, 7, 0, 0],
            [2, 2, 0, 0, 7],
        ]
    )
    values, areas, boxes = measure_segments(drawing)
    assert values.tolist() == [0, 2, 7]
    assert areas.tolist() == [7, 3, 5]
    assert boxes.tolist() == [[0, 0, 5, 3], [0, 1, 2, 2], [1, 0, 4, 3]]


def test_an_empty_map_has_no_segments():
    values, areas, boxes = measure_segments(np.zeros((0, 5), dtype=np.int32))
    assert (values.size, areas.size, boxes.shape) == (0, 0, (0, 4))


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 4)))
def test_measuring_equals_looking_at_each_value_alone(drawing):
    values, areas, boxes = measure_segments(drawing)
    assert values.tolist() == np.unique(drawing).tolist()
    for value, area, (left, top, width, height) in zip(values, areas, boxes.tolist(), strict=True):
        rows, columns = np.nonzero(drawing == value)
        assert area == rows.size
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())


# --- ids and colors


def test_red_is_the_lowest_byte_and_8_bit_colors_do_not_overflow():
    colors = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255]]], dtype=np.uint8)
    ids = rgb2id(colors)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 256, 65536, 256**3 - 1]]
    np.testing.assert_array_equal(id2rgb(ids), colors)


@pytest.mark.parametrize("wrong", [-1, 256**3])
def test_ids_that_are_no_color_are_refused(wrong, tmp_path):
    ids = np.array([[1, wrong]])
    with pytest.raises(ValueError, match=rf"ids must be from 0 to 16777215 to fit a color, got {wrong}"):
        id2rgb(ids)
    with pytest.raises(ValueError, match=r"ids must be from 0 to 16777215"):
        write_panoptic_png(tmp_path / "a.png", ids)
    assert not list(tmp_path.iterdir())


@settings(max_examples=25, deadline=None)
@given(ids=arrays(np.int64, (3, 5), elements=st.integers(0, 256**3 - 1)))
def test_png_round_trip(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_panoptic_png(path, ids)
    again = read_panoptic_png(path)
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, ids)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), id2rgb(ids))


@pytest.mark.parametrize("heights", [[5], [1, 4], [2, 2, 1], [1] * 5])
def test_rows_make_the_same_png_however_many_are_given_at_a_time(heights, tmp_path):
    ids = np.random.default_rng(0).integers(0, 256**3, (5, 7), dtype=np.int64)
    bands = np.split(ids.astype(np.uint32), np.cumsum(heights)[:-1])
    write_panoptic_rows(tmp_path / "a.png", (5, 7), bands)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), id2rgb(ids))


def test_more_rows_than_are_packed_at_a_time(tmp_path):
    ids = np.random.default_rng(0).integers(0, 9, (600, 20)).cumsum(axis=0)
    write_panoptic_png(tmp_path / "a.png", ids)
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "a.png"), ids)


def test_more_segments_than_colors(monkeypatch):
    monkeypatch.setattr("axial_deeplab.panoptic.png._nearby_ids", lambda color: iter(()))
    monkeypatch.setattr("axial_deeplab.panoptic.png.MAX_ID", 20)
    segments = [Segment(id=n, train_id=0, area=1, bbox=(0, 0, 1, 1)) for n in range(1, 30)]
    with pytest.raises(ValueError, match="segments must be fewer than 20 to fit the colors"):
        list(coco_segments(segments, CATEGORIES))


def test_a_png_of_more_pixels_than_pillow_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 40)
    write_panoptic_png(tmp_path / "a.png", np.ones((9, 9), np.int32))
    with pytest.raises(
        ValueError, match=r"a.png must have at most 80 pixels to be read, .*cut the image into"
    ):
        read_panoptic_png(tmp_path / "a.png")


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path):
    colors = np.full((2, 2, 4), 255, dtype=np.uint8)
    colors[0, 0, :3] = (3, 2, 1)
    Image.fromarray(colors).save(tmp_path / "opaque.png")
    assert read_panoptic_png(tmp_path / "opaque.png")[0, 0] == 3 + 2 * 256 + 65536
    colors[1, 1, 3] = 254
    Image.fromarray(colors).save(tmp_path / "glass.png")
    with pytest.raises(ValueError, match=r"glass.png must be an opaque RGB PNG, got transparent pixels"):
        read_panoptic_png(tmp_path / "glass.png")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "greyscale of 8 bits"),
        ("P", r"palette of \d bits"),
        ("1", "greyscale of 1 bits"),
        ("I;16", "greyscale of 16 bits"),
        ("LA", "greyscale with alpha of 8 bits"),
    ],
)
def test_other_kinds_of_png_are_refused(mode, kind, tmp_path):
    Image.new(mode, (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a.png must be an RGB PNG of 8 bits, got {kind}"):
        read_panoptic_png(tmp_path / "a.png")


def test_16_bit_rgb_is_refused_although_pillow_reads_it(tmp_path):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    path = tmp_path / "deep.png"
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes([0, 1, 2, 3, 4, 5, 6])))
        + chunk(b"IEND", b"")
    )
    assert Image.open(path).mode == "RGB"
    with pytest.raises(ValueError, match=r"deep.png must be an RGB PNG of 8 bits, got RGB of 16 bits"):
        read_panoptic_png(path)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "a.png"
    write_panoptic_png(path, np.arange(60_000).reshape(200, 300))
    content = path.read_bytes()
    for length in (30, 60, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"a.png must be a complete PNG, got "):
            read_panoptic_png(path)
    for content in (b"", b"GIF89a" + bytes(40)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.png must be a PNG, got another kind of file"):
            read_panoptic_png(path)
    with pytest.raises(FileNotFoundError, match=r"absent.png"):
        read_panoptic_png(tmp_path / "absent.png")


@pytest.mark.parametrize("level", [0, 9])
def test_a_png_with_any_other_byte_is_refused(tmp_path, level):
    path = tmp_path / "a.png"
    Image.fromarray(id2rgb(np.arange(6).reshape(2, 3))).save(path, compress_level=level)
    content = path.read_bytes()
    assert read_panoptic_png(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"a.png must be a (complete )?PNG, got"):
            read_panoptic_png(path)
    first = content.index(b"IDAT") + 4
    path.write_bytes(content[:first] + bytes([content[first] ^ 1]) + content[first + 1 :])
    with pytest.raises(ValueError, match=r"damaged file, with a wrong checksum in 'IDAT'; copy it again"):
        read_panoptic_png(path)


def test_what_stands_behind_the_last_chunk_does_no_harm(tmp_path):
    path = tmp_path / "a.png"
    write_panoptic_png(path, np.arange(6).reshape(2, 3))
    path.write_bytes(path.read_bytes() + bytes(20))
    assert read_panoptic_png(path).tolist() == [[0, 1, 2], [3, 4, 5]]


# --- from COCO


def test_a_coco_annotation_becomes_our_map():
    ids = np.array(
        [
            [70000, 70000, 5, 5],
            [70000, 9, 9, 0],
            [3, 9, 9, 0],
        ]
    )
    panoptic, segments = from_coco_annotation(
        ids,
        annotation((5, 17, False, 99), (70000, 200, False, None), (9, 17, True, 4), (3, 0, False, 1)),
        CATEGORIES,
    )
    assert panoptic.dtype == np.int32
    assert panoptic.tolist() == [
        [40_000, 40_000, 20_001, 20_001],
        [40_000, 20_002, 20_002, 0],
        [10_000, 20_002, 20_002, 0],
    ]
    assert segments == (
        Segment(id=20_001, train_id=1, area=2, bbox=(2, 0, 2, 1)),
        Segment(id=40_000, train_id=3, area=3, bbox=(0, 0, 2, 2)),
        Segment(id=20_002, train_id=1, area=4, is_crowd=True, bbox=(1, 1, 2, 2)),
        Segment(id=10_000, train_id=0, area=1, bbox=(0, 2, 1, 1)),
    )
    assert all(
        type(number) is int for segment in segments for number in (segment.id, segment.area, *segment.bbox)
    )


def test_a_second_stuff_segment_of_a_class_stays_apart():
    panoptic, segments = from_coco_annotation(
        np.array([[1, 0, 2]]), annotation((1, 200, False, 1), (2, 200, False, 1)), CATEGORIES
    )
    assert panoptic.tolist() == [[40_000, 0, 40_001]]
    assert semantic_map(panoptic).tolist() == [[3, 255, 3]]
    assert [segment.id for segment in segments] == [40_000, 40_001]


@pytest.mark.parametrize("num_instances", [300, 1500])
def test_many_instances_of_one_class_survive_the_round_trip(num_instances, tmp_path):
    ids = 65_000 + np.arange(num_instances).reshape(-1, 30).repeat(2, axis=1)
    entries = [(65_000 + index, 18, False, 2) for index in range(num_instances)]
    panoptic, segments = from_coco_annotation(ids, annotation(*entries), CATEGORIES)
    assert len(np.unique(panoptic)) == len(segments) == num_instances
    assert panoptic.max() == 30_000 + num_instances
    entry, new_ids = to_coco_annotation(Panoptic(panoptic, segments), CATEGORIES, 5, "a.png")
    write_panoptic_png(tmp_path / "a.png", new_ids)
    again = read_panoptic_png(tmp_path / "a.png")
    assert len({segment["id"] for segment in entry["segments_info"]}) == num_instances
    assert sorted(np.unique(again).tolist()) == sorted(segment["id"] for segment in entry["segments_info"])
    # Each new segment covers exactly the pixels of an old one.
    assert len(np.unique(np.stack([panoptic.ravel(), again.ravel()]), axis=1).T) == num_instances


def test_more_instances_than_the_divisor_are_refused():
    entries = [(index + 1, 18, False, 1) for index in range(10)]
    with pytest.raises(ValueError, match=r"a.png \(image 5\): instance_id must be .* got 10;"):
        from_coco_annotation(np.arange(1, 11)[None], annotation(*entries), CATEGORIES, label_divisor=10)


def test_an_id_without_segment_is_refused_with_the_image():
    with pytest.raises(ValueError, match=r"f/a.png \(image 5\) must have only ids .* lists, got 7, 8;"):
        from_coco_annotation(
            np.array([[7, 8, 9, 0]]), annotation((9, 17, False, 1)), CATEGORIES, source="f/a.png"
        )
    with pytest.raises(ValueError, match=r"got 1, 2, 3, 4, 5 and 4 more;"):
        from_coco_annotation(np.arange(10)[None], annotation(), CATEGORIES)


def test_a_segment_without_pixels_is_left_out_with_a_warning_or_refused():
    listed = annotation((9, 17, False, 1), (4, 17, False, 1))
    with pytest.warns(UserWarning, match=r"a.png \(image 5\): segments 4 of the JSON have no pixel"):
        _, segments = from_coco_annotation(np.array([[9]]), listed, CATEGORIES)
    assert [segment.train_id for segment in segments] == [1]
    with pytest.raises(ValueError, match=r"a.png \(image 5\) must have pixels .* got none of 4;"):
        from_coco_annotation(np.array([[9]]), listed, CATEGORIES, allow_empty=False)


def test_a_png_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"a.png \(image 5\) must be 2 x 1 pixels .*, got 1 x 2"):
        from_coco_annotation(np.array([[9, 9]]), annotation((9, 17, False, 1)), CATEGORIES, size=(2, 1))


# --- to COCO


def test_our_map_becomes_a_coco_annotation_of_plain_numbers():
    panoptic = np.array([[0, 40_000, 40_000], [20_001, 20_002, 40_000]], dtype=np.int32)
    segments = [
        Segment(id=40_000, train_id=3, area=99),
        Segment(id=20_001, train_id=1, area=99, score=np.float32(0.25)),
        Segment(id=20_002, train_id=1, area=99, is_crowd=True),
        Segment(id=20_003, train_id=1, area=99),
    ]
    entry, ids = to_coco_annotation(Panoptic(panoptic, segments), CATEGORIES, np.int64(5), "a.png")
    cat, crowd, sky = entry["segments_info"]
    assert cat == {
        "id": cat["id"],
        "category_id": 17,
        "iscrowd": 0,
        "area": 1,
        "bbox": [0, 1, 1, 1],
        "score": 0.25,
    }
    assert crowd == {"id": crowd["id"], "category_id": 17, "iscrowd": 1, "area": 1, "bbox": [1, 1, 1, 1]}
    assert sky == {"id": sky["id"], "category_id": 200, "iscrowd": 0, "area": 3, "bbox": [1, 0, 2, 2]}
    assert ids.tolist() == [[0, sky["id"], sky["id"]], [cat["id"], crowd["id"], sky["id"]]]
    assert json.loads(json.dumps(entry)) == entry
    assert entry["image_id"] == 5


def test_ids_look_like_their_category_and_a_black_category_is_not_void():
    panoptic = np.array([[10_000, 20_001, 20_002, 20_003, 40_000]], dtype=np.int32)
    segments = [
        Segment(id=value, train_id=value // 10_000 - 1, area=1) for value in panoptic.ravel().tolist()
    ]
    entry, ids = to_coco_annotation(Panoptic(panoptic, segments), CATEGORIES, "name", "a.png")
    assert entry["image_id"] == "name"
    assert len(set(ids.ravel().tolist())) == 5
    assert ids.min() > 0
    colors = id2rgb(ids)[0].astype(int)
    assert colors[1].tolist() == [200, 100, 50]
    assert colors[4].tolist() == [0, 0, 250]
    for color in colors[2:4]:
        assert 0 < abs(color - colors[1]).max() <= 20
    again, _ = to_coco_annotation(Panoptic(panoptic, segments), CATEGORIES, "name", "a.png")
    assert again == entry


def test_ids_never_run_out_near_a_color():
    panoptic = 10_000 * 2 + np.arange(1, 3001).reshape(30, 100)
    segments = [Segment(id=value, train_id=1, area=1) for value in panoptic.ravel().tolist()]
    crowded = Categories(
        [Category(id=index, name=str(index), is_thing=True, color=(0, 0, index)) for index in (1, 2)]
    )
    entry, ids = to_coco_annotation(Panoptic(panoptic, segments), crowded, 1, "a.png")
    assert len(np.unique(ids)) == len(entry["segments_info"]) == 3000
    assert ids.min() > 0


def test_a_value_without_segment_is_refused():
    with pytest.raises(ValueError, match=r"segments must have one .* got none for 20001 in image 5"):
        to_coco_annotation(Panoptic(np.array([[20_001]]), []), CATEGORIES, 5, "a.png")


# --- the writer


def square(value, train_id):
    segment = Segment(id=value, train_id=train_id, area=12)
    return Panoptic(np.full((3, 4), value, dtype=np.int32), [segment])


def test_written_predictions_can_be_read_again(tmp_path):
    with PanopticWriter(tmp_path / "out" / "png", tmp_path / "out" / "panoptic.json", CATEGORIES) as writer:
        writer.add(square(20_001, 1), image_file_name="a.jpg", image_id=100)
        writer.add(square(40_000, 3), image_file_name="deep/b.jpg", image_id="b")
        writer.add(Panoptic(np.zeros((3, 4), dtype=np.int32), []), image_file_name="void.jpg")
        assert not (tmp_path / "out" / "panoptic.json").exists()
    panoptic = PanopticJson.read(tmp_path / "out" / "panoptic.json")
    assert panoptic.categories == CATEGORIES
    pairs = list(panoptic.annotated_images())
    assert [(image.id, image.file_name, image.size) for image, _ in pairs] == [
        (100, "a.jpg", (3, 4)),
        ("b", "deep/b.jpg", (3, 4)),
        (3, "void.jpg", (3, 4)),
    ]
    assert [entry.file_name for _, entry in pairs] == ["a.png", "deep/b.png", "void.png"]
    for (_, entry), expected in zip(pairs, (20_001, 40_000, 0), strict=True):
        ids = read_panoptic_png(tmp_path / "out" / "png" / entry.file_name)
        again, _ = from_coco_annotation(ids, entry, panoptic.categories)
        assert (again == expected).all()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["panoptic.json", "png"]


def test_images_of_one_stem_get_png_files_of_their_own(tmp_path):
    with PanopticWriter(tmp_path / "png", tmp_path / "p.json", CATEGORIES) as writer:
        names = [
            writer.add(square(20_001, 1), image_file_name=name)["file_name"]
            for name in ("a.jpg", "a.png", "a.b.jpg")
        ]
    assert names == ["a.png", "a.png.png", "a.b.png"]


def test_an_image_id_may_not_occur_twice(tmp_path):
    writer = PanopticWriter(tmp_path / "png", tmp_path / "p.json", CATEGORIES)
    writer.add(square(20_001, 1), image_file_name="a.jpg", image_id=1)
    with pytest.raises(ValueError, match=r"image_id must be unique, got 1 twice"):
        writer.add(square(20_001, 1), image_file_name="b.jpg", image_id=1)


def test_an_image_name_may_not_leave_the_folder(tmp_path):
    writer = PanopticWriter(tmp_path / "png", tmp_path / "p.json", CATEGORIES)
    with pytest.raises(ValueError, match=r"file_name must stay inside .* got '../a.png'"):
        writer.add(square(20_001, 1), image_file_name="../a.jpg")


def test_a_json_of_other_png_files_is_removed_before_the_first_is_written(tmp_path):
    def write(value):
        panoptic = Panoptic(np.full((4, 5), value, np.int32), [Segment(id=value, train_id=0, area=20)])
        writer = PanopticWriter(tmp_path / "png", tmp_path / "p.json", CATEGORIES)
        writer.add(panoptic, image_file_name="a.jpg")
        return writer

    write(10_000).close()
    assert (tmp_path / "p.json").exists()
    again = write(10_001)
    assert not (tmp_path / "p.json").exists()
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "png"]


def test_no_json_is_written_after_an_error(tmp_path):
    def fail_halfway():
        with PanopticWriter(tmp_path / "png", tmp_path / "p.json", CATEGORIES) as writer:
            writer.add(square(20_001, 1), image_file_name="a.jpg")
            writer.add(Panoptic(np.array([[5]]), []), image_file_name="b.jpg")

    with pytest.raises(ValueError, match=r"segments must have one entry"):
        fail_halfway()
    assert [path.name for path in tmp_path.iterdir()] == ["png"]


def test_real_annotations_survive_the_round_trip(shared_data, tmp_path):
    folder = shared_data("coco_panoptic_mini") / "annotations"
    panoptic = PanopticJson.read(folder / "panoptic_val2017.json")
    assert len(panoptic.categories) == 133
    assert len(panoptic.categories.thing_ids) == 80
    with PanopticWriter(tmp_path / "png", tmp_path / "p.json", panoptic.categories) as writer:
        for image, entry in list(panoptic.annotated_images())[:15]:
            ids = read_panoptic_png(folder / "panoptic_val2017" / entry.file_name)
            ours, segments = from_coco_annotation(ids, entry, panoptic.categories, size=image.size)
            assert [segment.area for segment in segments] == [segment.area for segment in entry.segments]
            written = writer.add(Panoptic(ours, segments), image_file_name=image.file_name, image_id=image.id)
            again = read_panoptic_png(tmp_path / "png" / written["file_name"])
            # One new id for each old one, and the other way around.
            num_pairs = len(np.unique(ids.astype(np.int64) << 32 | again))
            assert num_pairs == len(np.unique(ids)) == len(np.unique(again))
            assert (
                math.prod(image.size)
                == sum(part["area"] for part in written["segments_info"]) + (ids == 0).sum()
            )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes in folders")
@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_the_list_is_refused(tmp_path):
    os.mkfifo(tmp_path / "panoptic.json.part")
    categories = Categories([Category(1, "sky", False)])
    writer = PanopticWriter(tmp_path / "panoptic", tmp_path / "panoptic.json", categories, settings="a")
    with pytest.raises(OSError, match=r"panoptic.json.part must be a file, got a pipe or a device"):
        writer.begin("a.png")
