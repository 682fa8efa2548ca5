"""Files of large images, written from windows of a file of labels, are those of labels in memory."""

import json
import tracemalloc

import numpy as np
import pytest
import tifffile

from axial_deeplab.panoptic.map import Panoptic, Segment, panoptic_id
from axial_deeplab.panoptic.png import coco_segments, read_panoptic_png, write_panoptic_rows
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.large.kept_squares import KeptSquares
from axial_deeplab.prediction.large.results import (
    LabelBlocks,
    LargePrediction,
    class_of_labels,
    write_tiff,
    write_zarr,
)
from axial_deeplab.prediction.large.tiling import Window
from axial_deeplab.prediction.save.coco_instances import run_lengths
from axial_deeplab.prediction.save.kinds import KINDS, Saver
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.prediction.save.table import open_table
from folder_runs import contents
from outline_cases import random_regions
from saved_predictions import CATEGORIES, awkward, find_instances, write_things

HEIGHT, WIDTH = 530, 811


def crowded():
    """Return a segmentation of awkward things on the seams of tiles, one over them all, and single pixels."""
    small, (height, width) = awkward(), (HEIGHT, WIDTH)
    panoptic = np.zeros((height, width), np.int32)
    panoptic[5:] = panoptic_id(0)
    ring = panoptic_id(1, 900)
    panoptic[40:500, 30:35] = panoptic[40:500, 780:785] = ring
    panoptic[40:44, 30:785] = panoptic[496:500, 30:785] = ring
    number = 0
    for top, left in ((210, 215), (225, 400), (300, 470), (440, 716), (462, 0)):
        for segment in small.segments[1:]:
            number += 1
            part = panoptic[top : top + small.size[0], left : left + small.size[1]]
            part[small.map == segment.id] = panoptic_id(segment.train_id, number)
    for place in range(0, 800, 7):
        number += 1
        panoptic[520, place] = panoptic_id(2, number)
    train_ids = {panoptic_id(t, n): t for t in (1, 2) for n in range(1, 1000)} | {panoptic_id(0): 0}
    values = np.unique(panoptic)[1:].tolist()
    segments = [
        Segment(id=value, train_id=train_ids[value], area=0, score=(value * 37 % 1000) / 1000)
        for value in values
    ]
    return Panoptic(panoptic, segments).measured()


FOUND = crowded()


@pytest.fixture
def little_memory(monkeypatch):
    """Let bands, what is kept of files, and images as a whole be small."""
    for module in ("labels", "save.instances", "save.table"):
        monkeypatch.setattr(f"axial_deeplab.prediction.{module}.BAND_PIXELS", 10_000)
    monkeypatch.setattr("axial_deeplab.prediction.large.kept_squares.KEPT_BYTES", 3 * 4 * 256**2)
    monkeypatch.setattr("axial_deeplab.prediction.large.tiff_image._CACHE_BYTES", 2**17)
    monkeypatch.setattr("axial_deeplab.prediction.large.sources._WHOLE_PIXELS", 0)


def large_prediction(panoptic, path):
    """Write a segmentation as the files of a large image."""
    in_memory = Labels.of(panoptic)
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = LabelBlocks(path.parent / "blocks", panoptic.size, 256)
    for index, window in enumerate(blocks.windows):
        blocks.write(index, in_memory.read(window).astype(np.uint32))
    write = write_zarr if path.suffix == ".zarr" else write_tiff
    write(path, blocks, class_of_labels(in_memory.table, len(CATEGORIES)), CATEGORIES, {})
    (path.parent / "blocks").unlink()
    return LargePrediction(path, panoptic.size, in_memory.table, CATEGORIES)


def geotiff(path, channels=3):
    values = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, channels), np.uint16)
    tags = [(33550, "d", 3, (0.5, 0.5, 0.0), True), (33922, "d", 6, (0.0, 0, 0, 500.1, 5400.2, 0), True)]
    directory = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    options = {"photometric": "rgb"} if channels == 3 else {"planarconfig": "contig"}
    tifffile.imwrite(
        path,
        values,
        tile=(128, 128),
        compression="zlib",
        resolution=(1e4 / 0.5, 1e4 / 0.25),
        resolutionunit="CENTIMETER",
        extratags=[*tags, (34735, "H", len(directory), directory, True)],
        **options,
    )
    return values


