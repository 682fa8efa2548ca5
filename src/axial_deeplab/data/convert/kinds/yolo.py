"""YOLO segmentation: a text file for each picture, a line of class and outline for each object.

Source:
    ultralytics, docs/datasets/segment and `data/converter.py`: a hole or a second part is joined to the
    outline by a line there and back; of objects that overlap the smaller lies on top; a picture without a
    file shows nothing.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from axial_deeplab.data.convert.outlines import ring
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import (
    LabeledImage,
    LeftOut,
    Shape,
    shapes_to_convert,
    warn_of_repeated,
)
from axial_deeplab.data.convert.source_files import files_of, folder_of, text_of
from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.panoptic.categories import whole_number
from axial_deeplab.util.text import one_line

TITLE = "a YOLO data set"

# Parts of the image that outlines may leave it, as rounding does.
_OUTSIDE = 0.01


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    folder = folder_of(source)
    if source.suffix.lower() in (".yaml", ".yml"):
        return source.is_file() and "names" in _yaml(source)
    if not source.is_dir():
        return False
    has_folders = any((folder / "images").glob("*")) and any((folder / "labels").rglob("*.txt"))
    return has_folders or any(_is_line(path) for path in _labels(folder)[:8])


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder with `images` and `labels`, or its YAML file."""
    folder = folder_of(source)
    names = _names(source, folder)
    warn_of_repeated(names.values(), source)
    photos = Photos(options.images or folder, exclude=("labels",))
    left_out = LeftOut(source)
    images: list[LabeledImage] = []
    labeled: set[Path] = set()
    found = {path: _picture_of(path.relative_to(folder)) for path in _labels(folder)}
    photos.expect(found.values())
    for path, name in found.items():
        photo = photos.find_stem(name, str(path))
        labeled.add(photo)
        images.append(_image(photo, photos, path, _shapes(path, names, left_out)))
    for photo in list_files(photos.folder, SUFFIXES, recursive=True):
        if photo not in labeled and "labels" not in photo.relative_to(photos.folder).parts:
            images.append(_image(photo, photos, source, []))
    boxes = sum(map(len, left_out.found.values()))
    if boxes and not any(image.shapes for image in images):
        raise ValueError(
            f"{source} must have outlines, got boxes alone, which say nothing of pixels; export segmentation"
        )
    left_out.warn()
    return shapes_to_convert(images, options, source, names=names.values())


def _image(photo: Path, photos: Photos, source: Path, shapes: list[Shape]) -> LabeledImage:
    return LabeledImage(photo, photos.file_name(photo), shapes, source)


def _picture_of(labels: Path) -> str:
    parts = ["images" if part == "labels" else part for part in labels.with_suffix("").parts]
    return PurePosixPath(*parts).as_posix()


def _labels(folder: Path) -> list[Path]:
    listed = [path for path in list_files(folder, (".txt",), recursive=True) if path.stem != "classes"]
    inside = [path for path in listed if "labels" in (*path.relative_to(folder).parts[:-1], folder.name)]
    return inside or [path for path in listed if _is_line(path)]


def _is_line(path: Path) -> bool:
    """Tell whether a file begins with a class and an outline or a box."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        words = file.readline(100_000).split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return False
    return len(numbers) >= 5 and _is_class(numbers[0])


def _is_class(number: float) -> bool:
    return number.is_integer() and number >= 0


def _names(source: Path, folder: Path) -> dict[int, str]:
    """Return the names of the classes, of the YAML files or of classes.txt; none if there is neither.

    Raises:
        ValueError: a file of names is not valid, or two call a class differently.
    """
    files = [source] if source.is_file() else files_of(folder, ".yaml", ".yml")
    found = {path: own for path in files if (own := _names_of(path)) is not None}
    for path in () if found else sorted(folder.rglob("classes.txt")):
        found[path] = dict(enumerate(text_of(path).strip().splitlines()))
    names: dict[int, str] = {}
    for path, own in found.items():
        odd = next((number for number in own if names.get(number, own[number]) != own[number]), None)
        if odd is not None:
            raise ValueError(
                f"{source} must have one name of class {odd}, got {names[odd]!r} and, in {path}, "
                f"{own[odd]!r}; give the YAML file that is right as SOURCE, or take away the other"
            )
        names |= own
    return names


def _names_of(path: Path) -> dict[int, str] | None:
    """Return the names of the classes of a YAML file, None if it has none."""
    document = _yaml(path)
    if "kpt_shape" in document:
        raise ValueError(f"{path} must be of outlines, got kpt_shape, of poses; export segmentation")
    names = document.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):
        numbers = {whole_number(number): str(name) for number, name in names.items()}  # also of "0"
        if None not in numbers:
            return {number: name for number, name in numbers.items() if number is not None}
    if names is not None:
        raise ValueError(f"{path} names must be a list of classes, got {names!r}; correct the file")
    return None


def _yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(text_of(path), yaml.BaseLoader)  # all as text: the class yes is no true
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} must be a YAML file, got: {one_line(error)}; correct it") from None
    return document if isinstance(document, dict) else {}


def _shapes(path: Path, names: dict[int, str], left_out: LeftOut) -> list[Shape]:
    shapes = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        where = f"{path}: line {number}"
        words = line.split()
        if not words:
            continue
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if not numbers or not _is_class(numbers[0]) or len(numbers) % 2 == 0:
            raise ValueError(
                f"{where} must be the number of a class and pairs of x and y, got {line[:60]!r}; "
                "correct the file, or save it without certainties (save_conf of ultralytics)"
            )
        if names and int(numbers[0]) not in names:
            raise ValueError(
                f"{where} must have a class of the {len(names)} names, got {int(numbers[0])}; add its name"
            )
        if len(numbers) < 7:
            left_out.add("boxes and points, which are no outlines,", where)
            continue
        if not all(-_OUTSIDE <= value <= 1 + _OUTSIDE for value in numbers[1:]):
            odd = next(value for value in numbers[1:] if not -_OUTSIDE <= value <= 1 + _OUTSIDE)
            raise ValueError(
                f"{where} x and y must be parts of width and height from 0 to 1, got {odd:g}; "
                "divide pixels by the size of the image"
            )
        points = ring(list(zip(numbers[1::2], numbers[2::2], strict=True)), where)
        name = names.get(int(numbers[0]), f"class_{int(numbers[0])}")
        shapes.append(Shape(name, where, (points,), is_relative=True))
    return shapes
