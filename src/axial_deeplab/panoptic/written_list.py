"""The list of what a run has written, image by image, from which another run goes on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from axial_deeplab.util.files import opened


class WrittenImage(NamedTuple):
    """An image whose PNG is written.

    Args:
        image: its entry of `images`.
        annotation: its annotation; `segments_info` is an iterator where there may be too many for the memory.
        mark: text that differs where the photo does.
        place: its place among the photos of all shards.
    """

    image: dict[str, Any]
    annotation: dict[str, Any]
    mark: str | None = None
    place: int | None = None


class WrittenLine(NamedTuple):
    """Where a list has an image, and what must be known of it without reading that again.

    Args:
        offset: bytes before its line.
        mark: see `WrittenImage`.
        place: see `WrittenImage`.
        png_name: name of its PNG.
    """

    offset: int
    mark: str | None
    place: int | None
    png_name: str


class WrittenList(NamedTuple):
    """What a list says that a run keeps of what it has written.

    Args:
        head: settings, and what else is true of the whole run.
        written: images by name.
        finished: what the run said at its end; None of one that was stopped.
    """

    head: dict[str, Any]
    written: dict[str, WrittenLine]
    finished: dict[str, Any] | None


def read_list(path: Path) -> WrittenList | None:
    """Read the list of a run, None if there is none or it is not of ours."""
    with suppress(OSError, ValueError, LookupError, TypeError), opened(path) as file:
        head = json.loads(file.readline())
        written: dict[str, WrittenLine] = {}
        finished = None
        offset = file.tell()
        for line in file:
            # The last line may be cut short.
            with suppress(ValueError):
                entry = json.loads(line)
                finished = entry.get("finished")
                if "replaced" in entry:
                    written.pop(entry["replaced"], None)
                elif "image" in entry:
                    name, png_name = entry["image"]["file_name"], entry["annotation"]["file_name"]
                    written[name] = WrittenLine(offset, entry["mark"], entry["place"], png_name)
            offset += len(line)
        return WrittenList(head, written, finished)
    return None


def image_at(file: IO[bytes], offset: int) -> WrittenImage:
    """Return an image of a list.

    Args:
        file: list, open to be read.
        offset: bytes before the line of the image.
    """
    file.seek(offset)
    line = json.loads(file.readline())
    start = line.pop("segments_at", None)
    if start is not None:
        line["annotation"]["segments_info"] = _segments_at(file, start, offset)
    return WrittenImage(**line)


def _segments_at(file: IO[bytes], start: int, end: int) -> Iterator[dict[str, Any]]:
    """Yield the segments of the lines from `start` to before `end`, in bytes."""
    while start < end:
        file.seek(start)
        line = file.readline()
        start += len(line)
        yield from json.loads(line)["segments_info"]