def save_all(picture, folder):
    """Write every kind; of COCO the PNG and the segments."""
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    pytest.importorskip("roifile", reason="needs the extra imagej")
    saver = Saver(list(KINDS), folder, CATEGORIES)
    saver.add(picture, "sub/a")
    entries = list(coco_segments(picture.labels.table.segments(), CATEGORIES))
    ids = np.array([0, *(entry["id"] for entry in entries)])
    bands = (ids[band] for band in picture.labels.bands())
    write_panoptic_rows(folder / "panoptic" / "a.png", picture.labels.size, bands)
    (folder / "segments.json").write_text(json.dumps(entries))


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_files_of_windows_are_those_of_memory(suffix, tmp_path, request):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    geotiff(tmp_path / "a.tif")
    save_all(Picture(tmp_path / "a.tif", "a.tif", Labels.of(FOUND), CATEGORIES), tmp_path / "memory")
    large = large_prediction(FOUND, tmp_path / "large" / f"a{suffix}")
    large.write_json({"file_name": "a.tif"})
    request.getfixturevalue("little_memory")
    again = LargePrediction.read(large.json_path)
    assert (again.path, again.size) == (large.path, large.size)
    assert again.segments_info == large.segments_info
    for name, prediction in (("file", large), ("read", again)):
        with prediction.labels() as labels:
            save_all(Picture(tmp_path / "a.tif", "a.tif", labels, CATEGORIES), tmp_path / name)
    expected = contents(tmp_path / "memory")
    assert len(expected) == 12
    for name in ("file", "read"):
        found = contents(tmp_path / name)
        assert found.keys() == expected.keys()
        # Bands differ, and with them how PNG rows are packed together.
        for path in expected.keys() - {"panoptic/a.png"}:
            assert found[path] == expected[path], path
        ids = read_panoptic_png(tmp_path / name / "panoptic/a.png")
        np.testing.assert_array_equal(ids, read_panoptic_png(tmp_path / "memory" / "panoptic/a.png"))


def test_means_of_16_bit_channels_by_windows(tmp_path, little_memory):
    values = geotiff(tmp_path / "a.tif", channels=5)
    from axial_deeplab.data.channels import Channels

    large = large_prediction(FOUND, tmp_path / "large" / "a.tif")
    with large.labels() as labels:
        picture = Picture(tmp_path / "a.tif", "a.tif", labels, CATEGORIES, channels=Channels((5, 2)))
        write_things(tmp_path / "a.csv", picture, open_table)
    header, *rows = (
        line.split(",")
        for line in (tmp_path / "a.csv").read_text("utf-8").replace('"Zelle, ', "").splitlines()
    )
    assert header[-2:] == ["mean_5", "mean_2"]
    for row, instance in zip(rows, find_instances(FOUND, CATEGORIES), strict=True):
        pixels = values[instance.window.slices][instance.mask]
        assert [float(cell) for cell in row[-2:]] == pytest.approx(pixels[:, [4, 1]].mean(axis=0), rel=1e-8)


def test_windows_of_kept_squares(monkeypatch):
    values = np.random.default_rng(0).integers(0, 9, (70, 90, 2))
    read = []

    def square(window):
        read.append(window)
        return values[window.slices]

    monkeypatch.setattr("axial_deeplab.prediction.large.kept_squares.KEPT_BYTES", 3 * 16**2 * 16)
    squares = KeptSquares((70, 90), 16, square)
    for window in (Window(0, 0, 70, 90), Window(15, 16, 33, 32), Window(69, 89, 70, 90), Window(3, 4, 5, 6)):
        np.testing.assert_array_equal(squares.read(window), values[window.slices])
    del read[:]
    for _ in range(3):
        squares.read(Window(14, 3, 18, 5))  # of two squares, of which the first was kept
    assert read == [Window(16, 0, 32, 16)]


