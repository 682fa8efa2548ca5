"""Tables measure as scikit-image does; sizes of pixels come from the files that say them."""

import csv

import numpy as np
import pytest
import tifffile

from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.save.picture import Picture, PixelGrid, read_grid
from axial_deeplab.prediction.save.table import open_table
from saved_predictions import CATEGORIES, awkward, empty, find_instances, numbered_map, photo, write_things

FOUND = awkward()
INSTANCES = find_instances(FOUND, CATEGORIES)
PIXELS = np.random.default_rng(1).integers(0, 4096, FOUND.size, np.uint16)


def rows_of(tmp_path, path, result=FOUND):
    picture = Picture(path, f"photos/{path.name}", Labels.of(result), CATEGORIES)
    write_things(tmp_path / "a.csv", picture, open_table)
    return list(csv.DictReader((tmp_path / "a.csv").open(encoding="utf-8", newline="")))


def test_measurements_are_those_of_regionprops(tmp_path):
    measure = pytest.importorskip("skimage.measure", reason="scikit-image is the reference")
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, resolution=(1e4 / 0.5, 1e4 / 0.25), resolutionunit="CENTIMETER"
    )
    rows = rows_of(tmp_path, tmp_path / "a.tif")
    numbers = numbered_map(INSTANCES, FOUND.size)
    in_pixels = measure.regionprops(numbers, PIXELS)
    in_micrometers = measure.regionprops(numbers, spacing=(0.25, 0.5))
    for row, instance, px, um in zip(rows, INSTANCES, in_pixels, in_micrometers, strict=True):
        assert (row["image"], row["class"]) == ("photos/a.tif", instance.category.name)
        assert (row["number"], row["category_id"]) == (str(instance.number), str(instance.category.id))
        top, left, bottom, right = px.bbox
        expected = {
            "score": instance.score,
            "area_px": px.area,
            "centroid_x_px": px.centroid[1] + 0.5,
            "centroid_y_px": px.centroid[0] + 0.5,
            "major_axis_px": px.axis_major_length,
            "minor_axis_px": px.axis_minor_length,
            "eccentricity": px.eccentricity,
            "left_px": left,
            "top_px": top,
            "width_px": right - left,
            "height_px": bottom - top,
            "area_um2": um.area,
            "centroid_x_um": um.centroid[1] + 0.25,
            "centroid_y_um": um.centroid[0] + 0.125,
            "major_axis_um": um.axis_major_length,
            "minor_axis_um": um.axis_minor_length,
            "mean_1": px.intensity_mean,
        }
        measured = {name: float(row[name]) for name in expected}
        assert measured == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert set(row) == {"image", "number", "class", "category_id", *expected}


def test_channels_of_color_and_of_grey(tmp_path):
    pixels = photo(tmp_path / "a.png", FOUND.size)
    row = rows_of(tmp_path, tmp_path / "a.png")[0]
    mask = INSTANCES[0].full_mask(FOUND.size)
    assert [float(row[f"mean_{c}"]) for c in (1, 2, 3)] == pytest.approx(pixels[mask].mean(axis=0).tolist())
    assert not any(name.endswith("um") for name in row)
    photo(tmp_path / "grey.png", FOUND.size)
    from PIL import Image

    Image.open(tmp_path / "grey.png").convert("L").save(tmp_path / "grey.png")
    assert [name for name in rows_of(tmp_path, tmp_path / "grey.png")[0] if "mean" in name] == ["mean_1"]


def test_without_things_there_are_the_same_columns(tmp_path):
    photo(tmp_path / "a.png", (20, 30))
    assert rows_of(tmp_path, tmp_path / "a.png", empty()) == []
    columns = (tmp_path / "a.csv").read_text().splitlines()[0]
    photo(tmp_path / "a.png", FOUND.size)
    rows_of(tmp_path, tmp_path / "a.png")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[0] == columns


@pytest.mark.parametrize(
    ("options", "micrometers"),
    [
        ({"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (25_400, 25_400), "resolutionunit": "INCH"}, (1.0, 1.0)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # of a print
        ({"resolution": (118.11, 118.11), "resolutionunit": "CENTIMETER"}, None),  # of the same print
        ({"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (300, 300), "resolutionunit": "NONE"}, None),
        ({}, None),
        ({"imagej": True, "resolution": (4, 5), "metadata": {"unit": "micron"}}, (0.25, 0.2)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}}, (0.25, 0.25)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, None),
        (
            {
                "ome": True,
                "metadata": {"PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.6,
                             "PhysicalSizeYUnit": "\u00b5m"},
            },
            (0.65, 0.6),
        ),
        ({"ome": True}, None),
    ],
)  # fmt: skip
def test_size_of_pixels(tmp_path, options, micrometers):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, **options)
    found = read_grid(tmp_path / "a.tif").micrometers
    assert found == (None if micrometers is None else pytest.approx(micrometers))


def test_turned_pictures_turn_the_size_of_pixels(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        PIXELS,
        resolution=(1e4, 5e3),
        resolutionunit="CENTIMETER",
        extratags=[(274, "H", 1, 6, True)],
    )
    assert read_grid(tmp_path / "a.tif").micrometers == pytest.approx((2, 1))


def geotiff(path, keys, **places):
    tags = {"scale": (33550, [10.0, 10.0, 0.0]), "ties": (33922, [0.0, 0, 0, 500_000.0, 5_400_000.0, 0])}
    tags |= places
    directory = [
        1,
        1,
        0,
        len(keys),
        *(number for key, value in keys.items() for number in (key, 0, 1, value)),
    ]
    extra = [(code, "d", len(values), values, True) for code, values in tags.values()]
    extra.append((34735, "H", len(directory), directory, True))
    tifffile.imwrite(path, PIXELS, extratags=extra)


@pytest.mark.parametrize(
    ("keys", "corner", "epsg"),
    [
        ({1024: 1, 1025: 1, 3072: 32632}, (500_000, 5_400_000), 32632),
        ({1024: 1, 1025: 2, 3072: 32632}, (499_995, 5_400_005), 32632),  # to the centers of pixels
        ({1024: 2, 1025: 1, 2048: 4326}, (500_000, 5_400_000), 4326),
        ({1024: 1, 1025: 1, 3072: 32767}, (500_000, 5_400_000), None),  # defined by its user
    ],
)
def test_maps(tmp_path, keys, corner, epsg):
    geotiff(tmp_path / "a.tif", keys)
    grid = read_grid(tmp_path / "a.tif")
    assert grid.epsg == epsg
    assert (grid.transform @ [0, 0, 1]).tolist() == list(corner)
    assert (grid.transform @ [2, 3, 1]).tolist() == [corner[0] + 20, corner[1] - 30]


def test_tags_that_cannot_be_read(tmp_path):
    geotiff(tmp_path / "a.tif", {}, ties=(33922, [0.0, 0.0]))
    with pytest.warns(UserWarning, match="a.tif: size and place of pixels cannot be read"):
        assert read_grid(tmp_path / "a.tif") == PixelGrid()
