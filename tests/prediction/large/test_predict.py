"""Large images: the same segments as of the whole image, wherever the tiles lie."""

import contextlib
import errno
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.large import results
from axial_deeplab.prediction.large.maps import TileMaps, see_tile
from axial_deeplab.prediction.large.predict import _cheapest, fits_into_memory
from axial_deeplab.prediction.large.tiling import Tiling, Window
from axial_deeplab.prediction.merge import merge_shards
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.prediction.save.kinds import KINDS
from axial_deeplab.weights.loaded import LoadedWeights
from folder_runs import contents
from long_tests import LONG

CATEGORIES = Categories([Category(0, "ground", False), Category(7, "disc", True), Category(9, "box", True)])
KNOBS = {"stuff_area": 0, "center_threshold": 0.0, "nms_kernel": 5, "top_k": None}


def predictor(**knobs):
    """Return a convolutional network of random weights that sees 80 pixels far."""
    torch.manual_seed(0)
    model = create_model(
        "panoptic_deeplab_resnet50",
        num_classes=3,
        width_multiplier=0.0625,
        depths=[1, 1, 1, 1],
        aspp=False,
        semantic_channels=8,
        instance_channels=8,
        instance_head_channels=8,
        semantic_low_level_channels=[4, 4],
        instance_low_level_channels=[4, 4],
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1)
    for head in (model.offset_head, model.semantic_head, model.center_head):
        last = [each for each in head.modules() if isinstance(each, torch.nn.Conv2d)][-1]
        last.weight.data *= 20
    metadata = {"model": {"name": "tiny"}, "post_processing": KNOBS}
    return Predictor(LoadedWeights(model.eval(), CATEGORIES, metadata), "cpu", **knobs)


def noise(height, width):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def same_segments(prediction, large):
    """Compare a prediction of the whole with one in tiles, up to what rounding may change."""
    values = np.array([0, *(segment.id for segment in prediction.segments)])
    expected = np.searchsorted(values, prediction.panoptic)
    found = large.panoptic()
    assert len(found.segments) == len(prediction.segments) > 4
    assert (found.map != expected).mean() < 1e-4
    for whole, tiled, info in zip(prediction.segments, found.segments, large.segments_info, strict=True):
        assert whole.train_id == tiled.train_id
        assert abs(whole.area - tiled.area) <= 0.01 * whole.area + 5
        assert whole.score == pytest.approx(tiled.score, abs=5e-3)
        assert np.abs(np.subtract(whole.bbox, info["bbox"])).max() <= 5


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"thing_threshold": 0.5, "thing_area": 30},
        {"stuff_area": 10**6},
        {"scales": (1.0, 2.0), "flip": True},
    ],
    ids=["plain", "thresholds", "no stuff", "views"],
)
def test_tiles_give_the_segments_of_the_whole_image(knobs, tmp_path):
    """The outer quarters of an overlap, which see a border, do not count."""
    predict = predictor(**knobs)
    # A mirrored network begins at the other end: its grid is the same where sides are k * 16 + 1 pixels.
    image = noise(865, 961) if "flip" in knobs else noise(850, 970)
    large = predict.predict_large(image, tmp_path / "a.tif", tile=705, overlap=320)
    assert large.num_tiles == 4
    same_segments(predict(image), large)


