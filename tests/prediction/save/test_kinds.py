"""Every kind of file gives back what was found, pixel by pixel, where it can hold it."""

import csv
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.data.channels import Channels
from axial_deeplab.data.coco import CocoPanopticDataset
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment, semantic_map
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.save.kinds import KINDS, Saver
from axial_deeplab.prediction.save.label_maps import write_instances
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.weights.file import save_weights
from outline_cases import fill
from saved_predictions import (
    CATEGORIES,
    Finder,
    awkward,
    empty,
    find_instances,
    numbered_map,
    photo,
    write_things,
)

pytestmark = pytest.mark.filterwarnings("ignore:scores are low")

FOUND = awkward()
INSTANCES = find_instances(FOUND, CATEGORIES)
NUMBERS = numbered_map(INSTANCES, FOUND.size)


def finder():
    return Finder({"a.png": FOUND})


def saved(tmp_path, *kinds):
    """Save what is found in a picture with things and one without; return the folder."""
    photo(tmp_path / "photos" / "a.png", FOUND.size)
    photo(tmp_path / "photos" / "sub" / "none.png", (20, 30))
    predict_files(finder(), [tmp_path / "photos"], tmp_path / "out", save=kinds)
    return tmp_path / "out"


def check_masks(masks):
    assert len(masks) == len(INSTANCES)
    for instance, mask in zip(INSTANCES, masks, strict=True):
        assert np.array_equal(mask, instance.number == NUMBERS), instance.category


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_numbers_of_instances():
    assert [each.number for each in INSTANCES] == list(range(1, 13))
    assert [each.train_id for each in INSTANCES] == [1] * 6 + [2] * 6
    for each in INSTANCES:
        assert each.area == (each.number == NUMBERS).sum()
        assert np.array_equal(each.full_mask(FOUND.size), each.number == NUMBERS)


def test_coco_is_the_default_and_as_before(tmp_path):
    out = saved(tmp_path, "coco")
    assert files_in(out) == [
        *(
            "overlay/a.jpg",
            "overlay/sub/none.jpg",
            "panoptic.json",
            "panoptic/a.png",
            "panoptic/sub/none.png",
        ),
    ]


def test_all_kinds_have_their_places(tmp_path):
    kinds = [kind for kind in KINDS if kind != "rois"]
    out = saved(tmp_path, *kinds)
    suffixes = {"labels": "tif", "labels_classes": "tif", "geojson": "geojson", "csv": "csv"}
    suffixes |= {"yolo": "txt", "labelme": "json", "panoptic": "png", "overlay": "jpg"}
    assert files_in(out) == sorted(
        [f"{kind}/{stem}.{end}" for kind, end in suffixes.items() for stem in ("a", "sub/none")]
        + ["coco_instances.json", "labels_classes.csv", "panoptic.json", "yolo.yaml"]
    )


def test_labels(tmp_path):
    out = saved(tmp_path, "labels")
    numbers, classes = (tifffile.imread(out / folder / "a.tif") for folder in ("labels", "labels_classes"))
    assert numbers.dtype == classes.dtype == np.uint16
    assert np.array_equal(numbers, NUMBERS)
    assert np.array_equal(classes, semantic_map(FOUND.map, ignore_label=-1) + 1)
    assert not tifffile.imread(out / "labels" / "sub" / "none.tif").any()
    names = list(csv.DictReader((out / "labels_classes.csv").open(encoding="utf-8")))
    assert [(row["value"], row["name"], row["category_id"]) for row in names] == [
        (str(place), category.name, str(category.id)) for place, category in enumerate(CATEGORIES, start=1)
    ]


def test_more_instances_than_16_bits_hold(tmp_path):
    size = 300
    ids = np.arange(1, size * size + 1, dtype=np.int32).reshape(size, size) + 100_000
    segments = [Segment(id=int(value), train_id=1, area=1) for value in ids.ravel()]
    picture = Picture(tmp_path / "a.png", "a.png", Labels.of(Panoptic(ids, segments)), CATEGORIES)
    photo(picture.path, (size, size))
    write_instances(tmp_path / "a.tif", picture)
    numbers = tifffile.imread(tmp_path / "a.tif")
    assert numbers.dtype == np.uint32
    assert np.array_equal(numbers, ids - 100_000)


