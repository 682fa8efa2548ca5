import json
import pickle
from pathlib import Path

import pytest

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import PackedSegments, PanopticJson, SegmentEntry, check_size
from axial_deeplab.util.file_names import NamedFiles, path_in_folder

CATEGORIES = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}]


def document(**changes):
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "height": 4, "width": 6},
            {"id": "b", "file_name": "b.jpg"},
        ],
        "annotations": [
            {
                "image_id": 7,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 3, "category_id": 90, "area": 5},
                    {"id": 70000, "category_id": 1, "iscrowd": 1},
                ],
            },
            {"image_id": "b", "file_name": "b.png", "segments_info": []},
        ],
        "categories": CATEGORIES,
    } | changes


@pytest.fixture
def write(tmp_path):
    def write_json(content):
        path = tmp_path / "panoptic.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_json


def test_reading_gives_images_annotations_and_categories(write):
    panoptic = PanopticJson.read(write(document()))
    assert panoptic.categories == Categories.from_json(CATEGORIES)
    assert panoptic.image_size(7) == (4, 6)
    assert panoptic.image_size("b") is None
    assert panoptic.annotations[7].segments == (
        SegmentEntry(3, 90, False, 5),
        SegmentEntry(70000, 1, True, None),
    )
    pairs = list(panoptic.annotated_images())
    assert [(image.file_name, annotation.file_name) for image, annotation in pairs] == [
        ("a.jpg", "a.png"),
        ("b.jpg", "b.png"),
    ]


def test_predictions_need_neither_images_nor_categories(write):
    path = write({"annotations": document()["annotations"]})
    panoptic = PanopticJson.read(path, categories=Categories.from_json(CATEGORIES))
    assert list(panoptic.annotations) == [7, "b"]
    assert panoptic.image_size(7) is None
    with pytest.raises(ValueError, match=r"panoptic.json: images must list at least one image, got none"):
        list(panoptic.annotated_images())


def test_a_test_set_has_images_and_no_annotations(write):
    content = document()
    del content["annotations"]
    panoptic = PanopticJson.read(write(content))
    assert len(panoptic.images) == 2
    with pytest.raises(ValueError, match=r"every image must have .* got none for image 7 \(a.jpg\)"):
        list(panoptic.annotated_images())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"panoptic.json must be a JSON file, got Expecting property name .* line 1"),
        ("[]", r"panoptic.json must be a COCO panoptic document .* got list"),
        (document(images={}), r"panoptic.json: images must be a list, got dict"),
        (document(annotations=5), r"panoptic.json: annotations must be a list, got int"),
        (document(categories=None), r"panoptic.json: categories must be a list of id, name and isthing"),
        (document(images=[3]), r"panoptic.json: images\[0\] must be an object, got 3"),
        (document(images=[{"file_name": "a"}]), r"images\[0\] id must be of type int or str, got None"),
        (document(images=[{"id": 7}]), r"images\[0\] \(id 7\) file_name must be of type str, got None"),
        (
            document(images=[{"id": 7, "file_name": "a", "height": 0, "width": 5}]),
            r"images\[0\] \(id 7\) height and width must be at least 1, got \(0, 5\)",
        ),
        (
            document(images=[{"id": 7, "file_name": "a", "height": 5}]),
            r"images\[0\] \(id 7\) width must be of type int, got None",
        ),
        (
            document(images=[{"id": 7, "file_name": "a", "height": "48", "width": 5}]),
            r"images\[0\] \(id 7\) height must be of type int, got '48'",
        ),
        (
            document(images=[{"id": 2**63, "file_name": "a"}]),
            r"images\[0\] id must be an integer of 64 bits, got 9223372036854775808",
        ),
        (document(images=document()["images"] * 2), r"panoptic.json: image ids must be unique, got 7 twice"),
        (
            document(annotations=document()["annotations"] * 2),
            r"panoptic.json: an image must have one annotation, got two for image 7",
        ),
        (
            document(images=document()["images"][:1]),
            r"panoptic.json: annotations\[1\] image_id must be in images, got 'b'",
        ),
    ],
)
def test_a_bad_document_is_refused_with_file_and_entry(write, content, message):
    with pytest.raises(ValueError, match=message):
        PanopticJson.read(write(content))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ("none", r"segments_info must be of type list, got 'none'"),
        ([5], r"segment must be an object, got 5"),
        ([{"category_id": 1}], r"segment id must be of type int, got None"),
        ([{"id": 0, "category_id": 1}], r"segment id must be from 1 to 16777215, got 0; 0 is void"),
        ([{"id": 2**24, "category_id": 1}], r"segment id must be from 1 to 16777215, got 16777216"),
        ([{"id": 5}], r"segment 5 category_id must be of type int, got None"),
        ([{"id": 5, "category_id": 2}], r"segment 5 category_id must be in categories, got 2"),
        ([{"id": 5, "category_id": 1, "iscrowd": 2}], r"segment 5 iscrowd must be 0 or 1, got 2"),
        ([{"id": 5, "category_id": 1}] * 2, r"segment ids must be unique, got 5 twice"),
        (
            [{"id": 5, "category_id": 90}, {"id": 5, "category_id": 1}],
            r"segment ids must be unique, got 5 twice",
        ),
    ],
)
def test_a_bad_segment_is_refused_with_image_and_segment(write, segments, message):
    content = document(annotations=[{"image_id": 7, "file_name": "a.png", "segments_info": segments}])
    with pytest.raises(ValueError, match=r"panoptic.json: annotations\[0\] \(image 7\) " + message):
        PanopticJson.read(write(content))


