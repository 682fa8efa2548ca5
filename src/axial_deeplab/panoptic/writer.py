"""Writing panoptic segmentations as COCO panoptic data: PNG files and a JSON that always fit together."""

import json
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import IntArray, Panoptic
from axial_deeplab.panoptic.png import to_coco_annotation, write_panoptic_png
from axial_deeplab.panoptic.written_list import WrittenImage, WrittenLine, image_at, read_list
from axial_deeplab.util.file_names import path_in_folder, require_text
from axial_deeplab.util.files import atomic_path, bytes_of, open_alone
from axial_deeplab.util.json_files import write_json

# What is written stays in memory up to this size where no list is kept of it.
_BYTES_IN_MEMORY = 2**24
# Segments in a line of the list, of an image that gives them one by one.
_SEGMENTS_OF_LINE = 1000


class PanopticWriter:
    """Write panoptic segmentations one by one as COCO panoptic data: PNG files at once, the JSON at the end.

    The JSON has `images`, `annotations` and `categories`, the document that panopticapi and the COCO server
    accept. It is written when the `with` block ends without an error. One that is there is removed before the
    first PNG is written, so that no JSON ever describes PNG files of another run.

    With `settings`, runs of the same settings into one folder add up: the JSON keeps the images of earlier
    ones. What a killed run has written stands in a list beside the JSON, `*.json.part`; the next run goes on
    from it. Several runs at the same time are refused.

    A shard of a run has a list of its own, `*.json.I-of-N.part`, which stays, and writes no JSON: `finish` in
    the place of `close`.

    Args:
        folder: for the PNG files; made if it is missing.
        json_path: the JSON file.
        categories: the label space.
        settings: text that differs where weights or options do; None keeps nothing of other runs.
        shard: its number from 1 on, and the number of shards; None is a whole run.
        head: what else the list is to say first; a run goes on from a list that says the same.

    Raises:
        OSError: another process writes there, or a file cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        json_path: str | os.PathLike[str],
        categories: Categories,
        *,
        settings: str | None = None,
        shard: tuple[int, int] | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.json_path = Path(json_path)
        self.categories = categories
        self.settings = settings
        # Where the list has each image: what was found in all of them may be too much for the memory.
        self._offsets: dict[ImageId, int] = {}
        self._png_names: dict[str, str] = {}
        self._head = {"settings": settings, **(head or {})}
        self._is_shard = shard is not None
        of_shard = "" if shard is None else f".{shard[0]}-of-{shard[1]}"
        self._list_path = self.json_path.with_name(f"{self.json_path.name}{of_shard}.part")
        self._list: IO[bytes] | None = None
        self._images: IO[bytes] = SpooledTemporaryFile(_BYTES_IN_MEMORY)  # noqa: SIM115 - release closes it
        self.has_begun = self._goes_on = False
        self._earlier: dict[str, WrittenLine] = {}
        self._earlier_json: dict[str, WrittenImage] = {}
        self._others: set[str] = set()
        self._lock = threading.RLock()
        if settings is not None:
            self._read_earlier()

    def __enter__(self) -> Self:
        # The folders appear with their first file: a failure before leaves nothing.
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.release()

    def release(self) -> None:
        """Let another run go on: give up the list of what is written, which stays."""
        self._images.close()

    def add(
        self,
        panoptic: Panoptic,
        *,
        image_file_name: str,
        image_id: ImageId | None = None,
        mark: str | None = None,
    ) -> dict[str, Any]:
        """Write the PNG of one image and remember its annotation.

        Args:
            panoptic: our map (H, W) and its segments.
            image_file_name: path of the photo relative to its folder; the PNG takes its name.
            image_id: None numbers the images 1, 2, ...
            mark: text that differs where the photo does, for `resume`.

        Returns:
            The annotation as it will stand in the JSON.

        Raises:
            ValueError: an image id occurs twice, the name is no text, or the map has a value without segment.
            OSError: the PNG cannot be written, or another process writes there.
        """
        image_id = self.new_id(image_id)
        if image_id in self._offsets:
            raise ValueError(f"image_id must be unique, got {image_id!r} twice; give every image its own")
        png_name = self.png_name(image_file_name)
        annotation, ids = to_coco_annotation(panoptic, self.categories, image_id, png_name)
        self.add_entry(annotation, ids, image_file_name=image_file_name, mark=mark)
        return annotation

    def add_entry(
        self, annotation: dict[str, Any], ids: IntArray, *, image_file_name: str, mark: str | None = None
    ) -> None:
        """Write the PNG of one image whose annotation and ids exist already.

        Args:
            annotation: entry of the JSON, with `image_id` and the `file_name` of the PNG.
            ids: (H, W), the ids of its segments.
            image_file_name: path of the photo relative to its folder.
            mark: see `add`.

        Raises:
            OSError: the PNG cannot be written.
        """
        png_path = path_in_folder(self.folder, annotation["file_name"])
        self.begin(image_file_name)
        write_panoptic_png(png_path, ids)
        self.keep(annotation, (ids.shape[0], ids.shape[1]), image_file_name=image_file_name, mark=mark)

    def begin(self, image_file_name: str) -> None:
        """Note that the PNG of an image is about to be written, by whomever; `keep` tells that it is.

        Several threads may call it.

        Raises:
            OSError: another process writes there.
        """
        with self._lock:
            self._begin()
            self._note({"replaced": image_file_name})

    def keep(
        self,
        annotation: dict[str, Any],
        size: tuple[int, int],
        *,
        image_file_name: str,
        mark: str | None = None,
        place: int | None = None,
        labels: str | None = None,
    ) -> None:
        """Remember the annotation of an image whose PNG is written.

        Args:
            annotation: entry of the JSON, with `image_id` and the `file_name` of the PNG.
            size: (height, width) in pixels.
            image_file_name: path of the photo relative to its folder.
            mark: see `add`.
            place: its place among the photos of all shards.
            labels: file of the labels of an image that was seen in tiles, which its entry names.
        """
        height, width = (int(length) for length in size)
        image = {"id": annotation["image_id"], "file_name": image_file_name, "height": height, "width": width}
        if labels is not None:
            image["labels"] = labels
        self._keep(WrittenImage(image, annotation, mark, place))

    def new_id(self, image_id: ImageId | None) -> ImageId:
        """Return the id of the next image: the given one, or for None the number of images with it."""
        return self.num_images + 1 if image_id is None else image_id

    @property
    def num_images(self) -> int:
        """How many images are written, those of earlier runs included once it is closed."""
        return len(self._offsets)

    def written(self) -> Iterator[WrittenImage]:
        """Yield what is written, image by image, until the list is given up."""
        for offset in self._offsets.values():
            with self._lock:
                image = image_at(self._images, offset)
            yield image

    def has(self, image_file_name: str, mark: str) -> bool:
        """Whether `resume` would take an image over."""
        done = self._earlier.get(image_file_name)
        return done is not None and done.mark == mark

    def resume(
        self, image_file_name: str, image_id: ImageId | None, mark: str, place: int | None = None
    ) -> bool:
        """Take over what a killed run of the same settings has written of an image, and say whether it has.

        The arguments are those of `add` and `keep`.
        """
        if not self.has(image_file_name, mark):
            return False
        with self._lock:
            self._begin()
            done = image_at(self._images, self._earlier[image_file_name].offset)
        self._png_names[done.annotation["file_name"]] = image_file_name
        self._keep_as(self.new_id(image_id), done._replace(place=place))
        return True

    def finish(self, report: Mapping[str, Any]) -> None:
        """End a shard: note that it is complete, and what is to be reported of it."""
        with self._lock:
            self._begin()
            self._note({"finished": report})
        self.release()

    def close(self) -> None:
        """Write the JSON; none of no images where runs add up. `release` is still to be called.

        Raises:
            OSError: it cannot be written.
        """
        if self._earlier or self._earlier_json:
            with self._lock:
                self._begin()
        for line in list(self._earlier.values()):
            done = image_at(self._images, line.offset)
            new_id = done.image["id"]
            if new_id in self._offsets:
                new_id = 1 + max(number for number in self._offsets if isinstance(number, int))
            self._keep_as(new_id, done)
        document: dict[str, Any] = {} if self.settings is None else {"info": {"settings": self.settings}}
        document |= {
            "images": (each.image for each in self.written()),
            "annotations": (each.annotation for each in self.written()),
            "categories": self.categories.to_json(),
        }
        if self._offsets or self.settings is None:
            with atomic_path(self.json_path) as temporary:
                write_json(temporary, document)
        if self._list is not None:
            self._list_path.unlink()
        if self._others:
            warnings.warn(
                f"{self.json_path} no longer lists {len(self._others)} predictions that other weights or "
                "options wrote into this folder before; give each an output folder of its own",
                stacklevel=2,
            )

    def png_name(self, image_file_name: str) -> str:
        """Return the name of the PNG of an image, which no other image has.

        Of a.jpg and a.png, the second keeps its whole name.

        Raises:
            ValueError: the name is no text, which a JSON cannot have.
        """
        require_text(image_file_name)
        name = PurePosixPath(image_file_name).with_suffix(".png").as_posix()
        if self._png_names.get(name, image_file_name) != image_file_name:
            name = f"{image_file_name}.png"
        self._png_names[name] = image_file_name
        return name

    def replace(self, written: Iterable[WrittenImage]) -> None:
        """Remember others in the place of what is written, such as what several processes have written."""
        self._offsets = {}
        for each in written:
            self._keep(each)

    def _keep_as(self, image_id: ImageId, done: WrittenImage) -> None:
        image, annotation = {**done.image, "id": image_id}, {**done.annotation, "image_id": image_id}
        self._keep(done._replace(image=image, annotation=annotation))

    def _keep(self, written: WrittenImage) -> None:
        name = written.image["file_name"]
        self._offsets[written.image["id"]] = self._note_image(written)
        self._earlier.pop(name, None)
        self._others.discard(name)

    def _note_image(self, written: WrittenImage) -> int:
        """Append an image to the list; return the number of bytes before its line.

        The line comes last: without it, segments before it count for nothing.
        """
        line, segments = written._asdict(), written.annotation["segments_info"]
        if not isinstance(segments, Iterator):
            return self._note(line)
        with self._lock:
            line["segments_at"] = self._images.seek(0, os.SEEK_END)
            while part := list(islice(segments, _SEGMENTS_OF_LINE)):
                self._note({"segments_info": part})
            line["annotation"] = {**written.annotation, "segments_info": []}
            return self._note(line)

    def _note(self, line: dict[str, Any]) -> int:
        """Append a line to the list; return the number of bytes before it."""
        with self._lock:
            offset = self._images.seek(0, os.SEEK_END)
            self._images.write(f"{json.dumps(line)}\n".encode())
            self._images.flush()
        return offset

    def _begin(self) -> None:
        """Before the first PNG: list what is there, in place of the JSON, which will soon be wrong."""
        if self.has_begun:
            return
        if self.settings is not None:
            self._list = open_alone(self._list_path)
            self._images.close()
            self._images = self._list
            self._read_earlier()
            if not self._goes_on:
                self._list.truncate(0)
                self._note(self._head)
            self._list.write(b"\n")  # the last line may be cut short
            of_list, self._earlier = self._earlier, {}
            for name in self._earlier_json | of_list:
                self._earlier[name] = of_list.get(name) or self._noted(self._earlier_json[name])
            self._earlier_json = {}
        else:
            self._list_path.unlink(missing_ok=True)
        self.json_path.unlink(missing_ok=True)
        self.has_begun = True

    def _noted(self, done: WrittenImage) -> WrittenLine:
        return WrittenLine(self._note_image(done), done.mark, done.place, done.annotation["file_name"])

    def _read_earlier(self) -> None:
        """Read what earlier runs have written: the JSON of complete ones, the list of one that was killed."""
        self._earlier, self._earlier_json, self._others = {}, {}, set()
        with suppress(OSError, ValueError, LookupError, TypeError):  # none, or not of ours
            document = json.loads(bytes_of(self.json_path))
            annotations = {each["image_id"]: each for each in document["annotations"]}
            images = {
                image["file_name"]: WrittenImage(image, annotations[image["id"]])
                for image in document["images"]
            }
            pngs = {name: each.annotation["file_name"] for name, each in images.items()}
            self._earlier_json = {
                name: images[name] for name in self._of_these(document["info"]["settings"], pngs)
            }
        found = read_list(self._list_path)
        if found is not None:
            self._goes_on = found.head == self._head
            if self._goes_on or not self._is_shard:  # the images of another list of files may be others'
                pngs = {name: line.png_name for name, line in found.written.items()}
                own = self._of_these(found.head.get("settings"), pngs)
                self._earlier = {name: found.written[name] for name in own}

    def _of_these(self, settings: str | None, png_names: Mapping[str, str]) -> list[str]:
        """Return which images of an earlier run are kept: those that are there, none of other settings."""
        if settings != self.settings:
            self._others |= set(png_names)
            return []
        kept = [name for name, png in png_names.items() if path_in_folder(self.folder, png).is_file()]
        self._png_names |= {png_names[name]: name for name in kept}
        return kept


def refuse_data_set(json_path: Path) -> None:
    """Refuse to write predictions in the place of a data set.

    Args:
        json_path: where the JSON of the predictions is to be.

    Raises:
        ValueError: a JSON is there whose segments have no scores, which tells no settings of a run.
    """
    try:
        document = json.loads(bytes_of(json_path))
        segments = [each for entry in document["annotations"] for each in entry["segments_info"]]
        is_predicted = "settings" in document.get("info", {}) or any("score" in each for each in segments)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or of another kind
        return
    if segments and not is_predicted:
        raise ValueError(
            f"output must not hold annotations, which predictions would replace, got {json_path}, "
            "which has no scores; give another folder"
        )
