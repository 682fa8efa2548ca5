"""JSON that is written item by item is what `json.dumps` has, to the byte."""

import json

import pytest

from axial_deeplab.util.json_files import text_of_items, write_json


@pytest.mark.parametrize("items", [[], [1], [{"a": [1, 2]}, "\u00e4"]])
def test_iterators_are_lists(items, tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "items": iter(items), "y": {"deep": [2]}})
    assert (tmp_path / "a.json").read_text() == json.dumps({"x": 1, "items": items, "y": {"deep": [2]}})


def test_iterators_in_iterators(tmp_path):
    document = {"outer": ({"id": number, "inner": iter(range(number)), "z": "z"} for number in range(3))}
    write_json(tmp_path / "a.json", document)
    expected = {"outer": [{"id": number, "inner": list(range(number)), "z": "z"} for number in range(3)]}
    assert (tmp_path / "a.json").read_text() == json.dumps(expected)


@pytest.mark.parametrize("items", [[], ["1"], ["1", "2", "3"]])
def test_text_of_items(items, tmp_path):
    with text_of_items(tmp_path / "a.json", "[", ", ", "]") as add:
        for item in items:
            add(item)
    assert (tmp_path / "a.json").read_text() == f"[{', '.join(items)}]"