def test_coco_instances(tmp_path):
    mask = pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    from pycocotools.coco import COCO

    out = saved(tmp_path, "coco-instances")
    assert files_in(out) == ["coco_instances.json", "overlay/a.jpg", "overlay/sub/none.jpg"]
    document = COCO(out / "coco_instances.json")
    assert [image["file_name"] for image in document.dataset["images"]] == ["a.png", "sub/none.png"]
    found = document.dataset["annotations"]
    check = {each["score"]: each for each in found}
    for instance in INSTANCES:
        entry = check[round(instance.score, 6)]
        assert np.array_equal(mask.decode(entry["segmentation"]).astype(bool), instance.number == NUMBERS)
        assert (entry["category_id"], entry["area"]) == (instance.category.id, instance.area)
        assert entry["bbox"] == list(instance.bbox)


def test_coco_instances_are_scored_as_a_data_set(tmp_path):
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = COCO(saved(tmp_path, "coco-instances") / "coco_instances.json")
    annotations = found.dataset["annotations"]
    truth = COCO()
    truth.dataset = {**found.dataset, "annotations": [min(annotations, key=lambda each: each["score"])]}
    truth.createIndex()
    # All are small by their pixels, so the false alarms count; by their boxes some would be left out.
    largest = max(each.area for each in INSTANCES)
    assert any(each["bbox"][2] * each["bbox"][3] > largest for each in annotations)
    evaluation = COCOeval(truth, found, "segm")
    evaluation.params.areaRng[1][1], evaluation.params.useCats = largest, 0
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    of_all, *_, of_small = evaluation.stats[:4]
    assert 0 < of_small == of_all < 1


def test_coco_instances_of_a_run_that_goes_on(tmp_path):
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    kinds = ["coco", "coco-instances"]
    out = saved(tmp_path, *kinds)
    whole = (out / "coco_instances.json").read_text()
    stopped = Finder({"a.png": FOUND, "none.png": None})
    with pytest.raises(AttributeError):
        predict_files(stopped, [tmp_path / "photos"], out, save=kinds)
    assert not (out / "coco_instances.json").exists()  # as panoptic.json
    again = finder()
    report = predict_files(again, [tmp_path / "photos"], out, save=kinds)
    # Whether a.png was written before the other one failed is a matter of luck.
    assert "none.png" in again.calls
    assert report.num_resumed == 2 - len(again.calls)
    assert (out / "coco_instances.json").read_text() == whole


def parts_of(geometry):
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


def polygons_of(geometry):
    return [ring for part in parts_of(geometry) for ring in part]


def test_geojson(tmp_path):
    out = saved(tmp_path, "geojson")
    document = json.loads((out / "geojson" / "a.geojson").read_text())
    assert "crs" not in document
    features = document["features"]
    check_masks([fill(polygons_of(each["geometry"]), FOUND.size) for each in features])
    for instance, feature in zip(INSTANCES, features, strict=True):
        assert feature["properties"] == {
            "objectType": "detection",
            "name": str(instance.number),
            "classification": {"name": instance.category.name, "color": list(instance.category.color)},
            "measurements": {"score": round(instance.score, 6)},
        }
        assert all(ring[0] == ring[-1] for ring in polygons_of(feature["geometry"]))
    assert len({feature["id"] for feature in features}) == len(features)
    assert json.loads((out / "geojson" / "sub" / "none.geojson").read_text())["features"] == []


def write_map(path):
    """Write a GeoTIFF whose pixels are half a meter wide and a quarter high."""
    corner, ties = (33550, (0.5, 0.25, 0.0)), (33922, (0.0, 0.0, 0.0, 500_000.0, 5_400_000.0, 0.0))
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [(code, "d", len(values), values, True) for code, values in (corner, ties)]
    path.parent.mkdir()
    values = np.zeros((*FOUND.size, 3), np.uint8)
    tifffile.imwrite(path, values, photometric="rgb", extratags=[*tags, (34735, "H", len(keys), keys, True)])
    return path