@pytest.mark.parametrize(("areas", "area"), [((12, 30), 42), ((12, None), None)])
def test_stuff_that_is_listed_in_pieces_is_one_segment(write, areas, area):
    pieces = [{"id": 5, "category_id": 90, "area": area} for area in areas]
    things = [{"id": 6, "category_id": 1, "area": 3}]
    annotation = {"image_id": 7, "file_name": "a.png", "segments_info": pieces + things}
    again = annotation | {"image_id": "b", "file_name": "b.png"}
    with pytest.warns(
        UserWarning, match=r"segment 5 is listed again, .*such entries: 2.* one segment"
    ) as told:
        panoptic = PanopticJson.read(write(document(annotations=[annotation, again])))
    assert len(told) == 1
    assert panoptic.annotations[7].segments == (
        SegmentEntry(5, 90, False, area),
        SegmentEntry(6, 1, False, 3),
    )


@pytest.mark.parametrize(
    ("written", "read", "is_packed"),
    [
        ({}, (9, 1, False, None), True),
        ({"area": 12.0, "iscrowd": None}, (9, 1, False, None), True),
        ({"area": -3, "iscrowd": 1}, (9, 1, True, -3), True),
        ({"area": 2**70}, (9, 1, False, 2**70), False),
        ({"iscrowd": "1"}, (9, 1, True, None), False),
        ({"iscrowd": True}, (9, 1, True, None), False),
        ({"id": 9.0, "category_id": "1"}, (9, 1, False, None), False),
    ],
)
def test_segments_are_packed_if_they_are_plain(write, written, read, is_packed):
    segments = [{"id": 3, "category_id": 90, "area": 5}, {"id": 9, "category_id": 1, **written}]
    content = document(annotations=[{"image_id": 7, "file_name": "a.png", "segments_info": segments}])
    found = pickle.loads(pickle.dumps(PanopticJson.read(write(content)).annotations[7].segments))
    assert isinstance(found, PackedSegments) == is_packed
    assert found == (SegmentEntry(3, 90, False, 5), SegmentEntry(*read))
    assert (len(found), found[1], hash(found)) == (2, read, hash(tuple(found)))
    assert repr(found) == repr(tuple(found))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ids_as_any_number_or_text_and_any_encoding(tmp_path, encoding):
    large = 2**63 - 1
    content = {
        "images": [{"id": 7.0, "file_name": "a.jpg"}, {"id": "8", "file_name": "b.jpg", "height": None}],
        "annotations": {
            "first": {"image_id": "7", "file_name": "a.png", "segments_info": []},
            "second": {
                "image_id": 8,
                "file_name": "b.png",
                "segments_info": [{"id": "5", "category_id": str(large), "iscrowd": None}],
            },
        },
        "categories": [{"id": large, "name": "car", "isthing": 1.0}],
    }
    path = tmp_path / "panoptic.json"
    path.write_text(json.dumps(content), encoding=encoding)
    panoptic = PanopticJson.read(path)
    assert list(panoptic.images) == list(panoptic.annotations) == [7, "8"]
    assert panoptic.annotations["8"].segments == (SegmentEntry(5, large, False, None),)
    assert panoptic.categories.ids == (large,)
    assert panoptic.image_size("8") is None


def test_names_are_found_however_programs_spell_them(tmp_path):
    composed, in_two = "K\u00e4fer.jpg", "Ka\u0308fer.jpg"
    for name in (in_two, "sub/a.JPG", "both.png", "BOTH.png", "back\\slash.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = NamedFiles(tmp_path)
    for name, found in {
        composed: in_two,
        "sub\\a.jpg": "sub/a.JPG",
        "both.png": "both.png",
        "Both.png": "Both.png",  # not there: either may be meant
        "back\\slash.png": "back\\slash.png",
        "absent\\a.png": "absent\\a.png",
    }.items():
        assert files.path(name) == tmp_path / found
    for name in ("sub\\..\\..\\a.png", "\\a.png"):
        with pytest.raises(ValueError, match="file_name must stay inside"):
            files.path(name)


@pytest.mark.parametrize(
    "name", ["a.png", "a/b-c d/e.png", "-", "a.", "\u00e9.png", ".a", "a/.b", "a:b", "a//b"]
)
def test_a_name_that_stays_inside_is_joined(name):
    assert path_in_folder("folder", name) == Path("folder") / name


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "../a", "a/../b", "/a", "a\\..\\b", "\\\\a\\b\\c"])
def test_a_name_that_leaves_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="file_name must stay inside folder"):
        path_in_folder("folder", name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.json"):
        PanopticJson.read(tmp_path / "absent.json")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "image.json"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"image.json must be a JSON file"):
        PanopticJson.read(path)


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "./a.png", "a..b.png", "C:a.png"])
def test_names_inside_the_folder_are_allowed(name):
    assert path_in_folder("folder", name) == Path("folder") / name


@pytest.mark.parametrize(
    "name",
    ["../a.png", "sub/../../a.png", "/etc/passwd", "C:\\a.png", "C:/a.png", "..\\a.png", "\\\\host\\a", ""],
)
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(ValueError, match=r"file_name must stay inside folder, got "):
        path_in_folder("folder", name)


def test_a_wrong_size_is_refused():
    check_size((3, 4), (3, 4), "a.png")
    check_size((3, 4), None, "a.png")
    with pytest.raises(ValueError, match=r"a.png must be 4 x 3 pixels \(height x width\), got 3 x 4"):
        check_size((3, 4), (4, 3), "a.png")
