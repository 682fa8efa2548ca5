"""Writing panoptic segmentations as COCO panoptic data: PNG files and a JSON that always fit together."""

import json
import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import ImageId, path_in_folder, require_text
from axial_deeplab.panoptic.map import IntArray, Panoptic
from axial_deeplab.panoptic.png import to_coco_annotation, write_panoptic_png
from axial_deeplab.util.files import atomic_path, bytes_of, lock_file, refuse_special_file


class WrittenImage(NamedTuple):
    """An image whose PNG is written.

    Args:
        image: its entry of `images`.
        annotation: its annotation.
        mark: text that differs where the photo does.
        place: its place among the photos of all shards.
    """

    image: dict[str, Any]
    annotation: dict[str, Any]
    mark: str | None = None
    place: int | None = None


class WrittenList(NamedTuple):
    """What a list says that a run keeps of what it has written.

    Args:
        head: settings, and what else is true of the whole run.
        written: images by name.
        finished: what the run said at its end; None of one that was stopped.
    """

    head: dict[str, Any]
    written: dict[str, WrittenImage]
    finished: dict[str, Any] | None


def read_list(path: Path) -> WrittenList | None:
    """Read the list of a run, None if there is none or it is not of ours."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        first, *lines = bytes_of(path).decode().splitlines()
        written: dict[str, WrittenImage] = {}
        finished = None
        # The last line may be cut short.
        for line in lines:
            with suppress(ValueError):
                entry = json.loads(line)
                finished = entry.get("finished")
                if "replaced" in entry:
                    written.pop(entry["replaced"], None)
                elif "image" in entry:
                    written[entry["image"]["file_name"]] = WrittenImage(**entry)
        return WrittenList(json.loads(first), written, finished)
    return None


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
        self.images: dict[ImageId, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self._png_names: dict[str, str] = {}
        self._head = {"settings": settings, **(head or {})}
        self._is_shard = shard is not None
        of_shard = "" if shard is None else f".{shard[0]}-of-{shard[1]}"
        self._list_path = self.json_path.with_name(f"{self.json_path.name}{of_shard}.part")
        self._list: IO[str] | None = None
        self.has_begun = self._goes_on = False
        self._earlier: dict[str, WrittenImage] = {}
        self._others: set[str] = set()
        self._lock = threading.RLock()
        if settings is not None:
            self._read_earlier()

    def __enter__(self) -> Self:
        # The folders appear with their first file: a failure before leaves nothing.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.release()

    def release(self) -> None:
        """Let another run go on: give up the list of what is written, which stays."""
        if self._list is not None:
            self._list.close()
            self._list = None

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
        if image_id in self.images:
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
    ) -> None:
        """Remember the annotation of an image whose PNG is written.

        Args:
            annotation: entry of the JSON, with `image_id` and the `file_name` of the PNG.
            size: (height, width) in pixels.
            image_file_name: path of the photo relative to its folder.
            mark: see `add`.
            place: its place among the photos of all shards.
        """
        height, width = (int(length) for length in size)
        image = {"id": annotation["image_id"], "file_name": image_file_name, "height": height, "width": width}
        self._keep(WrittenImage(image, annotation, mark, place))

    def new_id(self, image_id: ImageId | None) -> ImageId:
        """Return the id of the next image: the given one, or for None the number of images with it."""
        return len(self.images) + 1 if image_id is None else image_id

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
        done = self._earlier[image_file_name]
        with self._lock:
            self._begin()
        new_id = self.new_id(image_id)
        image, annotation = {**done.image, "id": new_id}, {**done.annotation, "image_id": new_id}
        self._png_names[annotation["file_name"]] = image_file_name
        self._keep(WrittenImage(image, annotation, mark, place))
        return True

    def finish(self, report: Mapping[str, Any]) -> None:
        """End a shard: note that it is complete, and what is to be reported of it."""
        with self._lock:
            self._begin()
            self._note({"finished": report})
        self.release()

    def close(self) -> None:
        """Write the JSON; none of no images where runs add up.

        Raises:
            OSError: it cannot be written.
        """
        names = {image["file_name"] for image in self.images.values()}
        for image, annotation, _, _ in self._earlier.values():
            if image["file_name"] not in names:
                new_id = image["id"]
                if new_id in self.images:
                    new_id = 1 + max(number for number in self.images if isinstance(number, int))
                self.images[new_id] = {**image, "id": new_id}
                self.annotations.append({**annotation, "image_id": new_id})
        document: dict[str, Any] = {} if self.settings is None else {"info": {"settings": self.settings}}
        document |= {
            "images": list(self.images.values()),
            "annotations": self.annotations,
            "categories": self.categories.to_json(),
        }
        if self.images or self.settings is None:
            with atomic_path(self.json_path) as temporary:
                temporary.write_text(json.dumps(document), encoding="utf-8")
        if self._list is not None:
            self._list_path.unlink()
        self.release()
        lost = self._others - names
        if lost:
            warnings.warn(
                f"{self.json_path} no longer lists {len(lost)} predictions that other weights or options "
                "wrote into this folder before; give each an output folder of its own",
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

    def _keep(self, written: WrittenImage) -> None:
        self.images[written.image["id"]] = written.image
        self.annotations.append(written.annotation)
        self._note(written._asdict())

    def _note(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._list is not None:
                self._list.write(f"{json.dumps(line)}\n")
                self._list.flush()

    def _begin(self) -> None:
        """Before the first PNG: list what is there, in place of the JSON, which will soon be wrong."""
        if self.has_begun:
            return
        if self.settings is not None:
            self.json_path.parent.mkdir(parents=True, exist_ok=True)
            refuse_special_file(self._list_path)
            self._list = self._list_path.open("a", encoding="utf-8")
            if not lock_file(self._list):
                self._list.close()
                raise BlockingIOError(
                    f"output must be written by one run at a time, got {self._list_path} in use; "
                    "wait for the other run or give another folder"
                )
            self._read_earlier()
            if not self._goes_on:
                self._list.truncate(0)
                self._note(self._head)
            for written in self._earlier.values():
                self._note(written._asdict())
        else:
            self._list_path.unlink(missing_ok=True)
        self.json_path.unlink(missing_ok=True)
        self.has_begun = True

    def _read_earlier(self) -> None:
        """Read what earlier runs have written: the JSON of complete ones, the list of one that was killed."""
        self._earlier, self._others = {}, set()
        with suppress(OSError, ValueError, LookupError, TypeError):  # none, or not of ours
            document = json.loads(bytes_of(self.json_path))
            annotations = {each["image_id"]: each for each in document["annotations"]}
            pairs = [WrittenImage(image, annotations[image["id"]]) for image in document["images"]]
            self._remember(document["info"]["settings"], pairs)
        found = read_list(self._list_path)
        if found is not None:
            self._goes_on = found.head == self._head
            if self._goes_on or not self._is_shard:  # the images of another list of files may be others'
                self._remember(found.head.get("settings"), found.written.values())

    def _remember(self, settings: str | None, images: Iterable[WrittenImage]) -> None:
        if settings != self.settings:
            self._others |= {each.image["file_name"] for each in images}
            return
        for each in images:
            png_name = each.annotation["file_name"]
            if path_in_folder(self.folder, png_name).is_file():
                self._earlier[each.image["file_name"]] = each
                self._png_names[png_name] = each.image["file_name"]