def test_rasterio_sees_the_same_things_on_the_map(tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra dev")
    from rasterio.features import rasterize

    out = saved(tmp_path, "geojson")
    features = json.loads((out / "geojson" / "a.geojson").read_text())["features"]
    check_masks([rasterize([each["geometry"]], FOUND.size) > 0 for each in features])
    # Of a GeoTIFF, in the coordinates of its map.
    path = write_map(tmp_path / "maps" / "map.tif")
    kinds = ["geojson", "labels"]
    predict_files(Finder({"map.tif": FOUND}), [path], tmp_path / "of_map", save=kinds, overlay=False)
    document = json.loads((tmp_path / "of_map/geojson/map.geojson").read_text())
    with rasterio.open(path) as picture:
        assert document["crs"]["properties"]["name"].endswith(str(picture.crs.to_epsg()))
        shapes = [each["geometry"] for each in document["features"]]
        check_masks([rasterize([each], FOUND.size, transform=picture.transform) > 0 for each in shapes])
        for folder in ("labels", "labels_classes"):
            with rasterio.open(tmp_path / "of_map" / folder / "map.tif") as labels:
                assert (labels.transform, labels.crs) == (picture.transform, picture.crs)
    assert np.array_equal(tifffile.imread(tmp_path / "of_map/labels/map.tif"), NUMBERS)


def test_geojson_in_degrees(tmp_path):
    pytest.importorskip("pyproj", reason="needs the extra maps")
    rasterio = pytest.importorskip("rasterio", reason="needs the extra dev")
    from rasterio.features import rasterize
    from rasterio.warp import transform_geom

    path = write_map(tmp_path / "maps" / "map.tif")
    predict_files(
        Finder({"map.tif": FOUND}), [path], tmp_path / "out", save=["geojson-degrees"], overlay=False
    )
    document = json.loads((tmp_path / "out/geojson_degrees/map.geojson").read_text())
    assert "crs" not in document
    shapes = [each["geometry"] for each in document["features"]]
    for shape in shapes:
        for place, ring in [numbered for part in parts_of(shape) for numbered in enumerate(part)]:
            longitude, latitude = np.transpose(ring)
            # At the central meridian of zone 32, 9 degrees, and 5,400 km north of the equator.
            assert np.allclose(longitude, 9, atol=1e-3)
            assert np.allclose(latitude, 48.75, atol=5e-3)
            x, y = longitude - longitude[0], latitude - latitude[0]
            assert (np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0) == (place == 0)  # holes are clockwise
    with rasterio.open(path) as picture:
        of_map = [transform_geom("EPSG:4326", picture.crs, shape) for shape in shapes]
        check_masks([rasterize([each], FOUND.size, transform=picture.transform) > 0 for each in of_map])
    source, options = (
        tmp_path / "out/geojson_degrees",
        ["--background", "ground", "--output", tmp_path / "back"],
    )
    words = ["dataset", "convert", source, "--images", path.parent, *options]
    assert main([str(word) for word in words]) == 0
    (back,) = CocoPanopticDataset(path.parent, tmp_path / "back/panoptic", tmp_path / "back/panoptic.json")
    masks = {each.full_mask(FOUND.size).tobytes() for each in find_instances(back.truth, CATEGORIES)}
    assert masks == {(each.number == NUMBERS).tobytes() for each in INSTANCES}


def test_geojson_in_degrees_of_a_picture_without_a_map(tmp_path):
    pytest.importorskip("pyproj", reason="needs the extra maps")
    with pytest.warns(UserWarning, match=r"a.png: geojson-degrees must be of a GeoTIFF that names its coord"):
        out = saved(tmp_path, "geojson-degrees")
    assert not (out / "geojson_degrees").exists()


def test_control_points_of_a_map_are_kept(tmp_path):
    """As Sentinel-1 has them: corners of the picture on the map, without a transform."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra dev")
    corners = [(0, 0, 8.0, 48.0), (0, 48, 8.2, 48.1), (40, 0, 7.9, 47.8)]  # rows, columns, degrees
    points = [rasterio.control.GroundControlPoint(*corner) for corner in corners]
    path = tmp_path / "maps" / "map.tif"
    path.parent.mkdir()
    height, width = FOUND.size
    with rasterio.open(path, "w", height=height, width=width, count=1, dtype="uint8") as picture:
        picture.write(np.zeros((1, height, width), np.uint8))
        picture.gcps = points, "EPSG:4326"
    with pytest.warns(UserWarning, match=r"map\.tif must have a transform to its map, .* in pixels: warp"):
        predict_files(Finder({"map.tif": FOUND}), [path], tmp_path, save=["geojson", "labels"], overlay=False)
    with rasterio.open(tmp_path / "labels/map.tif") as labels:
        found, crs = labels.gcps
    assert [(each.row, each.col, each.x, each.y) for each in found] == corners
    assert crs == "EPSG:4326"
    features = json.loads((tmp_path / "geojson/map.geojson").read_text())["features"]
    check_masks([fill(polygons_of(each["geometry"]), FOUND.size) for each in features])


def test_supervision_sees_the_same_things_in_coco_instances(tmp_path):
    supervision = pytest.importorskip("supervision", reason="needs the extra dev")
    out = saved(tmp_path, "coco-instances")
    photos = tmp_path / "photos"
    data = supervision.DetectionDataset.from_coco(
        str(photos), str(out / "coco_instances.json"), force_masks=True
    )
    found = next(found for path, _, found in data if path.endswith("a.png"))
    assert {mask.tobytes() for mask in np.asarray(found.mask, bool)} == {
        (each.number == NUMBERS).tobytes() for each in INSTANCES
    }


def test_yolo(tmp_path):
    out = saved(tmp_path, "yolo")
    masks = []
    for line, instance in zip((out / "yolo" / "a.txt").read_text().splitlines(), INSTANCES, strict=True):
        place, *numbers = line.split()
        assert int(place) == instance.train_id - 1  # among the things
        points = np.array(numbers, float).reshape(-1, 2)
        assert 0 <= points.min() <= points.max() <= 1
        masks.append(fill([points * FOUND.size[::-1]], FOUND.size))
    check_masks(masks)
    assert (out / "yolo" / "sub" / "none.txt").read_text() == ""
    names = yaml.safe_load((out / "yolo.yaml").read_text(encoding="utf-8"))["names"]
    assert names == {0: CATEGORIES[1].name, 1: "disc"}


def test_labelme(tmp_path):
    out = saved(tmp_path, "labelme")
    document = json.loads((out / "labelme" / "a.json").read_text())
    assert (document["imageHeight"], document["imageWidth"]) == FOUND.size
    place = out / "labelme" / document["imagePath"]
    assert place.resolve() == (tmp_path / "photos" / "a.png").resolve()
    masks = {}
    for number, shape in enumerate(document["shapes"]):
        key = shape["group_id"] or f"alone {number}"
        mask, label = masks.get(key, (np.zeros(FOUND.size, bool), shape["label"]))
        assert label == shape["label"]
        masks[key] = mask | fill([shape["points"]], FOUND.size), label
    check_masks([mask for mask, _ in masks.values()])
    assert [label for _, label in masks.values()] == [each.category.name for each in INSTANCES]


def test_rois(tmp_path):
    roifile = pytest.importorskip("roifile", reason="needs the extra imagej")
    out = saved(tmp_path, "rois")
    rois = roifile.roiread(out / "rois" / "a.zip")
    check_masks([fill(roi.coordinates(multi=True), FOUND.size) for roi in rois])
    kinds = {roi.roitype.name for roi in rois}
    assert kinds == {"TRACED", "RECT"}  # composite ones are called rectangles
    for instance, roi in zip(INSTANCES, rois, strict=True):
        assert roi.name == f"{instance.number:04d}-{instance.category.name}"
        assert (roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top) == instance.bbox
        assert (roi.group, roi.props) == (instance.train_id + 1, f"score: {instance.score:.6f}\n")
        assert roi.stroke_color == bytes([255, *instance.category.color])
    with zipfile.ZipFile(out / "rois" / "a.zip") as archive:
        assert archive.namelist()[0] == "0001-Zelle, \u00e4_b.roi"
    with zipfile.ZipFile(out / "rois" / "sub" / "none.zip") as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize(
    ("page", "channels", "position"), [(None, None, 0), (3, None, 3), (3, Channels((2, 1)), 0)]
)
def test_rois_of_a_page(tmp_path, page, channels, position):
    roifile = pytest.importorskip("roifile", reason="needs the extra imagej")
    from axial_deeplab.prediction.save.imagej_rois import open_rois

    picture = Picture(Path("a.tif"), "a.tif", Labels.of(FOUND), CATEGORIES, page, channels)
    write_things(tmp_path / "a.zip", picture, open_rois)
    assert {roi.position for roi in roifile.roiread(tmp_path / "a.zip")} == {position}


def test_what_a_format_cannot_hold_is_told_and_all_else_is_written(tmp_path):
    pytest.importorskip("roifile", reason="needs the extra imagej")
    photo(tmp_path / "a.png", (2, 70_000))
    found = empty(2, 70_000)
    with (
        pytest.warns(UserWarning, match=r"a.png: rois must be of pictures of at most 32767 .* all else is w"),
        pytest.warns(
            UserWarning, match=r"a.png: overlay must be of at most 65500 .* got 2 x 70000 .* all el"
        ),
    ):
        report = predict_files(
            Finder({"a.png": found}),
            [tmp_path / "a.png"],
            tmp_path / "out",
            save=("coco", "labels", "rois", "csv"),
        )
    assert (report.num_images, report.failures) == (1, [])
    assert files_in(tmp_path / "out") == [
        *("csv/a.csv", "labels/a.tif", "labels_classes.csv", "labels_classes/a.tif", "panoptic.json"),
        "panoptic/a.png",
    ]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["labels", "png"], "save must be of coco, labels, .*, got png; choose among them"),
        ([], "save must be of coco, labels, .*, got none"),
    ],
)
def test_unknown_kinds(tmp_path, kinds, message):
    with pytest.raises(ValueError, match=message):
        Saver(kinds, tmp_path, CATEGORIES)


def test_no_things(tmp_path):
    stuff = Categories([Category(0, "ground", False)])
    with pytest.raises(ValueError, match=r"save must be coco or labels with weights .* no things, got yolo"):
        Saver(["labels", "yolo"], tmp_path, stuff)
    Saver(["labels", "coco"], tmp_path, stuff)


def test_missing_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
    for kind, package, extra in (("rois", "roifile", "imagej"), ("coco-instances", "pycocotools", "coco")):
        message = (
            rf'save {kind} needs the package {package}, which .*; pip install "axial-deeplab\[{extra}\]"'
        )
        with pytest.raises(ValueError, match=message):
            Saver([kind], tmp_path, CATEGORIES)


def test_names_that_are_no_text(tmp_path):
    odd = Categories([Category(1, "cell\ud800", True)])
    with pytest.raises(ValueError, match=r"names of classes must be texts in UTF-8 .*, got 'cell\\ud800'"):
        Saver(["csv"], tmp_path, odd)


def test_two_pictures_of_one_name(tmp_path):
    photo(tmp_path / "photos" / "a.png", FOUND.size)
    photo(tmp_path / "photos" / "a.bmp", (20, 30))
    predict_files(finder(), [tmp_path / "photos"], tmp_path / "out", save=["csv", "labels"], overlay=False)
    assert files_in(tmp_path / "out" / "labels") == ["a.png.tif", "a.tif"]
    assert files_in(tmp_path / "out" / "csv") == ["a.csv", "a.png.csv"]


def test_other_kinds_are_predicted_again(tmp_path):
    out = saved(tmp_path, "coco")
    again = finder()
    predict_files(again, [tmp_path / "photos"], out, save=["coco", "labels"])
    assert again.calls == ["a.png", "none.png"]
    assert read_panoptic_png(out / "panoptic" / "a.png").shape == FOUND.size


def test_without_coco_nothing_else_is_left(tmp_path):
    out = saved(tmp_path, "csv")
    assert {path.name for path in out.iterdir()} == {"csv", "overlay"}


def test_pictures_of_a_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", FOUND.size[::-1], (90, 90, 90)).save(tmp_path / "photos" / "a.png")
    drawing = {"outlines": True, "color_by": "instance", "numbers": True}
    (tmp_path / "out" / "contact_sheet").mkdir(parents=True)
    (tmp_path / "out" / "contact_sheet" / "002.jpg").touch()  # of a run with more pictures
    predict_files(
        finder(), [tmp_path / "photos"], tmp_path / "out", drawing=drawing, contact_sheet=True, save=["csv"]
    )
    assert files_in(tmp_path / "out") == ["contact_sheet/001.jpg", "csv/a.csv", "overlay/a.jpg"]
    with Image.open(tmp_path / "out" / "overlay" / "a.jpg") as overlay:
        assert np.median(np.abs(np.asarray(overlay).astype(int) - 90)) < 5  # no areas are drawn


def test_files_of_an_earlier_run_are_told(tmp_path):
    out = saved(tmp_path, "csv", "coco-instances")
    with pytest.warns(
        UserWarning, match=r"out has csv/, coco_instances.json of an earlier run, perhaps of other"
    ):
        predict_files(finder(), [tmp_path / "photos" / "a.png"], out, save=("labels", "coco-instances"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* of an earlier run")
        saved(tmp_path / "other", "coco", "csv")
        saved(tmp_path / "other", "coco", "csv")


@pytest.mark.filterwarnings("ignore:.*of an earlier run")
@pytest.mark.parametrize(
    ("kind", "name"), [("labelme", "a.json"), ("yolo", "a.txt"), ("geojson", "a.geojson")]
)
def test_what_was_corrected_by_hand_is_kept(kind, name, tmp_path):
    folder = saved(tmp_path, kind) / kind
    found = (folder / name).read_text()
    saved(tmp_path, kind)  # the same again
    assert not [each for each in files_in(folder) if each.endswith("~")]
    for corrected in ("first", "second"):
        (folder / name).write_text(corrected)
        saved(tmp_path, kind)
        assert (folder / name).read_text() == found
    assert [each for each in files_in(folder) if each.endswith("~")] == [f"{name}.~1~", f"{name}.~2~"]
    assert [(folder / f"{name}.~{number}~").read_text() for number in (1, 2)] == ["first", "second"]


@pytest.mark.parametrize("number", [2, 8])
def test_network_of_other_channels_than_color(number, tmp_path):
    torch.manual_seed(0)
    model = create_model(
        "axial_deeplab_nano", num_classes=3, in_channels=number, depths=(1, 1, 1, 1), max_span=9
    )
    view = {"channels": list(range(1, number + 1)), "num_channels": number}
    knobs = {"stuff_area": 0, "center_threshold": 0.0}
    save_weights(
        tmp_path / "w.safetensors", model, CATEGORIES, extra={"view": view, "post_processing": knobs}
    )
    values = np.random.default_rng(0).integers(0, 2**16, (40, 50, number), np.uint16)
    (tmp_path / "photos").mkdir()
    tifffile.imwrite(tmp_path / "photos/a.tif", values, photometric="minisblack", planarconfig="contig")
    kinds = [name for name, kind in KINDS.items() if kind.package is None]
    predictor = Predictor(tmp_path / "w.safetensors", "cpu")
    predict_files(predictor, [tmp_path / "photos"], tmp_path / "out", save=kinds, contact_sheet=True)
    with (tmp_path / "out/csv/a.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[-number:] == [f"mean_{channel}" for channel in range(1, number + 1)]
    found = tifffile.imread(tmp_path / "out/labels/a.tif")
    assert len(rows) == found.max() > 0
    means = np.array([row[-number:] for row in rows], float)
    np.testing.assert_allclose(means[0], values[found == 1].mean(axis=0), rtol=1e-6)
    assert (tmp_path / "out/contact_sheet/001.jpg").is_file()
    with pytest.raises(ValueError, match=rf"image must be .* \({number}, H, W\), got shape \(9, 9, 5\)"):
        predictor(np.zeros((9, 9, 5), np.uint8))
