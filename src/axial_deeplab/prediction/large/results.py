"""The files of a segmented large image: labels and classes as tiled TIFF or OME-Zarr, segments as JSON."""

import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Panoptic
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.labels import Labels, SegmentTable
from axial_deeplab.prediction.large.kept_squares import KeptSquares
from axial_deeplab.prediction.large.large_image import naming_damage_of
from axial_deeplab.prediction.large.maps import Blocks
from axial_deeplab.prediction.large.tiling import Window, cut
from axial_deeplab.prediction.large.zarr_image import require_zarr
from axial_deeplab.util.files import atomic_directory, atomic_path, opened

TIFF_SUFFIXES = (".tif", ".tiff")
ZARR_SUFFIX = ".zarr"
# Side of the tiles of the files in pixels; sides of blocks are multiples of it.
FILE_TILE = 256
_BUFFER = 2**24  # bytes of tiles that wait to be compressed


@dataclass(frozen=True, eq=False)
class LargePrediction:
    """The panoptic segmentation of a large image, in files.

    Args:
        path: tiled TIFF whose first page has the label of each pixel (uint32, 0 for void) and whose second
            has its class (1 + train id, 0 for void); or an OME-Zarr folder with the same as `labels/segments`
            and `labels/classes`.
        size: (height, width) of the image in pixels.
        table: the segments; labels are 1, 2, ... in its order. The score is the mean probability of the class
            over the pixels of a segment, times the confidence of the center of a thing.
        categories: the label space.
        num_tiles: tiles that the network saw; 0 where files were read again.
        network_ms: time of the network with reading, milliseconds.
        post_processing_ms: time of all the rest, milliseconds.
    """

    path: Path
    size: tuple[int, int]
    table: SegmentTable
    categories: Categories
    num_tiles: int = 0
    network_ms: float = 0.0
    post_processing_ms: float = 0.0
    num_left_out: int = 0

    @classmethod
    def read(cls, json_path: str | os.PathLike[str]) -> "LargePrediction":
        """Read what `write_json` has written beside the labels.

        Args:
            json_path: the file of the segments.

        Raises:
            ValueError: it is no such file, or incomplete.
            OSError: it cannot be opened.
        """
        path = Path(json_path)
        numbers, scores = array("q"), array("d")
        with opened(path) as file:
            try:
                head = read_head(file)
                categories = Categories.from_json(head["categories"])
                line = b""
                for line in file:
                    if not line.startswith(b"{"):
                        break
                    info = json.loads(line.rstrip(b",\n"))
                    train_id = categories.train_id(info["category_id"])
                    numbers.extend((train_id, info["area"], *info["bbox"]))
                    scores.append(info["score"])
                size = head["height"], head["width"]
                columns = np.array(numbers).reshape(len(scores), 6)
                if line != b"]}\n":
                    raise ValueError("it is cut off")
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(
                    f"{path} must be the segments of a large image, got: {error}; predict it again"
                ) from None
        table = SegmentTable(columns[:, 0], columns[:, 1], columns[:, 2:], np.array(scores))
        return cls(path.with_name(head["labels"]), size, table, categories)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Confidence of each segment (S,)."""
        return self.table.scores

    @property
    def json_path(self) -> Path:
        """The file of the segments, beside the labels."""
        return self.path.with_suffix(".json")

    @property
    def segments_info(self) -> list[dict[str, Any]]:
        """What `Prediction.segments_info` is; `id` is the label."""
        return list(self._infos())

    @property
    def mean_scores(self) -> tuple[float, float]:
        """What `Prediction.mean_scores` is."""
        areas, scores = self.table.areas, self.scores
        things = np.isin(self.table.train_ids, self.categories.thing_ids)
        of_pixels = float((areas * scores).sum() / areas.sum()) if len(areas) else float("nan")
        return of_pixels, float(scores[things].mean()) if things.any() else float("nan")

    @property
    def certainty(self) -> Certainty:
        """What `Prediction.certainty` is, without agreement on centers."""
        return Certainty(*self.mean_scores)

    @contextmanager
    def labels(self) -> Iterator[Labels]:
        """Yield the labels, read by windows, for the files that are written of them."""
        with ExitStack() as stack:
            if self.path.suffix == ZARR_SUFFIX:
                read = _windows_of(self._stored())
            else:
                read = _tiles_of_tiff(self.path, stack.enter_context(opened(self.path)))
            yield Labels(self.size, self.table, KeptSquares(self.size, FILE_TILE, read).read)

    def to_coco_instances(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Return what `Prediction.to_coco_instances` does.

        Args:
            image_id: number of the image in its data set.

        Raises:
            ValueError: pycocotools is missing (extra `coco`).
        """
        from axial_deeplab.prediction.save.convert import to_coco_instances

        with self.labels() as labels:
            return to_coco_instances(labels, self.categories, image_id)

    def to_fiftyone(self) -> Any:
        """Return what `Prediction.to_fiftyone` does.

        Raises:
            ValueError: the package fiftyone is missing.
        """
        from axial_deeplab.prediction.save.convert import to_fiftyone

        with self.labels() as labels:
            return to_fiftyone(labels, self.categories)

    def panoptic(self) -> Panoptic:
        """Read all labels, as a panoptic map (H, W) of them and its segments."""
        if self.path.suffix == ZARR_SUFFIX:
            labels = self._stored()[:]
        else:
            import tifffile

            labels = tifffile.imread(self.path, key=0)
        return Panoptic(labels.astype(np.int32), tuple(self.table.segments()))

    def _stored(self) -> Any:
        return require_zarr(self.path).open(self.path / "labels/segments/0", mode="r")

    def write_json(self, more: Mapping[str, Any]) -> None:
        """Write the segments, one a line, beside the labels.

        Args:
            more: further keys of the document.
        """
        head = {
            **more,
            "labels": self.path.name,
            "height": self.size[0],
            "width": self.size[1],
            "categories": [
                {"class": number, **category}
                for number, category in enumerate(self.categories.to_json(), start=1)
            ],
        }
        with atomic_path(self.json_path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(f'{json.dumps(head)[:-1]}, "segments_info": [')
            for number, info in enumerate(self._infos()):
                file.write(f"{',' if number else ''}\n{json.dumps(info)}")
            file.write("\n]}\n")

    def _infos(self) -> Iterator[dict[str, Any]]:
        for segment in self.table.segments():
            category = self.categories[segment.train_id]
            assert segment.score is not None
            assert segment.bbox is not None
            yield {
                "id": segment.id,
                "category_id": category.id,
                "name": category.name,
                "isthing": category.is_thing,
                "score": round(segment.score, 6),
                "area": segment.area,
                "bbox": list(segment.bbox),
            }


def read_head(file: BinaryIO) -> dict[str, Any]:
    """Read what stands before the segments in a file of `LargePrediction.write_json`.

    Raises:
        ValueError: it is no such file.
    """
    head = json.loads(file.readline() + b"]}")
    if not isinstance(head, dict):
        raise ValueError("it is no object")
    return head


def _windows_of(values: Any) -> Callable[[Window], NDArray[Any]]:
    return lambda window: np.asarray(values[window.slices])


def _tiles_of_tiff(path: Path, file: BinaryIO) -> Callable[[Window], NDArray[Any]]:
    """Return what reads the tiles of the first page of a file that `write_tiff` has written."""
    import tifffile

    with naming_damage_of(path, "a complete TIFF of labels"):
        page: Any = tifffile.TiffFile(file).pages[0]
    across = -(-page.imagewidth // FILE_TILE)

    def read(tile: Window) -> NDArray[Any]:
        index = tile.top // FILE_TILE * across + tile.left // FILE_TILE
        with naming_damage_of(path, "a complete TIFF of labels"):
            file.seek(page.dataoffsets[index])
            decoded = page.decode(file.read(page.databytecounts[index]), index)[0]
        height, width = tile.shape
        return np.asarray(decoded[0, :height, :width, 0])

    return read


class LabelBlocks:
    """The labels of an image on disk, block by block.

    Args:
        path: file, made if it is missing.
        size: (height, width) of the image in pixels.
        side: side of the blocks in pixels, a multiple of `FILE_TILE`.
    """

    def __init__(self, path: Path, size: tuple[int, int], side: int) -> None:
        self.size, self.side = size, side
        self.windows = cut(size, side)
        self._blocks = Blocks(path, len(self.windows), (side, side), np.uint32)

    def read(self, index: int) -> NDArray[np.uint32]:
        """Return a block as it was written."""
        height, width = self.windows[index].shape
        return self._blocks.read(index, (slice(height), slice(width)))

    def write(self, index: int, labels: NDArray[np.uint32]) -> None:
        """Keep a block."""
        self._blocks.write(index, labels)

    def tiles(self) -> Iterator[NDArray[np.uint32]]:
        """Yield squares of `FILE_TILE` pixels, row by row."""
        across = -(-self.size[1] // self.side)
        for tile in cut(self.size, FILE_TILE):
            index = tile.top // self.side * across + tile.left // self.side
            yield self._blocks.read(index, tile.within(self.windows[index]))


def class_of_labels(table: SegmentTable, num_classes: int) -> NDArray[Any]:
    """Return 1 + train id of each label, 0 for void, in the smallest type that has all classes."""
    dtype = np.uint8 if num_classes < 256 else np.uint16
    return np.concatenate(([0], table.train_ids + 1)).astype(dtype)


def write_tiff(
    path: Path, labels: LabelBlocks, classes: NDArray[Any], categories: Categories, placed: Mapping[str, Any]
) -> None:
    """Write labels and classes as two pages of a tiled BigTIFF.

    What the image says of its place on Earth goes to both pages.

    Raises:
        OSError: the file cannot be written.
    """
    import tifffile

    names = ", ".join(f"{number} {name}" for number, name in enumerate(categories.names, start=1))
    tags = list(placed.get("geo_tags", ()))
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True) as tiff:
        for dtype, what, squares in (
            (np.dtype(np.uint32), "labels of segments, 0 void", labels.tiles()),
            (classes.dtype, f"classes: 0 void, {names}", (classes[square] for square in labels.tiles())),
        ):
            tiff.write(
                (_filled_up(square) for square in squares),
                shape=labels.size,
                dtype=dtype,
                tile=(FILE_TILE, FILE_TILE),
                photometric="minisblack",
                compression="zlib",
                description=what.encode("ascii", "replace").decode(),
                metadata=None,
                extratags=tags,
                buffersize=_BUFFER,
            )


def _filled_up(square: NDArray[Any]) -> NDArray[Any]:
    missing = [(0, FILE_TILE - length) for length in square.shape]
    return np.ascontiguousarray(np.pad(square, missing))


def write_zarr(
    path: Path, labels: LabelBlocks, classes: NDArray[Any], categories: Categories, placed: Mapping[str, Any]
) -> None:
    """Write labels and classes as OME-Zarr label images: version 0.4, or 0.5 in Zarr 3 of an image in Zarr 3.

    A folder that is there is replaced. Units and transformations of an OME-Zarr image are taken over, and its
    version, without which readers do not find labels in its folder.

    Raises:
        ValueError: zarr is missing, or the folder holds something else.
        OSError: the folder cannot be written.
    """
    zarr = require_zarr(path)
    axes, transformations, of_all = _plane(placed)
    zarr_format = placed.get("zarr_format", 2)
    version = {"version": "0.5" if zarr_format == 3 else "0.4"}
    layout: dict[str, Any] = {"dimension_names": ["y", "x"]}
    if zarr_format == 2:
        layout = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}

    def describe(group: Any, description: dict[str, Any]) -> None:
        group.attrs.update({"ome": version | description} if zarr_format == 3 else description)

    # Version 0.5 stands once, 0.4 in each part.
    own_version = {} if zarr_format == 3 else version
    colors = [
        {"label-value": number, "rgba": [*color, 255]}
        for number, color in enumerate(categories.colors, start=1)
    ]
    with atomic_directory(path) as temporary:
        root = zarr.open_group(temporary, mode="w", zarr_format=zarr_format)
        group = root.create_group("labels")
        describe(group, {"labels": ["segments", "classes"]})
        for name, dtype in (("segments", np.dtype(np.uint32)), ("classes", classes.dtype)):
            image = group.create_group(name)
            level = {"path": "0", "coordinateTransformations": transformations}
            multiscale = {**own_version, "name": name, "axes": axes, "datasets": [level], **of_all}
            label = {**own_version, **({"colors": colors} if name == "classes" else {})}
            describe(image, {"multiscales": [multiscale], "image-label": label})
            array = image.create_array(
                "0", shape=labels.size, dtype=dtype, chunks=(FILE_TILE, FILE_TILE), fill_value=0, **layout
            )
            for index, window in enumerate(labels.windows):
                values = labels.read(index)
                array[window.slices] = values if name == "segments" else classes[values]


def _plane(placed: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Return the axes y and x of an OME-Zarr image, what transforms its largest level, and all levels."""
    source, names = placed.get("multiscale", {}), placed.get("axes", [])
    known = {axis["name"]: axis for axis in source.get("axes", ()) if isinstance(axis, dict)}
    axes = [known.get(name, {"name": name, "type": "space"}) for name in "yx"]

    def in_plane(part: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for each in part.get("coordinateTransformations", ()):
            kind = each.get("type")
            if kind in ("scale", "translation") and len(each.get(kind, ())) == len(names):
                of_axis = dict(zip(names, each[kind], strict=True))
                neutral = 1.0 if kind == "scale" else 0.0
                found.append({"type": kind, kind: [of_axis.get(name, neutral) for name in "yx"]})
        return found

    of_all = in_plane(source)
    of_level = in_plane(source.get("datasets", [{}])[0])
    if not any(each["type"] == "scale" for each in of_level):
        of_level = [{"type": "scale", "scale": [1.0, 1.0]}, *of_level]
    return axes, of_level, {"coordinateTransformations": of_all} if of_all else {}