def test_run_lengths_are_those_of_pycocotools(little_memory, monkeypatch):
    mask = pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    monkeypatch.setattr("axial_deeplab.prediction.save.instances.BAND_PIXELS", 20)
    corners = [np.ones((6, 9), bool), np.eye(9, dtype=bool), np.pad(np.ones((1, 1), bool), ((8, 0), (8, 0)))]
    corners += [np.pad(np.ones((6, 2), bool), ((0, 0), (2, 2)))]
    for region in [*corners, *random_regions(60)]:
        if not region.any():
            continue
        panoptic = Panoptic(np.where(region, panoptic_id(1, 1), 0).astype(np.int32), [])
        panoptic = Panoptic(panoptic.map, [Segment(id=panoptic_id(1, 1), train_id=1, area=0)])
        (instance,) = find_instances(panoptic, CATEGORIES)
        runs = {"size": list(region.shape), "counts": run_lengths(instance, region.shape).tolist()}
        assert mask.frPyObjects(runs, *region.shape) == mask.encode(np.asfortranarray(region, np.uint8))


def test_objects_of_a_large_prediction_for_other_packages(tmp_path, little_memory):
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    from saved_predictions import as_prediction

    large = large_prediction(FOUND, tmp_path / "a.tif")
    assert large.to_coco_instances(7) == as_prediction(FOUND).to_coco_instances(7)


@pytest.mark.parametrize("ends", [b'{"file_name": "a"}', b"[", b""])
def test_segments_that_are_cut_off_are_refused(ends, tmp_path):
    large = large_prediction(FOUND, tmp_path / "large" / "a.tif")
    large.write_json({"file_name": "a.tif"})
    whole = large.json_path.read_bytes()
    large.json_path.write_bytes(ends or whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a.json must be the segments of a large image, got: .*predict it"):
        LargePrediction.read(large.json_path)


def test_damaged_labels_name_their_file(tmp_path):
    large = large_prediction(FOUND, tmp_path / "a.tif")
    content = bytearray(large.path.read_bytes())
    with tifffile.TiffFile(large.path) as tiff:
        place = tiff.pages[0].dataoffsets[1]
    content[place : place + 40] = bytes(40)
    large.path.write_bytes(content)
    with (
        large.labels() as labels,
        pytest.raises(ValueError, match=r"a.tif must be a complete TIFF of labels"),
    ):
        list(labels.bands())


def test_segments_one_by_one_are_kept_and_taken_over(tmp_path):
    """Of more segments than a line of the list has; by a run that was stopped, too."""
    labels = Labels.of(FOUND)
    count = 2500

    def segments():
        entries = list(coco_segments(labels.table.segments(), CATEGORIES))
        return iter([{**entries[number % len(entries)], "id": number + 1} for number in range(count)])

    expected = list(segments())
    annotation = {"image_id": 5, "file_name": "a.png", "segments_info": segments()}
    for attempt in ("stopped", "whole"):
        writer = PanopticWriter(tmp_path / "panoptic", tmp_path / "p.json", CATEGORIES, settings="s")
        if attempt == "stopped":
            writer.begin("a.tif")
            (tmp_path / "panoptic").mkdir()
            (tmp_path / "panoptic" / "a.png").touch()
            writer.keep(annotation, FOUND.size, image_file_name="a.tif", mark="m")
        else:
            assert writer.resume("a.tif", 6, "m")
            (written,) = writer.written()
            assert list(written.annotation["segments_info"]) == expected
            writer.close()
        writer.release()
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["annotations"] == [{"image_id": 6, "file_name": "a.png", "segments_info": expected}]


def test_memory_does_not_grow_with_the_image(tmp_path, little_memory):
    """Of what numpy allocates: all that could have the size of the image, or of a thing that fills it."""
    peaks = []
    for side in (512, 512, 1536):  # once to load what is loaded first
        panoptic = np.full((side, side), panoptic_id(1, 1), np.int32)
        panoptic[20:30, 20:30] = panoptic_id(2, 2)
        segments = [Segment(id=panoptic_id(n, n), train_id=n, area=0, score=0.5) for n in (1, 2)]
        large = large_prediction(Panoptic(panoptic, segments), tmp_path / f"{side}.tif")
        path = tmp_path / f"photo{side}.tif"
        tifffile.imwrite(path, panoptic.astype(np.uint8), tile=(256, 256), compression="zlib")
        del panoptic
        tracemalloc.start()
        with large.labels() as labels:
            save_all(Picture(path, "a.tif", labels, CATEGORIES), tmp_path / str(side))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