class Drawn(torch.nn.Module):
    """A network that reads its maps from the colors: class, center, and where the center is.

    Red is 0 for ground, 1 for a disc and 2 for a box; green is the heatmap; blue says how many times 64
    pixels the center lies below (low 4 bits, plus 8) and on the right (high ones, plus 8).
    """

    def __init__(self):
        super().__init__()
        self.semantic_head = torch.nn.PReLU()
        self.config = {"name": "drawn", "num_classes": 3}

    def forward(self, images):
        red, green, blue = images.float().unbind(1)
        logits = 8 * torch.nn.functional.one_hot(red.clamp(max=2).long(), 3).permute(0, 3, 1, 2).float()
        cells = torch.stack((blue % 16, blue // 16), dim=1) - 8
        return {"semantic_logits": logits, "center_heatmap": green[:, None] / 255, "offsets": 64 * cells}


def drawn(**knobs):
    metadata = {"model": {"name": "drawn"}, "post_processing": {**KNOBS, "top_k": 200}}
    return Predictor(LoadedWeights(Drawn().eval(), CATEGORIES, metadata), "cpu", **knobs)


def scene(height, width, boxes):
    """Return a picture for `Drawn`: boxes (top, left, bottom, right, class) with a center in the middle."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = 8 + 16 * 8
    rows, columns = np.mgrid[:height, :width]
    for top, left, bottom, right, train_id in boxes:
        y, x = (top + bottom) // 2, (left + right) // 2
        part = slice(top, bottom), slice(left, right)
        away = np.rint((y - rows[part]) / 64) + 8 + 16 * (np.rint((x - columns[part]) / 64) + 8)
        image[part] = np.stack([np.full(away.shape, train_id), np.zeros(away.shape), away], axis=2)
        image[y, x, 1] = 200
    return image


# One over six tiles and one over all, with one inside; some at the sides of the image.
BOXES = [(20, 30, 470, 180, 1), (5, 230, 480, 600, 2), (200, 350, 260, 420, 1), (0, 0, 15, 640, 1)]
BOXES += [(485, 600, 500, 640, 2), (490, 10, 491, 12, 1)]


@pytest.mark.parametrize("overlap", [0, 32, 64])
def test_objects_larger_than_tiles_are_whole(overlap, tmp_path):
    image = scene(500, 640, BOXES)
    predict = drawn()
    large = predict.predict_large(image, tmp_path / "a.tif", tile=129, overlap=overlap)
    whole = predict(image)
    assert large.num_tiles >= 20
    assert [info["area"] for info in large.segments_info] == [info["area"] for info in whole.segments_info]
    assert [info["bbox"] for info in large.segments_info] == [
        list(info["bbox"]) for info in whole.segments_info
    ]
    values = np.array([0, *(segment.id for segment in whole.segments)])
    np.testing.assert_array_equal(large.panoptic().map, np.searchsorted(values, whole.panoptic))
    np.testing.assert_allclose(large.scores, [segment.score for segment in whole.segments], atol=1e-6)


def random_boxes(side):
    """Return boxes of 40 to 1000 pixels, one in each square of 1000."""
    rng, boxes = np.random.default_rng(0), []
    for row in range(0, side, 1000):
        for column in range(0, side, 1000):
            height, width = rng.integers(40, 1000, 2)
            top, left = row + rng.integers(1000 - height), column + rng.integers(1000 - width)
            boxes.append((top, left, top + height, left + width, int(rng.integers(1, 3))))
    return boxes


def true_segments(side, boxes):
    panoptic = np.ones((side, side), np.int32)
    segments = [Segment(id=1, train_id=0, area=side**2)]
    for number, (top, left, bottom, right, train_id) in enumerate(boxes, start=2):
        panoptic[top:bottom, left:right] = number
        segments.append(Segment(id=number, train_id=train_id, area=(bottom - top) * (right - left)))
    return Panoptic(panoptic, tuple(segments)).measured()


@pytest.mark.parametrize("side", [2000, pytest.param(4000, marks=LONG), pytest.param(8000, marks=LONG)])
def test_objects_of_up_to_three_tiles_have_the_quality_of_the_whole(side, tmp_path):
    boxes = random_boxes(side)
    image, truth, predict = scene(side, side, boxes), true_segments(side, boxes), drawn()
    large = predict.predict_large(image, tmp_path / "a.tif", tile=513).panoptic()
    qualities = []
    for found in [large] if side > 4000 else [large, predict(image).result]:
        quality = PanopticQuality(CATEGORIES)
        quality.update(truth, found)
        qualities.append(quality.compute().all.pq)
    assert qualities[0] == pytest.approx(100, abs=0.5)
    assert qualities[0] == pytest.approx(qualities[-1], abs=1e-9)


@pytest.mark.parametrize("side", [100, 513, 514, 1024, 2048, 5000, 20_000])
def test_default_tiles_show_the_network_few_pixels(side):
    fixed = Tiling((side, side), 513, 32)
    chosen = _cheapest(fixed)
    assert 449 <= chosen.side <= 577
    seen, of_fixed = (sum(np.prod(window.shape) for window in each.windows) for each in (chosen, fixed))
    assert seen <= of_fixed
    assert side < 1024 or seen < 1.16 * side**2
    assert _cheapest(fixed, max_size=513).side <= 513


def test_a_watershed_is_that_of_the_whole_image(tmp_path):
    """As long as objects reach no further than a block sees."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:700, :2600]
    heat, image = np.zeros((700, 2600)), scene(700, 2600, [])
    for y, x in rng.integers((0, 0), (700, 2600), (500, 2)):
        near = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 300)
        heat = np.maximum(heat, near)
    image[heat > 0.3] = (1, 0, 8 + 16 * 8)
    image[..., 1] = np.where(heat > 0.3, 250 * heat, 0)
    predict = drawn(grouping="watershed", center_threshold=0.5, top_k=None)
    whole = predict(image)
    large = predict.predict_large(image, tmp_path / "a.tif", tile=257, overlap=64)
    values = np.array([0, *(segment.id for segment in whole.segments)])
    expected = np.searchsorted(values, whole.panoptic)
    assert len(large.table.areas) == len(whole.segments) > 200
    assert (large.panoptic().map != expected).mean() < 1e-3


def test_a_region_beyond_its_block_goes_where_its_offsets_point(tmp_path):
    image = scene(60, 2600, [(10, 10, 50, 1000, 1)])
    large = drawn(grouping="watershed").predict_large(image, tmp_path / "a.tif", tile=257)
    assert [info["area"] for info in large.segments_info] == [60 * 2600 - 40 * 990, 40 * 990]


def test_more_than_9999_objects_of_a_class(tmp_path):
    places = [(y, x) for y in range(2, 598, 4) for x in range(2, 598, 8)]
    image = scene(600, 600, [(y, x, y + 3, x + 5, 1) for y, x in places])
    large = drawn(nms_kernel=3).predict_large(image, tmp_path / "a.tif", tile=129)
    assert len(large.segments_info) == 1 + len(places) > 10_000
    assert {info["area"] for info in large.segments_info[1:]} == {15}
    assert large.num_left_out == 0


@pytest.mark.parametrize("without", ["void", "one_instance"])
def test_an_image_without_centers(without, tmp_path):
    image = scene(200, 200, [(20, 20, 180, 180, 2)])
    image[..., 1] = 0
    large = drawn(without_centers=without).predict_large(image, tmp_path / "a.tif", tile=65)
    areas = [info["area"] for info in large.segments_info]
    assert areas == [200 * 200 - 160 * 160, *([160 * 160] if without == "one_instance" else [])]


def test_the_files_have_labels_classes_and_segments(tmp_path):
    image = scene(300, 520, [(20, 30, 250, 180, 1), (5, 230, 280, 500, 2)])
    tags = [(33550, "d", 3, (0.5, 0.5, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", tile=(64, 64), extratags=tags)
    large = drawn().predict_large(tmp_path / "a.tif", tmp_path / "out" / "b.tif", tile=129)
    large.write_json({"file_name": "a.tif"})
    with tifffile.TiffFile(tmp_path / "out" / "b.tif") as tiff:
        labels, classes = (page.asarray() for page in tiff.pages)
        assert [page.dtype for page in tiff.pages] == [np.uint32, np.uint8]
        assert all(page.is_tiled and page.tags[33550].value == (0.5, 0.5, 0.0) for page in tiff.pages)
    np.testing.assert_array_equal(np.unique(labels, return_counts=True)[1], large.table.areas)
    np.testing.assert_array_equal(classes, np.array([0, 1, 2, 3])[labels])
    document = json.loads((tmp_path / "out" / "b.json").read_text())
    assert document["segments_info"] == large.segments_info
    assert (document["height"], document["width"], document["labels"]) == (300, 520, "b.tif")
    assert [category["class"] for category in document["categories"]] == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.json", "b.tif"]
    assert large.mean_scores == pytest.approx(
        (np.average(large.scores, weights=large.table.areas), large.scores[1:].mean())
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr_labels(zarr_format, tmp_path):
    zarr = pytest.importorskip("zarr")
    image = scene(300, 520, [(20, 30, 250, 180, 1), (5, 230, 280, 500, 2)])
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("0", data=np.moveaxis(image, 2, 0), chunks=(3, 64, 64))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    placed = [{"type": "scale", "scale": [1.0, 0.25, 0.5]}, {"type": "translation", "translation": [0, 8, 6]}]
    levels = [{"path": "0", "coordinateTransformations": placed}]
    multiscale = {"axes": axes, "datasets": levels, "coordinateTransformations": placed[:1]}
    described = {"multiscales": [multiscale]}
    group.attrs.update(described if zarr_format == 2 else {"ome": {"version": "0.5", **described}})
    predict_files(drawn(), [tmp_path / "a.zarr"], tmp_path / "out", tile=129)
    labels = zarr.open_group(tmp_path / "out" / "large" / "a.zarr" / "labels", mode="r")
    # Readers of version 0.5 do not see labels of 0.4, nor the other way around.
    assert labels.metadata.zarr_format == zarr_format
    about_all, about = dict(labels.attrs), dict(labels["segments"].attrs)
    if zarr_format == 3:
        about_all, about = about_all["ome"], about["ome"]
        assert about["version"] == about_all["version"] == "0.5"
        assert labels["segments/0"].metadata.dimension_names == ("y", "x")
    assert about_all["labels"] == ["segments", "classes"]
    (multiscale,) = about["multiscales"]
    assert (multiscale["axes"], multiscale.get("version")) == (axes[1:], {2: "0.4", 3: None}[zarr_format])
    scale, translation = (
        {"type": "scale", "scale": [0.25, 0.5]}, {"type": "translation", "translation": [8, 6]}
    )  # fmt: skip
    assert multiscale["datasets"][0]["coordinateTransformations"] == [scale, translation]
    assert multiscale["coordinateTransformations"] == [scale]
    assert labels["segments/0"].dtype == np.uint32
    expected = drawn().predict_large(image, tmp_path / "a.tif", tile=129).panoptic().map
    np.testing.assert_array_equal(labels["segments/0"][:], expected)
    np.testing.assert_array_equal(labels["classes/0"][:], expected)
    assert (tmp_path / "out" / "panoptic" / "a.png").is_file()


@pytest.mark.parametrize("order", [1, -1])
def test_maps_do_not_depend_on_which_tile_came_first(order, tmp_path):
    predict, image = predictor(), noise(200, 300)
    tiling = Tiling((200, 300), 97, 32)
    seen = [see_tile(predict.model, image[window.slices], predict.view) for window in tiling.windows]
    maps = TileMaps(tmp_path, tiling, seen[0])
    for index in range(len(seen))[::order]:
        maps.write(index, seen[index])
    values = maps.blended(Window(40, 50, 190, 300), slice(None)).numpy()
    np.testing.assert_array_equal(
        values[:, 70:, 100:], maps.blended(Window(110, 150, 190, 300), slice(None)).numpy()
    )
    path = tmp_path.parent / "blended.npy"
    if order == -1:
        np.testing.assert_array_equal(values, np.load(path))
    np.save(path, values)


def test_runs_of_large_images_add_up(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("large", "small"):
        side = 300 if name == "large" else 100
        Image.fromarray(scene(side, side, [(20, 20, 80, 80, 1)])).save(tmp_path / "in" / f"{name}.png")
    options = {"tile": 129}
    done = predict_files(drawn(), [tmp_path / "in"], tmp_path / "out", **options)
    assert (done.num_images, done.num_tiled) == (2, 1)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tif")}
    assert [path.name for path in written] == ["large.tif"]
    panoptic = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert {image["file_name"] for image in panoptic["images"]} == {"large.png", "small.png"}
    assert (tmp_path / "out" / "overlay" / "large.jpg").is_file()
    done = predict_files(drawn(stuff_area=9), [tmp_path / "in" / "large.png"], tmp_path / "out", **options)
    assert (done.num_tiled, done.num_resumed) == (1, 0)


@pytest.fixture
def photos(tmp_path):
    """Return a folder of one image that is seen in tiles and two that are not."""
    (tmp_path / "photos").mkdir()
    large = scene(500, 640, BOXES)
    large[..., 0] = np.where(large[..., 0] == 2, 1, large[..., 0])  # so that csv has one class of many shapes
    for name, image in (("a.tif", large), ("b.png", scene(100, 90, [(20, 20, 80, 80, 1)]))):
        save = (
            tifffile.imwrite
            if name.endswith("tif")
            else lambda path, image: Image.fromarray(image).save(path)
        )
        save(tmp_path / "photos" / name, image)
    Image.fromarray(scene(80, 90, [(20, 20, 60, 80, 2)])).save(tmp_path / "photos" / "c.png")
    return tmp_path / "photos"


def all_kinds():
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    pytest.importorskip("roifile", reason="needs the extra imagej")
    return [kind for kind in KINDS if kind != "geojson-degrees"]  # which pictures without a map have not


@pytest.fixture
def as_if_large(monkeypatch):
    """Let every image be too large to be in memory."""
    monkeypatch.setattr("axial_deeplab.prediction.large.sources._WHOLE_PIXELS", 0)


def test_every_kind_of_an_image_in_tiles_is_that_of_the_whole(photos, tmp_path, request):
    save = all_kinds()
    predict_files(drawn(), [photos], tmp_path / "whole", save=save)
    predict_files(drawn(), [photos], tmp_path / "tiled", save=save, tile=129)
    request.getfixturevalue("as_if_large")
    predict_files(drawn(), [photos], tmp_path / "large", save=save, tile=129)
    whole = contents(tmp_path / "whole")
    assert {Path(name).parent.name for name in whole} >= {
        *("labels", "geojson", "rois", "csv", "yolo"),
        "labelme",
    }
    for name in ("tiled", "large"):
        found = contents(tmp_path / name)
        expected = dict(whole)
        del expected["overlay/a.jpg"]  # whose shades follow the labels; a large image has none
        assert (found.pop("overlay/a.jpg", None) is None) == (name == "large")
        assert found.keys() - {"large/a.tif", "large/a.json"} == expected.keys()
        for path, content in expected.items():
            if path in ("panoptic.json", "coco_instances.json"):
                tiled, straight = json.loads(found[path]), json.loads(content)
                assert tiled["images"][0].pop("labels") == "large/a.tif"
                assert {**tiled, "info": None} == {**straight, "info": None}
            else:
                assert found[path] == content, (name, path)


def on_map(path, image, *tags, **options):
    """Write a GeoTIFF whose pixels are a meter wide."""
    place = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 7.0, 9.0, 0.0), True)]
    tifffile.imwrite(path, image, photometric="rgb", extratags=[*place, *tags], **options)


@pytest.mark.filterwarnings("ignore::UserWarning")  # what is transparent is white, and full of centers
@pytest.mark.parametrize("tile", [None, 129])
@pytest.mark.parametrize("by_alpha", [False, True])
def test_what_a_raster_calls_nodata_is_void(by_alpha, tile, tmp_path):
    image = scene(500, 640, BOXES)
    empty = np.zeros(image.shape[:2], bool)
    empty[:, 625:], empty[100:140, 250:300] = True, True  # a collar, and a hole within the largest object
    seen = np.where(empty[..., None], 255 if by_alpha else 0, image).astype(
        np.uint8
    )  # white is what is behind
    path, plain = tmp_path / "a.tif", tmp_path / "plain.tif"
    tifffile.imwrite(plain, seen, photometric="rgb")
    if by_alpha:
        values = np.dstack([image, np.where(empty, 0, 255).astype(np.uint8)])
        on_map(path, values, extrasamples=["unassalpha"])
    else:
        on_map(path, seen, (42113, "s", 0, "0", True))
    found = {}
    for each in (path, plain):
        save = ["coco", "labels"]
        predict_files(drawn(), [each], tmp_path / each.stem, save=save, overlay=False, tile=tile)
        classes = tifffile.imread(tmp_path / each.stem / "labels_classes" / each.name)
        found[each] = classes, tifffile.imread(tmp_path / each.stem / "labels" / each.name) > 0
    for with_data, everywhere in zip(found[path], found[plain], strict=True):
        np.testing.assert_array_equal(with_data, np.where(empty, 0, everywhere))
    (annotation,) = json.loads((tmp_path / "a" / "panoptic.json").read_text())["annotations"]
    assert sum(each["area"] for each in annotation["segments_info"]) == np.count_nonzero(found[path][0])
    if tile is None:
        np.testing.assert_array_equal(drawn()(path).segmentation > 0, found[path][0] > 0)


def test_run_lengths_of_more_pixels_than_they_count_are_told(photos, tmp_path, monkeypatch):
    save = all_kinds()
    monkeypatch.setattr("axial_deeplab.prediction.save.coco_instances.MOST_PIXELS", 100 * 100)
    with pytest.warns(UserWarning, match=r"a.tif: coco-instances must be .* 10,000 pixels, .* got 500 x 640"):
        report = predict_files(drawn(), [photos], tmp_path / "out", save=save, tile=129)
    assert (report.num_images, report.failures) == (3, [])
    annotations = json.loads((tmp_path / "out" / "coco_instances.json").read_text())["annotations"]
    assert {each["image_id"] for each in annotations} == {2, 3}


class StopError(Exception):
    """Ends a run, as a signal does."""


@pytest.mark.parametrize(
    ("place", "sees_again"),
    [
        ("large.results.LargePrediction.write_json", True),
        ("save.kinds.write_classes", False),
        ("save.instances.trace_outlines", False),
        ("image_job.write_panoptic_rows", False),
        ("save.kinds.write_coco_instances", None),
    ],
)
def test_a_stopped_run_writes_the_same_files(place, sees_again, photos, tmp_path, monkeypatch, as_if_large):
    """Wherever it stops, and without seeing an image again whose labels are there."""
    options = {"save": all_kinds(), "tile": 129}
    predict_files(drawn(), [photos], tmp_path / "straight", **options)
    with pytest.MonkeyPatch.context() as patch:

        def stop(*arguments, **more):
            raise StopError

        target = f"axial_deeplab.prediction.{place}"
        if place.endswith("write_classes"):  # which the table of kinds has
            maps = (KINDS["labels"].maps[0], ("labels_classes", ".tif", stop))
            patch.setitem(KINDS, "labels", KINDS["labels"]._replace(maps=maps))
        else:
            patch.setattr(target, stop)
        with pytest.raises(StopError):
            predict_files(
                drawn(), [photos / "a.tif", photos / "b.png", photos / "c.png"], tmp_path / "out", **options
            )
    seen = []
    monkeypatch.setattr("axial_deeplab.prediction.large.predict.see_tile", spy(see_tile, seen))
    report = predict_files(
        drawn(), [photos / name for name in ("a.tif", "b.png", "c.png")], tmp_path / "out", **options
    )
    assert report.num_images == 3
    assert bool(seen) == bool(sees_again)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def spy(function, calls):
    def called(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return called


def test_shards_with_large_images_write_the_files_of_one_run(photos, tmp_path, as_if_large):
    options = {"save": all_kinds(), "tile": 129}
    predict_files(drawn(), [photos], tmp_path / "straight", **options)
    for number in (2, 1):
        predict_files(drawn(), [photos], tmp_path / "out", shard=(number, 2), **options)
    merge_shards(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_tile_larger_than_all_images_gets_a_warning(tmp_path):
    Image.fromarray(scene(100, 100, [])).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="no image is larger: each was seen whole; give a smaller --tile"):
        predict_files(drawn(), [tmp_path / "a.png"], tmp_path / "out", tile=128)
    with pytest.warns(UserWarning, match="no --tile is given: each was seen whole"):
        predict_files(drawn(), [tmp_path / "a.png"], tmp_path / "other", overlap=8)


@pytest.mark.filterwarnings("error:.*no image is larger")
def test_a_large_image_that_cannot_be_read_makes_no_tile_too_large(tmp_path):
    Image.fromarray(scene(100, 100, [])).save(tmp_path / "a.png")
    Image.fromarray(scene(300, 300, [])).save(tmp_path / "b.tif")
    (tmp_path / "b.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"got 1 of 2 that are not .*b\.tif"):
        predict_files(drawn(), [tmp_path / "a.png", tmp_path / "b.tif"], tmp_path / "out", tile=129)


def test_without_room_on_the_disk_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 10**5}))
    with pytest.raises(
        ValueError,
        match=r"output must have \d+\.\d MB of free disk .* got 100\.0 KB; .* give another --output",
    ):
        drawn().predict_large(scene(200, 200, []), tmp_path / "out" / "deep" / "a.tif", tile=129)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "ends"),
    [(errno.ENOSPC, "No space left on device for [1-9].*KB"), (errno.EOPNOTSUPP, None)],
)
def test_a_disk_that_gets_full_ends_it_before_it_is_written(number, ends, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(number, "")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    with pytest.raises(OSError, match=ends) if ends else contextlib.nullcontext():
        drawn().predict_large(scene(70, 70, []), tmp_path / "a.tif")
    assert [path.name for path in tmp_path.iterdir()] == ([] if ends else ["a.tif"])


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("a.png", {}, "output must be a .tif file or a .zarr folder, got .*a.png"),
        ("a.tif", {"fill_void": True}, "fill_void must be False with tiles"),
        ("a.tif", {"long_side": 64}, "long_side must be 0 with tiles"),
        ("a.tif", {"max_size": 400}, "tile must be at most max_size, 400 pixels, got 513"),
        ("a.tif", {"nms_kernel": 600}, "nms_kernel must be at most a tile of 513 pixels"),
    ],
)
def test_what_tiles_cannot_do_is_refused(name, knobs, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        drawn(**knobs).predict_large(scene(70, 70, []), tmp_path / "out" / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_the_output_is_refused(tmp_path):
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(IsADirectoryError, match="output must be a file, got the folder"):
        drawn().predict_large(scene(70, 70, []), tmp_path / "a.tif")


def test_maps_that_are_not_finite_are_refused(tmp_path):
    predict = drawn()
    predict.model.forward = lambda images: {
        name: values * float("nan") for name, values in Drawn.forward(predict.model, images).items()
    }
    with pytest.raises(ValueError, match="outputs must be finite"):
        predict.predict_large(scene(70, 70, []), tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("megapixels", "fits"), [(1, True), (8, True), (20, False)])
def test_what_fits_into_memory_is_estimated(megapixels, fits, monkeypatch):
    """Of 17 GB, of which a half may be taken; what is reduced for the network always fits."""
    monkeypatch.setattr("os.sysconf", lambda name: 2**17)
    for knobs, factor in (({}, 1), ({"scales": (1.0, 2.0)}, 4)):
        size = (1000, megapixels * 1000 // factor)
        assert fits_into_memory(drawn(**knobs), size) is fits
    assert fits_into_memory(drawn(max_size=512), (10**5, 10**5))
    monkeypatch.setattr("axial_deeplab.prediction.large.predict.memory_of", lambda device: None)
    assert fits_into_memory(drawn(), (10**5, 10**5))


def test_memory_does_not_grow_with_the_image(tmp_path, monkeypatch):
    """Of what numpy allocates: all that could have the size of the image."""
    monkeypatch.setattr(results, "_BUFFER", 2**20)  # which the smaller image fills, too
    peaks = []
    for width in (2200, 5500):
        pixels = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (1100, width, 3))
        pixels[:] = np.tile(scene(1100, 1024, BOXES), (1, -(-width // 1024), 1))[:, :width]  # equal blocks
        tracemalloc.start()
        drawn().predict_large(pixels, tmp_path / "a.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
